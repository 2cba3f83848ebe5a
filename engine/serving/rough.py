"""Vectors of all users in half their bytes: who may be among the nearest to somebody, without reading all there is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.chunked import arrays
from engine.kernels.nearest import whole_products

# Of numbers up to 1, which become whole ones. A product of two vectors of unit length is then less than 2**31.
_SCALE = 2**15 - 1
# How far a number may be from the whole one that stands for it.
_ROUNDED = 0.51
# Length of vectors, which is 1 but for rounding.
_LENGTH = 1.001
# Of so many rows, one may be likely: where more are, it takes less time to read them all.
_ROWS_FOR_ONE = 64


class Rough:
    """Vectors in whole numbers of two bytes, in a temporary file.

    Parameters
    ----------
    vectors : Rows
        float32, of unit length or zeros.

    Raises
    ------
    OSError
        As `engine.chunked.arrays.Unpacked`.
    """

    def __init__(self, vectors: arrays.Rows) -> None:
        self._rows = arrays.Unpacked(vectors, np.int16, _whole)
        dims = vectors.shape[1]
        # How far a product of whole numbers may be from that of the vectors, and from what is computed of that.
        rounded = 2 * _LENGTH * _SCALE * _ROUNDED * math.sqrt(dims) + dims * _ROUNDED**2
        self._margin = math.ceil(rounded + _SCALE**2 * dims * 2**-23)

    @staticmethod
    def bytes_of(vectors: arrays.Rows) -> int:
        """What it takes on a disk."""
        return math.prod(vectors.shape) * np.dtype(np.int16).itemsize

    def likely(self, vector: NDArray[np.float32], k: int) -> NDArray[np.int64] | None:
        """All rows that may be among the ``k`` with the greatest dot products, equal ones included; ascending.

        None where they are many.
        """
        rows, n_rows = self._rows, self._rows.shape[0]
        whole = _whole(vector)
        at = range(0, n_rows, rows.chunks[0])
        blocks = (arrays.read_rows(rows, start, min(start + rows.chunks[0], n_rows)) for start in at)
        products = np.concatenate([whole_products(block, whole) for block in blocks])
        least = int(np.partition(products, n_rows - k)[n_rows - k]) - 2 * self._margin
        found = np.flatnonzero(products >= least)
        return found if len(found) <= max(k, n_rows // _ROWS_FOR_ONE) else None


def _whole(vectors: NDArray[Any]) -> NDArray[np.int16]:
    return np.rint(vectors * np.float32(_SCALE)).astype(np.int16)
