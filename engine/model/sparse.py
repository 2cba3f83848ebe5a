"""Two sparse products by kernels that SciPy keeps for itself: the one place that knows these.

`scipy.sparse` has no public way to add a product to what is there, nor to multiply without counting the result first.
Being private, the kernels may change or go with any version: before they are used they are tried out once on a small
example, and where they do not give what they should, SciPy's public operators do the work. Their results are right,
too, but they take more memory and time, and the last bits may differ: those of a sum may then depend on the batch,
and so on the budget.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

try:
    from scipy.sparse import _sparsetools
except ImportError:
    _sparsetools = None  # type: ignore[assignment]

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]


def add_transposed_product(rows: csr_matrix, dense: Float32, total: Float32) -> None:
    """Add ``rows.T @ dense`` to ``total`` in place, row by row of ``rows``.

    Parameters
    ----------
    rows : csr_matrix of float32, shape (n, m)
    dense : float32 array, shape (n, width)
        C-contiguous.
    total : float32 array, shape (m, width)
        C-contiguous.
    """
    if _adds_in_place():
        _kernel_add(rows, dense, total)
    else:
        total += rows.T @ dense


def multiply(values: Float32, columns: Int32, indptr: Int32, rows: csr_matrix, work: int) -> csr_matrix:
    """The product of two sparse matrices, the left one given by its arrays.

    Parameters
    ----------
    values, columns : float32 and int32 arrays, shape (nnz,)
    indptr : int32 array, shape (n + 1,)
    rows : csr_matrix of float32, shape (m, k)
    work : int
        Values stored of the product, at most: the lengths of all rows asked for.

    Returns
    -------
    csr_matrix of float32, shape (n, k)
        Columns of a row in no order.
    """
    if _multiplies():
        return _kernel_multiply(values, columns, indptr, rows, work)
    asking = csr_matrix((values, columns, indptr), shape=(len(indptr) - 1, rows.shape[0]), copy=False)
    return csr_matrix(asking @ rows)


def _kernel_add(rows: csr_matrix, dense: Float32, total: Float32) -> None:
    n, m = rows.shape
    # ``total += rows.T @ dense`` would make a copy of ``total``'s size for each batch of rows, and its
    # sums would depend on the batch; the kernel behind it adds row by row to what is there.
    _sparsetools.csc_matvecs(m, n, dense.shape[1], rows.indptr, rows.indices, rows.data, dense.ravel(), total.ravel())


def _kernel_multiply(values: Float32, columns: Int32, indptr: Int32, rows: csr_matrix, work: int) -> csr_matrix:
    # SciPy's own operator counts the stored values first, which takes half as long as the product itself.
    n, n_columns = len(indptr) - 1, rows.shape[1]
    out = (np.empty(n + 1, np.int32), np.empty(work, np.int32), np.empty(work, np.float32))
    _sparsetools.csr_matmat(n, n_columns, indptr, columns, values, rows.indptr, rows.indices, rows.data, *out)
    pointers, indices, data = out
    nnz = pointers[-1]
    return csr_matrix((data[:nnz], indices[:nnz], pointers), shape=(n, n_columns), copy=False)


def _example() -> tuple[csr_matrix, NDArray[Any]]:
    """A matrix with a row and a column of zeros, and the same not sparse; small whole numbers, whose sums are exact."""
    dense = np.array([[0, 2, 0, 1], [0, 0, 0, 0], [0, 3, 5, 0]], dtype=np.float32)
    return csr_matrix(dense), dense


@cache
def _adds_in_place() -> bool:
    """Whether the kernel adds what it should to what is there."""
    rows, dense = _example()
    other = np.arange(6, dtype=np.float32).reshape(3, 2)
    total = np.ones((4, 2), dtype=np.float32)
    try:
        _kernel_add(rows, other, total)
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return False
    return np.array_equal(total, 1 + dense.T @ other)


@cache
def _multiplies() -> bool:
    """Whether the kernel multiplies two sparse matrices."""
    rows, dense = _example()
    left = csr_matrix(np.array([[1, 0, 2], [0, 0, 0], [0, 4, 0], [3, 1, 1]], dtype=np.float32))
    work = int(np.diff(rows.indptr)[left.indices].sum())
    try:
        found = _kernel_multiply(left.data, left.indices, left.indptr, rows, work)
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return False
    return np.array_equal(found.toarray(), left.toarray() @ dense)
