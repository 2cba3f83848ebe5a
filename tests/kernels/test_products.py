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
    with pytest.raises(ValueError, match="of other columns"):
        kernels.times_dense(rows, matrix[:-1])
    with pytest.raises(TypeError):
        kernels.times_dense(rows, matrix.astype(np.float64))
    with pytest.raises(TypeError):
        kernels.add_gram_product(rows, np.arange(14, dtype=np.int32), np.ones(9, np.float32), matrix, matrix.T.copy().T)
