"""User vectors -> clusters of users, their vectors stored cluster by cluster.

An external sort: tasks sort a chunk of users each by cluster, further tasks collect a group each from all chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.artifacts.names import CENTRES, EDGES, tile_codes_path, tile_vectors_path
from engine.artifacts.readers import Factors, Index, compared
from engine.chunked import arrays
from engine.chunked.array_files import load_array
from engine.chunked.pipeline import Inputs
from engine.chunked.ranges import consecutive
from engine.chunked.task import Planned, Round, TaskContext
from engine.kernels.nearest import nearest_centres
from engine.model.neighbors import cluster_centres, in_sequence
from engine.model.sizes import CENTRE_ROUNDS, CENTRE_SAMPLE, GROUP_USERS


class Clusters:
    """Find centres, sort users by centre."""

    def __init__(self, inputs: Inputs[config.Index]) -> None:
        self._section = inputs.params
        self._own = inputs.own
        self._vectors = Factors(compared(inputs.upstream)).vectors
        self._n_users = int(self._vectors.shape[0])
        self._n_clusters = -(-self._n_users // inputs.params.users_per_cluster)
        self._chunk = int(self._vectors.chunks[0])
        self._n_chunks = -(-self._n_users // self._chunk)

    def rounds(self, plan: Mapping[str, Planned]) -> Iterator[Round]:
        """As `engine.chunked.task.Stage`."""
        yield Round("centres", plan["centres"], self._find_centres)
        yield Round("sort", plan["sort"], self._sort, self._load_centres, until="collect")
        yield Round("edges", plan["edges"], self._find_edges)
        yield Round("collect", plan["collect"], self._collect, self._load_places)

    def _find_centres(self, index: int, context: TaskContext) -> None:
        n_sample = min(self._n_users, CENTRE_SAMPLE * self._n_clusters)
        chosen = np.random.default_rng(self._section.seed).choice(self._n_users, n_sample, replace=False)
        sample = arrays.take_rows(self._vectors, np.sort(chosen))
        centres = cluster_centres(sample, self._n_clusters, CENTRE_ROUNDS, self._section.seed)
        np.save(context.scratch / CENTRES, in_sequence(centres))

    def _load_centres(self) -> NDArray[np.float32]:
        return Index(self._own).centres()

    def _sort(self, index: int, context: TaskContext) -> None:
        start = index * self._chunk
        vectors = arrays.read_rows(self._vectors, start, min(start + self._chunk, self._n_users))
        cluster = nearest_centres(vectors, context.shared)
        order = np.argsort(cluster, kind="stable")
        np.save(context.scratch / f"sorted-codes-{index:05d}.npy", (start + order).astype(np.int32))
        np.save(context.scratch / f"sorted-vectors-{index:05d}.npy", vectors[order])
        np.save(context.scratch / _counts_path(index), np.bincount(cluster, minlength=self._n_clusters))

    def _load_counts(self) -> NDArray[np.int64]:
        """Users of each chunk in each cluster, shape (chunks, clusters)."""
        return np.array([load_array(self._own.path(_counts_path(i))) for i in range(self._n_chunks)])

    def _find_edges(self, index: int, context: TaskContext) -> None:
        np.save(context.scratch / EDGES, np.concatenate([[0], np.cumsum(self._load_counts().sum(axis=0))]))

    def _load_places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts, and the place where each chunk's users of each cluster begin."""
        counts = self._load_counts()
        earlier_chunks = np.cumsum(counts, axis=0) - counts
        return counts, Index(self._own).edges()[:-1] + earlier_chunks

    def _collect(self, group: int, context: TaskContext) -> None:
        counts, begin = context.shared
        first = group * GROUP_USERS
        n = min(GROUP_USERS, self._n_users - first)
        codes = np.empty(n, dtype=np.int32)
        vectors = np.empty((n, self._vectors.shape[1]), dtype=np.float32)
        for chunk in range(self._n_chunks):
            places = consecutive(begin[chunk] - first, counts[chunk])
            ours = slice(*np.searchsorted(places, [0, n]))  # places ascend within a chunk
            for target, name in ((codes, "codes"), (vectors, "vectors")):
                stored = load_array(self._own.path(f"sorted-{name}-{chunk:05d}.npy"), mmap_mode="r")
                target[places[ours]] = stored[ours]
        np.save(context.scratch / tile_codes_path(group), codes)
        np.save(context.scratch / tile_vectors_path(group), vectors)


def _counts_path(chunk: int) -> str:
    return f"counts-{chunk:05d}.npy"
