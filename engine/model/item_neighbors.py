"""Nearest items, and a user's ratings predicted from theirs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine.chunked.csr import NarrowRows, narrowest_index
from engine.model.neighbors import Best
from engine.model.sizes import NEAR_ITEMS, NOISE, TILE_ITEMS

Ids = NDArray[np.int32]
Float32 = NDArray[np.float32]


class Blocks(Protocol):
    """Neighbours and similarities of consecutive items, block by block; can be gone through again."""

    def __iter__(self) -> Iterator[tuple[Ids, Float32]]: ...


def significance(counts: NDArray[np.integer[Any]], shrink: float) -> Float32:
    """How far an item's similarities are to be trusted: n / (n + shrink), n being its ratings; 0 without any."""
    n = counts.astype(np.float64)
    return (n / np.maximum(n + shrink, 1e-12)).astype(np.float32)


def nearest_items(vectors: Float32, trust: Float32, own: Ids, candidates: Ids, k: int) -> tuple[Ids, Float32]:
    """The ``k`` candidates most similar to each of some items.

    The similarity of two items is their cosine times the smaller of their `significance`. No candidate can be more
    similar than its significance: the best are found early, and most of the others are never compared.

    Parameters
    ----------
    vectors : float32 array, shape (items, dims)
        Of unit length, or zero.
    trust : float32 array, shape (items,)
    own, candidates : int32 arrays, shapes (n,) and (m,)
        The items asked for, and those that may be neighbours; both by descending trust.
    k : int

    Returns
    -------
    ids, similarities : int32 and float32 arrays, shape (n, k)
        By descending similarity; only those above `engine.model.sizes.NOISE`, then -1 and 0.
    """
    best = Best(own, vectors[own], k, floor=NOISE)
    for start in range(0, len(candidates), TILE_ITEMS):
        codes = candidates[start : start + TILE_ITEMS]
        asking = np.flatnonzero(best.worst < trust[codes[0]])
        for first in range(0, len(asking), NEAR_ITEMS):
            some = asking[first : first + NEAR_ITEMS]
            best.consider(some, codes, _similarities(vectors, trust, own[some], codes))
    ids, similarities = best.result()
    return ids, np.nan_to_num(similarities, nan=0.0)


def near_rows(n_items: int, blocks: Blocks) -> NarrowRows:
    """Similarities as a matrix, items x items: an item's row has the items that it is among the nearest of.

    Parameters
    ----------
    n_items : int
        Items.
    blocks : iterable of (ids, similarities)
        As `nearest_items` gives them for consecutive items, all together; gone through twice.
    """
    counts = np.zeros(n_items, dtype=np.int64)
    for ids, _ in blocks:
        counts += np.bincount(ids[ids >= 0], minlength=n_items)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = np.empty(indptr[-1], dtype=narrowest_index(n_items))
    data = np.empty(indptr[-1], dtype=np.float32)
    start, filled = 0, indptr[:-1].copy()
    for ids, similarities in blocks:
        there = ids >= 0
        ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        of_block = csr_matrix((similarities[there], ids[there], ends), shape=(len(ids), n_items), copy=False).tocsc()
        lengths = np.diff(of_block.indptr)
        place = np.repeat(filled - of_block.indptr[:-1], lengths) + np.arange(of_block.nnz)
        indices[place] = of_block.indices + start
        data[place] = of_block.data
        filled += lengths
        start += len(ids)
    return NarrowRows(indptr, indices, data, n_items, 1.0)


def _similarities(vectors: Float32, trust: Float32, own: Ids, others: Ids) -> Float32:
    """Cosines times the smaller trust, shape (own, others); both by descending trust."""
    mine, theirs = trust[own], trust[others]
    # Mostly all of the one are trusted more than any of the other: scaling vectors spares going over the products.
    if theirs[-1] >= mine[0]:
        return np.asarray((vectors[own] * mine[:, None]) @ vectors[others].T)
    if theirs[0] <= mine[-1]:
        return np.asarray(vectors[own] @ (vectors[others] * theirs[:, None]).T)
    return np.asarray((vectors[own] @ vectors[others].T) * np.minimum(mine[:, None], theirs))


def residual_table(n_users: int, n_items: int) -> NDArray[np.complex64]:
    """Zeros for `predict_residuals` to spread the residuals of so many users over all items, at once.

    Returns
    -------
    complex64 array, shape (n_users * n_items + 1,)
        Of a user's item: the residual as the real part, and 1 as the imaginary part where the user has rated it; one
        lookup fetches both. The last entry is nobody's and stays 0.
    """
    return np.zeros(n_users * n_items + 1, dtype=np.complex64)


def predict_residuals(
    residuals: csr_matrix,
    rows: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
    ids: Ids,
    similarities: Float32,
    shrink: float,
    table: NDArray[np.complex64],
) -> tuple[Float32, NDArray[np.bool_]]:
    """Mean of the user's residuals of the items nearest to each asked for, by similarity, drawn towards 0.

    sum_j s_ij e_uj / (sum_j s_ij + shrink), over the items j near i that user u has rated (Koren 2010, equation 7,
    with similarities taken as they are).

    Parameters
    ----------
    residuals : csr_matrix of float32, shape (n, items)
        Of some users.
    rows, items : integer arrays, shape (pairs,)
        The pairs asked for; ``rows`` are rows of ``residuals``, and ``items`` those of ``ids``.
    ids, similarities : arrays, shape (m, k)
        As `nearest_items` gives them for some items.
    shrink : float
    table : complex64 array
        `residual_table` of ``n`` users or more; left as zeros.

    Returns
    -------
    float32 array, bool array, shape (pairs,)
        The mean, 0 where no item near was rated, and whether any was.
    """
    n_items = residuals.shape[1]
    at = np.repeat(np.arange(residuals.shape[0]) * n_items, np.diff(residuals.indptr)) + residuals.indices
    table[at] = residuals.data + np.complex64(1j)
    near = ids[items]
    places = np.where(near >= 0, rows[:, None] * n_items + near, len(table) - 1)
    sums = np.einsum("pk,pk->p", similarities[items], table[places])
    table[at] = 0
    covered = sums.imag > 0
    return np.where(covered, sums.real / np.where(covered, sums.imag + np.float32(shrink), 1), 0), covered
