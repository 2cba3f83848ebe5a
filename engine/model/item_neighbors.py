"""Nearest items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine.chunked.csr import NarrowRows, narrowest_index
from engine.kernels.nearest import nearest_centres
from engine.model.sizes import TILE_ITEMS

Ids = NDArray[np.int32]
Float32 = NDArray[np.float32]


class Blocks(Protocol):
    """Neighbours and similarities of consecutive items, block by block; can be gone through again."""

    def __iter__(self) -> Iterator[tuple[Ids, Float32]]: ...


def significance(counts: NDArray[np.integer[Any]], shrink: float) -> Float32:
    """How far an item's similarities are to be trusted: n / (n + shrink), n being its ratings; 0 without any."""
    n = counts.astype(np.float64)
    return (n / np.maximum(n + shrink, 1e-12)).astype(np.float32)


def cluster_items(vectors: Float32, known: Ids, centres: Float32) -> tuple[Ids, NDArray[np.int64]]:
    """Sort items by cluster; those of one stay in their order.

    Parameters
    ----------
    vectors : float32 array, shape (items, dims)
    known : int32 array, shape (n,)
        The items that take part.
    centres : float32 array, shape (clusters, dims)

    Returns
    -------
    order : int32 array, shape (n,)
    edges : int64 array, shape (clusters + 1,)
        First place of each cluster in ``order``, and the end.
    """
    cluster = np.empty(len(known), dtype=np.int32)
    for start in range(0, len(known), TILE_ITEMS):
        some = slice(start, start + TILE_ITEMS)
        cluster[some] = nearest_centres(vectors[known[some]], centres)
    edges = np.concatenate([[0], np.cumsum(np.bincount(cluster, minlength=len(centres)))])
    return known[np.argsort(cluster, kind="stable")], edges


def near_rows(n_items: int, blocks: Blocks) -> NarrowRows:
    """Similarities as a matrix, items x items: an item's row has the items that it is among the nearest of.

    Parameters
    ----------
    n_items : int
        Items.
    blocks : iterable of (ids, similarities)
        Of consecutive items, all together: nearest items by descending similarity, -1 and 0 where there are fewer;
        gone through twice.
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
