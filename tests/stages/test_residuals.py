"""Item vectors of what the bias model leaves, against alternating least squares with NumPy's solver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.artifacts.readers import read_biases, read_latent
from engine.chunked.journal import Committed
from engine.config import Residuals
from tests.support.pipeline import SMALL, read_matrix, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

EXACT: dict[str, Any] = {"steps": 16, "ratings_per_part": 300, "items_per_task": 17}


def fitted(folder: Path, *, workers: int = 2, **section: Any) -> dict[str, Committed]:
    path = write_ratings(folder, synthetic_ratings(70, 60, seed=3))
    sections: Any = {"factors": SMALL, "calibrate": {"method": "fixed"}, "residuals": EXACT | section}
    return run_stages(path, folder / "run", "residuals", preset="default", workers=workers, **sections)


def solved(left: NDArray[Any], others: NDArray[Any], strength: float) -> NDArray[Any]:
    """One side's vectors from the other's: NaN are not there."""
    rows = []
    for row in left:
        there = ~np.isnan(row)
        square = others[there].T @ others[there] + strength * there.sum() ** 0.5 * np.eye(others.shape[1])
        rows.append(np.linalg.solve(square, others[there].T @ row[there]))
    return np.array(rows)


@pytest.mark.parametrize("ratings_per_part", [300, 10**6])
def test_vectors_are_those_of_alternating_least_squares(ratings_per_part: int, tmp_path: Path) -> None:
    run, section = fitted(tmp_path, ratings_per_part=ratings_per_part), Residuals(**EXACT)
    train, biases = read_matrix(run).toarray().astype(np.float64), read_biases(run["biases"])
    expected = biases.mean + biases.users[:, None] + biases.items[None, :]
    unit = train[train > 0].std()
    left = np.where(train == 0, np.nan, (train - expected) / unit)
    loadings = np.load(run["factors"].path("loadings.npy")).astype(np.float64)[:, : section.dims]
    values = np.load(run["factors"].path("singular_values.npy"))[: loadings.shape[1]]
    items = loadings * np.sqrt(values / train[train > 0].mean())
    strength = section.strength
    for _ in range(section.sweeps):
        users = solved(left, items, strength)
        items = solved(left.T, users, strength)
    found = read_latent(run, 1.0)
    assert found is not None
    assert found.unit == pytest.approx(unit)
    assert found.strength == strength
    np.testing.assert_allclose(found.items[:, :12], items, atol=5e-3 * np.abs(items).max())
    assert not found.items[:, 12:].any()  # up to what kernels take


@pytest.mark.parametrize("other", [{"workers": 1}, {"items_per_task": 10**6}])
def test_workers_and_the_sizes_of_tasks_change_no_byte(other: dict[str, Any], tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (read_latent(fitted(tmp_path / name, **some), 1.0) for name, some in (("one", {}), ("two", other)))
    assert one is not None
    assert two is not None
    assert one.items.tobytes() == two.items.tobytes()
    assert one.unit == pytest.approx(two.unit, rel=1e-12)
