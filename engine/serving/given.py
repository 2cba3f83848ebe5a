"""What callers have their ratings in: Polars, pandas, NumPy, SciPy, lists."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.chunked.errors import UsageError
from engine.config import Config
from engine.serving import ids as lookup

_NAMES = ("userId", "movieId", "rating", "timestamp")


def as_dataset(data: Any) -> Any:
    """Ratings as a configuration's ``dataset`` takes them: arrays and columns as a data frame, all else as it is.

    Parameters
    ----------
    data : path, data frame, array, sparse matrix, or sequence of columns
        See `engine.serving.recommender.Recommender.fit`.

    Raises
    ------
    UsageError
        Where there are none, or arrays do not have the shape of ratings, or hold what is no id or no time, or masked
        values.
    """
    if data is None:
        raise UsageError("no ratings are given, but None: give a path, a data frame, an array, or a list of columns")
    if isinstance(data, os.PathLike):
        return os.fspath(data)
    if isinstance(data, np.ndarray) and data.dtype.names is not None:
        return _fields(data)
    if isinstance(data, np.ndarray) and data.ndim == 2:
        return _named(list(data.T))
    if isinstance(data, list | tuple) and len(data) in (3, 4):
        return _named(list(data))
    return data


def _fields(data: NDArray[Any]) -> pl.DataFrame:
    """The columns of an array with named fields."""
    return pl.DataFrame({name: _values(data[name], name) for name in data.dtype.names or ()})


def _named(columns: Sequence[Any]) -> pl.DataFrame:
    if len(columns) not in (3, 4):
        raise UsageError(
            f"an array with {len(columns)} columns: give users, items, ratings and, if there are any, times"
        )
    read = [_ids(columns[0], "user"), _ids(columns[1], "item"), _values(columns[2], "ratings")]
    read += [_times(each) for each in columns[3:]]
    if len({each.shape for each in read}) > 1:
        raise UsageError(f"columns of shapes {', '.join(str(each.shape) for each in read)}: give as many of each")
    return pl.DataFrame(dict(zip(_NAMES, read, strict=False)))


def _ids(column: Any, what: str) -> pl.Series:
    """Ids of users or items; whole numbers as such, though they are in an array of objects."""
    lookup.refuse_masked(column, f"{what}s")
    if not isinstance(column, list | tuple) and (values := np.asarray(column)).dtype.kind == "O":
        column = values.tolist()
    return lookup.as_ids(column, what)


def _times(column: Any) -> pl.Series:
    """Times; those in floats as whole numbers."""
    times = _values(column, "times")
    if not times.dtype.is_float():
        return times
    odd = times.filter(~((times == times.floor()) & (times.abs() < 2.0**63)).fill_null(False))
    if len(odd):
        raise UsageError(f"times: {odd[0]} is no whole number of 64 bits")
    return times.cast(pl.Int64)


def _values(column: Any, what: str) -> pl.Series:
    """A column as it is, of the type that NumPy finds it to have, or Polars if it is of objects."""
    lookup.refuse_masked(column, what)
    try:
        values = np.ascontiguousarray(column)
        if values.ndim != 1:
            raise UsageError(f"{what} of shape {values.shape}: give one for each user and item")
        if values.dtype.kind == "M" and np.datetime_data(values.dtype)[0] in ("h", "m", "s"):
            values = values.astype("M8[ms]")  # Polars has no coarser ones, but days
        if not values.dtype.isnative:
            values = values.astype(values.dtype.newbyteorder("="))
        return pl.Series(what, values.tolist() if values.dtype.kind == "O" else values)
    except (TypeError, ValueError) as error:
        told = str(error).splitlines()[0]
        raise UsageError(f"{what} cannot be read ({told:.200}): give values of one type") from None


def sections(settings: dict[str, Any]) -> dict[str, Any]:
    """Configuration keys given as keywords; refuse what `fit` has parameters for.

    Raises
    ------
    UsageError
        Where one is no section.
    """
    known = set(Config.__struct_fields__) - {"dataset", "columns", "workdir", "memory", "workers"}
    for name in settings:
        if name not in known:
            raise UsageError(f"fit takes no '{name}': known are {', '.join(sorted(known))}")
    return settings
