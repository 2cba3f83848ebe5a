"""What a report could say, for tests of the page: eleven stages, figures beside baselines, awkward names."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars as pl

from engine import config
from engine.chunked.budget import MIB
from engine.results.report.content import Content, Stage, popularity_of, recall_over_users
from tests.support.pipeline import STEPS

NAME = """<i>"items" & 'users'</i></script><script>alert(1)</script>"""


def _figure(value: float | None, error: float | None = 0.0123) -> dict[str, Any]:
    return {"value": value, "standard_error": error, "n_users": 655}


def metrics(*, baselines: bool = True) -> dict[str, Any]:
    """The content of a ``metrics.json``."""
    settings = msgspec.to_builtins(config.Config())
    found: dict[str, Any] = {
        "dataset": NAME,
        "synthetic": True,
        "rmse": 0.8612,
        "recall_at_50": 0.4275,
        "n_ratings": 100_004,
        "n_users": 671,
        "n_items": 8445,
        "n_train": 80_251,
        "n_test": 19_753,
        "n_test_scored": 19_075,
        "n_users_with_liked": 655,
        "values": "ratings",
        "feedback": "explicit",
        "liked_from": 4.0,
        "notes": ["3 rows <skipped>"],
        "config": {"preset": "default"} | {step.name: settings[step.name] for step in STEPS},
    }
    if baselines:
        found["weights"] = {
            "rating": {"weights": {"latent": 0.938, "near": 0.0}, "worth": {"latent": [0.0348, 0.0009]}},
            "ranking": {
                "weights": {"products": 1.0, "votes": 0.25, "together": 0.0, "popularity": 0.0},
                "worth": {"products": [0.0255, 0.0019], "votes": [0.0037, 0.0013]},
            },
            "chosen": True,
        }
        found["figures"] = {
            "bias_model": {"rmse": _figure(0.8774)},
            "model": {
                "rmse": _figure(0.8612),
                "coverage": _figure(0.98),
                "recall_at_50": _figure(0.4275),
                "ndcg_at_50": _figure(0.3278),
                "ndcg_at_10": _figure(None, None),
                "gini": _figure(0.9623, None),
                "surprise_at_10": _figure(1.5),
            },
            "most_popular": {
                "recall_at_50": _figure(0.2490),
                "ndcg_at_50": _figure(0.1790),
                "gini": _figure(0.99, None),
            },
        }
    return found


def content(**changes: Any) -> Content:
    """Everything on a page."""
    rng = np.random.default_rng(0)
    rated = rng.zipf(1.5, 3000).clip(max=60_000)
    stages = [
        Stage(
            step.name,
            seconds=0.2 + 3 * (place % 4),
            measured=(60 + 20 * place) * MIB,
            projected=(80 + 20 * place) * MIB,
            samples=[(0.1 * i, (40 + i) * MIB) for i in range(1, 20)],
        )
        for place, step in enumerate(STEPS)
    ]
    usual: dict[str, Any] = {
        "metrics": metrics(),
        "settings": config.load({"dataset": "a b.csv", "neighbors": {"k": 80}}),
        "allowed": 512 * MIB,
        "workers": 2,
        "stages": stages,
        "unknown": [],
        "recall": recall_over_users(pl.LazyFrame({"recall": rng.uniform(size=655)})),
        "popularity": popularity_of(rated, rng.poisson(rated / 4)),
        "command": "engine run 'a b.csv' --memory 512MiB --set neighbors.k=80",
        "changed": {"neighbors.k": 80},
        "ratings_bytes": 2_338_261,
        "ratings_sha256": "b4239649fbf90ebf405c56c3ae1d929d9e7c86fc1a3a80cbef1c884df593ef73",
    }
    return Content(**usual | changes)
