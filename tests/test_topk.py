"""Selections against sorting everything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.topk import NO_NEIGHBOR, merge_nearest, nearest_exact, top_per_row

quick = settings(max_examples=100, deadline=None)
# Few distinct values, so that ties are the rule.
scores = st.sampled_from([-1.5, 0.0, 0.25, 0.5, 1.0, 3.0])


@quick
@given(rows=st.lists(st.dictionaries(st.integers(0, 40), scores, max_size=30), max_size=6), k=st.integers(1, 12))
def test_the_best_of_each_row_are_those_a_sort_gives_and_ties_go_to_lower_columns(
    rows: list[dict[int, float]], k: int
) -> None:
    flat = [(row, column, score) for row, found in enumerate(rows) for column, score in found.items()]
    expected = [
        (row, column)
        for row, found in enumerate(rows)
        for column in sorted(found, key=lambda column: (-found[column], column))[:k]
    ]
    numbers = np.array([row for row, _, _ in flat], dtype=np.int64)
    columns = np.array([column for _, column, _ in flat], dtype=np.int32)
    values = np.array([score for _, _, score in flat], dtype=np.float32)
    best_rows, best_columns = top_per_row(numbers, columns, values, len(rows), k)
    assert list(zip(best_rows.tolist(), best_columns.tolist(), strict=True)) == expected


@pytest.mark.parametrize("length", [49, 50, 51, 64, 65, 1000])
def test_rows_of_every_length_around_k_keep_their_best(length: int) -> None:
    values = np.random.default_rng(length).permutation(length).astype(np.float32)
    rows = np.repeat([0, 1, 3], [length, 10, length])
    columns = np.concatenate([np.arange(length), np.arange(10), np.arange(length)])
    best_rows, best_columns = top_per_row(rows, columns, np.concatenate([values, values[:10], values]), 4, 50)
    np.testing.assert_array_equal(best_columns[best_rows == 0], np.argsort(-values)[:50])
    np.testing.assert_array_equal(best_columns[best_rows == 3], np.argsort(-values)[:50])
    np.testing.assert_array_equal(best_columns[best_rows == 1], np.argsort(-values[:10]))
    assert not (best_rows == 2).any()


def as_arrays(rows: list[list[tuple[int, float]]], width: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    padded = [row + [(NO_NEIGHBOR, np.nan)] * (width - len(row)) for row in rows]
    ids = np.array([[code for code, _ in row] for row in padded], dtype=np.int32).reshape(len(rows), width)
    return ids, np.array([[value for _, value in row] for row in padded], dtype=np.float32).reshape(len(rows), width)


@st.composite
def two_candidate_sets(draw: st.DrawFn) -> Any:
    """Candidates of some users, shared out at random between two sets, as shards share out users."""
    k, j, n = draw(st.integers(1, 6)), draw(st.integers(1, 7)), draw(st.integers(1, 4))
    best, found = [], []
    for _ in range(n):
        pairs = list(draw(st.dictionaries(st.integers(0, 15), scores, max_size=k + j)).items())
        cut = draw(st.integers(max(0, len(pairs) - j), min(k, len(pairs))))
        best.append(pairs[:cut])
        found.append(pairs[cut:])
    users = draw(st.lists(st.integers(0, 15), min_size=n, max_size=n))
    return users, k, j, best, found


@quick
@given(two_candidate_sets())
def test_merged_neighbours_are_the_best_of_both_sets_without_the_user(case: Any) -> None:
    users, k, j, best, found = case
    ids, similarities = merge_nearest(np.array(users, dtype=np.int32), as_arrays(best, k), as_arrays(found, j))
    assert [ids.dtype, similarities.dtype] == ["int32", "float32"]
    for row, user in enumerate(users):
        others = [(code, value) for code, value in best[row] + found[row] if code != user]
        expected, values = as_arrays([sorted(others, key=lambda pair: (-pair[1], pair[0]))[:k]], k)
        np.testing.assert_array_equal(ids[row], expected[0])
        np.testing.assert_array_equal(similarities[row], values[0])


def test_merging_leaves_its_arguments_alone() -> None:
    best, found = as_arrays([[(1, 0.5)]], 2), as_arrays([[(0, 0.7), (2, 0.1)]], 2)
    before = [each.copy() for each in (*best, *found)]
    merge_nearest(np.array([0], dtype=np.int32), best, found)
    for now, then in zip((*best, *found), before, strict=True):
        np.testing.assert_array_equal(now, then)


@quick
@given(n=st.integers(1, 5), m=st.integers(1, 20), k=st.integers(1, 20), first=st.integers(0, 99), seed=st.integers(0))
def test_exact_nearest_are_the_largest_dot_products(n: int, m: int, k: int, first: int, seed: int) -> None:
    k = min(k, m)
    rng = np.random.default_rng(seed)
    queries, others = rng.standard_normal((n, 4), dtype=np.float32), rng.standard_normal((m, 4), dtype=np.float32)
    ids, similarities = nearest_exact(queries, others, first, k)
    assert [ids.dtype, similarities.dtype] == ["int32", "float32"]
    for row in range(n):
        products = [float(np.dot(queries[row].astype(np.float64), other)) for other in others]
        expected = sorted(range(m), key=lambda code: -products[code])[:k]
        assert sorted(ids[row].tolist()) == sorted(first + code for code in expected)
        chosen = [products[code - first] for code in ids[row]]
        np.testing.assert_allclose(similarities[row], chosen, rtol=1e-4, atol=1e-5)
