"""Pieces of all sizes, none of which divides another: what a run finds does not depend on how its work is cut."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.artifacts.readers import Nearest
from engine.config import Config, Section
from tests.support.pipeline import SMALL, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

PRIMES = (7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67)
SECTIONS: dict[str, Any] = {
    "preset": "default",
    "factors": SMALL,
    "neighbors": {"k": 6, "recall": 0.9999},
    "evaluate": {"k": 5},
    "calibrate": {"method": "fixed"},
}
# Clusters say where is searched, and partitions what is drawn for test: they are no pieces of the same work.
NO_PIECES = ("ratings_per_partition", "users_per_cluster", "items_per_cluster")


def in_primes(primes: Sequence[int]) -> dict[str, Any]:
    """All keys that say how much goes into a piece, each another prime."""
    sections: dict[str, Any] = {name: dict(given) for name, given in SECTIONS.items() if isinstance(given, dict)}
    left = iter(primes)
    for field in msgspec.structs.fields(Config):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            keys = [each.name for each in msgspec.structs.fields(field.type) if "_per_" in each.name]
            for key in keys:
                if key not in NO_PIECES:
                    sections.setdefault(field.name, {})[key] = next(left) * (9 if key.startswith("ratings") else 1)
    return SECTIONS | sections


@pytest.mark.parametrize("primes", [PRIMES, PRIMES[::-1]], ids=["larger later", "larger earlier"])
@pytest.mark.parametrize("index", [{"method": "exact"}, {"method": "pruned", "users_per_cluster": 16}])
def test_pieces_change_nothing(tmp_path: Path, index: dict[str, Any], primes: Sequence[int]) -> None:
    ratings = write_ratings(tmp_path, synthetic_ratings(n_users=310, n_items=60, seed=5))
    whole = run_stages(ratings, tmp_path / "whole", **SECTIONS | {"index": index})
    pieces = run_stages(ratings, tmp_path / "pieces", **in_primes(primes) | {"index": index})
    for step, n in (("neighbors", 310), ("item_neighbors", 60)):
        ids, others = (Nearest(run[step]).read(0, n)[0] for run in (whole, pieces))
        assert (ids == others).mean() > 0.99  # sums in another order: those as near as each other may change places
    one, other = (run["evaluate"].result("mean.00000") for run in (whole, pieces))
    assert one["rmse"] == pytest.approx(other["rmse"], rel=1e-4)
    assert one["recall"] == pytest.approx(other["recall"], abs=0.01)
    assert np.isfinite(one["rmse"])
