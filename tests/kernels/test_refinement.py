"""Least squares against NumPy's solver."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.refinement import add_left, begin, solve_rows, step
from engine.model.small import by_item
from tests.kernels.cases import quick, rows_of, seeds, value_types


@quick
@given(
    seeds, value_types, st.sampled_from([16, 32, 48, 64, 80]), st.sets(st.integers(0, 9)), st.booleans(), st.booleans()
)
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


@quick
@given(
    seeds, value_types, st.sampled_from([16, 32, 48, 64, 80]), st.sets(st.integers(0, 9)), st.booleans(), st.booleans()
)
def test_what_rows_leave_is_added_for_their_columns(
    seed: int, dtype: str, dims: int, cuts: set[int], aims: bool, weighed: bool
) -> None:
    rng = np.random.default_rng(seed)
    rows = rows_of(rng, 9, 14, dtype)
    own, others = (rng.standard_normal((n, dims), dtype=np.float32) for n in (9, 14))
    targets, weights = (rng.uniform(-1, 3, len(rows.data)).astype(np.float32) for _ in range(2))
    found, in_parts = np.ones((14, dims), np.float32), np.ones((14, dims), np.float32)
    add_left(rows, own, others, found, targets if aims else None, weights if weighed else None)
    expected = np.ones((14, dims))
    for row in range(9):
        for at in range(rows.indptr[row], rows.indptr[row + 1]):
            column = rows.indices[at]
            left = targets[at] * aims - own[row].astype(np.float64) @ others[column]
            expected[column] += (weights[at] if weighed else 1) * left * own[row]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    for first, last in itertools.pairwise(sorted({0, 9, *cuts})):
        some = slice(rows.indptr[first], rows.indptr[last])
        of_part = targets[some] if aims else None, weights[some] if weighed else None
        add_left(rows.part(first, last), own[first:last], others, in_parts, *of_part)
    assert in_parts.tobytes() == found.tobytes()


@quick
@given(seeds, st.sampled_from([16, 32, 48, 64, 80]), st.integers(0, 5), st.booleans(), st.booleans())
def test_columns_are_fitted_while_rows_go_by_as_they_are_with_all_at_hand(
    seed: int, dims: int, steps: int, of_all: bool, weighed: bool
) -> None:
    rng = np.random.default_rng(seed)
    rows = rows_of(rng, 9, 14)
    own = rng.standard_normal((9, dims), dtype=np.float32) * np.float32(0.25)
    gram = (0.3 * own.T @ own).astype(np.float32) if of_all else None
    targets, ridges = rng.standard_normal((9, 14)).astype(np.float32), rng.uniform(1, 5, 14).astype(np.float32)
    weights = rng.uniform(0.5, 3, (9, 14)).astype(np.float32) if weighed else np.ones((9, 14), np.float32)
    there, turned = np.zeros((9, 14), dtype=bool), by_item(rows)
    there[np.repeat(np.arange(9), np.diff(rows.indptr)), rows.indices] = True
    start = rng.standard_normal((14, dims), dtype=np.float32)
    expected, sums = start.copy(), np.zeros_like(start)
    solve_rows(turned, targets.T[there.T], ridges, own, gram, steps, expected, weights.T[there.T])
    add_left(rows, own, start, sums, targets[there], weights[there])
    found = begin(sums, ridges, gram, start.copy())
    for _ in range(steps):
        sums[:] = 0
        add_left(rows, own, found.directions, sums, weights=weights[there])
        step(sums, ridges, gram, found)
    rated = np.diff(turned.indptr) > 0  # the others are zeros at once where all is at hand
    np.testing.assert_allclose(found.solutions[rated], expected[rated], rtol=2e-3, atol=2e-4)


@quick
@given(seeds, value_types, st.sampled_from([16, 80]))
def test_columns_in_another_order_are_fitted_alike(seed: int, dtype: str, dims: int) -> None:
    rng = np.random.default_rng(seed)
    rows, order = rows_of(rng, 9, 14, dtype), rng.permutation(14).astype(np.int32)
    others, start = rng.standard_normal((14, dims), dtype=np.float32), rng.standard_normal((9, dims), dtype=np.float32)
    targets, ridges = np.ones(len(rows.data), np.float32), np.ones(9, np.float32)
    ordered = np.empty_like(others)
    ordered[order] = others
    vectors, sums = [start.copy(), start.copy()], [np.zeros_like(others), np.zeros_like(others)]
    solve_rows(rows, targets, ridges, others, None, 3, vectors[0])
    solve_rows(rows, targets, ridges, ordered, None, 3, vectors[1], order=order)
    assert vectors[0].tobytes() == vectors[1].tobytes()
    add_left(rows, start, others, sums[0], targets)
    add_left(rows, start, ordered, sums[1], targets, order=order)
    assert sums[1][order].tobytes() == sums[0].tobytes()


def test_an_order_that_leads_out_of_the_vectors_is_refused() -> None:
    rows, own, others = rows_of(np.random.default_rng(0), 9, 14), np.ones((9, 16), np.float32), np.ones((14, 16), "f4")
    targets, ridges, away = np.ones(len(rows.data), np.float32), np.ones(9, np.float32), np.full(14, 14, np.int32)
    for order, error, told in ((away, IndexError, "place of a column"), (away[1:] - 14, ValueError, "other columns")):
        with pytest.raises(error, match=told):
            add_left(rows, own, others, others.copy(), targets, order=order)
        with pytest.raises(error, match=told):
            solve_rows(rows, targets, ridges, others, None, 3, own.copy(), order=order)


def test_a_step_without_a_way_on_leaves_all_as_it_is() -> None:
    nothing, gram = np.zeros((3, 16), np.float32), np.zeros((16, 16), np.float32)
    found = begin(np.ones((3, 16), np.float32), np.zeros(3, np.float32), gram, nothing.copy())
    assert (found.lengths == 16).all()
    for _ in range(2):
        step(nothing, np.zeros(3, np.float32), gram, found)
        assert not found.solutions.any()
        assert not found.lengths.any()


def test_sums_and_descents_of_other_shapes_are_refused() -> None:
    rows, gram = rows_of(np.random.default_rng(0), 9, 14), np.eye(16, dtype=np.float32)
    own, others, ridges = np.ones((9, 16), np.float32), np.ones((14, 16), np.float32), np.ones(14, np.float32)
    targets = np.ones(len(rows.data), np.float32)
    for of_rows, of_columns, into, wanted, weights in (
        (own[:-1], others, others, targets, targets),
        (own[:, :8].copy(), others, others, targets, targets),
        (own, others[:-1], others, targets, targets),
        (own, others, others[:-1], targets, targets),
        (own, others, others, targets[:-1], targets),
        (own, others, others, targets, targets[:-1]),
    ):
        with pytest.raises(ValueError, match=r"of other|no multiple"):
            add_left(rows, of_rows, of_columns, into.copy(), wanted, weights)
    for sums, ridge, square, solutions in (
        (others[:-1], ridges, gram, others),
        (others, ridges[:-1], gram, others),
        (others, ridges, gram[:-1], others),
        (others[:, :8].copy(), ridges, None, others),
        (others[:, :8].copy(), ridges, None, others[:, :8].copy()),
    ):
        with pytest.raises(ValueError, match=r"of other|no multiple"):
            begin(sums, ridge, square, solutions)
