"""The score of an item for a user, for batches of users at a time."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine.model.sizes import NOISE
from engine.model.sparse import multiply

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


class Rows(Protocol):
    """Rows of a matrix that are made when asked for."""

    @property
    def indptr(self) -> NDArray[np.int64]:
        """Where each row's values start, and the end."""

    def take(self, rows: NDArray[np.integer[Any]]) -> csr_matrix:
        """Some rows, float32, in the order given."""


def ask_neighbors(ids: NDArray[np.int32], weights: NDArray[np.float32], n_rows: int) -> csr_matrix:
    """What each of some users asks of the rows of a matrix: its neighbours', times their weights.

    Parameters
    ----------
    ids : int32 array, shape (n, k)
        Neighbours of ``n`` users; -1 where there is none.
    weights : float32 array, shape (n, k)
    n_rows : int

    Returns
    -------
    csr_matrix, float32, shape (n, n_rows)
        Neighbours of a row in the order given.
    """
    valid = ids >= 0
    indptr = np.concatenate([[0], np.cumsum(valid.sum(axis=1))]).astype(np.int32)
    return csr_matrix((weights[valid], ids[valid], indptr), shape=(len(ids), n_rows), copy=False)


def weighted_sums(rows: Rows | csr_matrix, asking: csr_matrix) -> csr_matrix:
    """The product of two sparse matrices, of rows made when asked for or there already.

    Parameters
    ----------
    rows : Rows, or csr_matrix of float32, shape (m, items)
    asking : csr_matrix of float32, shape (n, m)

    Returns
    -------
    csr_matrix, float32, shape (n, items)
        Columns of a row in no order; what no row asked for has is not stored. The same bits for both kinds of
        ``rows``, and however users are batched.
    """
    wanted = asking.indices
    work = int((rows.indptr[wanted + 1] - rows.indptr[wanted]).sum(dtype=np.int64))
    if isinstance(rows, csr_matrix):
        return multiply(asking.data, wanted, asking.indptr, rows, work)
    # Gathering the rows needed first keeps the widened matrix as small as the batch.
    needed, columns = np.unique(wanted, return_inverse=True)
    return multiply(asking.data, columns.astype(np.int32), asking.indptr, rows.take(needed), work)


def multiply_adds(counts: NDArray[np.integer[Any]], asking: csr_matrix) -> NDArray[np.int64]:
    """Multiply-adds of each row of `weighted_sums`: the lengths of all rows it asks for.

    Parameters
    ----------
    counts : integer array, shape (m,)
        Stored values of each row.
    asking : csr_matrix, shape (n, m)
    """
    ends = np.concatenate([[0], np.cumsum(counts[asking.indices], dtype=np.int64)])
    return np.diff(ends[asking.indptr])


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
