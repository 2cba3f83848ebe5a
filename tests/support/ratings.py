"""Synthetic ratings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

_RATED = [(user, item) for user in range(1, 9) for item in range(1, 17) if (user + item) % 3]
FEW_ROWS = "userId,movieId,rating\n" + "".join(f"{user},{item},{1 + user * item % 5}\n" for user, item in _RATED)
"""A ratings file that a run takes a moment for."""


def synthetic_ratings(n_users: int, n_items: int, *, seed: int = 0, half_stars: bool = True) -> pl.DataFrame:
    """Ratings sorted by user; from 1 to half of the items each, some items much more popular than others.

    Ids have gaps, and ascend as the codes do. Without half stars no two ratings are equal.
    """
    rng = np.random.default_rng(seed)
    taste, style = rng.standard_normal((n_users, 3)), rng.standard_normal((n_items, 3))
    popularity = 1 / np.arange(3, n_items + 3)
    popularity = rng.permutation(popularity / popularity.sum())
    frames = []
    for user in range(n_users):
        items = rng.choice(n_items, rng.integers(1, n_items // 2, endpoint=True), replace=False, p=popularity)
        rating = 3 + style[items] @ taste[user] + rng.normal(0, 0.3, len(items))
        rating = np.clip(np.round(rating * 2) / 2, 0.5, 5) if half_stars else np.float32(np.exp(rating / 3))
        frames.append(pl.DataFrame({"userId": [3 * user + 2] * len(items), "movieId": 7 * items + 1, "rating": rating}))
    return pl.concat(frames)


def write_ratings(folder: Path, ratings: pl.DataFrame) -> Path:
    """Write a ratings file."""
    folder.mkdir(parents=True, exist_ok=True)
    ratings.write_csv(folder / "ratings.csv")
    return folder / "ratings.csv"
