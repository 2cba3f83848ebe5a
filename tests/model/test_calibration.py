"""Weights of parts: what is drawn and held out, and what is chosen where parts help and where they do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chunked.csr import NarrowRows
from engine.model.calibration import (
    choose_ranking,
    choose_rating,
    hold_out,
    rating_sums,
    recalls_of,
    sample_users,
    without_rare,
)
from engine.model.parameters import N_BLENDS, RankingWeights, blends
from engine.model.prediction import Parts
from tests.kernels.cases import dense, quick, rows_of, seeds


@quick
@given(seeds, st.integers(1, 60), st.integers(1, 9))
def test_users_are_drawn_until_they_have_enough_ratings(seed: int, most: int, most_users: int) -> None:
    lengths = np.random.default_rng(seed).integers(0, 9, 12)
    found = sample_users(lengths, most, most_users, seed)
    if not lengths.any():
        return
    assert found.tolist() == sorted({*found.tolist()})
    assert 1 <= len(found) <= most_users
    assert lengths[found].all()
    assert len(found) == 1 or lengths[found].sum() <= most
    more = sample_users(lengths, 10**6, 10**6, seed)
    assert more.tolist() == np.flatnonzero(lengths).tolist()


@quick
@given(seeds, st.integers(2, 6))
def test_what_is_held_out_and_what_is_left_are_the_rows(seed: int, least: int) -> None:
    rows = rows_of(np.random.default_rng(seed), 8, 12)
    left, held = hold_out(rows, 0.4, least, seed)
    whole, parts = dense(rows), [dense(left), dense(held)]
    there = [~np.isnan(each) for each in parts]
    assert not (there[0] & there[1]).any()
    np.testing.assert_array_equal(np.where(there[0], parts[0], parts[1]), whole)
    lengths = (~np.isnan(whole)).sum(axis=1)
    expected = [max(1, int(n * 0.4)) if n >= least else 0 for n in lengths.tolist()]
    assert there[1].sum(axis=1).tolist() == expected


def test_other_seeds_hold_out_other_ratings() -> None:
    rows = rows_of(np.random.default_rng(0), 8, 12)
    one, other = (hold_out(rows, 0.4, 2, seed)[1].indices.tolist() for seed in (1, 2))
    assert one != other


def test_rare_items_are_left_out() -> None:
    rows = rows_of(np.random.default_rng(3), 6, 20)
    ratings = dense(rows)
    often = (~np.isnan(ratings)).sum(axis=0) >= 3
    found = without_rare(rows, 3, 20)
    assert found.n_columns == often.sum()
    assert found.indices.dtype == np.uint8
    np.testing.assert_array_equal(dense(found), ratings[:, often])
    few = without_rare(rows, 3, 2)
    best = np.sort(np.argsort(-(~np.isnan(ratings)).sum(axis=0), kind="stable")[:2])
    np.testing.assert_array_equal(dense(few), ratings[:, best])


def folds(*, latent: float, near: float, n_users: int = 400, seed: int = 0) -> tuple[list, list]:  # type: ignore[type-arg]
    """Two folds of ratings that are noise but for so much of two parts."""
    rng = np.random.default_rng(seed)
    sums, counts = [], []
    for _ in range(2):
        rows = np.repeat(np.arange(n_users), 5)
        parts = rng.standard_normal((2, len(rows))).astype(np.float32)
        ratings = 3 + latent * parts[0] + near * parts[1] + rng.standard_normal(len(rows))
        bias = np.full(len(rows), 3, dtype=np.float32)
        of = Parts(bias, parts[0], parts[1], np.ones(len(rows), dtype=bool))
        sums.append(rating_sums(of, ratings.astype(np.float32), rows, n_users))
        counts.append(np.full(n_users, 5))
    return sums, counts


def test_sums_of_users_give_their_squared_errors() -> None:
    rng = np.random.default_rng(1)
    rows, (bias, latent, near, ratings) = np.repeat([0, 2], [3, 4]), rng.random((4, 7)).astype(np.float32)
    sums = rating_sums(Parts(bias, latent, near, np.ones(7, dtype=bool)), ratings, rows, 3)
    signed = np.array([1, -0.5, -2])
    errors = np.square(ratings - bias - 0.5 * latent - 2 * near)
    np.testing.assert_allclose(
        [signed @ each @ signed for each in sums], [errors[:3].sum(), 0, errors[3:].sum()], rtol=1e-5
    )


def test_weights_are_those_of_least_squares() -> None:
    found = choose_rating(*folds(latent=0.8, near=0.4))
    assert found.weights.latent == pytest.approx(0.8, abs=0.05)
    assert found.weights.near == pytest.approx(0.4, abs=0.05)
    assert found.worth["latent"].gain == pytest.approx(0.64, abs=0.08)
    assert found.worth["near"].is_real


@pytest.mark.parametrize("seed", range(5))
def test_a_part_that_is_noise_or_harms_has_no_weight(seed: int) -> None:
    found = choose_rating(*folds(latent=0.5, near=-0.5, seed=seed))
    assert found.weights.latent > 0
    assert found.weights.near == 0
    assert list(found.worth) == ["latent"]


def test_of_pure_noise_little_is_made() -> None:
    """A part is taken by chance one time in six, as its error says; then its weight is next to nothing."""
    found = [choose_rating(*folds(latent=0, near=0, seed=seed)).weights for seed in range(20)]
    assert sum(weights.latent == weights.near == 0 for weights in found) >= 10
    assert max(max(weights.latent, weights.near) for weights in found) < 0.05


def test_no_ratings_no_weights() -> None:
    nothing = choose_rating([np.zeros((0, 3, 3))] * 2, [np.zeros(0, dtype=np.int64)] * 2)
    assert (nothing.weights.latent, nothing.weights.near) == (0, 0)


@quick
@given(seeds, st.integers(1, 4))
def test_recalls_are_those_of_a_loop(seed: int, n_lists: int) -> None:
    rng = np.random.default_rng(seed)
    held = rows_of(rng, 5, 12)
    ratings = dense(held)
    ratings[np.arange(5), rng.integers(12, size=5)] = 4.0  # everybody likes something
    there = ~np.isnan(ratings)
    indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    held = NarrowRows(indptr, np.nonzero(there)[1].astype(np.uint8), ratings[there].astype(np.float32), 12, 1.0)
    lists = np.array([rng.permutation(12)[:6] for _ in range(5 * n_lists)], dtype=np.int32)
    lists[rng.random(lists.shape) < 0.1] = -1
    found = recalls_of(lists, held, 3.0)
    for user in range(5):
        liked = set(np.flatnonzero(ratings[user] >= 3.0).tolist())
        expected = [len(liked & set(row.tolist())) / len(liked) for row in lists[user * n_lists : (user + 1) * n_lists]]
        np.testing.assert_allclose(found[user], expected, rtol=1e-6)


def test_given_weights_stand_where_no_others_are_better_by_more_than_the_error() -> None:
    tried = [RankingWeights(1, 0, 0, 0), RankingWeights(0, 1, 0, 0), RankingWeights(0, 0, 0, 1)]
    rng = np.random.default_rng(0)
    base = rng.random(500).astype(np.float32)
    noise = rng.standard_normal(500).astype(np.float32)
    slightly = choose_ranking(tried, np.stack([base, base + 0.5 * noise - 0.5 * noise.mean() + 1e-4, base - 1], axis=1))
    assert slightly.weights == tried[0]
    clearly = choose_ranking(tried, np.stack([base, base - 0.1, base + 0.2], axis=1))
    assert clearly.weights == tried[2]
    assert clearly.given.gain == pytest.approx(0.2, abs=1e-3)
    assert clearly.worth["popularity"].gain == pytest.approx(0.2, abs=1e-3)
    assert choose_ranking(tried, np.empty((0, 3), dtype=np.float32)).weights == tried[0]


def test_a_part_that_does_not_help_by_more_than_its_error_has_no_weight() -> None:
    tried = [RankingWeights(*each) for each in ((1, 1, 1, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 0), (0, 1, 0, 0))]
    rng = np.random.default_rng(0)
    base, noise = rng.random(500), rng.standard_normal((500, 4)) * 0.1
    noise -= noise.mean(axis=0)
    # Votes are worth little more than nothing, and less than that without what goes together.
    gains = [0.0, -0.001, -0.0005, -0.0015, -0.1]
    recalls = [base, *(base + gain + of for gain, of in zip(gains[1:], noise.T, strict=True))]
    found = choose_ranking(tried, np.stack(recalls, axis=1).astype(np.float32))
    assert found.weights == tried[3]
    assert list(found.worth) == ["products"]
    assert found.worth["products"].gain == pytest.approx(0.1 - 0.0015, abs=1e-4)


def test_popularity_alone_is_always_among_what_is_tried() -> None:
    for usual in (RankingWeights(1, 0.25, 0, 0), RankingWeights(2, 3, 4, 5)):
        for has_products in (True, False):
            tried = blends(usual, has_products)
            assert tried[0] == usual
            assert RankingWeights(0, 0, 0, 1) in tried
            assert len({*tried}) == len(tried) <= N_BLENDS
            assert has_products or not any(weights.products for weights in tried[1:])
