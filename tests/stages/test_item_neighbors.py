"""Nearest items of a run, with and without clusters, against comparing all with all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.artifacts.readers import Factors, NearItems
from engine.chunked.journal import Committed
from engine.model import index
from engine.model.factors import unit_rows
from engine.stages import item_neighbors
from tests.support.pipeline import SMALL, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

N_ITEMS = 120
SECTION: dict[str, Any] = {"k": 7, "items_per_task": 50, "items_per_cluster": 9, "min_ratings": 4, "shrink": 3.0}


def near_items(folder: Path, **section: Any) -> tuple[dict[str, Committed], NDArray[np.int32], NDArray[np.float32]]:
    path = write_ratings(folder, synthetic_ratings(70, N_ITEMS, seed=3))
    sections: Any = {"factors": SMALL, "item_neighbors": SECTION | section}
    run = run_stages(path, folder / "run", "item_neighbors", preset="default", **sections)
    found = NearItems(run["item_neighbors"])
    return run, *found.read(0, found.ids.shape[0])


def brute_force(run: dict[str, Committed]) -> list[dict[int, float]]:
    """What each item's similarity to each other is, of those above 0."""
    factors, counts = Factors(run["factors"]), NearItems(run["item_neighbors"]).counts()
    loadings = factors.loadings()
    vectors = unit_rows(loadings * factors.singular_values()[: loadings.shape[1]].astype(np.float32)).astype(np.float64)
    least = np.minimum(counts[:, None], counts)
    cosines = vectors @ vectors.T * least / (least + 3.0)
    known = np.flatnonzero(counts >= 4)
    return [
        {int(other): cosines[item, other] for other in known if other != item and cosines[item, other] > 4e-6}
        if item in known
        else {}
        for item in range(len(counts))
    ]


def exactly(n_items: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so many items be compared with all."""
    for module in (index, item_neighbors):
        monkeypatch.setattr(module, "EXACT_ITEMS", n_items)


@pytest.mark.parametrize("exact_items", [1000, 20, 0], ids=["all", "some", "clusters"])
def test_nearest_items_are_the_most_similar_of_all(
    exact_items: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exactly(exact_items, monkeypatch)
    run, ids, similarities = near_items(tmp_path, recall=0.999999)
    assert (run["item_neighbors"].path("clusters.npz")).exists() == (exact_items < 1000)
    for item, others in enumerate(brute_force(run)):
        expected = sorted(others.values(), reverse=True)[:7]
        np.testing.assert_allclose(similarities[item, : len(expected)], expected, atol=1e-5)
        assert (ids[item, len(expected) :] == -1).all()
        assert (similarities[item, len(expected) :] == 0).all()
        np.testing.assert_allclose([others[other] for other in ids[item, : len(expected)]], expected, atol=1e-5)


def test_with_less_recall_less_is_found_and_some_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exactly(0, monkeypatch)
    run, ids, _ = near_items(tmp_path, recall=0.5)
    true = [sorted(others, key=lambda other: -others[other])[:7] for others in brute_force(run)]
    found = sum(len(set(own) & set(of_item.tolist())) for own, of_item in zip(true, ids, strict=True))
    assert 0.4 < found / sum(map(len, true)) < 0.95


@pytest.mark.parametrize("min_ratings", [1, 10**6])
def test_few_or_no_items_that_take_part_do_no_harm(
    min_ratings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exactly(0, monkeypatch)
    _, ids, _ = near_items(tmp_path, min_ratings=min_ratings)
    assert (ids[:, 0] >= 0).mean() == pytest.approx(float(min_ratings == 1), abs=0.1)
