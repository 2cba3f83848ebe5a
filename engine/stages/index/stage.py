"""User vectors -> what neighbours are searched with: HNSW graphs, or users sorted into clusters, or nothing.

Files
-----
``shard-00000.bin``, ...
    ``hnsw``: hnswlib index, cosine; labels are user codes.
``centres.npy``
    ``pruned``: float32 (clusters x dims).
``edges.npy``
    ``pruned``: int64 (clusters + 1), first place of each cluster in the order of the tiles, and the end.
``tile-codes-00000.npy``, ``tile-vectors-00000.npy``, ...
    ``pruned``: int32 (users) and float32 (users x dims), in order of cluster, a group of users a file.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine import config
from engine.artifacts.readers import compared
from engine.artifacts.records import FactorsLayout, IndexChoice
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.model.index import choose
from engine.stages.index.clusters import Clusters


class IndexStage:
    """Choose a method, then build what it needs."""

    def __init__(self, inputs: Inputs[config.Index]) -> None:
        self._inputs = inputs

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        yield Round("choose", plan["choose"], self._choose)
        method = IndexChoice.of(self._inputs.own).method
        if method == "hnsw":
            from engine.stages.index.graphs import Graphs  # hnswlib, which the others do without

            yield from Graphs(self._inputs).rounds(plan)
        elif method == "pruned":
            yield from Clusters(self._inputs).rounds(plan)

    def _choose(self, index: int, context: TaskContext) -> dict[str, str]:
        n_users = FactorsLayout.of(compared(self._inputs.upstream)).n_users
        method, why = choose(self._inputs.params.method, n_users)
        return {"method": method, "why": why}
