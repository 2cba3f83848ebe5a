"""Least squares against NumPy's solver."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.refinement import solve_rows
from tests.kernels.cases import quick, rows_of, seeds, value_types


@quick
@given(seeds, value_types, st.sampled_from([16, 32]), st.sets(st.integers(0, 9)), st.booleans(), st.booleans())
def test_vectors_are_those_of_least_squares(
    seed: int, dtype: str, dims: int, cuts: set[int], of_all: bool, weighed: bool
) -> None:
    rng = np.random.default_rng(seed)
    rows, others = rows_of(rng, 9, 14, dtype), rng.standard_normal((14, dims), dtype=np.float32) * np.float32(0.25)
    gram = (0.3 * others.T @ others).astype(np.float32) if of_all else None
    targets, ridges = rng.standard_normal(len(rows.data)).astype(np.float32), rng.uniform(1, 5, 9).astype(np.float32)
    weights = rng.uniform(0.5, 3, len(rows.data)).astype(np.float32) if weighed else np.ones(len(rows.data), np.float32)
    found = rng.standard_normal((9, dims), dtype=np.float32)
    start = found.copy()
    solve_rows(rows, targets, ridges, others, gram, 60, found, weights if weighed else None)
    for row in range(9):
        own = slice(rows.indptr[row], rows.indptr[row + 1])
        seen = others[rows.indices[own]].astype(np.float64)
        weighty = seen.T * weights[own]
        left = (0 if gram is None else gram) + weighty @ seen + ridges[row] * np.eye(dims)
        expected = np.linalg.solve(left, weighty @ targets[own]) if len(seen) else np.zeros(dims)
        np.testing.assert_allclose(found[row], expected, atol=2e-4)
    for first, last in itertools.pairwise(sorted({0, 9, *cuts})):
        part = start[first:last].copy()
        own = slice(rows.indptr[first], rows.indptr[last])
        of_part = weights[own] if weighed else None
        solve_rows(rows.part(first, last), targets[own], ridges[first:last], others, gram, 60, part, of_part)
        assert part.tobytes() == found[first:last].tobytes()


def test_vectors_of_other_shapes_are_refused() -> None:
    rows = rows_of(np.random.default_rng(0), 9, 14)
    vectors, gram, found = np.ones((14, 16), np.float32), np.eye(16, dtype=np.float32), np.zeros((9, 16), np.float32)
    targets, ridges = np.ones(len(rows.data), np.float32), np.ones(9, np.float32)
    for wanted, ridge, others, square, into in (
        (targets, ridges, vectors[:, :8].copy(), gram, found),
        (targets, ridges, vectors[:-1], gram, found),
        (targets, ridges, vectors, gram[:-1], found),
        (targets, ridges, vectors, gram, found[:-1]),
        (targets[:-1], ridges, vectors, gram, found),
        (targets, ridges[:-1], vectors, gram, found),
    ):
        with pytest.raises(ValueError, match=r"of other|no multiple"):
            solve_rows(rows, wanted, ridge, others, square, 2, into)
    with pytest.raises(ValueError, match="weights of other values"):
        solve_rows(rows, targets, ridges, vectors, gram, 2, found, targets[:-1])


def test_a_direction_without_a_ridge_that_no_row_has_is_left_alone() -> None:
    rows = rows_of(np.random.default_rng(1), 9, 14)
    others = np.zeros((14, 16), np.float32)
    others[:, 0] = 1
    found = np.ones((9, 16), np.float32)
    solve_rows(rows, np.ones(len(rows.data), np.float32), np.zeros(9, np.float32), others, None, 20, found)
    assert np.isfinite(found).all()
