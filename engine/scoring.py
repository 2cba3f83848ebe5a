"""The score of a film for a user, for batches of users at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import _sparsetools, csr_matrix

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


def weighted_sums(ratings: NarrowRows | csr_matrix, ids: NDArray[np.int32], weights: NDArray[np.float32]) -> csr_matrix:
    """Sum of the neighbours' ratings of each film, each times the neighbour's weight.

    Parameters
    ----------
    ratings : NarrowRows or csr_matrix of float32
        The train matrix, users x films; as it is stored, or wide.
    ids : int32 array, shape (n, k)
        Neighbours of ``n`` users; -1 where there is none.
    weights : float32 array, shape (n, k)

    Returns
    -------
    csr_matrix, float32, shape (n, films)
        Columns of a row in no order; a film no neighbour rated is not stored. The same bits for both kinds of
        ``ratings``.
    """
    valid = ids >= 0
    neighbors = ids[valid]
    work = int((ratings.indptr[neighbors + 1] - ratings.indptr[neighbors]).sum(dtype=np.int64))
    indptr = np.concatenate([[0], np.cumsum(valid.sum(axis=1))]).astype(np.int32)
    if isinstance(ratings, csr_matrix):
        return _product(weights[valid], neighbors, indptr, ratings, work)
    # Gathering the rows needed first keeps the widened matrix as small as the batch.
    needed, columns = np.unique(neighbors, return_inverse=True)
    return _product(weights[valid], columns.astype(np.int32), indptr, ratings.take(needed), work)


def _product(
    values: NDArray[np.float32], columns: NDArray[np.int32], indptr: NDArray[np.int32], rows: csr_matrix, work: int
) -> csr_matrix:
    """A sparse product of at most ``work`` stored values.

    SciPy's own operator counts the stored values first, which takes half as long as the product itself.
    """
    n, n_columns = len(indptr) - 1, rows.shape[1]
    out = (np.empty(n + 1, np.int32), np.empty(work, np.int32), np.empty(work, np.float32))
    _sparsetools.csr_matmat(n, n_columns, indptr, columns, values, rows.indptr, rows.indices, rows.data, *out)
    pointers, indices, data = out
    nnz = pointers[-1]
    return csr_matrix((data[:nnz], indices[:nnz], pointers), shape=(n, n_columns), copy=False)


def multiply_adds(counts: NDArray[np.int64], ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """Multiply-adds it takes to score each user: the ratings of all its neighbours.

    Parameters
    ----------
    counts : int64 array, shape (users,)
        Train ratings of each user.
    ids : int32 array, shape (n, k)
        Neighbours; -1 where there is none.
    """
    work: NDArray[np.int64] = np.where(ids >= 0, counts[ids], 0).sum(axis=1)
    return work


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
