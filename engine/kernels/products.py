"""Stored rows times dense matrices, added in the order of the rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.kernels import _native
from engine.kernels.rows import AS_THEY_ARE, native_rows

Float32 = NDArray[np.float32]


def add_gram_product(
    rows: NarrowRows, order: NDArray[np.int32], weights: Float32, basis: Float32, total: Float32
) -> None:
    """Add ``rows.T @ diag(weights) @ rows @ basis`` to ``total`` in place, row by row.

    Parameters
    ----------
    rows : NarrowRows
        Shape (n, items).
    order : int32 array, shape (items,)
        The row of ``basis`` and ``total`` that each column has.
    weights : float32 array, shape (n,)
    basis, total : float32 arrays, shape (items, width)
    """
    _native.add_gram_product(native_rows(rows), order, weights, basis, total)


def add_partial_sums(
    rows: NarrowRows,
    ends: NDArray[np.int64],
    order: NDArray[np.int32],
    weights: Float32,
    basis: Float32,
    total: Float32,
) -> None:
    """Add the same to ``total`` in place as a sum of each of some parts of the rows: parts in order, added row by row.

    Column by column, so that no sum has more than one row at a time.

    Parameters
    ----------
    rows : NarrowRows
        Shape (n, items).
    ends : int64 array, shape (parts,)
        The end of each part, where the next begins; ascending.
    order : int32 array, shape (items,)
        As in `add_gram_product`.
    weights : float32 array, shape (n,)
    basis : float32 array, shape (items, width)
    total : float32 array, shape (items, some)
        The first columns of the products are kept, all or less.

    Raises
    ------
    ValueError, IndexError
        Where arrays do not fit together, or a number leads out of one.
    """
    _native.add_partial_sums(native_rows(rows), ends, order, weights, basis, total)


def times_dense(rows: NarrowRows, dense: Float32, order: NDArray[np.int32] = AS_THEY_ARE) -> Float32:
    """``rows @ dense``, shape (n, width).

    Parameters
    ----------
    rows : NarrowRows
        Shape (n, items).
    dense : float32 array, shape (items, width)
    order : int32 array, shape (items,), optional
        The row of ``dense`` that each column has.
    """
    product = np.empty((len(rows.indptr) - 1, dense.shape[1]), dtype=np.float32)
    _native.times_dense(native_rows(rows), order, dense, product)
    return product
