"""The score of a film for a user, for batches of users at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine.chunked.csr import NarrowRows

# The notebook's guard against dividing by zero.
_EPSILON = np.float32(1e-8)


def distance_weights(similarities: NDArray[np.float32]) -> NDArray[np.float32]:
    """The notebook's weights: each neighbour's cosine *distance* over the sum of all neighbours' distances.

    Farther neighbours weigh more, and those who have not rated a film still count in the sum. Kept as the
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


def weighted_sums(ratings: NarrowRows, ids: NDArray[np.int32], weights: NDArray[np.float32]) -> csr_matrix:
    """Sum of the neighbours' ratings of each film, each times the neighbour's weight.

    Parameters
    ----------
    ratings : NarrowRows
        The train matrix, users x films.
    ids : int32 array, shape (n, k)
        Neighbours of ``n`` users; -1 where there is none.
    weights : float32 array, shape (n, k)

    Returns
    -------
    csr_matrix, float32, shape (n, films)
        Columns of a row in no order; a film no neighbour rated is not stored.
    """
    valid = ids >= 0
    # Gathering the rows needed first keeps the widened matrix as small as the batch.
    needed, columns = np.unique(ids[valid], return_inverse=True)
    indptr = np.concatenate([[0], np.cumsum(valid.sum(axis=1))])
    mixing = csr_matrix((weights[valid], columns, indptr), shape=(len(ids), len(needed)))
    sums: csr_matrix = mixing @ ratings.take(needed)
    return sums


def row_numbers(indptr: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The row of each stored value of a CSR matrix."""
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
