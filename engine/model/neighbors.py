"""Nearest neighbours by cosine among unit vectors, a block of queries against a tile of others at a time.

Looking only where neighbours can be: others are grouped in clusters, and a query looks at the clusters whose
centres are nearest to it (an inverted file, Jégou, Douze and Schmid 2011, https://doi.org/10.1109/TPAMI.2010.57).
Looking at all of them is brute force, with the same code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels.nearest import NO_NEIGHBOR, near_centres, nearest_centres

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Nearest = tuple[Int32, Float32]

_SMALL = np.float32(1e-6)


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
        cluster = nearest_centres(sample, centres)
        order = np.argsort(cluster, kind="stable")
        there, first = np.unique(cluster[order], return_index=True)
        sums = np.add.reduceat(sample[order], first, axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres[there] = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    return centres


def in_sequence(centres: Float32) -> Float32:
    """The same centres, so that those near to each other have near numbers.

    Halved along the direction in which they differ most, and so the halves (principal direction divisive partitioning,
    Boley 1998, https://doi.org/10.1023/A:1009740529316).
    """
    order = np.arange(len(centres))
    parts = [(0, len(centres))]
    while parts:
        first, last = parts.pop()
        some = centres[order[first:last]].astype(np.float64)  # so that rounding on another machine changes no order
        some -= some.mean(axis=0)
        axis = np.linalg.svd(some, full_matrices=False)[2][0]
        along = some @ (axis * np.sign(axis[np.abs(axis).argmax()]))
        order[first:last] = order[first:last][np.argsort(along, kind="stable")]
        half = (first + last) // 2
        parts += [part for part in ((first, half), (half, last)) if part[1] - part[0] > 2]
    return centres[order]


def shortfall(cosines: Float32) -> Float32:
    """How far each centre is behind the nearest, as a share of the nearest's cosine.

    Parameters
    ----------
    cosines : float32 array, shape (rows, centres)
        Of unit rows and centres.
    """
    nearest = cosines.max(axis=1, keepdims=True)
    behind: Float32 = (nearest - cosines) / np.maximum(np.abs(nearest), _SMALL)
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
        self.nearest, self._bits = near_centres(rows, centres, reach)
        self.n_pairs = sum(int(np.bitwise_count(rows_of).sum(dtype=np.int64)) for rows_of in self._bits)

    @property
    def asked(self) -> NDArray[np.bool_]:
        """Whether a centre is any row's; shape (centres,)."""
        return np.asarray(self._bits.any(axis=1))

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
    return float(np.partition(shortfalls, needed)[needed])


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
