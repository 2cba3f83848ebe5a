"""The model in memory finds what the stages find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.artifacts.readers import Matrix, NearItems, Refined, read_biases, read_latent
from engine.artifacts.records import Scale
from engine.chunked import arrays
from engine.chunked.csr import NarrowRows
from engine.chunked.journal import Committed
from engine.config import Factors, ItemNeighbors, Refine, Residuals
from engine.model import small
from engine.model.biases import fit_biases
from engine.model.factors import unit_rows
from engine.model.refine import preferences, starting_vectors
from engine.model.residuals import Residuals as Objective
from engine.model.scale import scaled
from tests.support.pipeline import SMALL, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

FACTORS = Factors(**SMALL | {"passes": 8})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Committed]:
    folder = tmp_path_factory.mktemp("small")
    path = write_ratings(folder, synthetic_ratings(80, 60, half_stars=False))
    sections: Any = {"factors": SMALL | {"passes": 8}, "calibrate": {"method": "fixed"}}
    return run_stages(path, folder / "run", "item_neighbors", preset="default", **sections)


@pytest.fixture(scope="module")
def rows(run: dict[str, Committed]) -> NarrowRows:
    train = Matrix(run["matrix"]).train
    return train.read(0, train.shape[0])


@pytest.fixture(scope="module")
def decomposed(run: dict[str, Committed], rows: NarrowRows) -> tuple[Any, Any, float]:
    scale = Scale.of(run["matrix"])
    of = scaled(rows, scale.low, scale.high)
    loadings, values = small.decompose(of, FACTORS)
    # Singular vectors have any sign; those of the stages.
    theirs = np.load(run["factors"].path("loadings.npy"))
    return loadings * np.sign((loadings * theirs).sum(axis=0)), values, float(of.values().mean())


def test_loadings_are_those_of_factors(run: dict[str, Committed], decomposed: tuple[Any, Any, float]) -> None:
    loadings, values, _ = decomposed
    np.testing.assert_allclose(values[:6], np.load(run["factors"].path("singular_values.npy"))[:6], rtol=1e-3)
    theirs = np.load(run["factors"].path("loadings.npy"))
    np.testing.assert_allclose(loadings[:, :6], theirs[:, :6], atol=2e-2)


def test_vectors_are_those_of_refine(
    run: dict[str, Committed], rows: NarrowRows, decomposed: tuple[Any, Any, float]
) -> None:
    section, theirs = Refine(), Refined(run["refine"])
    objective = preferences(section, Scale.of(run["matrix"]).liked_from, False, 80, rows.n_columns)
    items = starting_vectors(*decomposed)
    small.alternate(objective, rows, items, section.sweeps, section.steps)
    users = small.user_vectors(objective, rows, items)
    np.testing.assert_allclose(
        items @ items.T, theirs.item_factors() @ theirs.item_factors().T, atol=0.05 * (items**2).sum(axis=1).max()
    )
    vectors = arrays.read_rows(theirs.vectors, 0, 80)
    assert np.abs(users @ users.T - vectors @ vectors.T).max() < 0.1


def test_vectors_are_those_of_residuals(
    run: dict[str, Committed], rows: NarrowRows, decomposed: tuple[Any, Any, float]
) -> None:
    section, theirs = Residuals(), read_latent(run, 1.0)
    assert theirs is not None
    biases = fit_biases(rows, 5, 5.0, 3.0)
    expected = read_biases(run["biases"])
    np.testing.assert_array_equal(biases.users, expected.users)
    np.testing.assert_array_equal(biases.items, expected.items)
    objective = Objective(biases, theirs.unit, theirs.strength)
    items = starting_vectors(*decomposed)
    small.alternate(objective, rows, items, section.sweeps, section.steps)
    np.testing.assert_allclose(items @ items.T, theirs.items @ theirs.items.T, atol=0.03 * (items**2).sum(axis=1).max())


def test_items_near_are_those_of_item_neighbors(
    run: dict[str, Committed], rows: NarrowRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small, "SMALL_ITEMS", 7)
    monkeypatch.setattr(small, "TILE_ITEMS", 11)
    section = ItemNeighbors()
    loadings = np.load(run["factors"].path("loadings.npy"))
    vectors = loadings * np.load(run["factors"].path("singular_values.npy"))[: loadings.shape[1]].astype(np.float32)
    counts = np.bincount(rows.indices, minlength=rows.n_columns)
    ids, similarities = small.nearest_items(unit_rows(vectors), counts, section.k, section.shrink, section.min_ratings)
    theirs = NearItems(run["item_neighbors"]).read(0, rows.n_columns)
    np.testing.assert_array_equal(ids, theirs[0])
    np.testing.assert_array_equal(similarities, theirs[1])
