"""What neighbours weigh in the score of an item, and how users are cut into batches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.model.sizes import NOISE

# The notebook's guard against dividing by zero.
_EPSILON = np.float32(1e-8)


def distance_weights(similarities: NDArray[np.float32]) -> NDArray[np.float32]:
    """The notebook's weights: each neighbour's cosine *distance* over the sum of all neighbours' distances.

    Farther neighbours weigh more, and those who have not rated an item still count in the sum. Kept as the
    notebook has it.

    Parameters
    ----------
    similarities : float32 array, shape (users, k)
        NaN where there is no neighbour.

    Returns
    -------
    float32 array, shape (users, k)
        Zero where there is no neighbour.
    """
    distances = np.nan_to_num(np.float32(1) - similarities, nan=0.0)
    weights: NDArray[np.float32] = distances / (distances.sum(axis=1, keepdims=True) + _EPSILON)
    return weights


def vote_weights(similarities: NDArray[np.float32], amplification: float) -> NDArray[np.float32]:
    """What each neighbour's votes weigh: its similarity to a power (Breese et al. 1998, "case amplification").

    Parameters
    ----------
    similarities : float32 array, shape (users, k)
        NaN where there is no neighbour.
    amplification : float

    Returns
    -------
    float32 array, shape (users, k)
        Zero where there is no neighbour, or a similarity that is none (`engine.model.sizes.NOISE`).
    """
    known = np.nan_to_num(similarities, nan=0.0)
    weights: NDArray[np.float32] = np.maximum(known, 0) ** np.float32(amplification)
    return np.where(known > np.float32(NOISE), weights, np.float32(0))


def cut_by_work(work: NDArray[np.int64], limit: int, max_rows: int) -> list[tuple[int, int]]:
    """Cut rows into batches of at most ``limit`` work and ``max_rows`` rows, one row at least.

    Examples
    --------
    >>> cut_by_work(np.array([3, 3, 9, 1, 1, 1]), limit=6, max_rows=2)
    [(0, 2), (2, 3), (3, 5), (5, 6)]
    """
    ends = np.cumsum(work)
    batches = []
    start = 0
    while start < len(work):
        done = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, done + limit, side="right"))
        stop = min(max(stop, start + 1), start + max_rows, len(work))
        batches.append((start, stop))
        start = stop
    return batches


def row_numbers(indptr: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The row of each stored value of a CSR matrix."""
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
