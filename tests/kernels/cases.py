"""What kernels are tried on: small, uneven, with ties, empty rows, and every type that rows are stored in."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.kernels.rows import Lists

quick = settings(max_examples=80)
seeds = st.integers(0, 2**32 - 1)
value_types = st.sampled_from(["uint8", "float32", "float64"])
# The least number of columns that is stored in a type, or beyond.
wide = st.sampled_from([0, 300, 65_530, 65_540])


def rows_of(rng: np.random.Generator, n: int, n_columns: int, dtype: str = "uint8", offset: int = 0) -> NarrowRows:
    """Some rows, some of them empty; the columns are the last ``n_columns`` of ``offset`` more."""
    there = rng.random((n, n_columns)) < rng.random((n, 1)) * 0.8
    rows, columns = np.nonzero(there)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
    data = rng.integers(0, 11, len(rows)).astype(dtype)
    index = np.min_scalar_type(max(0, n_columns + offset - 1))
    return NarrowRows(indptr, (columns + offset).astype(index), data, n_columns + offset, 0.5)


def lists(rng: np.random.Generator, n: int, n_columns: int, offset: int = 0) -> Lists:
    """Distinct columns of each of ``n`` rows, ascending."""
    rows = [np.flatnonzero(rng.random(n_columns) < 0.3) + offset for _ in range(n)]
    columns = np.concatenate([*rows, np.empty(0, np.int64)]).astype(np.int32)
    return Lists(np.cumsum([0, *map(len, rows)]), columns)


def of_row(given: Lists, row: int) -> list[int]:
    """Columns of a row."""
    return [int(column) for column in given.columns[given.indptr[row] : given.indptr[row + 1]]]


def dense(rows: NarrowRows) -> NDArray[Any]:
    """Values as float32, NaN where none is stored."""
    found = np.full((len(rows.indptr) - 1, rows.n_columns), np.nan, dtype=np.float32)
    at = np.repeat(np.arange(len(found)), np.diff(rows.indptr))
    found[at, rows.indices] = rows.data.astype(np.float32) * np.float32(rows.value_step)
    return found
