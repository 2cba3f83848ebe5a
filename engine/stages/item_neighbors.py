"""Item vectors -> each item's nearest items and their similarities.

Files
-----
``ids``
    Zarr int32 (items x k): columns, most similar first; -1 where there are fewer than k with a similarity.
``similarities``
    Zarr float32 (items x k): cosine of the two items' vectors, shrunk for items with few ratings; 0 where there is no
    neighbour.
``near.npz``
    The nearest ``ranking_k`` the other way round, as the arrays of a CSR matrix: an item's row has the items that it is
    near.
``counts.npy``
    int64 (items,): train ratings of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.artifacts.names import COUNTS, NEAR
from engine.artifacts.readers import Factors, Matrix, NearItems, lay_out_nearest, write_nearest
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.model.factors import unit_rows
from engine.model.item_neighbors import near_rows, nearest_items, significance
from engine.model.sizes import READ_RATINGS


class _Items(NamedTuple):
    """Vectors and trust of all, and those that take part, by descending trust."""

    vectors: NDArray[np.float32]
    trust: NDArray[np.float32]
    known: NDArray[np.int32]


class _Blocks:
    """The first of what the tasks found for each item, one task's after the other's."""

    def __init__(self, nearest: NearItems, size: int, k: int) -> None:
        self._nearest = nearest
        self._size = size
        self._k = k

    def __iter__(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        n = self._nearest.ids.shape[0]
        for start in range(0, n, self._size):
            ids, similarities = self._nearest.read(start, min(start + self._size, n))
            yield ids[:, : self._k], similarities[:, : self._k]


class ItemNeighborsStage:
    """Lay out, then one task a block of items."""

    def __init__(self, inputs: Inputs[config.ItemNeighbors]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._own = inputs.own
        self._factors = Factors(inputs.upstream["factors"])
        self._train = Matrix(inputs.upstream["matrix"]).train
        self._n_items = self._train.shape[1]

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        yield Round("layout", plan["layout"], self._layout)
        yield Round("search", plan["search"], self._search, self._load)
        yield Round("near", plan["near"], self._invert)

    def _layout(self, index: int, context: TaskContext) -> None:
        lay_out_nearest(context.scratch, (self._n_items, self._section.k), self._section.items_per_task)
        np.save(context.scratch / COUNTS, self._train.count_columns(READ_RATINGS))

    def _load(self) -> _Items:
        counts = NearItems(self._own).counts()
        loadings = self._factors.loadings()
        scale = self._factors.singular_values()[: loadings.shape[1]].astype(np.float32)
        trust = significance(counts, self._section.shrink)
        by_trust = np.argsort(-trust, kind="stable").astype(np.int32)
        known = by_trust[counts[by_trust] >= self._section.min_ratings]
        return _Items(unit_rows(loadings * scale), trust, known)

    def _invert(self, index: int, context: TaskContext) -> None:
        blocks = _Blocks(NearItems(self._own), self._section.items_per_task, self._section.ranking_k)
        near = near_rows(self._n_items, blocks)
        np.savez(context.scratch / NEAR, indptr=near.indptr, indices=near.indices, data=near.data)

    def _search(self, index: int, context: TaskContext) -> None:
        items: _Items = context.shared
        start = index * self._section.items_per_task
        stop = min(start + self._section.items_per_task, self._n_items)
        ids = np.full((stop - start, self._section.k), -1, dtype=np.int32)
        similarities = np.zeros(ids.shape, dtype=np.float32)
        own = items.known[(items.known >= start) & (items.known < stop)]
        ids[own - start], similarities[own - start] = nearest_items(
            items.vectors, items.trust, own, items.known, self._section.k
        )
        write_nearest(self._own.root, context.scratch, start, ids, similarities)
