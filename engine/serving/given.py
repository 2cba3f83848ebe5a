"""What callers have their ratings in: Polars, pandas, NumPy, SciPy, lists."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from engine.chunked.errors import UsageError
from engine.config import Config

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
        Where arrays do not have the shape of ratings.
    """
    if isinstance(data, os.PathLike):
        return os.fspath(data)
    if isinstance(data, np.ndarray) and data.dtype.names is not None:
        return pl.DataFrame({name: np.ascontiguousarray(data[name]) for name in data.dtype.names})
    if isinstance(data, np.ndarray) and data.ndim == 2:
        return _named(list(data.T))
    if isinstance(data, list | tuple) and len(data) in (3, 4):
        return _named(list(data))
    return data


def _named(columns: Sequence[Any]) -> pl.DataFrame:
    if len(columns) not in (3, 4):
        raise UsageError(
            f"an array with {len(columns)} columns: give users, items, ratings and, if there are any, times"
        )
    values = [np.ascontiguousarray(each) for each in columns]
    if len({each.shape for each in values}) > 1 or values[0].ndim != 1:
        raise UsageError(f"columns of shapes {', '.join(str(each.shape) for each in values)}: give as many of each")
    whole = [values[0], values[1], *values[3:]]
    for name, ids in zip(("users", "items", "times"), whole, strict=False):
        if ids.dtype.kind == "f" and not (ids == np.floor(ids)).all():
            raise UsageError(f"{name}: {ids[ids != np.floor(ids)][0]!r} is no whole number")
    as_ids = [each.astype(np.int64) if each.dtype.kind == "f" else each for each in values]
    as_ids[2] = values[2]
    return pl.DataFrame(dict(zip(_NAMES, as_ids, strict=False)))


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
