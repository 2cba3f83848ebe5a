"""Products of stored rows, against SciPy to the last bit and NumPy about."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import kernels
from tests.kernels.cases import dense, quick, rows_of, seeds, value_types


@quick
@given(seeds, value_types, st.integers(1, 40), st.sets(st.integers(0, 9)))
def test_the_gram_product_is_the_same_bits_however_rows_are_batched(
    seed: int, dtype: str, width: int, cuts: set[int]
) -> None:
    rng = np.random.default_rng(seed)
    rows = rows_of(rng, 9, 14, dtype)
    order = rng.permutation(14).astype(np.int32)
    basis, weights = rng.standard_normal((14, width), dtype=np.float32), rng.random(9, dtype=np.float32)
    whole = np.ones((14, width), dtype=np.float32)
    kernels.add_gram_product(rows, order, weights, basis, whole)
    values = np.nan_to_num(dense(rows))[:, np.argsort(order)].astype(np.float64)
    np.testing.assert_allclose(whole, 1 + values.T @ (weights[:, None] * (values @ basis)), rtol=1e-4, atol=1e-4)
    batched = np.ones_like(whole)
    for first, last in itertools.pairwise(sorted({0, 9, *cuts})):
        kernels.add_gram_product(rows.part(first, last), order, weights[first:last], basis, batched)
    assert batched.tobytes() == whole.tobytes()


@quick
@given(seeds, value_types, st.integers(1, 40), st.lists(st.integers(0, 9), max_size=4), st.integers(0, 5))
def test_partial_sums_are_the_bits_of_sums_by_themselves(
    seed: int, dtype: str, width: int, ends: list[int], filled_up: int
) -> None:
    rng = np.random.default_rng(seed)
    rows, order = rows_of(rng, 9, 14, dtype), rng.permutation(14).astype(np.int32)
    basis, weights = rng.standard_normal((14, width), dtype=np.float32), rng.random(9, dtype=np.float32)
    kept = max(1, width - filled_up)
    ends = [*sorted(ends), 9]
    together = rng.standard_normal((14, kept), dtype=np.float32)
    apart = together.copy()
    kernels.add_partial_sums(rows, np.array(ends), order, weights, basis, together)
    for first, last in itertools.pairwise([0, *ends]):
        partial = np.zeros_like(basis)
        kernels.add_gram_product(rows.part(first, last), order, weights[first:last], basis, partial)
        apart += partial[:, :kept]
    assert together.tobytes() == apart.tobytes()


@quick
@given(seeds, value_types, st.integers(1, 40))
def test_rows_times_a_dense_matrix_are_scipys_to_the_last_bit(seed: int, dtype: str, width: int) -> None:
    rng = np.random.default_rng(seed)
    rows, matrix = rows_of(rng, 9, 14, dtype), rng.standard_normal((14, width), dtype=np.float32)
    assert kernels.times_dense(rows, matrix).tobytes() == (rows.widen() @ matrix).tobytes()
    order = rng.permutation(14).astype(np.int32)
    assert kernels.times_dense(rows, matrix, order).tobytes() == kernels.times_dense(rows, matrix[order]).tobytes()


def test_no_order_leads_out_of_the_matrix() -> None:
    rng = np.random.default_rng(0)
    rows, matrix = rows_of(rng, 9, 14), np.ones((14, 2), dtype=np.float32)
    for order in (np.full(14, 14), np.full(14, -1), np.arange(13)):
        with pytest.raises((ValueError, IndexError)):
            kernels.times_dense(rows, matrix, order.astype(np.int32))
        with pytest.raises((ValueError, IndexError)):
            kernels.add_partial_sums(
                rows, np.array([9]), order.astype(np.int32), np.ones(9, np.float32), matrix, matrix.copy()
            )
    with pytest.raises(ValueError, match="of other columns"):
        kernels.times_dense(rows, matrix[:-1])
    with pytest.raises(TypeError):
        kernels.times_dense(rows, matrix.astype(np.float64))
    with pytest.raises(TypeError):
        kernels.add_gram_product(rows, np.arange(14, dtype=np.int32), np.ones(9, np.float32), matrix, matrix.T.copy().T)


@pytest.mark.parametrize("end", [-1, 10])
def test_no_part_leads_out_of_the_rows(end: int) -> None:
    rows, matrix = rows_of(np.random.default_rng(0), 9, 14), np.ones((14, 2), dtype=np.float32)
    order, weights = np.arange(14, dtype=np.int32), np.ones(9, np.float32)
    with pytest.raises(IndexError, match="end of a part"):
        kernels.add_partial_sums(rows, np.array([end]), order, weights, matrix, matrix.copy())
    with pytest.raises(ValueError, match="of other columns"):
        kernels.add_partial_sums(rows, np.array([9]), order, weights, matrix, np.ones((14, 3), dtype=np.float32))
