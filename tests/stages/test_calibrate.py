"""Weights that a run chooses: never worse than simple, and never by what is held out for the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.artifacts.readers import Matrix
from engine.artifacts.records import Calibrated, Means
from engine.chunked.journal import Committed
from engine.model.parameters import RankingWeights
from tests.support.pipeline import SMALL, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings


def calibrated(folder: Path, ratings: pl.DataFrame, upto: str = "calibrate", **options: Any) -> dict[str, Committed]:
    sections: Any = {"factors": SMALL} | options
    return run_stages(write_ratings(folder, ratings), folder / "run", upto, preset="default", **sections)


def choice(run: dict[str, Committed]) -> Calibrated:
    return Calibrated.of(run["calibrate"])


def test_workers_change_nothing_and_no_test_rating_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ratings = synthetic_ratings(120, 60)
    for folder, workers in (("one", 1), ("two", 2)):
        calibrated(tmp_path / folder, ratings, "matrix", workers=workers)
    monkeypatch.setattr(Matrix, "test", property(lambda matrix: pytest.fail("a test rating is read")))
    one, two = (
        choice(calibrated(tmp_path / folder, ratings, workers=workers)) for folder, workers in (("one", 1), ("two", 2))
    )
    assert one == two
    assert one.n_users > 100
    assert one.n_ratings > 100


def test_a_sample_of_users_is_enough(tmp_path: Path) -> None:
    ratings = synthetic_ratings(120, 60)
    whole = choice(calibrated(tmp_path / "whole", ratings))
    part = choice(calibrated(tmp_path / "part", ratings, calibrate={"ratings": 600, "users": 20}))
    assert part.n_ratings < whole.n_ratings / 2
    assert part.n_users <= 40 < whole.n_users


def test_fixed_weights_are_those_given(tmp_path: Path) -> None:
    ratings = synthetic_ratings(60, 40)
    run = calibrated(
        tmp_path,
        ratings,
        "evaluate",
        calibrate={"method": "fixed"},
        predict={"latent_weight": 0.0, "near_weight": 0.0},
        evaluate={"products_weight": 0.0, "votes_weight": 0.0, "popularity_weight": 1.0},
    )
    assert "calibrate" not in run
    figures = Means.of(run["evaluate"]).figures
    assert figures["model"]["rmse"]["value"] == pytest.approx(figures["bias_model"]["rmse"]["value"], abs=1e-6)
    assert figures["model"]["recall_at_50"]["value"] == figures["most_popular"]["recall_at_50"]["value"]


def random_ratings(kind: str, n_users: int = 500, n_items: int = 400, seed: int = 0) -> pl.DataFrame:
    """Ratings in which nobody has a taste: pure noise, items by popularity, or users and items that differ in level."""
    rng = np.random.default_rng(seed)
    weights = np.ones(n_items) if kind == "noise" else 1 / np.arange(2, n_items + 2)
    level, quality = rng.normal(0, 0.5, n_users), rng.normal(0, 0.5, n_items)
    frames = []
    for user in range(n_users):
        items = rng.choice(n_items, rng.integers(15, 40), replace=False, p=weights / weights.sum())
        ratings = rng.normal(3.5, 1, len(items))
        if kind == "levels":
            ratings += level[user] + quality[items]
        rounded = np.clip(np.round(ratings * 2) / 2, 0.5, 5)
        frames.append(pl.DataFrame({"userId": user, "movieId": items, "rating": rounded}))
    return pl.concat(frames)


@pytest.mark.parametrize("kind", ["noise", "popular", "levels"])
def test_where_there_is_no_taste_the_model_is_no_worse_than_simple(kind: str, tmp_path: Path) -> None:
    run = calibrated(tmp_path, random_ratings(kind), "evaluate", evaluate={"k": 10})
    figures = Means.of(run["evaluate"]).figures
    model, simple = figures["model"], figures["most_popular"]
    assert model["rmse"]["value"] <= figures["bias_model"]["rmse"]["value"] + 0.002
    assert model["recall_at_10"]["value"] >= simple["recall_at_10"]["value"] - simple["recall_at_10"]["standard_error"]


def test_what_is_popular_is_recommended_where_nothing_else_is_known(tmp_path: Path) -> None:
    found = choice(calibrated(tmp_path, random_ratings("popular")))
    assert found.ranking.weights != RankingWeights(1.0, 0.25, 0.0, 0.0)
    assert found.ranking.weights.popularity > 0
