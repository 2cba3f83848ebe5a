"""Index -> each user's nearest users and their similarities.

With ``hnsw`` a task asks every shard for a block of users and keeps the best: shards are loaded one at a time.
Otherwise it compares its users with everybody, tile by tile (``exact``), or with those in the clusters nearest to each
(``pruned``): as far as a sample of users has to look to find the wanted share of their neighbours. In the end the share
that was found is measured on other users.

Files
-----
``ids``
    Zarr int32 (users x k): user codes, nearest first. There are no more columns than other users. With ``pruned`` a
    user whose vector is zeros, near to nobody, may have fewer than k: then -1.
``places.npy``
    ``pruned``: int32 (users), the row of each user in both arrays, which are in the order of the index's tiles: the
    users of a task look into few clusters then, and so do tasks of later steps read what neighbours share.
``similarities``
    Zarr float32 (users x k): cosine of the two user vectors; NaN where there is no neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.artifacts.names import PLACES, REACH
from engine.artifacts.readers import Factors, Index, Nearest, compared, lay_out_nearest, write_nearest
from engine.artifacts.records import IndexChoice
from engine.chunked import arrays
from engine.chunked.array_files import load_array
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.kernels.nearest import Best, dot_products
from engine.model.index import nearest_kept
from engine.model.neighbors import n_found, reach_for_recall, shortfall
from engine.model.sizes import GROUP_USERS, SAMPLE_TASKS
from engine.stages.index.tiles import ClusterTiles, PlainTiles, search_all, search_near


class NeighborsStage:
    """Lay out, settle where to look, one task a block of users, measure what was found."""

    def __init__(self, inputs: Inputs[config.Neighbors]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._own = inputs.own
        self._index = Index(inputs.upstream["index"])
        self._factors = Factors(compared(inputs.upstream))
        self._vectors = self._factors.vectors
        self._n_users = int(self._vectors.shape[0])
        self._k = nearest_kept(self._section.k, self._n_users)
        self._method = IndexChoice.of(inputs.upstream["index"]).method

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        yield Round("layout", plan["layout"], self._layout)
        if self._method == "pruned":
            yield Round("sample", plan["sample"], self._look, self._load, until="reach")
            yield Round("reach", plan["reach"], self._settle)
        yield Round("search", plan["search"], self._search, self._load)
        yield Round("recall", plan["recall"], self._compare, self._load)

    def _load(self) -> ClusterTiles | None:
        return ClusterTiles(self._index) if self._method == "pruned" else None

    def _layout(self, index: int, context: TaskContext) -> None:
        lay_out_nearest(context.scratch, (self._n_users, self._k), self._section.users_per_chunk)
        if self._method == "pruned":
            places = np.empty(self._n_users, dtype=np.int32)
            for start in range(0, self._n_users, GROUP_USERS):
                stop = min(start + GROUP_USERS, self._n_users)
                places[self._index.codes(start, stop)] = np.arange(start, stop)
            np.save(context.scratch / PLACES, places)

    def _sample(self, task: int, offset: int, n: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Some users of a random sample of ``n``, with their vectors; another offset, another sample.

        Users without train ratings are left out: their vectors are zeros, and nobody is nearer to them than others.
        """
        n = min(n, self._n_users)
        chosen = np.random.default_rng(self._section.seed + offset).choice(self._n_users, n, replace=False)
        users = np.sort(np.array_split(chosen, SAMPLE_TASKS)[task]).astype(np.int32)
        vectors = arrays.take_rows(self._vectors, users.astype(np.int64))
        known = vectors.any(axis=1)
        return users[known], vectors[known]

    def _exact(
        self, users: NDArray[np.int32], queries: NDArray[np.float32], tiles: ClusterTiles | PlainTiles
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The nearest among all of some users, whose vectors are ``queries``."""
        best = Best(users, queries, self._k)
        if isinstance(tiles, ClusterTiles):
            search_near(best, tiles, queries, np.inf)
        else:
            search_all(best, tiles, len(users))
        return best.result()

    def _look(self, task: int, context: TaskContext) -> None:
        """Find how far behind their nearest centre some users' true neighbours are."""
        tiles: ClusterTiles = context.shared
        users, queries = self._sample(task, 0, self._section.probe_users)
        ids, _ = self._exact(users, queries, tiles)
        there = min(self._k, self._n_users - 1)
        behind = shortfall(dot_products(queries, tiles.centres)) if len(queries) else np.empty((0, 1), dtype=np.float32)
        cluster = tiles.cluster_of_users()[ids[:, :there]]
        np.save(context.scratch / f"behind-{task}.npy", np.take_along_axis(behind, cluster, axis=1).ravel())

    def _settle(self, index: int, context: TaskContext) -> dict[str, Any]:
        behind = np.concatenate([load_array(self._own.path(f"behind-{task}.npy")) for task in range(SAMPLE_TASKS)])
        return {"reach": reach_for_recall(behind, self._section.recall)}

    def _queries(self, start: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Users of some rows, and their vectors."""
        if self._method == "pruned":
            return self._index.codes(start, stop), self._index.vectors(start, stop)
        return np.arange(start, stop, dtype=np.int32), arrays.read_rows(self._vectors, start, stop)

    def _search(self, index: int, context: TaskContext) -> dict[str, int]:
        start = index * self._section.users_per_chunk
        stop = min(start + self._section.users_per_chunk, self._n_users)
        users, queries = self._queries(start, stop)
        looked = 0
        if self._method == "hnsw":
            from engine.stages.index.graphs import ask_shards

            ids, similarities = ask_shards(self._index, self._vectors, users, queries, self._k, self._section.ef)
        else:
            best = Best(users, queries, self._k)
            if self._method == "exact":
                search_all(best, PlainTiles(self._factors), len(users))
            else:
                looked = search_near(best, context.shared, queries, self._own.result(REACH)["reach"])
            ids, similarities = best.result()
        write_nearest(self._own.root, context.scratch, start, ids, similarities)
        return {"clusters_looked_at": looked}

    def _compare(self, task: int, context: TaskContext) -> dict[str, int]:
        """Measure what was found of some users' true neighbours."""
        users, queries = self._sample(task, 1, self._section.sample_users)
        there = min(self._k, self._n_users - 1)
        if not len(users) or not there:
            return {"n_found": 0, "n_true": 0}
        _, found = Nearest(self._own).take(users.astype(np.int64))
        _, true = self._exact(users, queries, context.shared or PlainTiles(self._factors))
        return {"n_found": int(n_found(found, true).sum()), "n_true": there * len(users)}
