"""Selections against sorting everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.model.topk import top_per_row

quick = settings(max_examples=100, deadline=None)
# Few distinct values, so that ties are the rule.
scores = st.sampled_from([-np.inf, -1.5, 0.0, 0.25, 0.5, 1.0, 3.0])


@quick
@given(rows=st.lists(st.dictionaries(st.integers(0, 40), scores, max_size=30), max_size=6), k=st.integers(1, 12))
def test_the_best_of_each_row_are_those_a_sort_gives_and_ties_go_to_lower_columns(
    rows: list[dict[int, float]], k: int
) -> None:
    columns = np.array([column for found in rows for column in found], dtype=np.int32)
    values = np.array([score for found in rows for score in found.values()], dtype=np.float32)
    indptr = np.cumsum([0, *map(len, rows)])
    best_rows, places = top_per_row(indptr, columns, values, k)
    expected = [
        (row, column)
        for row, found in enumerate(rows)
        for column in sorted(found, key=lambda column: (-found[column], column))[:k]
        if found[column] > -np.inf
    ]
    assert list(zip(best_rows.tolist(), columns[places].tolist(), strict=True)) == expected
    for row, place in zip(best_rows, places, strict=True):
        assert indptr[row] <= place < indptr[row + 1]


@pytest.mark.parametrize("length", [49, 50, 51, 64, 65, 1000])
def test_rows_of_every_length_around_k_keep_their_best(length: int) -> None:
    values = np.random.default_rng(length).permutation(length).astype(np.float32)
    columns = np.concatenate([np.arange(length), np.arange(10), np.arange(length)])
    indptr = np.cumsum([0, length, 10, 0, length])
    best_rows, places = top_per_row(indptr, columns, np.concatenate([values, values[:10], values]), 50)
    np.testing.assert_array_equal(columns[places[best_rows == 0]], np.argsort(-values)[:50])
    np.testing.assert_array_equal(columns[places[best_rows == 3]], np.argsort(-values)[:50])
    np.testing.assert_array_equal(columns[places[best_rows == 1]], np.argsort(-values[:10]))
    assert not (best_rows == 2).any()
