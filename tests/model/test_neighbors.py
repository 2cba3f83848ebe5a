"""Nearest neighbours and clusters against comparing, sorting and counting everything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.kernels.nearest import NO_NEIGHBOR, Best, nearest_centres
from engine.model import neighbors as knn
from engine.model.neighbors import merge_nearest

quick = settings(max_examples=100)
# Few distinct values, so that ties are the rule.
scores = st.sampled_from([-1.5, 0.0, 0.25, 0.5, 1.0, 3.0])


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


def directions(n: int, dims: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((n, dims), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def test_queries_that_a_tile_is_not_offered_to_do_not_get_it() -> None:
    vectors = directions(6, 3, 0)
    best = Best(np.arange(6, dtype=np.int32), vectors, 2)
    best.offer(np.array([1, 4]), np.array([0, 2], dtype=np.int32), vectors[[0, 2]])
    ids, _ = best.result()
    assert (ids[[0, 2, 3, 5]] == NO_NEIGHBOR).all()
    assert sorted(ids[1].tolist()) == sorted(ids[4].tolist()) == [0, 2]


def test_centres_are_the_mean_directions_of_groups_that_lie_apart() -> None:
    middles = np.eye(5, dtype=np.float32)
    rng = np.random.default_rng(3)
    rows = np.repeat(middles, 40, axis=0) + rng.normal(0, 0.05, (200, 5)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    # A random start may miss a group, so enough centres for all; each group then has its own.
    centres = knn.cluster_centres(rows, 25, rounds=5, seed=0)
    assert centres.shape == (25, 5)
    assert centres.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    groups = nearest_centres(rows, centres)
    for group in range(5):
        others = np.delete(groups.reshape(5, 40), group, axis=0)
        assert not set(groups.reshape(5, 40)[group].tolist()) & set(others.ravel().tolist())


def test_rows_of_zeros_and_more_centres_than_directions_do_no_harm() -> None:
    rows = np.zeros((10, 3), dtype=np.float32)
    rows[5:, 0] = 1
    centres = knn.cluster_centres(rows, 10, rounds=3, seed=1)
    assert np.isfinite(centres).all()
    assert nearest_centres(rows, centres).shape == (10,)


@quick
@given(n=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_centres_in_sequence_are_those_there_were_and_groups_stay_together(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat([0, 1, 2, 3], n))  # of one size: each is a quarter of the sequence
    middles = np.array([[0, 0, 9], [0, 3, 9], [9, 0, 0], [9, 3, 0]])
    centres = (middles[group] + rng.normal(0, 0.1, (4 * n, 3))).astype(np.float32)
    found = knn.in_sequence(centres)
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, centres.tolist()))
    quarters = np.split(((found[:, None] - middles) ** 2).sum(axis=2).argmin(axis=1), 4)
    assert [len(set(quarter.tolist())) for quarter in quarters] == [1, 1, 1, 1]
    halves = [{quarter[0] // 2 for quarter in quarters[half : half + 2]} for half in (0, 2)]
    assert [len(half) for half in halves] == [1, 1]


def near(rows: Any, centres: Any, reach: float) -> list[tuple[int, int]]:
    """Pairs of a row and a centre it looks at, the nearest included."""
    found = knn.NearCentres(rows, centres, reach)
    others = [(row, centre) for centre in range(len(centres)) for row in found.rows_of(centre).tolist()]
    return sorted([*enumerate(found.nearest.tolist()), *others])


@quick
@given(n_centres=st.integers(1, 20), seed=st.integers(0, 2**32), reach=st.floats(0, 3))
def test_centres_within_reach_are_those_little_behind_the_nearest(n_centres: int, seed: int, reach: float) -> None:
    rows, centres = directions(5, 4, seed), directions(n_centres, 4, seed + 1)
    found = near(rows, centres, reach)
    expected = []
    for row in range(5):
        products = [float(rows[row] @ centre) for centre in centres]
        nearest = max(products)
        behind = [(nearest - product) / abs(nearest) for product in products]
        assume(all(abs(each - reach) > 1e-4 for each in behind if each != 0))
        expected += [(row, centre) for centre, each in enumerate(behind) if each <= reach]
    assert found == expected
    assert knn.NearCentres(rows, centres, reach).n_pairs == len(found) - 5  # the nearest are not counted
    assert len(near(rows, centres, np.inf)) == 5 * n_centres
    assert set(zip(range(5), nearest_centres(rows, centres).tolist(), strict=True)) <= set(found)


@quick
@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8), most=st.integers(1, 5), data=st.data())
def test_tiles_cover_a_range_once_each_in_one_cluster(sizes: list[int], most: int, data: st.DataObject) -> None:
    edges = np.cumsum([0, *sizes])
    start = data.draw(st.integers(0, int(edges[-1])))
    stop = data.draw(st.integers(start, int(edges[-1])))
    tiles = knn.cut_tiles(edges, start, stop, most)
    places = [start + place for _, first, last in tiles for place in range(first, last)]
    assert places == list(range(start, stop))
    for cluster, first, last in tiles:
        assert 0 < last - first <= most
        assert edges[cluster] <= start + first
        assert start + last <= edges[cluster + 1]


@pytest.mark.parametrize(("recall", "expected"), [(0.5, 0.4), (0.41, 0.4), (0.61, 0.6), (0.99, 0.9), (0.05, 0.0)])
def test_the_reach_is_what_the_wanted_recall_needs(recall: float, expected: float) -> None:
    behind = np.random.default_rng(0).permutation(np.arange(10) / 10).astype(np.float32)
    reach = knn.reach_for_recall(behind, recall)
    assert reach == pytest.approx(expected, abs=1e-5)
    assert (behind <= reach).mean() >= recall
    assert knn.reach_for_recall(behind[:0], recall) == 0


def test_what_was_found_is_counted_by_similarity() -> None:
    nan = np.nan
    true = np.array([[0.9, 0.8, 0.8], [0.5, nan, nan], [nan, nan, nan]], dtype=np.float32)
    found = np.array([[0.9, 0.8, 0.7], [0.5, nan, nan], [nan, nan, nan]], dtype=np.float32)
    assert knn.n_found(found, true).tolist() == [2, 1, 0]


def test_a_row_of_zeros_looks_into_one_cluster() -> None:
    rows = np.array([[0, 0], [1, 0], [0, 0]], dtype=np.float32)
    centres = np.array([[0, 1], [1, 0], [-1, 0]], dtype=np.float32)
    assert near(rows, centres, 0.1) == [(0, 0), (1, 1), (2, 0)]
    assert nearest_centres(rows, centres).tolist() == [0, 1, 0]
