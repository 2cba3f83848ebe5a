"""Nearest neighbours by cosine among unit vectors, a block of queries against a tile of others at a time.

Looking only where neighbours can be: others are grouped in clusters, and a query looks at the clusters whose
centres are nearest to it (an inverted file, Jégou, Douze and Schmid 2011, https://doi.org/10.1109/TPAMI.2010.57).
Looking at all of them is brute force, with the same code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.model.sizes import BEST_ROOM, QUERY_USERS, SELECT_USERS

NO_NEIGHBOR = -1

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Nearest = tuple[Int32, Float32]

_EMPTY = np.float32(-np.inf)
_SMALL = np.float32(1e-6)


class Best:
    """The ``k`` most similar others seen so far, of each of a block of queries.

    Parameters
    ----------
    users : int32 array, shape (n,)
        Codes of the queries, which are never their own neighbours.
    queries : float32 array, shape (n, dims)
        Unit rows.
    k : int
        Others to keep.
    floor : float
        Others must be more similar than that.

    Attributes
    ----------
    worst : float32 array, shape (n,)
        Similarity that another must exceed to be kept; ``floor`` at first.
    """

    def __init__(self, users: Int32, queries: Float32, k: int, floor: float = -np.inf) -> None:
        self._users = users
        self._queries = queries
        self._k = k
        # The best k of the last selection, then what was better than the worst of them since.
        self._ids = np.full((len(users), k + BEST_ROOM), NO_NEIGHBOR, dtype=np.int32)
        self._similarities = np.full(self._ids.shape, _EMPTY)
        self._used = np.full(len(users), k)
        self._floor = np.float32(floor)
        self.worst = np.full(len(users), self._floor)

    def offer(self, rows: Int64, codes: Int32, vectors: Float32) -> None:
        """Compare some of the queries with a tile of others.

        Parameters
        ----------
        rows : int64 array, shape (m,)
            Which queries, each once.
        codes, vectors : int32 and float32 arrays, shapes (t,) and (t, dims)
            The others.
        """
        for start in range(0, len(rows), QUERY_USERS):
            some = rows[start : start + QUERY_USERS]
            self.consider(some, codes, self._queries[some] @ vectors.T)

    def consider(self, rows: Int64, codes: Int32, similarities: Float32) -> None:
        """Keep what is better than what there is.

        Parameters
        ----------
        rows : int64 array, shape (m,)
            Which queries, each once.
        codes : int32 array, shape (t,)
            The others.
        similarities : float32 array, shape (m, t)
        """
        # Most tiles have nothing for most queries, and a maximum is quick.
        promising = similarities.max(axis=1) > self.worst[rows]
        rows, similarities = rows[promising], similarities[promising]
        better = similarities > self.worst[rows, None]
        counts = np.count_nonzero(better, axis=1)
        many = np.flatnonzero(counts > BEST_ROOM)
        for start in range(0, len(many), SELECT_USERS):
            some = many[start : start + SELECT_USERS]
            self._select(rows[some], codes, similarities[some])
        better[many] = False
        counts[many] = 0
        place = np.flatnonzero(better)  # few
        row, column = np.divmod(place, len(codes))
        self._append(rows, counts, row, codes[column], similarities.ravel()[place])

    def _append(self, rows: Int64, counts: Int64, row: Int64, codes: Int32, similarities: Float32) -> None:
        """Add what is better than the worst: of each ``row``, an index into ``rows``, as many as ``counts`` says."""
        self._select(rows[self._used[rows] + counts > self._ids.shape[1]])
        within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        target = rows[row]
        slot = self._used[target] + within
        self._ids[target, slot] = codes
        self._similarities[target, slot] = np.where(codes == self._users[target], _EMPTY, similarities)
        self._used[rows] += counts

    def _select(self, rows: Int64, codes: Int32 | None = None, similarities: Float32 | None = None) -> None:
        """Keep the best of what some rows have, and of a whole tile where one is given."""
        candidates, ids = self._similarities[rows], self._ids[rows]
        if codes is not None and similarities is not None:
            similarities[codes == self._users[rows, None]] = _EMPTY
            candidates = np.concatenate([candidates, similarities], axis=1)
            ids = np.concatenate([ids, np.broadcast_to(codes, similarities.shape)], axis=1)
        best = np.argpartition(candidates, candidates.shape[1] - self._k, axis=1)[:, -self._k :]
        kept = np.take_along_axis(candidates, best, axis=1)
        self._similarities[rows, : self._k] = kept
        self._similarities[rows, self._k :] = _EMPTY
        self._ids[rows, : self._k] = np.take_along_axis(ids, best, axis=1)
        self._used[rows] = self._k
        self.worst[rows] = np.maximum(kept.min(axis=1), self._floor)

    def result(self) -> Nearest:
        """Codes and similarities, shape (n, k): most similar first, equal ones by code; -1 and NaN where there is none.

        Of several others that are equally far and compete for the last place, any may have it.
        """
        for start in range(0, len(self._users), QUERY_USERS):
            self._select(np.arange(start, min(start + QUERY_USERS, len(self._users))))
        found, codes = self._similarities[:, : self._k], self._ids[:, : self._k]
        ids = np.where(found == _EMPTY, NO_NEIGHBOR, codes)
        similarities = np.where(found == _EMPTY, np.float32(np.nan), found)
        return _nearest_first(ids, similarities, self._k)


def _nearest_first(ids: Int32, similarities: Float32, k: int) -> Nearest:
    """The ``k`` most similar of each row, equal ones by ascending code; NaN is last."""
    order = np.lexsort((ids, -similarities), axis=1)[:, :k]
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(similarities, order, axis=1)


def merge_nearest(users: Int32, best: Nearest, found: Nearest) -> Nearest:
    """Keep the most similar of two sets of candidates, never the user itself.

    Parameters
    ----------
    users : int32 array, shape (n,)
        Codes of the users the rows are about.
    best, found : pair of int32 and float32 arrays, shapes (n, k) and (n, j)
        Codes and similarities; code -1 and similarity NaN where there is none.

    Returns
    -------
    pair of arrays, shape (n, k)
        Most similar first; equal similarities by ascending code.
    """
    ids = np.concatenate([best[0], found[0]], axis=1)
    similarities = np.concatenate([best[1], found[1]], axis=1)
    itself = ids == users[:, None]
    ids[itself] = NO_NEIGHBOR
    similarities[itself] = np.nan
    return _nearest_first(ids, similarities, best[0].shape[1])


def cluster_centres(sample: Float32, n_clusters: int, rounds: int, seed: int) -> Float32:
    """Centres of clusters of directions (spherical k-means), from a random start.

    Parameters
    ----------
    sample : float32 array, shape (n, dims)
        Unit rows.
    n_clusters : int
        At most n.
    rounds : int
        Times that rows are assigned to centres and centres moved to the mean direction of theirs.

    Returns
    -------
    float32 array, shape (n_clusters, dims)
        Unit rows, but for rows of zeros.
    """
    start = np.random.default_rng(seed).choice(len(sample), n_clusters, replace=False)
    centres = sample[np.sort(start)]
    for _ in range(rounds):
        cluster = nearest_centre(sample, centres)
        order = np.argsort(cluster, kind="stable")
        there, first = np.unique(cluster[order], return_index=True)
        sums = np.add.reduceat(sample[order], first, axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres[there] = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    return centres


def nearest_centre(rows: Float32, centres: Float32) -> Int32:
    """Number of the centre nearest to each row; shape (n,)."""
    found = np.empty(len(rows), dtype=np.int32)
    for start in range(0, len(rows), QUERY_USERS):
        found[start : start + QUERY_USERS] = (rows[start : start + QUERY_USERS] @ centres.T).argmax(axis=1)
    return found


def shortfall(products: Float32) -> Float32:
    """How far each centre is behind the nearest, as a share of the nearest's cosine.

    Parameters
    ----------
    products : float32 array, shape (rows, centres)
        Cosines, or dot products of unit rows and centres.
    """
    nearest = products.max(axis=1, keepdims=True)
    behind: Float32 = (nearest - products) / np.maximum(np.abs(nearest), _SMALL)
    return behind


class NearCentres:
    """The centres that are behind the nearest by at most ``reach``, of each row, the nearest left out.

    Held as a bit for each row and centre, so that how far rows look makes no difference to memory.

    Parameters
    ----------
    rows : float32 array, shape (n, dims)
        Unit rows, or rows of zeros: these have no centre but the first, which is their nearest.
    centres : float32 array, shape (centres, dims)
    reach : float

    Attributes
    ----------
    nearest : int32 array, shape (n,)
        Each row's nearest centre.
    n_pairs : int
        Pairs of a row and a centre.
    """

    def __init__(self, rows: Float32, centres: Float32, reach: float) -> None:
        self.nearest = nearest_centre(rows, centres)
        self.n_pairs = 0
        self._bits = np.zeros((len(centres), -(-len(rows) // 8)), dtype=np.uint8)
        for start in range(0, len(rows), QUERY_USERS):  # which is a multiple of 8
            some = rows[start : start + QUERY_USERS]
            near = shortfall(some @ centres.T) <= reach
            near[~some.any(axis=1)] = False
            near[np.arange(len(some)), self.nearest[start : start + QUERY_USERS]] = False
            self.n_pairs += int(np.count_nonzero(near))
            packed = np.packbits(near, axis=0)
            self._bits[:, start // 8 : start // 8 + len(packed)] = packed.T

    def rows_of(self, centre: int) -> Int64:
        """The rows that have a centre, ascending."""
        return np.flatnonzero(np.unpackbits(self._bits[centre], count=len(self.nearest)))


def reach_for_recall(shortfalls: Float32, recall: float) -> float:
    """How far behind the nearest centre to look.

    Parameters
    ----------
    shortfalls : float32 array
        Of the centre of every true neighbour of a sample of users.
    recall : float
        Share of the true neighbours to find.
    """
    if not len(shortfalls):
        return 0.0
    needed = int(np.ceil(recall * len(shortfalls))) - 1
    # A little more, because the last bits of a product may depend on its shape.
    return float(np.partition(shortfalls, needed)[needed]) * (1 + 1e-6) + 1e-6


def cut_tiles(edges: Int64, start: int, stop: int, most: int) -> list[tuple[int, int, int]]:
    """Cut a range of places into tiles, each of one cluster and of at most ``most`` places.

    Parameters
    ----------
    edges : int64 array, shape (clusters + 1,)
        First place of each cluster, and the end.
    start, stop : int
        The range.

    Returns
    -------
    list of (cluster, first, last)
        Places counted from ``start``.

    Examples
    --------
    >>> cut_tiles(np.array([0, 2, 2, 9]), 1, 8, most=4)
    [(0, 0, 1), (2, 1, 5), (2, 5, 7)]
    """
    tiles = []
    for cluster in range(int(np.searchsorted(edges, start, side="right")) - 1, len(edges) - 1):
        first, last = max(int(edges[cluster]), start), min(int(edges[cluster + 1]), stop)
        if first >= stop:
            break
        tiles += [(cluster, at - start, min(at + most, last) - start) for at in range(first, last, most)]
    return tiles


def n_found(found: Float32, true: Float32) -> Int64:
    """How many of each row's true neighbours were found, told by similarity, so that ties do not matter.

    Parameters
    ----------
    found, true : float32 arrays, shape (n, k)
        Similarities, most similar first, NaN where there is none.
    """
    last = np.nanmin(np.where(np.isnan(true), np.inf, true), axis=1, keepdims=True)
    counts: Int64 = (found >= last - 1e-5).sum(axis=1)
    return counts
