"""Ids as people write them, and their places among those of a run."""

from __future__ import annotations

import operator
from numbers import Integral
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from engine.chunked.errors import UsageError
from engine.chunked.storage import Location


def read_ids(path: Path) -> list[str]:
    """Ids in a file, one a line; blank lines are skipped.

    Raises
    ------
    UsageError
        Where it cannot be read, or holds none.
    """
    try:
        ids = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error}): give a text file, one user id a line") from None
    if not ids:
        raise UsageError(f"{path}: holds no user ids: write one a line")
    return ids


def find(ids: ArrayLike, known: pl.Series, what: str, where: Location) -> NDArray[np.int64]:
    """The place of each id among the known ones of a work directory, which ascend.

    Raises
    ------
    UsageError
        For what is no id or not known, naming some and what is known.
    """
    asked = as_ids(ids, what)
    codes, found = places(asked, known)
    if not found.all():
        wrong = asked.filter(pl.Series(~found)).unique(maintain_order=True).to_list()
        named = ", ".join(map(str, wrong[:3])) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise UsageError(f"no {what} {named} in {where}: {describe(known, what)}")
    return codes


def at_least_one(k: int, what: str) -> int:
    """How many are asked for, as a plain number.

    Raises
    ------
    UsageError
        Where it is none, or less than 1.
    """
    try:
        k = operator.index(k)
    except TypeError:
        raise UsageError(f"{k!r} {what}: ask for a whole number of them") from None
    if k < 1:
        raise UsageError(f"{k} {what}: ask for 1 or more")
    return k


def as_ids(ids: ArrayLike, what: str) -> pl.Series:
    """Ids as a series of numbers or texts; nothing is rounded, nothing is taken for a number that is none.

    Raises
    ------
    UsageError
        For what is neither, not one-dimensional, or empty.
    """
    try:
        given = np.asarray(ids)
    except ValueError:
        raise UsageError(f"{what}s of uneven shape: give a list of ids") from None
    if given.ndim != 1:
        raise UsageError(f"{what}s of shape {given.shape}: give a list of ids")
    if not len(given):
        raise UsageError(f"no {what} is given: name one or more")
    if given.dtype.kind in "OT":  # texts, and what numbers and texts are together in
        wrong = [each for each in given.tolist() if not isinstance(each, str | Integral) or isinstance(each, bool)]
        given = np.array(list(map(str, given.tolist())))
    elif given.dtype.kind == "f":
        wrong = given[given != np.floor(given)].tolist()
    else:
        wrong = [] if given.dtype.kind in "iuU" else given.tolist()
    if wrong:
        raise UsageError(f"{what} {wrong[0]!r}: ids are whole numbers or texts")
    return pl.Series(what, given)


def places(ids: pl.Series, known: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The place of each id among the known ones, which ascend, and whether it is there; texts may stand for numbers."""
    asked = ids.cast(known.dtype, strict=False)
    at = np.minimum(known.search_sorted(asked.fill_null(known[0])).to_numpy(), len(known) - 1)
    found = (known.gather(at) == asked).fill_null(False)
    return at.astype(np.int64), found.to_numpy()


def describe(known: pl.Series, what: str) -> str:
    """Say which ids there are."""
    if known.dtype == pl.String:
        return f"known are {len(known):,} {what}s, such as {', '.join(known.head(3).to_list())}"
    return f"known are {len(known):,} {what}s from {known[0]} to {known[-1]}"
