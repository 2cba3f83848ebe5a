"""Items taken together, out of core, against a matrix product; and nothing of it where it weighs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.artifacts.readers import read_together
from engine.artifacts.records import Calibrated
from engine.chunked.journal import Committed
from engine.config import Cooccurrence
from tests.support.pipeline import SMALL, read_matrix, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings


def found(folder: Path, *, workers: int = 2, **section: Any) -> dict[str, Committed]:
    """A run where items taken together have a weight that is given."""
    path = write_ratings(folder, synthetic_ratings(70, 60, seed=3))
    sections: Any = {
        "factors": SMALL,
        "calibrate": {"method": "fixed"},
        "evaluate": {"together_weight": 1.0},
        "cooccurrence": {"k": 7, "items_per_task": 17, "ratings_per_part": 300} | section,
    }
    return run_stages(path, folder / "run", "cooccurrence", preset="default", workers=workers, **sections)


@pytest.mark.parametrize("most_ratings", [1024, 20, 1])
def test_what_goes_together_is_that_of_a_matrix_product(most_ratings: int, tmp_path: Path) -> None:
    run, section = found(tmp_path, most_ratings=most_ratings), Cooccurrence()
    train = read_matrix(run).toarray().astype(np.float64)
    lengths, counts = (train > 0).sum(axis=1), (train > 0).sum(axis=0)
    assert (lengths > 20).any()
    votes = np.where(train >= 4, 1, np.where(train > 0, section.disliked_vote, 0))
    of_users = np.where(lengths <= most_ratings, np.maximum(lengths, 1.0) ** -section.user_power, 0)
    expected = votes.T @ (of_users[:, None] * votes)
    expected *= np.outer(counts ** (section.item_power - 1), counts**-section.item_power)
    np.fill_diagonal(expected, 0)
    companions = read_together(run, 1.0)
    assert companions is not None
    rows = companions.similarities
    assert len(rows.indptr) == len(expected) + 1
    for item, of_item in enumerate(expected):
        some = slice(rows.indptr[item], rows.indptr[item + 1])
        best = -np.sort(-of_item)[:7]
        stored, step = rows.data[some] * companions.scales[item], best[0] / 255
        np.testing.assert_allclose(stored, best[best > 0], atol=step)
        np.testing.assert_allclose(of_item[rows.indices[some]], best[best > 0], rtol=1e-5)


@pytest.mark.parametrize(
    "other", [{"workers": 1}, {"items_per_task": 10**6}, {"items_per_task": 1}, {"ratings_per_part": 10**6}]
)
def test_workers_and_the_sizes_of_tasks_change_no_byte(other: dict[str, Any], tmp_path: Path) -> None:
    one, two = (read_together(found(tmp_path / name, **options), 1.0) for name, options in (("1", {}), ("2", other)))
    assert one is not None
    assert two is not None
    assert one.scales.tobytes() == two.scales.tobytes()
    for name in ("data", "indices", "indptr"):
        assert getattr(one.similarities, name).tobytes() == getattr(two.similarities, name).tobytes()


def test_no_more_ratings_are_looked_at_than_is_said(tmp_path: Path) -> None:
    whole, part = (read_together(found(tmp_path / str(n), ratings=n), 1.0) for n in (10**6, 300))
    assert whole is not None
    assert part is not None
    assert 0 < part.scales.sum() < whole.scales.sum() / 1.5


def pairs(n_users: int = 300, n_pairs: int = 120, seed: int = 0) -> pl.DataFrame:
    """Users who take items of a few of many pairs, that are taken together and with no others, and no tastes beside."""
    rng = np.random.default_rng(seed)
    chosen = np.stack([rng.permutation(n_pairs)[:8] for _ in range(n_users)])
    items = np.concatenate([2 * chosen, 2 * chosen + 1], axis=1).ravel()
    return pl.DataFrame({"userId": np.repeat(np.arange(n_users), 16), "movieId": items, "rating": 5.0})


def test_where_items_go_together_in_pairs_that_is_found_out(tmp_path: Path) -> None:
    path = write_ratings(tmp_path, pairs())
    sections: Any = {"factors": SMALL, "evaluate": {"k": 10}}
    run = run_stages(path, tmp_path / "run", preset="default", **sections)
    assert Calibrated.of(run["calibrate"]).ranking.weights.together > 0
    assert run["evaluate"].result("mean.00000")["recall"] > 0.7


def test_what_weighs_nothing_is_not_looked_for(tmp_path: Path) -> None:
    few = synthetic_ratings(60, 40).group_by("userId", maintain_order=True).head(4)  # too few to hold some out
    run = run_stages(write_ratings(tmp_path, few), tmp_path / "run", preset="default", factors=SMALL)
    weights = Calibrated.of(run["calibrate"])
    assert weights.rating.weights.latent == weights.ranking.weights.together == 0
    for name, file in (("residuals", "item-factors.npy"), ("cooccurrence", "together.npz")):
        assert not run[name].path(file).exists()
