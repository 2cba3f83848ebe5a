"""The most similar of many vectors, a block of queries against a tile of others at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels import _native

NO_NEIGHBOR = -1

Float32 = NDArray[np.float32]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

_LAST = np.iinfo(np.int32).max


class Best:
    """The ``k`` most similar others seen so far, of each of a block of queries.

    Equal ones by ascending code: what is kept does not depend on the order in which others are offered, nor on how
    many at once.

    Parameters
    ----------
    codes : int32 array, shape (n,)
        Codes of the queries, which are never their own neighbours.
    queries : float32 array, shape (n, dims)
    k : int
        Others to keep.
    floor : float
        Others must be more similar than that.
    trust : float32 array, shape (n,), optional
        See `offer`.

    Attributes
    ----------
    worst : float32 array, shape (n,)
        Similarity below which another is not kept; ``floor`` at first.
    """

    def __init__(
        self, codes: Int32, queries: Float32, k: int, floor: float = -np.inf, trust: Float32 | None = None
    ) -> None:
        n = len(codes)
        self._codes = codes
        self._queries = queries
        self._k = k
        self._trust = np.empty(0, dtype=np.float32) if trust is None else trust
        # As many places for what is found between two selections as for the best.
        self._found = np.empty((n, 2 * k), dtype=np.int32)
        self._similarities = np.empty(self._found.shape, dtype=np.float32)
        self._used = np.zeros(n, dtype=np.int32)
        self.worst = np.full(n, floor, dtype=np.float32)
        self._worst_code = np.full(n, _LAST if floor == -np.inf else NO_NEIGHBOR, dtype=np.int32)

    def offer(self, rows: Int64, codes: Int32, vectors: Float32, trust: Float32 | None = None) -> None:
        """Compare some of the queries with a tile of others.

        Parameters
        ----------
        rows : int64 array, shape (m,)
            Which queries.
        codes, vectors : int32 and float32 arrays, shapes (t,) and (t, dims)
            The others.
        trust : float32 array, shape (t,), optional
            The similarity is the dot product times the smaller trust of the two; without it, the dot product. Rows are
            of unit length then, or shorter: nothing is compared whose trust is too little to be kept.
        """
        if not len(codes):
            return
        others = np.empty(0, dtype=np.float32) if trust is None else trust
        _native.keep_best(
            self._queries,
            self._codes,
            rows,
            vectors,
            codes,
            self._trust,
            others,
            self._k,
            self._found,
            self._similarities,
            self._used,
            self.worst,
            self._worst_code,
        )

    def result(self) -> tuple[Int32, Float32]:
        """Codes and similarities, shape (n, k): most similar first, equal ones by code; -1 and NaN for none."""
        codes = np.empty((len(self._codes), self._k), dtype=np.int32)
        similarities = np.empty(codes.shape, dtype=np.float32)
        _native.sort_best(self._found, self._similarities, self._used, codes, similarities)
        return codes, similarities


def nearest_centres(rows: Float32, centres: Float32) -> Int32:
    """Number of the centre with which each row has the largest product, the first of several; shape (n,)."""
    nearest = np.empty(len(rows), dtype=np.int32)
    _native.near_centres(rows, centres, 0.0, nearest, np.empty((0, 0), dtype=np.uint8))
    return nearest


def near_centres(rows: Float32, centres: Float32, reach: float) -> tuple[Int32, NDArray[np.uint8]]:
    """The nearest centre of each row, and all others that are behind it by at most ``reach`` times its product.

    Parameters
    ----------
    rows, centres : float32 arrays, shapes (n, dims) and (m, dims)
    reach : float

    Returns
    -------
    nearest : int32 array, shape (n,)
        As `nearest_centres`.
    near : uint8 array, shape (m, n / 8 rounded up)
        A bit for each centre and row, as NumPy packs them; none for rows of zeros.
    """
    nearest = np.empty(len(rows), dtype=np.int32)
    near = np.zeros((len(centres), -(-len(rows) // 8)), dtype=np.uint8)
    _native.near_centres(rows, centres, reach, nearest, near)
    return nearest, near


def dot_products(rows: Float32, others: Float32) -> Float32:
    """``rows @ others.T``, each product added up in the order of the dimensions; shape (n, m)."""
    found = np.empty((len(rows), len(others)), dtype=np.float32)
    _native.products_of(rows, others, found)
    return found


def whole_products(rows: Int16, other: Int16) -> Int32:
    """``rows @ other`` of whole numbers, shape (n,): exact where lengths times each other are less than 2**31."""
    found = np.empty(len(rows), dtype=np.int32)
    _native.whole_products_of(rows, other, found)
    return found
