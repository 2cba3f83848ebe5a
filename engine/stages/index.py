"""User vectors -> HNSW graphs, one for each shard of users.

Shards keep a graph's memory bounded and let it be built again alone. A graph is built by one thread, so
that it is the same every time (hnswlib's parallel insertion is not).

Files
-----
``shard-00000.bin``, ...
    hnswlib index, cosine; labels are user codes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import hnswlib
import numpy as np

from engine import config
from engine.chunked import arrays
from engine.chunked.task import Round, TaskContext
from engine.stages.inputs import StageInputs
from engine.stages.names import VECTORS, shard_path


class IndexStage:
    """One task a shard."""

    def __init__(self, inputs: StageInputs[config.Index]) -> None:
        self._inputs = inputs
        self._section = inputs.section
        self._own = inputs.own
        self._vectors = arrays.open_array(inputs.upstream["factors"].root, VECTORS)

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        n_shards = -(-self._vectors.shape[0] // self._section.shard_users)
        yield Round("build", n_shards, self._build, self._inputs.plan(self._inputs.shapes)["build"].cost)

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
