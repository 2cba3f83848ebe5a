"""What near items say, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import kernels
from engine.kernels.rows import Lists
from tests.kernels.cases import lists, of_row, quick, seeds


@quick
@given(seeds, st.integers(1, 15), st.integers(1, 6), st.sampled_from([0.0, 0.5]))
def test_predictions_are_means_of_what_the_user_rated(seed: int, n_items: int, k: int, shrink: float) -> None:
    rng = np.random.default_rng(seed)
    rated, asked = lists(rng, 4, n_items), lists(rng, 4, n_items)
    residuals = rng.standard_normal(len(rated.columns)).astype(np.float32)
    near = rng.integers(-1, n_items, (n_items, k)).astype(np.int32)
    similarities = rng.uniform(0.1, 1, near.shape).astype(np.float32)
    means, covered = kernels.mean_near_residuals(rated, residuals, n_items, asked, near, similarities, shrink)
    pair = 0
    for user in range(4):
        left = dict(zip(of_row(rated, user), residuals[rated.indptr[user] :].tolist(), strict=False))
        for item in of_row(asked, user):
            of_item = zip(near[item].tolist(), similarities[item].tolist(), strict=True)
            said = [(weight, left[other]) for other, weight in of_item if other in left]
            assert covered[pair] == bool(said)
            below = sum(weight for weight, _ in said) + shrink
            assert means[pair] == pytest.approx(sum(w * e for w, e in said) / below if said else 0, rel=1e-6)
            pair += 1
    assert pair == len(means)


@quick
@given(seeds, st.sampled_from([16, 48]))
def test_products_of_pairs_are_numpys(seed: int, dims: int) -> None:
    rng = np.random.default_rng(seed)
    users, items = (rng.standard_normal((n, dims), dtype=np.float32) for n in (4, 7))
    asked = lists(rng, 4, 7)
    found = kernels.products_of_pairs(users, items, asked)
    expected = users[np.repeat(np.arange(4), np.diff(asked.indptr))] * items[asked.columns]
    np.testing.assert_allclose(found, expected.astype(np.float64).sum(axis=1), atol=1e-5)


def test_products_of_what_does_not_fit_are_refused() -> None:
    vectors, asked = np.ones((2, 16), np.float32), Lists(np.array([0, 1, 2]), np.array([0, 1], dtype=np.int32))
    with pytest.raises(ValueError, match="of other dimensions"):
        kernels.products_of_pairs(vectors, np.ones((2, 32), np.float32), asked)
    with pytest.raises(ValueError, match="another number of users"):
        kernels.products_of_pairs(vectors[:1], vectors, asked)
    with pytest.raises(IndexError):
        kernels.products_of_pairs(vectors, vectors[:1], asked)


def test_no_item_leads_out_of_the_table() -> None:
    one = Lists(np.array([0, 1]), np.array([0], dtype=np.int32))
    near, similarities = np.zeros((2, 3), dtype=np.int32), np.ones((2, 3), dtype=np.float32)
    residuals = np.ones(1, dtype=np.float32)
    for items in ([5], [-1]):
        beyond = Lists(np.array([0, 1]), np.array(items, dtype=np.int32))
        with pytest.raises(IndexError):
            kernels.mean_near_residuals(beyond, residuals, 2, one, near, similarities, 1.0)
        with pytest.raises(IndexError):
            kernels.mean_near_residuals(one, residuals, 2, beyond, near, similarities, 1.0)
    with pytest.raises(IndexError):
        kernels.mean_near_residuals(one, residuals, 2, one, near + np.int32(2), similarities, 1.0)
    with pytest.raises(ValueError, match="of other items"):
        kernels.mean_near_residuals(one, residuals, 2, one, near, similarities[:, :2].copy(), 1.0)
