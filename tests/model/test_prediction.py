"""Predicting goes through users a few at a time, which changes no prediction."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random_array

from engine.chunked.csr import NarrowRows
from engine.model import prediction
from engine.model.biases import Biases
from engine.model.parameters import RatingWeights
from engine.model.prediction import Latent, Near, RatingModel, predict_ratings
from engine.model.scoring import row_numbers

N_USERS, N_ITEMS, K, FIRST = 11, 23, 4, 5


def case(seed: int) -> tuple[RatingModel, csr_matrix, csr_matrix]:
    """A model, train ratings, and the pairs asked for; some users have none of either."""
    rng = np.random.default_rng(seed)
    of_users, of_items = (rng.normal(0, 0.3, n).astype(np.float32) for n in (FIRST + N_USERS, N_ITEMS))
    biases = Biases(3.0, of_users, of_items, 0.5, 5.0)
    ids = rng.integers(-1, N_ITEMS, (N_ITEMS, K)).astype(np.int32)
    similarities = np.where(ids >= 0, rng.random(ids.shape), 0).astype(np.float32)
    train, asked = (
        csr_matrix(random_array((N_USERS, N_ITEMS), density=0.3, rng=rng, dtype=np.float32)) for _ in range(2)
    )
    latent = Latent(rng.standard_normal((N_ITEMS, 16), dtype=np.float32), 2.0, 9.0)
    return RatingModel(biases, latent, Near(ids, similarities, 2.0), RatingWeights(0.7, 0.4)), train, asked


def loops(model: RatingModel, train: csr_matrix, user: int, item: int) -> float:
    dense = train.toarray()
    base = model.biases.mean + model.biases.users[FIRST + user] + model.biases.items[item]
    above, below = 0.0, model.near.shrink
    for near, similarity in zip(model.near.ids[item], model.near.similarities[item], strict=True):
        if near >= 0 and dense[user, near]:
            expected = model.biases.mean + model.biases.users[FIRST + user] + model.biases.items[near]
            above, below = above + similarity * (dense[user, near] - expected), below + similarity
    rated, weighed = np.flatnonzero(dense[user]), base + 0.4 * above / below
    if model.latent is None or not len(rated):
        return float(np.clip(weighed, model.biases.low, model.biases.high))
    vectors, left = model.latent.items[rated], dense[user, rated] - base + model.biases.items[item]
    ridge = model.latent.strength * len(rated) ** 0.5 * np.eye(16)
    own = np.linalg.solve(vectors.T @ vectors + ridge, vectors.T @ (left - model.biases.items[rated]) / 2)
    return float(np.clip(weighed + 0.7 * 2 * own @ model.latent.items[item], model.biases.low, model.biases.high))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("users", "ratings"), [(1, 99), (3, 99), (64, 1), (64, 9), (64, 999)])
@pytest.mark.parametrize("has_latent", [True, False])
def test_predictions_are_those_of_loops(
    seed: int, users: int, ratings: int, has_latent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "PREDICT_USERS", users)
    monkeypatch.setattr(prediction, "PREDICT_RATINGS", ratings)
    model, train, asked = case(seed)
    model = model if has_latent else model._replace(latent=None)
    own = NarrowRows(train.indptr.astype(np.int64), train.indices.astype(np.uint8), train.data, N_ITEMS, 1.0)
    found = predict_ratings(model, own, FIRST, asked.indptr, asked.indices)
    places = list(zip(row_numbers(asked.indptr).tolist(), asked.indices.tolist(), strict=True))
    np.testing.assert_allclose(found.values, [loops(model, train, *place) for place in places], atol=1e-4)
    near = [any(j >= 0 and train[user, j] for j in model.near.ids[item]) for user, item in places]
    assert found.covered.tolist() == near


def test_items_may_be_some_of_all() -> None:
    model, train, asked = case(1)
    own = NarrowRows(train.indptr.astype(np.int64), train.indices.astype(np.uint8), train.data, N_ITEMS, 1.0)
    whole = predict_ratings(model, own, FIRST, asked.indptr, asked.indices)
    some = np.unique(asked.indices)
    near = Near(model.near.ids[some], model.near.similarities[some], 2.0, some)
    part = model._replace(near=near)
    found = predict_ratings(part, own, FIRST, asked.indptr, asked.indices)
    assert found.values.tobytes() == whole.values.tobytes()
