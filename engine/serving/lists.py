"""Lists that another program made for the users of a finished run, measured as its own were."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.artifacts.readers import Matrix
from engine.artifacts.records import Means, settled_liked_from
from engine.artifacts.tables import item_ids, user_ids
from engine.chunked.errors import UsageError
from engine.chunked.storage import Place, locate, on_this_machine
from engine.model.evaluation import RANKED, Baselines, figures_of, measure_users, summarise
from engine.model.metrics import Mean, self_information
from engine.model.popularity import by_popularity
from engine.model.sizes import RANK_USERS, READ_RATINGS
from engine.ratings.columns import ITEMS, USERS, find
from engine.serving import ids
from engine.serving.finished import FinishedRun, open_finished

_ORDERS = (("rank", False), ("score", True))
"""Columns that put a list in order, and whether the greatest is first; without one the order is that of rows."""


@dataclass(frozen=True)
class Measured:
    """Figures of lists, beside those of the run.

    Attributes
    ----------
    figures : dict of str to dict
        ``lists``, ``model`` and ``most_popular``; each figure as ``metrics.json`` has it.
    k : int
        Items of a list that count.
    n_lists, n_unknown_users, n_unknown_items : int
        Users with a list; those of them, and items listed, that the run does not have. Such items are no hits.
    """

    figures: dict[str, dict[str, Any]]
    k: int
    n_lists: int
    n_unknown_users: int
    n_unknown_items: int


def measure_lists(where: Place, lists: str | os.PathLike[str]) -> Measured:
    """Measure lists with the test ratings of a finished run: of all users with a liked test item, listed or not.

    Parameters
    ----------
    where : path or URL
        The work directory.
    lists : path
        CSV or Parquet with a row an item: columns of users and items, and ``rank`` or ``score``, or rows in order.
        Those without a score come last, in order.

    Raises
    ------
    UsageError
        Where it cannot be read, or an item is twice in a list.
    """
    run = open_finished(where)
    section, matrix = run.settings.evaluate, Matrix(run.stages["matrix"])
    codes, n_lists, unknown_users, unknown_items = _coded(on_this_machine(lists), run, section.k)
    counts = matrix.train.count_columns(READ_RATINGS)
    n_users, n_items = matrix.train.shape
    baselines = Baselines(by_popularity(counts), None, self_information(counts, n_users))
    liked_from = settled_liked_from(section.liked_from, run.stages["matrix"])
    means: dict[str, dict[str, Mean]] = {}
    times = np.zeros((len(RANKED), n_items), dtype=np.int64)
    for start in range(0, n_users, RANK_USERS):
        stop = min(start + RANK_USERS, n_users)
        own, test = matrix.train.read(start, stop), matrix.test.read(start, stop)
        measured = measure_users(
            codes[start:stop], None, own, test, baselines, start, liked_from, times, answer_unknown=False
        )
        _, found = summarise(measured, section.lengths, implicit=True)
        for name, of_block in found.items():
            known = means.setdefault(name, dict.fromkeys(of_block, Mean()))
            means[name] = {figure: known[figure] + mean for figure, mean in of_block.items()}
    figures = figures_of(means, dict(zip(RANKED, times, strict=True)))
    beside = {name: Means.of(run.stages["evaluate"]).figures[name] for name in RANKED}
    return Measured({"lists": figures["model"], **beside}, section.k, n_lists, unknown_users, unknown_items)


def _coded(path: Path, run: FinishedRun, k: int) -> tuple[NDArray[np.int32], int, int, int]:
    """The first ``k`` items of each user as columns, -1 where the run knows none; and how much it does not know."""
    rows = _read(path)
    users, items = user_ids(run.stages["ingest"]), item_ids(run.stages["matrix"])
    if rows.select("user", "item").is_duplicated().any():
        raise UsageError(f"{path}: an item is twice in the list of a user: give each once")
    at_user, known_user = ids.places(rows["user"], users)
    at_item, known_item = ids.places(rows["item"], items)
    rows = rows.with_columns(
        code=pl.Series(np.where(known_user, at_user, -1)), column=pl.Series(np.where(known_item, at_item, -1))
    )
    listed = rows.filter(pl.col("code") >= 0).with_columns(place=pl.int_range(pl.len()).over("code"))
    listed = listed.filter(pl.col("place") < k)
    codes = np.full((len(users), min(k, len(items))), -1, dtype=np.int32)
    codes[listed["code"].to_numpy(), listed["place"].to_numpy()] = listed["column"].to_numpy()
    n_unknown_users = rows.filter(pl.col("code") < 0)["user"].n_unique()
    n_unknown_items = rows.filter(pl.col("column") < 0)["item"].n_unique()
    return codes, rows["user"].n_unique(), n_unknown_users, n_unknown_items


def _read(path: Path) -> pl.DataFrame:
    """Columns ``user`` and ``item``, each user's items in order."""
    try:
        with path.open("rb") as stream:
            parquet = stream.read(4) == b"PAR1"
        rows = pl.read_parquet(path, glob=False) if parquet else pl.read_csv(path, infer_schema=False, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UsageError(f"{path}: cannot be read as lists ({error}): give CSV or Parquet") from None
    remedy = "call them user and item"
    user, item = (find(locate(path), rows.columns, names, remedy) for names in (USERS, ITEMS))
    if user is None or item is None:
        raise UsageError(f"{path} has the columns {', '.join(rows.columns)}: {remedy}")
    for name, descending in _ORDERS:
        if name in rows.columns:
            order = pl.col(name).cast(pl.Float64, strict=False)
            rows = rows.sort(order, descending=descending, nulls_last=True, maintain_order=True)
            break
    return rows.select(pl.col(user).alias("user"), pl.col(item).alias("item"))


def describe(measured: Measured) -> str:
    """The figures for people."""
    names = {"lists": "lists", "model": "this run", "most_popular": "most popular"}
    lines = [f"{'':<20}" + "".join(f"{name:>20}" for name in names.values())]
    for key, figure in measured.figures["lists"].items():
        if figure["value"] is not None:
            cells = (_cell(measured.figures[name].get(key)) for name in names)
            lines.append(f"{key:<20}" + "".join(f"{cell:>20}" for cell in cells))
    lines.append(f"\n{measured.n_lists:,} users have a list; {measured.k} items of each count")
    if measured.n_unknown_users:
        lines.append(f"{measured.n_unknown_users:,} of these users are not in the run: left out")
    if measured.n_unknown_items:
        lines.append(f"{measured.n_unknown_items:,} items listed have no train rating in the run: no hits")
    return "\n".join(lines)


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "-"
    error = figure["standard_error"]
    return f"{figure['value']:.4f}" + ("" if error is None else f" ±{error:.4f}")


def as_mapping(measured: Measured) -> dict[str, Any]:
    """The same for programs, as JSON values."""
    return dict(vars(measured))
