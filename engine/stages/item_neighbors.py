"""Film vectors -> each film's nearest films and their similarities.

Files
-----
``ids``
    Zarr int32 (films x k): columns, most similar first; -1 where there are fewer than k with a similarity above 0.
``similarities``
    Zarr float32 (films x k): cosine of the two films' vectors, shrunk for films with few ratings; 0 where there is no
    neighbour.
``near.npz``
    The nearest ``ranking_k`` the other way round, as the arrays of a CSR matrix: a film's row has the films that it is
    near.
``counts.npy``
    int64 (films,): train ratings of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.chunked import arrays
from engine.chunked.csr import CsrReader, NarrowRows
from engine.chunked.journal import Committed
from engine.chunked.pipeline import Inputs
from engine.chunked.storage import Location
from engine.chunked.task import Round, TaskContext
from engine.costs import READ_RATINGS
from engine.model.factors import unit_rows
from engine.model.item_neighbors import near_rows, nearest_items, significance
from engine.stages.names import COUNTS, IDS, LOADINGS, NEAR, SIMILARITIES, SINGULAR_VALUES, TRAIN


class _Films(NamedTuple):
    """Vectors and trust of all, and those that take part, by descending trust."""

    vectors: NDArray[np.float32]
    trust: NDArray[np.float32]
    known: NDArray[np.int32]


class _Blocks:
    """The first of what the tasks found for each film, one task's after the other's."""

    def __init__(self, root: Location, size: int, k: int) -> None:
        self._arrays = [arrays.open_array(root, name) for name in (IDS, SIMILARITIES)]
        self._size = size
        self._k = k

    def __iter__(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        n = self._arrays[0].shape[0]
        for start in range(0, n, self._size):
            ids, similarities = (arrays.read_rows(a, start, min(start + self._size, n)) for a in self._arrays)
            yield ids[:, : self._k], similarities[:, : self._k]


class ItemNeighborsStage:
    """Lay out, then one task a block of films."""

    def __init__(self, inputs: Inputs[config.ItemNeighbors]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._own = inputs.own
        self._factors = inputs.upstream["factors"]
        self._train = CsrReader(inputs.upstream["matrix"].root, TRAIN)
        self._n_items = self._train.shape[1]

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        yield Round("layout", plan["layout"], self._layout)
        yield Round("search", plan["search"], self._search, self._load)
        yield Round("near", plan["near"], self._invert)

    def _layout(self, index: int, context: TaskContext) -> None:
        shape = (self._n_items, self._section.k)
        chunks = (self._section.items_per_task, self._section.k)
        for name, dtype, fill in ((IDS, np.int32, -1), (SIMILARITIES, np.float32, np.nan)):
            arrays.create_array(context.scratch, name, shape=shape, chunks=chunks, dtype=dtype, fill=fill)
        np.save(context.scratch / COUNTS, self._train.count_columns(READ_RATINGS))

    def _load(self) -> _Films:
        counts = np.load(self._own.path(COUNTS))
        loadings = np.load(self._factors.path(LOADINGS))
        scale = np.load(self._factors.path(SINGULAR_VALUES))[: loadings.shape[1]].astype(np.float32)
        trust = significance(counts, self._section.shrink)
        by_trust = np.argsort(-trust, kind="stable").astype(np.int32)
        known = by_trust[counts[by_trust] >= self._section.min_ratings]
        return _Films(unit_rows(loadings * scale), trust, known)

    def _invert(self, index: int, context: TaskContext) -> None:
        blocks = _Blocks(self._own.root, self._section.items_per_task, self._section.ranking_k)
        near = near_rows(self._n_items, blocks)
        np.savez(context.scratch / NEAR, indptr=near.indptr, indices=near.indices, data=near.data)

    def _search(self, index: int, context: TaskContext) -> None:
        films: _Films = context.shared
        start = index * self._section.items_per_task
        stop = min(start + self._section.items_per_task, self._n_items)
        ids = np.full((stop - start, self._section.k), -1, dtype=np.int32)
        similarities = np.zeros(ids.shape, dtype=np.float32)
        own = films.known[(films.known >= start) & (films.known < stop)]
        ids[own - start], similarities[own - start] = nearest_items(
            films.vectors, films.trust, own, films.known, self._section.k
        )
        arrays.write_rows(self._own.root, context.scratch, IDS, start, ids)
        arrays.write_rows(self._own.root, context.scratch, SIMILARITIES, start, similarities)


def load_near(stage: Committed) -> NarrowRows:
    """What the stage left in ``near.npz``."""
    with np.load(stage.path(NEAR)) as near:
        indptr = near["indptr"]
        return NarrowRows(indptr, near["indices"], near["data"], len(indptr) - 1, 1.0)
