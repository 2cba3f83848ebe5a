"""HNSW shards -> each user's nearest users and their similarities.

A task asks every shard for a block of users and keeps the best: shards are loaded one at a time.

Files
-----
``ids``
    Zarr int32 (users x k): user codes, nearest first; -1 where there are fewer than k others.
``similarities``
    Zarr float32 (users x k): cosine of the two user vectors; NaN where there is no neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator

import hnswlib
import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.chunked import arrays
from engine.chunked.task import Round, TaskContext
from engine.stages.inputs import StageInputs
from engine.stages.names import IDS, SIMILARITIES, VECTORS, shard_path
from engine.topk import NO_NEIGHBOR, merge_nearest, nearest_exact


class NeighborsStage:
    """Lay out, then one task a block of users."""

    def __init__(self, inputs: StageInputs[config.Neighbors]) -> None:
        self._inputs = inputs
        self._section = inputs.section
        self._own = inputs.own
        self._index = inputs.upstream["index"]
        self._vectors = arrays.open_array(inputs.upstream["factors"].root, VECTORS)
        self._shards = self._index.results("build")

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        costs = self._inputs.plan(self._inputs.shapes)
        yield Round("layout", 1, self._layout, costs["layout"].cost)
        n_blocks = -(-self._vectors.shape[0] // self._section.users_per_chunk)
        yield Round("search", n_blocks, self._search, costs["search"].cost)

    def _layout(self, index: int, context: TaskContext) -> None:
        shape = (self._vectors.shape[0], self._section.k)
        chunks = (self._section.users_per_chunk, self._section.k)
        for name, dtype, fill in ((IDS, np.int32, NO_NEIGHBOR), (SIMILARITIES, np.float32, np.nan)):
            arrays.create_array(context.scratch, name, shape=shape, chunks=chunks, dtype=dtype, fill=fill)

    def _search(self, index: int, context: TaskContext) -> None:
        start = index * self._section.users_per_chunk
        stop = min(start + self._section.users_per_chunk, self._vectors.shape[0])
        users = np.arange(start, stop, dtype=np.int32)
        queries = arrays.read_rows(self._vectors, start, stop)
        ids = np.full((len(users), self._section.k), NO_NEIGHBOR, dtype=np.int32)
        similarities = np.full(ids.shape, np.nan, dtype=np.float32)
        for shard in range(len(self._shards)):
            found_ids, found = self._ask(shard, queries)
            ids, similarities = merge_nearest(users, (ids, similarities), (found_ids, found))
        arrays.write_rows(self._own.root, context.scratch, IDS, start, ids)
        arrays.write_rows(self._own.root, context.scratch, SIMILARITIES, start, similarities)

    def _ask(self, shard: int, queries: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Nearest users of one shard, the user itself included: codes and similarities, shape (queries, k + 1)."""
        bounds = self._shards[shard]
        size = bounds["stop"] - bounds["start"]
        k = min(self._section.k + 1, size)
        graph = hnswlib.Index(space="cosine", dim=self._vectors.shape[1])
        graph.load_index(str(self._index.path(shard_path(shard))))
        graph.set_ef(max(self._section.ef // len(self._shards), k))
        try:
            labels, distances = graph.knn_query(queries, k=k, num_threads=1)
        except RuntimeError as error:
            # Many equal vectors can leave parts of a graph out of reach, and hnswlib then gives no answer.
            if "contiguous 2D array" not in str(error):
                raise
            del graph
            others = arrays.read_rows(self._vectors, bounds["start"], bounds["stop"])
            return nearest_exact(queries, others, bounds["start"], k)
        return labels.astype(np.int32), np.float32(1) - distances
