"""The bias model: the minimum it is said to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.artifacts.readers import read_biases
from engine.chunked.csr import CsrReader, NarrowRows
from engine.model import biases
from engine.model.biases import Biases, expected, remove_bias
from engine.model.sizes import BIAS_RATINGS
from tests.support.pipeline import read_matrix, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings


@pytest.mark.parametrize(("piece", "part"), [(BIAS_RATINGS, 2**22), (1, 2**22), (50, 90), (7, 40), (50, 1)])
def test_biases_minimise_the_damped_squared_error(
    tmp_path: Path, piece: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(biases, "BIAS_RATINGS", piece)
    n_users, n_items = (30, 20) if part > 40 else (3, 12)  # where a part has few ratings: of one each, and some without
    ratings = write_ratings(tmp_path, synthetic_ratings(n_users, n_items))
    section = {"passes": 9 if part == 1 else 20, "user_damping": 2.0, "item_damping": 4.0, "ratings_per_part": part}
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


def test_parts_of_the_users_add_up_to_all(tmp_path: Path) -> None:
    ratings = write_ratings(tmp_path, synthetic_ratings(40, 30))
    of_parts = {}
    for part in (10**6, 53, 11):
        section = {"passes": 3, "user_damping": 2.0, "item_damping": 4.0, "ratings_per_part": part}
        run = run_stages(ratings, tmp_path / "run", "biases", preset="default", biases=section)
        of_parts[part] = read_biases(run["biases"])
    whole = biases.fit_biases(CsrReader(run["matrix"].root, "train").read(0, 40), 3, 2.0, 4.0)
    for found in of_parts.values():
        assert found.mean == pytest.approx(whole.mean, abs=1e-12)
        assert (found.low, found.high) == (whole.low, whole.high)
        np.testing.assert_allclose(found.users, whole.users, atol=1e-6)
        np.testing.assert_allclose(found.items, whole.items, atol=1e-6)
    assert all(
        mine.tobytes() == its.tobytes() for mine, its in zip(of_parts[10**6][1:3], whole[1:3], strict=True)
    )  # one part is the whole


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_no_byte(tmp_path: Path, workers: int) -> None:
    ratings = write_ratings(tmp_path, synthetic_ratings(40, 30))
    section = {"ratings_per_part": 37}
    one, other = (
        run_stages(ratings, tmp_path / str(n), "biases", preset="default", workers=n, biases=section)
        for n in (2, workers)
    )
    for name in ("user-bias.npy", "item-bias.npy"):
        assert one["biases"].path(name).read_bytes() == other["biases"].path(name).read_bytes()
    assert one["biases"].result("fit.00000") == other["biases"].result("fit.00000")


def test_ratings_of_nobody_have_no_range() -> None:
    nothing = NarrowRows(np.zeros(3, dtype=np.int64), np.empty(0, np.uint8), np.empty(0, np.uint8), 4, 0.5)
    found = biases.fit_biases(nothing, 2, 5.0, 3.0)
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)
    assert not found.users.any()
    assert not found.items.any()
