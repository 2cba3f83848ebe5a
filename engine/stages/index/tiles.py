"""User vectors in groups that fit in memory, as searches go through them: by cluster, or in order of code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.artifacts.readers import Factors, Index
from engine.chunked import arrays
from engine.kernels.nearest import Best
from engine.model.neighbors import NearCentres, cut_tiles
from engine.model.sizes import GROUP_USERS, TILE_USERS


class Tile(NamedTuple):
    """Users, or items, of one cluster (of cluster 0 where there are none); see `engine.kernels.Best.offer`."""

    cluster: int
    codes: NDArray[np.int32]
    vectors: NDArray[np.float32]
    trust: NDArray[np.float32] | None = None


class Tiles(Protocol):
    """All of them, tile by tile."""

    def __iter__(self) -> Iterator[Tile]: ...


class TilesByCluster(Tiles, Protocol):
    """The same in clusters."""

    @property
    def centres(self) -> NDArray[np.float32]:
        """Shape (clusters, dims)."""

    def of(self, clusters: NDArray[np.bool_]) -> Iterator[Tile]:
        """Those of some clusters."""


class PlainTiles:
    """In order of code, from the vectors themselves."""

    def __init__(self, factors: Factors) -> None:
        self._vectors = factors.vectors

    def __iter__(self) -> Iterator[Tile]:
        """Go through all users."""
        n_users, chunk = self._vectors.shape[0], self._vectors.chunks[0]
        for start in range(0, n_users, chunk):
            vectors = arrays.read_rows(self._vectors, start, min(start + chunk, n_users))
            for first in range(0, len(vectors), TILE_USERS):
                some = vectors[first : first + TILE_USERS]
                yield Tile(0, np.arange(start + first, start + first + len(some), dtype=np.int32), some)


class ClusterTiles:
    """By cluster, as the index stage left them.

    Attributes
    ----------
    centres : float32 array, shape (clusters, dims)
    edges : int64 array, shape (clusters + 1,)
        First place of each cluster in the order of the tiles, and the end.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self.centres = index.centres()
        self.edges = index.edges()

    def __iter__(self) -> Iterator[Tile]:
        """Go through all users."""
        return self.of(np.ones(len(self.centres), dtype=bool))

    def of(self, clusters: NDArray[np.bool_]) -> Iterator[Tile]:
        """Those of some clusters; files that have none of them are not read."""
        n_users = int(self.edges[-1])
        for group, start in enumerate(range(0, n_users, GROUP_USERS)):
            cut = cut_tiles(self.edges, start, min(start + GROUP_USERS, n_users), TILE_USERS)
            wanted = [part for part in cut if clusters[part[0]]]
            if not wanted:
                continue
            codes, vectors = self._index.tile_codes(group), self._index.tile_vectors(group)
            for cluster, first, last in wanted:
                yield Tile(cluster, codes[first:last], vectors[first:last])

    def cluster_of_users(self) -> NDArray[np.int32]:
        """Cluster of each user, by code; shape (users,)."""
        clusters = np.repeat(np.arange(len(self.centres), dtype=np.int32), np.diff(self.edges))
        codes = [self._index.tile_codes(group) for group in range(-(-len(clusters) // GROUP_USERS))]
        found = np.empty_like(clusters)
        found[np.concatenate(codes)] = clusters
        return found


def search_all(best: Best, tiles: Tiles, n_queries: int) -> None:
    """Compare every query with everybody."""
    everybody = np.arange(n_queries)
    for tile in tiles:
        best.offer(everybody, tile.codes, tile.vectors, tile.trust)


def search_near(best: Best, tiles: TilesByCluster, queries: NDArray[np.float32], reach: float) -> int:
    """Compare each query with the members of the clusters whose centre is behind its nearest by at most ``reach``.

    The nearest clusters go first: what they have spares most of the work in the others.

    Returns
    -------
    int
        Pairs of a query and a cluster it was compared with.
    """
    near = NearCentres(queries, tiles.centres, reach)
    order = np.argsort(near.nearest, kind="stable")
    starts = np.searchsorted(near.nearest[order], np.arange(len(tiles.centres) + 1))
    for tile in tiles.of(np.diff(starts) > 0):
        best.offer(order[starts[tile.cluster] : starts[tile.cluster + 1]], tile.codes, tile.vectors, tile.trust)
    for tile in tiles.of(near.asked):
        best.offer(near.rows_of(tile.cluster), tile.codes, tile.vectors, tile.trust)
    return len(queries) + near.n_pairs
