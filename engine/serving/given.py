"""What callers have their ratings in: Polars, pandas, NumPy, SciPy, lists."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.chunked.errors import UsageError
from engine.config import Config
from engine.ratings.columns import kind_of
from engine.serving import ids as lookup

_NAMES = ("userId", "movieId", "rating", "timestamp")


def as_dataset(data: Any, y: Any = None) -> Any:
    """Ratings as a configuration's ``dataset`` takes them: arrays and columns as a data frame, all else as it is.

    Parameters
    ----------
    data : path, data frame, array, sparse matrix, or sequence of columns
    y : array_like, optional
        See `engine.serving.recommender.Recommender.fit`.

    Raises
    ------
    UsageError
        Where there are none, or arrays do not have the shape of ratings, or hold what is no id or no time, or masked
        values.
    """
    if data is None:
        raise UsageError("no ratings are given, but None: give a path, a data frame, an array, or a list of columns")
    if y is not None:
        return _named([*_pairs(data), y])
    if isinstance(data, os.PathLike):
        return os.fspath(data)
    if isinstance(data, np.ndarray) and data.dtype.names is not None:
        return _fields(data)
    if isinstance(data, np.ndarray) and data.ndim == 2:
        return _named(list(data.T))
    if isinstance(data, list | tuple) and len(data) in (2, 3, 4):
        return _named(list(data))
    return data


def _fields(data: NDArray[Any]) -> pl.DataFrame:
    """The columns of an array with named fields."""
    return pl.DataFrame({name: _values(data[name], name) for name in data.dtype.names or ()})


def _named(columns: Sequence[Any]) -> pl.DataFrame:
    if len(columns) not in (2, 3, 4):
        told = "give users, items and, if there are any, ratings and times"
        raise UsageError(f"an array with {len(columns)} columns: {told}")
    read = [_ids(columns[0], "user"), _ids(columns[1], "item"), *(_values(each, "ratings") for each in columns[2:3])]
    read += [_times(each) for each in columns[3:]]
    if len({each.shape for each in read}) > 1:
        raise UsageError(f"columns of shapes {', '.join(str(each.shape) for each in read)}: give as many of each")
    return pl.DataFrame(dict(zip(_NAMES, read, strict=False)))


def _pairs(data: Any) -> Sequence[Any]:
    """The two columns of a table of users and items, whose ratings are given beside it."""
    if isinstance(data, np.ndarray) and data.ndim == 2:
        columns = list(data.T)
    elif hasattr(data, "get_columns"):  # a data frame of Polars'
        columns = data.get_columns()
    elif hasattr(data, "iloc") and hasattr(data, "columns"):  # of pandas'
        columns = [data.iloc[:, at].to_numpy() for at in range(data.shape[1])]
    else:
        raise UsageError(f"y beside a {type(data).__name__}: it goes with an array or a data frame of users and items")
    if len(columns) != 2:
        raise UsageError(f"y beside {len(columns)} columns: give two, users and items, or leave y out")
    try:
        names_of_pairs(data)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return columns


def names_of_pairs(X: Any) -> list[str]:
    """What the columns of pairs are called; nothing where not all have a text as their name.

    Raises
    ------
    ValueError
        Where these say that there are others than users and items, in this order.
    """
    names = list(getattr(X, "column_names", getattr(X, "columns", [])))  # the former is what PyArrow calls them
    if len(names) != 2 or not all(isinstance(name, str) for name in names):
        return []
    kinds = [kind_of(name) for name in names]
    swapped = kinds in (["item", "user"], ["item", None], [None, "user"])
    if swapped or "rating" in kinds or "time" in kinds:
        raise ValueError(f"X has the columns {', '.join(names)}: give two, users first, then items")
    return names


def _ids(column: Any, what: str) -> pl.Series:
    """A column of ids of users or items; whole numbers as such, though they are in an array of objects."""
    lookup.refuse_masked(column, f"{what}s")
    if np.isscalar(column):
        raise UsageError(f"{what}s are {column!r:.40}: give a column of ids, one for each rating")
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


def sections(settings: Mapping[str, Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Sections of the configuration, given as a mapping and as keywords; refuse what `fit` has parameters for.

    Raises
    ------
    UsageError
        Where one is no section, or is given both ways.
    """
    for name in keywords:
        if name in settings:
            raise UsageError(f"{name} is in settings and beside them: give it once")
    given = {**settings, **keywords}
    known = set(Config.__struct_fields__) - {"dataset", "columns", "workdir", "memory", "workers"}
    for name in given:
        if name not in known:
            raise UsageError(f"fit takes no '{name}': known are {', '.join(sorted(known))}")
    return given
