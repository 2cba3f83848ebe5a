"""Item vectors -> each item's nearest items and their similarities.

Files
-----
``ids``
    Zarr int32 (items x k): columns, most similar first; -1 where there are fewer than k with a
    similarity. There are no more columns than other items.
``similarities``
    Zarr float32 (items x k): cosine of the two items' vectors, shrunk for items with few ratings; 0 where there is no
    neighbour.
``near.npz``
    The nearest ``ranking_k`` the other way round, as the arrays of a CSR matrix: an item's row has the items that it is
    near.
``counts.npy``
    int64 (items,): train ratings of each.
``clusters.npz``
    Where there are many items: centres of clusters, the items by cluster, where each cluster begins.

The similarity of two items is their cosine times the smaller of their `significance`. No candidate can be more similar
than its significance, so that many are never compared. Where there are many items, only those with most ratings, which
most predictions are about, are compared with all; each of the others is compared with those of the clusters nearest to
it, as far as a sample of them has to look to find the wanted share of their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.artifacts.names import COUNTS, NEAR, REACH
from engine.artifacts.readers import Factors, Matrix, NearItems, lay_out_nearest, write_nearest
from engine.chunked.array_files import load_arrays
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.kernels.nearest import Best, dot_products
from engine.model.factors import unit_rows
from engine.model.index import clusters_items, nearest_kept
from engine.model.item_neighbors import cluster_items, near_rows, significance
from engine.model.neighbors import cluster_centres, cut_tiles, reach_for_recall, shortfall
from engine.model.sizes import CENTRE_ROUNDS, CENTRE_SAMPLE, EXACT_ITEMS, NOISE, READ_RATINGS, TILE_ITEMS
from engine.stages.index.tiles import Tile, search_all, search_near

Ids = NDArray[np.int32]
Float32 = NDArray[np.float32]
Clusters = tuple[Float32, Ids, NDArray[np.int64]]

_CLUSTERS = "clusters.npz"


class _Items:
    """All items that take part, tile by tile: by descending trust, or by cluster and then so.

    They are held in that order, so that a tile is a part of what is held.

    Attributes
    ----------
    known : int32 array, shape (n,)
        Those that take part, by descending trust.
    centres : float32 array, shape (clusters, dims)
        Empty where there are no clusters.
    """

    def __init__(self, vectors: Float32, trust: Float32, known: Ids, clusters: Clusters | None) -> None:
        self.known = known
        self._order, self._edges = known, np.array([0, len(known)])
        self.centres = np.empty((0, vectors.shape[1]), dtype=np.float32)
        if clusters is not None:
            self.centres, self._order, self._edges = clusters
        self._vectors, self._trust = vectors[self._order], trust[self._order]
        self._places = np.zeros(len(vectors), dtype=np.int32)
        self._places[self._order] = np.arange(len(self._order), dtype=np.int32)

    def __iter__(self) -> Iterator[Tile]:
        """Go through all."""
        for cluster, first, last in cut_tiles(self._edges, 0, len(self._order), TILE_ITEMS):
            yield Tile(cluster, self._order[first:last], self._vectors[first:last], self._trust[first:last])

    def vectors_of(self, own: Ids) -> Float32:
        """Vectors of some items that take part."""
        return self._vectors[self._places[own]]

    def of(self, clusters: NDArray[np.bool_]) -> Iterator[Tile]:
        """Those of some clusters."""
        return (tile for tile in self if clusters[tile.cluster])

    def best_of(self, own: Ids, k: int) -> Best:
        """What is to be found for some items."""
        return Best(own, self.vectors_of(own), k, NOISE, self._trust[self._places[own]])

    def cluster_of(self, codes: Ids) -> Ids:
        """The cluster of each of some items that take part."""
        clusters: Ids = (np.searchsorted(self._edges, self._places[codes], side="right") - 1).astype(np.int32)
        return clusters


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
    """Lay out; where there are many, sort into clusters and settle where to look; then one task a block of items."""

    def __init__(self, inputs: Inputs[config.ItemNeighbors]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._own = inputs.own
        self._factors = Factors(inputs.upstream["factors"])
        self._train = Matrix(inputs.upstream["matrix"]).train
        self._n_items = self._train.shape[1]
        self._k = nearest_kept(self._section.k, self._n_items)
        self._clustered = clusters_items(self._n_items)
        self._n_exact = EXACT_ITEMS if self._clustered else self._n_items

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        yield Round("layout", plan["layout"], self._layout)
        if self._clustered:
            yield Round("clusters", plan["clusters"], self._find_clusters)
            yield Round("reach", plan["reach"], self._settle, self._load)
        yield Round("search", plan["search"], self._search, self._load)
        yield Round("near", plan["near"], self._invert)

    def _layout(self, index: int, context: TaskContext) -> None:
        lay_out_nearest(context.scratch, (self._n_items, self._k), self._section.items_per_task)
        np.save(context.scratch / COUNTS, self._train.count_columns(READ_RATINGS))

    def _known(self) -> tuple[Float32, Float32, Ids]:
        """Vectors and trust of all items, and those that take part, by descending trust."""
        counts = NearItems(self._own).counts()
        vectors = np.ascontiguousarray(self._factors.loadings()[:, : self._section.dims])
        vectors *= self._factors.singular_values()[: vectors.shape[1]].astype(np.float32)
        trust = significance(counts, self._section.shrink)
        by_trust = np.argsort(-trust, kind="stable").astype(np.int32)
        return unit_rows(vectors), trust, by_trust[counts[by_trust] >= self._section.min_ratings]

    def _load(self) -> _Items:
        clusters: Clusters | None = None
        if self._clustered:
            found = load_arrays(self._own.path(_CLUSTERS))
            clusters = (found["centres"], found["order"], found["edges"])
        return _Items(*self._known(), clusters)

    def _find_clusters(self, index: int, context: TaskContext) -> None:
        vectors, _, known = self._known()
        seed = self._section.seed
        n_clusters = max(1, -(-len(known) // self._section.items_per_cluster))
        n_sample = min(len(known), CENTRE_SAMPLE * n_clusters)
        chosen = np.sort(np.random.default_rng(seed).choice(len(known), n_sample, replace=False))
        sample = vectors[known[chosen]]
        centres = cluster_centres(sample, min(n_clusters, n_sample), CENTRE_ROUNDS, seed)
        order, edges = cluster_items(vectors, known, centres)
        np.savez(context.scratch / _CLUSTERS, centres=centres, order=order, edges=edges)

    def _settle(self, index: int, context: TaskContext) -> dict[str, float]:
        """Find how far behind its nearest centre an item has to look: as far as those of a sample."""
        items: _Items = context.shared
        near_only = items.known[self._n_exact :]
        n_sample = min(len(near_only), self._section.probe_items)
        own = np.random.default_rng(self._section.seed + 1).choice(near_only, n_sample, replace=False)
        best = items.best_of(own, self._k)
        search_all(best, items, len(own))
        ids, _ = best.result()
        rows, places = np.nonzero(ids >= 0)
        behind = (
            shortfall(dot_products(items.vectors_of(own), items.centres)) if len(own) else np.empty((0, 1), np.float32)
        )
        return {"reach": reach_for_recall(behind[rows, items.cluster_of(ids[rows, places])], self._section.recall)}

    def _invert(self, index: int, context: TaskContext) -> None:
        blocks = _Blocks(NearItems(self._own), self._section.items_per_task, self._section.ranking_k)
        near = near_rows(self._n_items, blocks)
        np.savez(context.scratch / NEAR, indptr=near.indptr, indices=near.indices, data=near.data)

    def _search(self, index: int, context: TaskContext) -> None:
        items: _Items = context.shared
        start = index * self._section.items_per_task
        stop = min(start + self._section.items_per_task, self._n_items)
        ids = np.full((stop - start, self._k), -1, dtype=np.int32)
        similarities = np.zeros(ids.shape, dtype=np.float32)
        for some, everywhere in ((items.known[: self._n_exact], True), (items.known[self._n_exact :], False)):
            own = some[(some >= start) & (some < stop)]
            best = items.best_of(own, self._k)
            if everywhere:
                search_all(best, items, len(own))
            elif len(own):
                search_near(best, items, items.vectors_of(own), self._own.result(REACH)["reach"])
            ids[own - start], found = best.result()
            similarities[own - start] = np.nan_to_num(found, nan=0.0)
        write_nearest(self._own.root, context.scratch, start, ids, similarities)
