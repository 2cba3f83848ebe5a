"""Finished runs that several files ask."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.support.ratings import synthetic_ratings
from tests.support.recommender import run


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of synthetic ratings, with titles of some items."""
    folder = tmp_path_factory.mktemp("recommender")
    folder.joinpath("movies.csv").write_text('movieId,title\n1,"One, the"\n8,Eight\n')
    return run(folder, synthetic_ratings(90, 60))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same ratings of users and items that go by text; no titles."""
    ratings = synthetic_ratings(90, 60).with_columns(pl.format("u{}", "userId").alias("userId"))
    ratings = ratings.with_columns(pl.format("item {}", "movieId").alias("movieId"))
    return run(tmp_path_factory.mktemp("texts"), ratings)


@pytest.fixture(scope="module", params=["default_run", "notebook_run"])
def sample(request: pytest.FixtureRequest) -> Path:
    where: Path = request.getfixturevalue(request.param)
    return where
