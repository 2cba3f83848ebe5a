"""Least squares against NumPy's solver."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.refinement import solve_rows
from tests.kernels.cases import dense, quick, rows_of, seeds, value_types


@quick
@given(seeds, value_types, st.sampled_from([16, 32]), st.sets(st.integers(0, 9)))
def test_vectors_are_those_of_least_squares(seed: int, dtype: str, dims: int, cuts: set[int]) -> None:
    rng = np.random.default_rng(seed)
    rows, others = rows_of(rng, 9, 14, dtype), rng.standard_normal((14, dims), dtype=np.float32) * np.float32(0.25)
    gram = (0.3 * others.T @ others).astype(np.float32)
    found = rng.standard_normal((9, dims), dtype=np.float32)
    start = found.copy()
    solve_rows(rows, 2.5, 0.25, others, gram, 0.5, 3.0, 60, found)
    ratings = dense(rows)
    for row in range(9):
        there = ~np.isnan(ratings[row])
        seen = others[there].astype(np.float64)
        left = gram + seen.T @ seen + 0.5 * (there.sum() + 3.0) * np.eye(dims)
        right = seen.T @ np.where(ratings[row][there] >= 2.5, 1, 0.25)
        expected = np.linalg.solve(left, right) if there.any() else np.zeros(dims)
        np.testing.assert_allclose(found[row], expected, atol=2e-4)
    for first, last in itertools.pairwise(sorted({0, 9, *cuts})):
        part = start[first:last].copy()
        solve_rows(rows.part(first, last), 2.5, 0.25, others, gram, 0.5, 3.0, 60, part)
        assert part.tobytes() == found[first:last].tobytes()


def test_vectors_of_other_shapes_are_refused() -> None:
    rows = rows_of(np.random.default_rng(0), 9, 14)
    vectors, gram, found = np.ones((14, 16), np.float32), np.eye(16, dtype=np.float32), np.zeros((9, 16), np.float32)
    for others, square, into in (
        (vectors[:, :8].copy(), gram, found),
        (vectors[:-1], gram, found),
        (vectors, gram[:-1], found),
        (vectors, gram, found[:-1]),
    ):
        with pytest.raises(ValueError, match=r"of other|no multiple"):
            solve_rows(rows, 2.5, 0.3, others, square, 0.1, 1.0, 2, into)
