"""Refined vectors against alternating least squares with NumPy's solver, and what changes no byte of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from engine.artifacts.readers import Refined
from engine.chunked import arrays
from engine.chunked.journal import Committed
from engine.config import Refine
from engine.model.refine import starting_vectors, unseen_weight
from tests.support.pipeline import SMALL, read_matrix, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

EXACT: dict[str, Any] = {"sweeps": 2, "steps": 16, "ratings_per_part": 300, "items_per_task": 17, "users_per_chunk": 25}


def refined(
    folder: Path, *, batch_rows: int | None = None, workers: int = 2, feedback: str = "explicit", **section: Any
) -> dict[str, Committed]:
    path = write_ratings(folder, synthetic_ratings(70, 60, seed=3))
    sections: Any = {"factors": SMALL, "refine": EXACT | section, "matrix": {"feedback": feedback}}
    return run_stages(
        path, folder / "run", "refine", preset="default", batch_rows=batch_rows, workers=workers, **sections
    )


def vectors(run: dict[str, Committed]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    found = Refined(run["refine"])
    return arrays.read_rows(found.vectors, 0, 10**6), found.item_factors()


def solved(
    preferences: NDArray[Any],
    confidences: NDArray[Any],
    others: NDArray[Any],
    unseen: float,
    of_unseen: float,
    strength: float,
) -> NDArray[Any]:
    """One side's vectors from the other's: NaN are not there."""
    rows = []
    for row, weights in zip(preferences, confidences, strict=True):
        there = ~np.isnan(row)
        weighed = others[there].T * weights[there]
        left = unseen * others.T @ others + weighed @ others[there]
        left += strength * (weights[there].sum() + of_unseen) * np.eye(others.shape[1])
        rows.append(np.linalg.solve(left, weighed @ row[there]))
    return np.array(rows)


@pytest.mark.parametrize("ratings_per_part", [300, 10**6])  # several parts; one, whose users are gone through again
@pytest.mark.parametrize(
    ("feedback", "alpha", "weighed"), [("explicit", 2.0, False), ("implicit", 0.0, False), ("implicit", 2.0, True)]
)
def test_vectors_are_those_of_alternating_least_squares(
    feedback: str, alpha: float, weighed: bool, ratings_per_part: int, tmp_path: Path
) -> None:
    run = refined(tmp_path, feedback=feedback, alpha=alpha, ratings_per_part=ratings_per_part)
    section = Refine(**EXACT)
    train = read_matrix(run).toarray().astype(np.float64)
    lower = section.disliked_preference if feedback == "explicit" else 1.0
    preferences = np.where(train == 0, np.nan, np.where(train >= 4, 1.0, lower))
    confidences = 1 + alpha * weighed * np.log(1 + train)
    loadings = np.load(run["factors"].path("loadings.npy")).astype(np.float64)
    values = np.load(run["factors"].path("singular_values.npy"))[: loadings.shape[1]]
    mean = train[train > 0].mean() if feedback == "explicit" else 5.0
    items = loadings * np.sqrt(values / mean)
    n_users, n_items = train.shape
    unseen = min(section.unseen_weight / n_items, section.most_unseen)
    of_items = min(unseen * n_users, section.regularised_users)
    for _ in range(2):
        users = solved(preferences, confidences, items, unseen, unseen * n_items, section.regularisation)
        items = solved(preferences.T, confidences.T, users, unseen, of_items, section.regularisation)
    users = solved(preferences, confidences, items, unseen, unseen * n_items, section.regularisation)
    found, found_items = vectors(run)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert not found[:, 12:].any()  # up to what kernels take
    expected = users / np.linalg.norm(users, axis=1, keepdims=True)
    np.testing.assert_allclose(found[:, :12], expected, atol=5e-3)
    np.testing.assert_allclose(found_items[:, :12], items, atol=5e-3 * np.abs(items).max())


@pytest.mark.parametrize("ratings_per_part", [300, 10**6])
@pytest.mark.parametrize("other", [{"workers": 1}, {"users_per_chunk": 10**6}, {"items_per_task": 10**6}])
def test_workers_and_the_sizes_of_tasks_change_no_byte(
    other: dict[str, Any], ratings_per_part: int, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    parts: dict[str, Any] = {"ratings_per_part": ratings_per_part}
    one, two = vectors(refined(tmp_path / "one", **parts)), vectors(refined(tmp_path / "two", **parts, **other))
    for mine, others in zip(one, two, strict=True):
        assert mine.tobytes() == others.tobytes()


def test_items_that_only_test_knows_have_no_vectors_and_no_tasks(tmp_path: Path) -> None:
    frame = synthetic_ratings(70, 60, seed=3)
    own = pl.DataFrame({"userId": range(1, 71), "movieId": range(1000, 1070), "rating": 4.0})
    mixed = pl.concat([frame, own.with_columns(pl.col(name).cast(frame.schema[name]) for name in own.columns)])
    found = []
    for size in (1, 10**6):
        (tmp_path / str(size)).mkdir()
        path = write_ratings(tmp_path / str(size), mixed)
        sections: Any = {"factors": SMALL, "refine": {"items_per_task": size}, "matrix": {"feedback": "explicit"}}
        run = run_stages(path, tmp_path / str(size) / "run", "refine", preset="default", **sections)
        assert read_matrix(run).shape[1] < mixed["movieId"].n_unique()
        found.append(vectors(run))
    for mine, others in zip(*found, strict=True):
        assert mine.tobytes() == others.tobytes()


def test_unseen_items_weigh_less_the_more_there_are() -> None:
    assert unseen_weight(600, 0.5, 6000) == 0.1
    assert unseen_weight(600, 0.5, 10) == unseen_weight(600, 0.5, 0) == 0.5


def test_the_start_is_padded_and_of_the_size_of_preferences() -> None:
    loadings, values = np.eye(3, 2, dtype=np.float32), np.array([16.0, 4.0, 1.0])
    found = starting_vectors(loadings, values, 4.0)
    assert found.shape == (3, 16)
    np.testing.assert_allclose(found[:, :2], [[2, 0], [0, 1], [0, 0]])
    assert not found[:, 2:].any()
