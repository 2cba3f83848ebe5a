"""Nearest items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine.chunked.csr import NarrowRows, narrowest_index
from engine.kernels.nearest import Best
from engine.model.sizes import NOISE, TILE_ITEMS

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
    best = Best(own, vectors[own], k, NOISE, trust[own])
    for start in range(0, len(candidates), TILE_ITEMS):
        codes = candidates[start : start + TILE_ITEMS]
        asking = np.flatnonzero(best.worst <= trust[codes[0]])
        best.offer(asking, codes, vectors[codes], trust[codes])
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
