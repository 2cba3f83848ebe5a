"""Stretches of numbers, many at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def consecutive(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Stretches of consecutive numbers, one after the other.

    In a few steps over all of them, during which other threads run; a slice for each would hold them up.

    Parameters
    ----------
    starts, lengths : int64 arrays, shape (stretches,)

    Returns
    -------
    int64 array, shape (sum of lengths,)

    Examples
    --------
    >>> consecutive(np.array([5, 9, 2]), np.array([3, 0, 2]))
    array([5, 6, 7, 2, 3])
    """
    some = lengths > 0
    starts, lengths = starts[some], lengths[some]
    steps = np.ones(lengths.sum(), dtype=np.int64)
    steps[:1] = starts[:1]
    steps[np.cumsum(lengths[:-1])] = starts[1:] - (starts + lengths - 1)[:-1]
    return np.cumsum(steps, out=steps)
