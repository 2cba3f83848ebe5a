"""What is seen of the ratings while they are converted: figures of some rows, and of all of them from those."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from engine.stages.ingest.distinct import Samples

MOST_HALF_STARS = 127.5
"""The most that half stars come to in a byte."""

Figures = dict[str, Any]

# Rows whose ids are sampled at once: what is made of them is less than what the allocator asks the system for anew.
_SAMPLED_ROWS = 2**16


class Looks:
    """What is seen of rows as they go by.

    Parameters
    ----------
    texts : mapping of str
        The column with the texts of users' and of items' ids, where there is one.
    user : str
        The column with the ids of users themselves.
    """

    def __init__(self, texts: Mapping[str, str], user: str) -> None:
        self._texts, self._user = texts, user
        self._samples = Samples()
        self._figures: list[Figures] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Take the rows that follow."""
        self._figures.append(look(rows, self._user))
        if not self._figures[-1]["faults"]:
            for few in rows.iter_slices(_SAMPLED_ROWS):
                self._samples.add(few, self._texts)

    def write(self, target: Path) -> Figures:
        """Leave a sample of their ids; return their figures."""
        target.parent.mkdir()
        self._samples.write(target)
        return together(self._figures)


def look(rows: pl.DataFrame, user: str) -> Figures:
    """Figures of rows that follow each other: plain values, for a task's record.

    Parameters
    ----------
    rows : DataFrame
        ``user``, ``item`` and ``rating``, and ``time`` where that is kept. Where any is missing, the row has a fault.
    user : str
        The column with the ids of users themselves.
    """
    rating, time = pl.col("rating"), [pl.col("time")] if "time" in rows.columns else []
    sound = pl.all_horizontal(pl.col("user", "item", "rating").is_not_null()) & rating.is_finite()
    half_stars = (rating * 2 == (rating * 2).round()) & rating.is_between(0, MOST_HALF_STARS)
    (found,) = rows.select(
        *(bound for each in time for bound in (each.min().alias("time_min"), each.max().alias("time_max"))),
        n_rows=pl.len(),
        faults=(~sound).sum(),
        half_stars=half_stars.all(),
        single=(rating.cast(pl.Float32).cast(pl.Float64) == rating).all(),
        rating_min=rating.min(),
        rating_max=rating.max(),
        user_min=pl.col("user").min(),
        user_max=pl.col("user").max(),
        first=pl.col(user).first(),
        last=pl.col(user).last(),
    ).rows(named=True)
    return found | {"ascending": not found["faults"] and rows[user].is_sorted()}


def together(pieces: Iterable[Figures]) -> Figures:
    """Figures of pieces that follow each other, as `look` has them of all rows at once; of none, of no rows.

    Examples
    --------
    >>> one, other = (look(pl.DataFrame({"user": users, "item": 1, "rating": 3.5}), "user") for users in ([1, 4], [4]))
    >>> figures = together([one, other])
    >>> figures["n_rows"], figures["ascending"], figures["user_max"]
    (3, True, 4)
    >>> together([other, one])["ascending"]
    False
    """
    taken = [piece for piece in pieces if piece["n_rows"]]
    if not taken:
        return {"n_rows": 0}
    times = {name: _BOUNDS[name](_known(taken, name)) for name in ("time_min", "time_max") if name in taken[0]}
    follows = (before["last"] <= after["first"] for before, after in pairwise(taken))
    return times | {
        **{name: sum(piece[name] for piece in taken) for name in ("n_rows", "faults")},
        **{name: all(piece[name] for piece in taken) for name in ("half_stars", "single")},
        **{name: of(_known(taken, name)) for name, of in _BOUNDS.items() if name not in ("time_min", "time_max")},
        "first": taken[0]["first"],
        "last": taken[-1]["last"],
        # Where a row has a fault an id may be missing, which nothing follows.
        "ascending": all(piece["ascending"] for piece in taken) and all(follows),
    }


def _least(values: Sequence[Any]) -> Any:
    return min(values, default=None)


def _greatest(values: Sequence[Any]) -> Any:
    return max(values, default=None)


_BOUNDS = {
    "time_min": _least,
    "time_max": _greatest,
    "rating_min": _least,
    "rating_max": _greatest,
    "user_min": _least,
    "user_max": _greatest,
}


def _known(pieces: Sequence[Figures], name: str) -> list[Any]:
    return [piece[name] for piece in pieces if piece[name] is not None]


def summary(figures: Figures) -> Figures:
    """What the survey's record has of them: with how ratings are stored exactly."""
    half_stars, single = figures["half_stars"], figures["single"]
    bounds = {name: figures[name] for name in ("time_min", "time_max") if name in figures}
    return bounds | {
        **{name: figures[name] for name in ("n_rows", "rating_min", "rating_max")},
        "rating_step": 0.5 if half_stars else 1.0,
        "rating_dtype": "uint8" if half_stars else "float32" if single else "float64",
        "sorted_by_user": figures["ascending"],
    }
