"""What neighbours weigh: shares of distances, as the notebook has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.model.scoring import cut_by_work, distance_weights, row_numbers


def test_weights_are_shares_of_the_summed_distances() -> None:
    weights = distance_weights(np.array([[0.75, 0.5, np.nan]], dtype=np.float32))
    np.testing.assert_allclose(weights, [[1 / 3, 2 / 3, 0]], rtol=1e-6)
    assert weights.dtype == np.float32


@pytest.mark.parametrize("similarity", [np.nan, 1.0])
def test_neighbours_that_are_none_or_equal_to_the_user_weigh_nothing(similarity: float) -> None:
    assert distance_weights(np.full((2, 3), similarity, dtype=np.float32)).tolist() == [[0.0] * 3] * 2


@given(st.lists(st.integers(0, 5), max_size=10))
def test_row_numbers_repeat_each_row_by_its_length(lengths: list[int]) -> None:
    indptr = np.cumsum([0, *lengths])
    assert row_numbers(indptr).tolist() == [row for row, n in enumerate(lengths) for _ in range(n)]


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 20), st.integers(1, 5))
def test_batches_are_as_large_as_their_work_allows(work: list[int], limit: int, most: int) -> None:
    batches = cut_by_work(np.array(work, dtype=np.int64), limit, most)
    assert [row for first, last in batches for row in range(first, last)] == list(range(len(work)))
    for first, last in batches:
        assert last - first == 1 or (last - first <= most and sum(work[first:last]) <= limit)
