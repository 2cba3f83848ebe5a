"""Ids as people write them, and their places among the ids of a run."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from engine.chunked.errors import UsageError, is_short
from engine.chunked.printable import printable
from engine.chunked.storage import Location
from engine.chunked.storage.inputs import read_named_text

MOST_IDS = 2**28
"""Bytes of a file of ids: some 25 million of them."""


class UnknownIdError(UsageError):
    """An id that the run does not have."""


def read_ids(path: Path, what: str = "user") -> list[str]:
    """Ids in a file, of users or what else is named, one a line, in UTF-8; blank lines and blanks around are skipped.

    Raises
    ------
    UsageError
        Where it cannot be read, is larger than `MOST_IDS`, or holds none.
    """
    try:
        ids = [line.strip() for line in read_named_text(path, MOST_IDS).split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        if is_short(error):
            raise
        raise UsageError(f"{path}: cannot be read ({error}): give a text file in UTF-8, one {what} id a line") from None
    if not ids:
        raise UsageError(f"{path}: holds no {what} ids: write one a line")
    return ids


def find(ids: ArrayLike, run_ids: pl.Series, what: str, where: Location) -> NDArray[np.int64]:
    """The place of each id among the ids of a run, which are in ascending order.

    Parameters
    ----------
    ids : array-like
        The ids to find.
    run_ids : Series
        All ids of the run, ascending.
    what : str
        What they are ids of, such as ``user``, for messages.
    where : Path or Remote
        The work directory, for messages.

    Raises
    ------
    UsageError
        Where an id is not a number or text, or the run does not have it. The message names some of these ids, and
        says which ids the run has.
    """
    asked = as_ids(ids, what)
    codes, present = places(asked, run_ids)
    if not present.all():
        absent = asked.filter(pl.Series(~present)).unique(maintain_order=True).to_list()
        named = ", ".join(map(printable, absent[:3])) + (f" and {len(absent) - 3} more" if len(absent) > 3 else "")
        raise UnknownIdError(f"no {what} {named} in {where}: {describe(run_ids, what)}")
    return codes


def as_ids(ids: ArrayLike, what: str) -> pl.Series:
    """Ids as a series of whole numbers or of texts; a single one as a series of it. Nothing is rounded.

    Raises
    ------
    UsageError
        Where an id is neither, is masked, or is a float so large that it may stand for several whole numbers; or where
        the ids are not one-dimensional or there are none.
    """
    refuse_masked(ids, f"{what}s")
    if np.isscalar(ids) or (isinstance(ids, np.ndarray) and not ids.ndim):
        return as_ids([ids], what)  # type: ignore[arg-type]  # what is no id is told as one of several
    if isinstance(ids, list | tuple) and any(isinstance(id_, str) for id_ in ids):
        return _texts(ids, what)  # NumPy would give each the room of the longest
    try:
        given = np.asarray(ids)
    except ValueError:
        raise UsageError(f"{what}s of uneven shape: give a list of ids") from None
    if given.ndim != 1:
        if not given.ndim:
            raise UsageError(f"{what} {printable(str(ids)[:40])}: give a list, such as [{printable(repr(ids)[:40])}]")
        raise UsageError(f"{what}s of shape {given.shape}: give a list of ids")
    if not len(given):
        raise UsageError(f"no {what} is given: name one or more")
    if given.dtype.kind in "OT":  # texts, or texts and numbers together
        return _texts(given.tolist(), what)
    if given.dtype.kind == "f":
        return pl.Series(what, _whole(given, what))
    if given.dtype.kind not in "iuU":
        raise _no_id(given.tolist()[0], what)
    return pl.Series(what, given)


def refuse_masked(values: object, what: str) -> None:
    """Refuse an array of NumPy's with masked values: their places hold values that nobody meant.

    Raises
    ------
    UsageError
        Where one is masked.
    """
    if np.ma.is_masked(values):
        raise UsageError(f"{what} of which some are masked: fill the array, or leave these out")


def _whole(given: NDArray[np.floating[Any]], what: str) -> NDArray[np.int64]:
    """Ids in floats as whole numbers."""
    odd = given[~(np.isfinite(given) & (given == np.floor(given)))]
    if len(odd):
        raise _no_id(odd.tolist()[0], what)
    # From here on a float stands for more than one whole number.
    first = 2 ** min(63, np.finfo(given.dtype).nmant + 1)
    vague = given[np.abs(given.astype(np.float64)) >= first]
    if len(vague):
        told = f"{what} {vague.tolist()[0]:.0f} is a float, in which ids of {first} and more are rounded"
        raise UsageError(f"{told}: give ids as whole numbers of one type, or as texts")
    return given.astype(np.int64)


def _no_id(id_: object, what: str) -> UsageError:
    return UsageError(f"{what} {id_!r:.60}: ids are whole numbers or texts")


def _texts(ids: Sequence[Any], what: str) -> pl.Series:
    for id_ in ids:
        if not isinstance(id_, str | Integral) or isinstance(id_, bool):
            raise _no_id(id_, what)
    return pl.Series(what, list(map(str, ids)), dtype=pl.String)


def places(ids: pl.Series, run_ids: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The place of each id among the ids of a run, which ascend, and whether it is one of them.

    A text may stand for a number: ``"42"`` finds 42. ``"042"`` does not: it is another id.
    """
    if ids.dtype == run_ids.dtype == pl.Int64:
        return _number_places(ids.to_numpy(), run_ids.to_numpy())
    asked = as_type(ids, run_ids.dtype)
    at = np.minimum(run_ids.search_sorted(asked.fill_null(run_ids[0])).to_numpy(), len(run_ids) - 1)
    present = (run_ids.gather(at) == asked).fill_null(False)
    return at.astype(np.int64), present.to_numpy()


def _number_places(ids: NDArray[np.int64], run_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The same of whole numbers, quickly."""
    at = np.minimum(np.searchsorted(run_ids, ids), len(run_ids) - 1)
    return at.astype(np.int64), run_ids[at] == ids


def take(values: pl.Series, at: NDArray[np.integer[Any]]) -> pl.Series:
    """Values at some places: what `polars.Series.gather` does, without the time it takes for a few."""
    return values[pl.Series(at.astype(np.uint32))]


def as_type(ids: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Ids as numbers or text; null where a text is not that of a number."""
    asked = ids.cast(dtype, strict=False)
    if ids.dtype != pl.String or dtype == pl.String:
        return asked
    own = asked.cast(pl.String) == ids
    return asked.set(~own.fill_null(False), None)


def describe(run_ids: pl.Series, what: str) -> str:
    """Say which ids a run has."""
    if run_ids.dtype == pl.String:
        return f"known are {len(run_ids):,} {what}s, such as {', '.join(map(printable, run_ids.head(3)))}"
    return f"known are {len(run_ids):,} {what}s from {run_ids[0]} to {run_ids[-1]}"
