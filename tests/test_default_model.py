"""The default model against loops over users, and what it must reach on the real sample."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.artifacts.readers import Predictions, read_biases, read_latent, read_together
from engine.chunked import arrays
from engine.chunked.journal import Committed
from engine.config import Evaluate, Factors, ItemNeighbors, Predict
from engine.model.item_neighbors import significance
from engine.model.prediction import Latent
from engine.model.sizes import POPULAR_ITEMS
from tests.support.pipeline import SMALL, read_matrix, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

SECTIONS: dict[str, Any] = {
    "preset": "default",
    "factors": SMALL,
    "neighbors": {"k": 7},
    "calibrate": {"method": "fixed"},
    "item_neighbors": {"k": 5, "ranking_k": 3, "min_ratings": 3},
    "cooccurrence": {"k": 6},
    "evaluate": {"popularity_penalty": 0.2, "popularity_weight": 0.3, "together_weight": 0.4},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Committed]:
    folder = tmp_path_factory.mktemp("default")
    return run_stages(write_ratings(folder, synthetic_ratings(90, 60)), folder / "run", **SECTIONS)


def _array(stage: Committed, name: str) -> Any:
    return arrays.read_rows(arrays.open_array(stage.root, name), 0, 10**6)


def _scaled(train: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix that is decomposed: users and items with many ratings count less."""
    of_users, of_items = ((train > 0).sum(axis=axis).clip(1) for axis in (1, 0))
    scaled = of_users[:, None] ** -Factors().user_scaling * train * of_items ** -Factors().item_scaling
    return np.asarray(scaled)


def test_vectors_are_those_of_the_scaled_matrix(run: dict[str, Committed]) -> None:
    scaled = _scaled(read_matrix(run).toarray().astype(np.float64))
    u, s, _ = np.linalg.svd(scaled, full_matrices=False)
    np.testing.assert_allclose(np.load(run["factors"].path("singular_values.npy"))[:3], s[:3], rtol=1e-2)
    vectors = _array(run["factors"], "vectors")
    assert vectors.shape[1] == SMALL["dims"]
    some = u[:, :2] * s[:2]  # the largest have converged
    found = vectors[:, :2] / np.linalg.norm(vectors[:, :2], axis=1, keepdims=True)
    some /= np.linalg.norm(some, axis=1, keepdims=True)
    assert np.abs((found * some * np.sign((found * some).sum(axis=0))).sum(axis=1)).min() > 0.95


def test_items_near_by_are_those_with_the_largest_shrunk_cosine(run: dict[str, Committed]) -> None:
    rated = read_matrix(run).toarray() > 0
    loadings = np.load(run["factors"].path("loadings.npy"))
    vectors = loadings * np.load(run["factors"].path("singular_values.npy"))[: loadings.shape[1]]
    cosines = vectors @ vectors.T / np.outer(*[np.linalg.norm(vectors, axis=1)] * 2)
    trust = significance(rated.sum(axis=0), ItemNeighbors().shrink)
    similarities = cosines * np.minimum.outer(trust, trust)
    np.fill_diagonal(similarities, -1)
    rare = rated.sum(axis=0) < 3
    similarities[:, rare] = similarities[rare] = -1
    expected = -np.sort(-similarities, axis=1)[:, :5]
    np.testing.assert_allclose(_array(run["item_neighbors"], "similarities"), np.maximum(expected, 0), atol=1e-5)
    ids = _array(run["item_neighbors"], "ids")
    chosen = np.take_along_axis(similarities, np.maximum(ids, 0), axis=1)
    np.testing.assert_allclose(chosen[ids >= 0], expected[ids >= 0], atol=1e-5)


def _fitted(latent: Latent, ratings: NDArray[Any], expected: NDArray[Any]) -> NDArray[Any]:
    """A user's vector of what the bias model leaves."""
    rated = np.flatnonzero(ratings)
    items = latent.items[rated].astype(np.float64)
    left = items.T @ items + latent.strength * len(rated) ** 0.5 * np.eye(items.shape[1])
    return np.asarray(np.linalg.solve(left, items.T @ (ratings[rated] - expected[rated]) / latent.unit))


def test_predictions_are_the_bias_models_and_what_vectors_and_near_items_add(run: dict[str, Committed]) -> None:
    train, test = read_matrix(run).toarray(), read_matrix(run, "test")
    biases = read_biases(run["biases"])
    ids, similarities = (_array(run["item_neighbors"], name) for name in ("ids", "similarities"))
    latent, section = read_latent(run, 1.0), Predict()
    assert latent is not None
    found = Predictions(run["predict"]).take(test.indptr, np.arange(test.shape[0]))
    users = np.repeat(np.arange(test.shape[0]), np.diff(test.indptr))
    for place, (user, item) in enumerate(zip(users, test.indices, strict=True)):
        base = biases.mean + biases.users[user] + biases.items[item]
        near = [j for j in range(5) if ids[item, j] >= 0 and train[user, ids[item, j]] > 0]
        weights = [float(similarities[item, j]) for j in near]
        left = [train[user, ids[item, j]] - biases.mean - biases.users[user] - biases.items[ids[item, j]] for j in near]
        own = _fitted(latent, train[user], biases.mean + biases.users[user] + biases.items)
        value = base + section.latent_weight * latent.unit * own @ latent.items[item]
        value += section.near_weight * np.dot(weights, left) / (sum(weights) + section.shrink)
        assert found.values[place] == pytest.approx(np.clip(value, 0.5, 5), abs=1e-4)
        assert found.covered[place] == bool(near)


def _standardised(values: NDArray[Any]) -> NDArray[Any]:
    return (values - values.mean()) / values.std() if len(values) and values.std() else 0 * values


def test_the_figures_are_those_of_loops_over_users(run: dict[str, Committed]) -> None:
    section, liked_from = Evaluate(**SECTIONS["evaluate"]), 4.0  # the top quarter of half stars
    train, test = read_matrix(run).toarray().astype(np.float64), read_matrix(run, "test")
    ids, similarities = (_array(run["neighbors"], name) for name in ("ids", "similarities"))
    votes = np.where(train >= liked_from, 1, np.where(train > 0, section.disliked_vote, 0))
    popularity = np.maximum((train > 0).sum(axis=0), 1.0)
    near = np.zeros((train.shape[1], train.shape[1]))
    near_ids, near_similarities = (_array(run["item_neighbors"], name) for name in ("ids", "similarities"))
    for item in range(len(near)):
        some = near_ids[item, :3] >= 0
        near[item, near_ids[item, :3][some]] = near_similarities[item, :3][some]
    vectors, item_vectors = _array(run["refine"], "vectors"), np.load(run["refine"].path("item-factors.npy"))
    companions = read_together(run, 1.0)
    assert companions is not None
    together = companions.similarities.widen().toarray() * companions.scales[:, None]
    recalls = []
    for user in range(len(train)):
        weights = np.maximum(similarities[user], 0) ** section.amplification
        scores = weights @ votes[ids[user]] / weights.sum() / popularity**section.popularity_penalty
        own_liked = train[user] >= liked_from
        scores += section.liked_share * near @ own_liked / max(own_liked.sum(), 1)
        beside = votes[user] @ together
        popular = [item for item in np.argsort(-popularity, kind="stable") if train[user, item] == 0][:POPULAR_ITEMS]
        candidates = np.union1d(np.flatnonzero((train[user] == 0) & ((scores != 0) | (beside != 0))), popular)
        blended = section.products_weight * _standardised(vectors[user] @ item_vectors[candidates].T)
        blended += section.popularity_weight * _standardised(np.log1p(popularity[candidates]))
        blended += section.votes_weight * _standardised(scores[candidates])
        blended += section.together_weight * _standardised(beside[candidates])
        best = candidates[np.argsort(-blended)[: section.k]]
        row = test[user]
        liked = set(row.indices[row.data >= liked_from].tolist())
        if liked:
            recalls.append(len(liked & set(best.tolist())) / len(liked))
    mean = run["evaluate"].result("mean.00000")
    assert mean["recall"] == pytest.approx(np.mean(recalls))
    assert mean["n_users_with_liked"] == len(recalls)
    found = Predictions(run["predict"]).take(test.indptr, np.arange(test.shape[0]))
    assert mean["rmse"] == pytest.approx(np.sqrt(np.mean((found.values.astype(np.float64) - test.data) ** 2)))
    assert mean["n_test_covered"] == found.covered.sum()


def _digests(run: dict[str, Committed]) -> dict[str, str]:
    names = ("refine", "neighbors", "biases", "residuals", "item_neighbors", "cooccurrence", "predict", "evaluate")
    files = [path for name in names for path in sorted(run[name].path(".").rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.parent.name != "records"}


def test_batches_and_workers_change_no_byte(run: dict[str, Committed], tmp_path: Path) -> None:
    write_ratings(tmp_path, synthetic_ratings(90, 60))
    again = run_stages(tmp_path / "ratings.csv", tmp_path / "run", batch_rows=64, workers=1, **SECTIONS)
    root, other = (str(each["biases"].root.parent) for each in (run, again))
    first, second = (
        {path.removeprefix(where): sha for path, sha in _digests(each).items()}
        for each, where in ((run, root), (again, other))
    )
    assert first == second


def test_blocks_of_users_may_differ_between_the_stages(run: dict[str, Committed], tmp_path: Path) -> None:
    write_ratings(tmp_path, synthetic_ratings(90, 60))
    sections = SECTIONS | {"predict": {"users_per_task": 17}, "evaluate": SECTIONS["evaluate"] | {"users_per_task": 40}}
    again = run_stages(tmp_path / "ratings.csv", tmp_path / "run", **sections)
    found, expected = (each["evaluate"].result("mean.00000")["figures"] for each in (again, run))
    assert list(found) == list(expected)
    for name, figures in found.items():
        assert list(figures) == list(expected[name])
        for figure, values in figures.items():
            assert values == pytest.approx(expected[name][figure]), (name, figure)


def test_the_sample_is_predicted_and_ranked_better_than_by_the_notebook(sample_dir: Path, tmp_path: Path) -> None:
    run = run_stages(sample_dir / "ratings.csv", tmp_path, preset="default")
    mean = run["evaluate"].result("mean.00000")
    assert mean["rmse"] <= 0.845
    assert mean["recall"] >= 0.455
