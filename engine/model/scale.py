"""The scale of the ratings: from where on they are liked, and the same ratings in a unit of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.model.sizes import LIKED_SHARE, SCALED_HIGH, SCALED_LOW, SCALED_RATINGS, SCALED_STEP

# Of the range: differences as small are rounding.
_ROUNDING = 1e-6


class Range(NamedTuple):
    """The least and the greatest rating, and the least that is liked."""

    low: float
    high: float
    liked_from: float


def range_of(pieces: Callable[[], Iterable[NDArray[np.float32]]]) -> Range:
    """Find the range of ratings, and its top quarter.

    Parameters
    ----------
    pieces : callable
        Goes through all ratings, in pieces of any size; they are gone through twice.

    Returns
    -------
    Range
        ``liked_from`` is the smallest rating there is that is not below ``low + LIKED_SHARE (high - low)``. All are 0
        where there are no ratings. Each is the shortest decimal that stands for the rating in single precision.

    Examples
    --------
    >>> range_of(lambda: [np.array([10, 80, 90], np.float32), np.array([100, 70], np.float32)])
    Range(low=10.0, high=100.0, liked_from=80.0)
    """
    ends = [(piece.min(), piece.max()) for piece in pieces() if len(piece)]
    if not ends:
        return Range(0.0, 0.0, 0.0)
    low, high = float(min(low for low, _ in ends)), float(max(high for _, high in ends))
    least = low + (LIKED_SHARE - _ROUNDING) * (high - low)
    liked = (piece[piece >= least] for piece in pieces())
    return Range(_shortest(low), _shortest(high), _shortest(min(float(some.min()) for some in liked if len(some))))


def _shortest(value: float) -> float:
    return float(str(np.float32(value)))


def scaled(rows: NarrowRows, low: float, high: float) -> NarrowRows:
    """Ratings with the range ``SCALED_LOW`` to ``SCALED_HIGH``: whatever their unit and zero were, they are the same.

    Parameters
    ----------
    rows : NarrowRows
    low, high : float
        The range of all ratings. Where that is one rating, all become the highest.
    """
    if (low, high) == (SCALED_LOW, SCALED_HIGH):
        return rows
    if rows.data.dtype == np.uint8:
        values = scaled_values(np.arange(256) * rows.value_step, low, high)[rows.data]
    else:
        values = np.empty(len(rows.data), dtype=np.float32)
        for start in range(0, len(values), SCALED_RATINGS):
            some = slice(start, start + SCALED_RATINGS)
            values[some] = scaled_values(rows.data[some] * rows.value_step, low, high)
    return NarrowRows(rows.indptr, rows.indices, values, rows.n_columns, 1.0)


def scaled_values(values: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """The same of ratings in their own unit."""
    if low == high:
        return np.full(len(values), SCALED_HIGH, dtype=np.float32)
    exact = SCALED_LOW + (values.astype(np.float64) - low) * ((SCALED_HIGH - SCALED_LOW) / (high - low))
    return (np.round(exact / SCALED_STEP) * SCALED_STEP).astype(np.float32)
