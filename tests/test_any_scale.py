"""The same ratings in another unit, or from another zero, give the same lists, and errors in that unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.artifacts.records import Scale
from engine.results import figures, summary
from engine.serving.finished import open_finished
from engine.serving.recommender import Recommender
from tests.support.pipeline import SMALL, finish_run
from tests.support.ratings import synthetic_ratings, write_ratings

SECTIONS: dict[str, Any] = {
    "preset": "default",
    "factors": SMALL,
    "neighbors": {"k": 7},
    "item_neighbors": {"k": 5, "ranking_k": 3},
    "evaluate": {"k": 8},
}
RATING = pl.col("rating")
ANOTHER: dict[str, tuple[pl.Expr, float]] = {
    "twice": (RATING * 2, 2.0),
    "plus 3": (RATING + 3, 1.0),
    "from zero": (RATING - 0.5, 1.0),
    "-10 to 10": ((RATING - 0.5) / 4.5 * 20 - 10, 20 / 4.5),
    "hundredths": (RATING / 100, 0.01),
}


def finished(folder: Path, rating: pl.Expr = RATING, **more: Any) -> Path:
    ratings = synthetic_ratings(90, 60).with_columns(rating=rating)
    return finish_run(write_ratings(folder, ratings), folder / "run", **{**SECTIONS, **more})


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("usual"))


def metrics_of(where: Path) -> dict[str, Any]:
    run = open_finished(where)
    return figures.collect(run.settings, run.source, {name: stage.root for name, stage in run.stages.items()})


def everybodys_lists(where: Path) -> pl.DataFrame:
    recommender = Recommender.open(where)
    return recommender.recommend(recommender.users, 8, include_test=True)


@pytest.mark.parametrize("refined", [True, False])
@pytest.mark.parametrize("name", ANOTHER)
def test_lists_are_the_same_and_errors_in_the_unit(name: str, refined: bool, usual: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {} if refined else {"refine": {"sweeps": 0}}
    expected = usual if refined else finished(tmp_path / "usual", **more)
    rating, unit = ANOTHER[name]
    found = finished(tmp_path / "another", rating, **more)
    one, other = everybodys_lists(expected), everybodys_lists(found)
    assert other.select("user", "rank", "item", "n_raters").equals(one.select("user", "rank", "item", "n_raters"))
    one_metrics, other_metrics = metrics_of(expected), metrics_of(found)
    assert other_metrics["rmse"] == pytest.approx(unit * one_metrics["rmse"], rel=1e-4)
    assert other_metrics["recall_at_8"] == one_metrics["recall_at_8"]
    assert other_metrics["figures"]["most_popular"] == one_metrics["figures"]["most_popular"]
    newcomers = [Recommender.open(where) for where in (expected, found)]
    liked = [newcomer.recommend(newcomer.likes([1, 8, 15, 22]), 5)["item"].to_list() for newcomer in newcomers]
    assert liked[0] == liked[1]


def test_ratings_as_they_are_depend_on_their_zero(usual: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {"factors": {**SMALL, "ratings": "raw"}}
    assert everybodys_lists(finished(tmp_path / "same", **more)).equals(everybodys_lists(usual))  # half stars
    more["calibrate"] = {"method": "fixed"}  # of chance alone it makes lists that no rating has a part in
    found, shifted = finished(tmp_path / "fixed", **more), finished(tmp_path / "less 3", RATING - 3, **more)
    assert not everybodys_lists(found)["item"].equals(everybodys_lists(shifted)["item"])


def test_zeros_negatives_and_equal_ratings_of_a_user_are_ratings(tmp_path: Path) -> None:
    """A zero is stored, counts as rated, and is not recommended."""
    ratings = synthetic_ratings(90, 60).with_columns(rating=RATING - 3)
    same = pl.col("userId") == ratings["userId"][0]
    ratings = ratings.with_columns(rating=pl.when(same).then(0.0).otherwise(RATING))
    where = finish_run(write_ratings(tmp_path, ratings), tmp_path / "run", **SECTIONS)
    recommender = Recommender.open(where)
    listed = recommender.recommend(recommender.users, 60)
    rated = ratings.select(user="userId", item="movieId")
    assert listed.join(rated, on=["user", "item"]).is_empty()
    assert (ratings["rating"] == 0).sum() > 10
    assert metrics_of(where)["n_train"] + metrics_of(where)["n_test"] == ratings.height


def test_what_is_liked_is_settled_told_and_stored(usual: Path) -> None:
    metrics = metrics_of(usual)
    assert (metrics["liked_from"], metrics["config"]["evaluate"]["liked_from"]) == (4.0, "auto")
    assert Scale.of(open_finished(usual).stages["matrix"]) == Scale(0.5, 5.0, 4.0)
    told = summary.describe(metrics)
    assert "rated 4.0 or more: the top quarter of the scale" in told
    assert "with a liked test item (rating 4.0 or more)" in told
    assert not metrics["notes"]


@pytest.mark.parametrize(("liked_from", "noted"), [(6.0, "0.0%"), (0.5, "100.0%"), (2.5, "")])
def test_a_number_that_likes_nearly_all_or_nothing_is_noted(liked_from: float, noted: str, tmp_path: Path) -> None:
    metrics = metrics_of(finished(tmp_path, evaluate={"k": 8, "liked_from": liked_from}))
    assert metrics["liked_from"] == liked_from
    assert "liked  " not in summary.describe(metrics)
    expected = (
        f"evaluate.liked_from={liked_from}: {noted} of the test ratings are liked; leave it out to have it chosen"
    )
    assert metrics["notes"] == ([expected] if noted else [])


def test_the_notebook_has_its_own(tmp_path: Path) -> None:
    where = finished(tmp_path, preset="notebook", factors={}, index={"method": "auto"})
    assert metrics_of(where)["liked_from"] == 4.0
    assert not open_finished(where).stages["matrix"].results("scale")
    where = finished(tmp_path / "auto", preset="notebook", factors={}, evaluate={"k": 8, "liked_from": "auto"})
    assert metrics_of(where)["liked_from"] == 4.0
