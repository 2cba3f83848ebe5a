"""Scores of whole batches against the notebook's, one user at a time."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.model.scoring import ask_neighbors, distance_weights, multiply_adds, row_numbers, weighted_sums
from tests.support.notebook import predict_user_all_movies

quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def half_star_rows(n_users: int, n_items: int, rng: np.random.Generator) -> NarrowRows:
    """Ratings from 0 to 5, zeros stored like any other; some users without any."""
    rated = rng.random((n_users, n_items)) < rng.random((n_users, 1)) * 0.8
    rows, columns = np.nonzero(rated)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_users))])
    data = rng.integers(0, 11, len(rows)).astype(np.uint8)
    return NarrowRows(indptr, columns.astype(np.uint16), data, n_items, 0.5)


def some_neighbors(
    n: int, k: int, n_users: int, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Distinct neighbours of each user, from k of them to none at all."""
    ids = np.full((n, k), -1, dtype=np.int32)
    similarities = np.full((n, k), np.nan, dtype=np.float32)
    for row in range(n):
        found = rng.integers(0, min(k, n_users), endpoint=True)
        ids[row, :found] = rng.choice(n_users, found, replace=False)
        similarities[row, :found] = np.sort(rng.uniform(-1, 1, found))[::-1]
    return ids, similarities


def sums(ratings: NarrowRows, ids: NDArray[np.int32], similarities: NDArray[np.float32]) -> scipy.sparse.csr_matrix:
    return weighted_sums(ratings, ask_neighbors(ids, distance_weights(similarities), len(ratings.indptr) - 1))


@quick
@given(n=st.integers(1, 6), k=st.integers(1, 10), n_users=st.integers(1, 20), n_items=st.integers(1, 30), seed=seeds)
def test_scores_are_those_of_the_notebook(n: int, k: int, n_users: int, n_items: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ratings = half_star_rows(n_users, n_items, rng)
    ids, similarities = some_neighbors(n, k, n_users, rng)
    scores = sums(ratings, ids, similarities)
    assert scores.shape == (n, n_items)
    assert scores.dtype == np.float32
    asking = ask_neighbors(ids, distance_weights(similarities), n_users)
    wide = weighted_sums(ratings.widen(), asking)
    for ours, same in ((wide.data, scores.data), (wide.indices, scores.indices), (wide.indptr, scores.indptr)):
        np.testing.assert_array_equal(ours, same)
    train = ratings.widen().astype(np.float64)
    valid = ids >= 0
    lengths = np.diff(ratings.indptr)
    assert multiply_adds(lengths, asking).tolist() == [int(lengths[ids[row][valid[row]]].sum()) for row in range(n)]
    for row in range(n):
        neighbors = {row: ids[row][valid[row]]}
        distances = {row: 1 - similarities[row][valid[row]].astype(np.float64)}
        expected = predict_user_all_movies(train, row, neighbors, distances)
        np.testing.assert_allclose(scores[row].toarray()[0], expected, rtol=1e-5, atol=1e-5)
        assert sorted(scores[row].indices.tolist()) == np.flatnonzero(expected).tolist()


@quick
@given(n=st.integers(2, 8), seed=seeds, data=st.data())
def test_a_users_scores_have_the_same_bits_in_every_batch(n: int, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    ratings = half_star_rows(30, 25, rng)
    ids, similarities = some_neighbors(n, 9, 30, rng)
    together = sums(ratings, ids, similarities).toarray()
    cut = data.draw(st.integers(1, n - 1))
    apart = [sums(ratings, ids[part], similarities[part]) for part in (slice(cut), slice(cut, n))]
    assert scipy.sparse.vstack(apart).toarray().tobytes() == together.tobytes()


def test_weights_are_shares_of_the_summed_distances() -> None:
    weights = distance_weights(np.array([[0.75, 0.5, np.nan]], dtype=np.float32))
    np.testing.assert_allclose(weights, [[1 / 3, 2 / 3, 0]], rtol=1e-6)
    assert weights.dtype == np.float32


@pytest.mark.parametrize("similarity", [np.nan, 1.0])
def test_neighbours_that_are_none_or_equal_to_the_user_weigh_nothing(similarity: float) -> None:
    assert distance_weights(np.full((2, 3), similarity, dtype=np.float32)).tolist() == [[0.0] * 3] * 2


def test_a_batch_without_any_neighbour_has_no_scores() -> None:
    ratings = half_star_rows(4, 5, np.random.default_rng(0))
    nobody = np.full((3, 2), -1, dtype=np.int32)
    scores = sums(ratings, nobody, np.full((3, 2), np.nan, dtype=np.float32))
    assert (scores.shape, scores.nnz) == ((3, 5), 0)


@given(st.lists(st.integers(0, 5), max_size=10))
def test_row_numbers_repeat_each_row_by_its_length(lengths: list[int]) -> None:
    indptr = np.cumsum([0, *lengths])
    assert row_numbers(indptr).tolist() == [row for row, n in enumerate(lengths) for _ in range(n)]
