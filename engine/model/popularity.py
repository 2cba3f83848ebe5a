"""The most popular items as everybody's recommendations: the baseline of a ranking."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def by_popularity(counts: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """Items by number of train ratings, the most first; equal ones by ascending column.

    Examples
    --------
    >>> by_popularity(np.array([5, 9, 2, 9]))
    array([1, 3, 0, 2], dtype=int32)
    """
    return np.argsort(-counts, kind="stable").astype(np.int32)
