"""HNSW graphs, one for each shard of users: how they are built, and asked.

Shards keep a graph's memory bounded and let it be built again alone. A graph is built by one thread, so
that it is the same every time (hnswlib's parallel insertion is not).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.artifacts.names import shard_path
from engine.artifacts.readers import Factors, Index, compared
from engine.chunked import arrays
from engine.chunked.errors import UsageError
from engine.chunked.pipeline import Inputs
from engine.chunked.stored import Stored
from engine.chunked.task import Planned, Round, TaskContext
from engine.kernels.nearest import NO_NEIGHBOR, Best
from engine.model.neighbors import Nearest, merge_nearest
from engine.model.sizes import TILE_USERS

try:
    import hnswlib
except ImportError as error:
    raise UsageError(f"{config.HNSWLIB_MISSING} ({error})") from None


class Graphs:
    """One task a shard."""

    def __init__(self, inputs: Inputs[config.Index]) -> None:
        self._section = inputs.params
        self._vectors = Factors(compared(inputs.upstream)).vectors

    def rounds(self, plan: Mapping[str, Planned]) -> Iterator[Round]:
        """As `engine.chunked.task.Stage`."""
        yield Round("build", plan["build"], self._build)

    def _build(self, shard: int, context: TaskContext) -> dict[str, int]:
        n_users, dims = self._vectors.shape
        start = shard * self._section.shard_users
        stop = min(start + self._section.shard_users, n_users)
        graph = hnswlib.Index(space="cosine", dim=dims)
        graph.init_index(
            max_elements=stop - start,
            M=self._section.m,
            ef_construction=self._section.ef_construction,
            random_seed=self._section.seed,
        )
        graph.add_items(arrays.read_rows(self._vectors, start, stop), np.arange(start, stop), num_threads=1)
        save(graph, context.scratch / shard_path(shard))
        return {"start": start, "stop": stop}


def save(graph: hnswlib.Index, path: Path) -> None:
    """Write a graph to a file.

    Raises
    ------
    OSError
        Where not all of it could be written, which hnswlib itself does not notice.
    """
    graph.save_index(str(path))
    if path.stat().st_size != graph.index_file_size():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def ask_shards(
    index: Index, vectors: Stored, users: NDArray[np.int32], queries: NDArray[np.float32], k: int, ef: int
) -> Nearest:
    """The nearest of a block of users, from all shards, which are loaded one at a time.

    Parameters
    ----------
    index : Index
    vectors : Zarr array, shape (users, dims)
        All users' vectors.
    users, queries : int32 and float32 arrays, shapes (n,) and (n, dims)
        Codes and vectors of the block.
    k, ef : int
        Neighbours wanted; candidates kept while searching, shared out among the shards.

    Returns
    -------
    pair of arrays, shape (n, k)
        As `engine.model.neighbors.merge_nearest`.
    """
    shards = index.shards()
    best = (np.full((len(users), k), NO_NEIGHBOR, dtype=np.int32), np.full((len(users), k), np.nan, dtype=np.float32))
    for shard, path in shards:
        wanted = min(k + 1, shard.stop - shard.start)  # one of them may be the user itself
        graph = hnswlib.Index(space="cosine", dim=queries.shape[1])
        graph.load_index(str(path))
        graph.set_ef(max(ef // len(shards), wanted))
        try:
            labels, distances = graph.knn_query(queries, k=wanted, num_threads=1)
        except RuntimeError as error:
            # Many equal vectors can leave parts of a graph out of reach, and hnswlib then gives no answer.
            if "contiguous 2D array" not in str(error):
                raise
            del graph
            found = _compare_with(vectors, shard.start, shard.stop, users, queries, k)
        else:
            found = labels.astype(np.int32), np.float32(1) - distances
        best = merge_nearest(users, best, found)
    return best


def _compare_with(
    vectors: Stored, start: int, stop: int, users: NDArray[np.int32], queries: NDArray[np.float32], k: int
) -> Nearest:
    """The nearest among a range of users, by comparing with all of them."""
    best = Best(users, queries, k)
    for first in range(start, stop, TILE_USERS):
        last = min(first + TILE_USERS, stop)
        codes = np.arange(first, last, dtype=np.int32)
        best.offer(np.arange(len(users)), codes, arrays.read_rows(vectors, first, last))
    return best.result()
