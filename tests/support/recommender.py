"""Small finished runs of the default model, which a Recommender opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tests.support.pipeline import SMALL, finish_run
from tests.support.ratings import write_ratings

SECTIONS: dict[str, Any] = {
    "factors": SMALL,
    "neighbors": {"k": 7},
    "item_neighbors": {"k": 5, "min_ratings": 3},
    "evaluate": {"k": 6},
}


def run(folder: Path, ratings: pl.DataFrame, **more: Any) -> Path:
    return finish_run(write_ratings(folder, ratings), folder / "run", **{"preset": "default", **SECTIONS, **more})
