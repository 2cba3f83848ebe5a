"""The bias model: the minimum it is said to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.artifacts.readers import read_biases
from engine.model import biases
from engine.model.biases import Biases, expected, remove_bias
from engine.model.sizes import BIAS_RATINGS
from tests.support.pipeline import read_matrix, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings


@pytest.mark.parametrize("piece", [BIAS_RATINGS, 1, 50])
def test_biases_minimise_the_damped_squared_error(tmp_path: Path, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(biases, "BIAS_RATINGS", piece)
    ratings = write_ratings(tmp_path, synthetic_ratings(30, 20))
    section = {"passes": 300, "user_damping": 2.0, "item_damping": 4.0}
    run = run_stages(ratings, tmp_path / "run", "biases", preset="default", biases=section)
    found = read_biases(run["biases"])
    train = read_matrix(run).tocoo()
    n_users, n_items = train.shape
    assert found.mean == pytest.approx(train.data.mean())
    assert (found.low, found.high) == (train.data.min(), train.data.max())
    design = np.zeros((train.nnz, n_users + n_items))
    design[np.arange(train.nnz), train.row] = 1
    design[np.arange(train.nnz), n_users + train.col] = 1
    damping = np.repeat([2.0, 4.0], [n_users, n_items])
    best = np.linalg.solve(design.T @ design + np.diag(damping), design.T @ (train.data - train.data.mean()))
    np.testing.assert_allclose(np.concatenate([found.users, found.items]), best, atol=1e-5)


def test_what_is_expected_is_what_is_removed() -> None:
    model = Biases(3.0, np.array([0.5, -1.0], dtype=np.float32), np.array([0.25, 0.0], dtype=np.float32), 0.5, 5.0)
    assert expected(model, np.array([0, 1]), np.array([1, 0])).tolist() == [3.5, 2.25]
    values = np.array([4.0, 4.0, 1.0], dtype=np.float32)
    remove_bias(
        values,
        np.array([0, 0, 2, 3]),
        np.array([0, 1, 0]),
        model._replace(users=np.array([9, 0.5, -1], dtype=np.float32)),
        0,
    )
    assert values.tolist() == [0.25, 0.5, -1.25]
