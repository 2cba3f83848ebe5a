"""Sparse rows as kernels take them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.chunked.ranges import consecutive
from engine.kernels import _native

AS_THEY_ARE = np.empty(0, dtype=np.int32)
"""The order in which each column has the row of its own number."""


class Lists(NamedTuple):
    """Columns of some rows, without values.

    Attributes
    ----------
    indptr : int64 array, shape (rows + 1,)
    columns : int32 array, shape (n,)
        Of one row after the other.
    """

    indptr: NDArray[np.int64]
    columns: NDArray[np.int32]


def lists_of(rows: NarrowRows) -> Lists:
    """The columns of some rows, in int32."""
    return Lists(rows.indptr, rows.indices.astype(np.int32))


def joined(one: NarrowRows, other: NarrowRows) -> Lists:
    """The columns of two matrices of the same rows: of each row those of the one, then those of the other."""
    indptr = one.indptr + other.indptr
    columns = np.empty(indptr[-1], dtype=np.int32)
    for rows, offset in ((one, indptr[:-1]), (other, indptr[:-1] + np.diff(one.indptr))):
        columns[consecutive(offset, np.diff(rows.indptr))] = rows.indices
    return Lists(indptr, columns)


def no_lists(n_rows: int) -> Lists:
    """Rows without columns."""
    return Lists(np.zeros(n_rows + 1, dtype=np.int64), np.empty(0, dtype=np.int32))


def native_rows(rows: NarrowRows) -> _native.Rows:
    """Rows as the compiled module holds them, sharing memory."""
    indptr = np.ascontiguousarray(rows.indptr, dtype=np.int64)
    return _native.Rows(indptr, rows.indices, rows.data, rows.n_columns, rows.value_step)


def native_lists(lists: Lists) -> _native.Lists:
    """Lists as the compiled module holds them, sharing memory."""
    return _native.Lists(np.ascontiguousarray(lists.indptr, dtype=np.int64), lists.columns)
