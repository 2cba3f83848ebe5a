"""Who and what is asked about: ids of callers, checked, as places in a run."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from engine.chunked.errors import UsageError
from engine.chunked.plain import one_of
from engine.serving import ids as lookup
from engine.serving.opened import OpenedRun

OnUnknown = Literal["error", "skip", "popular"]
OnEmpty = Literal["popular", "skip"]


def offered(opened: OpenedRun, candidates: ArrayLike | None, exclude: ArrayLike | None) -> NDArray[np.bool_] | None:
    """Which items may be recommended: bool, shape (items,); None where all may.

    Raises
    ------
    UsageError
        Where none of the candidates is known.
    """
    if candidates is None and exclude is None:
        return None
    marks = np.full(len(opened.items), candidates is None)
    if candidates is not None:
        marks[_columns(opened, candidates)] = True
        if not marks.any():
            raise UsageError(f"none of the candidates is known: {lookup.describe(opened.items, 'item')}")
    if exclude is not None:
        marks[_columns(opened, exclude)] = False
    return marks


def _columns(opened: OpenedRun, items: ArrayLike) -> NDArray[np.int64]:
    """Columns of those of some items that are known; there may be none."""
    if not np.size(items):
        return np.empty(0, dtype=np.int64)
    columns, known = lookup.places(lookup.as_ids(items, "item"), opened.items)
    return columns[known]


def who(
    opened: OpenedRun, users: ArrayLike, on_unknown: OnUnknown
) -> tuple[pl.Series, NDArray[np.int64], NDArray[np.bool_]]:
    """Ids of those who get a list, their codes, and whether these are known.

    Raises
    ------
    UsageError
        For an id that is not known, unless told otherwise, and for one that can be no id of this run.
    """
    if one_of(on_unknown, "on_unknown", get_args(OnUnknown)) == "error":
        codes = lookup.find(users, opened.users, "user", opened.run.workdir)
        return lookup.take(opened.users, codes), codes, np.ones(len(codes), dtype=np.bool_)
    given = lookup.as_ids(users, "user")
    codes, known = lookup.places(given, opened.users)
    if on_unknown == "skip":
        return lookup.take(opened.users, codes[known]), codes[known], known[known]
    ids = lookup.as_type(given, opened.users.dtype)
    if ids.has_nulls():
        odd = given.filter(ids.is_null())[0]
        raise UsageError(f"user {odd!r}: {lookup.describe(opened.users, 'user')}, and this is no such id")
    return ids, codes, known
