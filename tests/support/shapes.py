"""Ratings of awkward shapes: what is far from MovieLens in one way each.

``python -m tests.support.shapes NAME SIZE FILE`` writes one; without arguments it lists their names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

Int = NDArray[np.int64]


def _frame(users: Int, items: Int, rating: NDArray[np.float64]) -> pl.DataFrame:
    return pl.DataFrame({"userId": users, "movieId": items, "rating": rating})


def _half_stars(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.integers(1, 11, n) / 2


def _spread(n_users: int, per_user: int, n_items: int, rng: np.random.Generator) -> pl.DataFrame:
    """Everybody rates as many items, uniformly at random."""
    users = np.repeat(np.arange(n_users), per_user)
    return _frame(users, rng.integers(0, n_items, len(users)), _half_stars(len(users), rng))


def _nobody_alike(size: float, rng: np.random.Generator) -> pl.DataFrame:
    """Users in no clusters."""
    return _spread(int(60_000 * size), 20, 2_000, rng)


def _all_alike(size: float, rng: np.random.Generator) -> pl.DataFrame:
    """Users in one cluster: the same items, rated much the same."""
    n_users = int(60_000 * size)
    users = np.repeat(np.arange(n_users), 20)
    return _frame(users, np.tile(np.arange(20), n_users), 3 + rng.integers(0, 3, len(users)) / 2)


def _few_items(size: float, rng: np.random.Generator) -> pl.DataFrame:
    """A hundred items, and ratings that are no multiples of a half, as in Jester."""
    n_users = int(73_421 * size)
    rated = rng.random((n_users, 100)) < 0.56
    users, items = np.nonzero(rated)
    return _frame(users, items, np.round(rng.uniform(-10, 10, len(users)), 2))


def _eleven_items(size: float, rng: np.random.Generator) -> pl.DataFrame:
    """All users have rated all of eleven items."""
    n_users = int(100_000 * size)
    users = np.repeat(np.arange(n_users), 11)
    return _frame(users, np.tile(np.arange(11), n_users), _half_stars(len(users), rng))


def _many_items(size: float, rng: np.random.Generator) -> pl.DataFrame:
    """More items than users by far."""
    return _spread(int(20_000 * size), 50, int(300_000 * size), rng)


def _one_heavy_user(size: float, rng: np.random.Generator) -> pl.DataFrame:
    """One user has rated nearly everything."""
    n = int(200_000 * size)
    heavy = _frame(np.zeros(n, dtype=np.int64), rng.permutation(n), _half_stars(n, rng))
    others = _spread(int(20_000 * size), 10, n, rng).with_columns(pl.col("userId") + 1)
    return pl.concat([heavy, others])


def _one_rating_each(size: float, rng: np.random.Generator) -> pl.DataFrame:
    """Nobody has two ratings."""
    return _spread(int(400_000 * size), 1, 5_000, rng)


def _heavy_users_first(size: float, rng: np.random.Generator) -> pl.DataFrame:
    """A chunk of users with many ratings each, then many with one."""
    heavy = _spread(int(8_192 * size), 2_400, 6_000, rng)
    light = _spread(int(300_000 * size), 1, 6_000, rng).with_columns(pl.col("userId") + 10_000)
    return pl.concat([heavy, light])


def _one_item_by_all(size: float, rng: np.random.Generator) -> pl.DataFrame:
    """One item is rated by everybody, the others by few."""
    n_users = int(60_000 * size)
    popular = _frame(np.arange(n_users), np.zeros(n_users, dtype=np.int64), _half_stars(n_users, rng))
    others = _spread(n_users, 5, 50_000, rng).with_columns(pl.col("movieId") + 1)
    return pl.concat([popular, others]).sort("userId", maintain_order=True)


def _pairs_at_random(size: float, rng: np.random.Generator) -> pl.DataFrame:
    """Millions of pairs with nothing in them."""
    n = int(8_000_000 * size)
    users, items = rng.integers(0, int(100_000 * size), n), rng.integers(0, 20_000, n)
    return _frame(users, items, _half_stars(n, rng))


SHAPES: dict[str, Callable[[float, np.random.Generator], pl.DataFrame]] = {
    "nobody alike": _nobody_alike,
    "all alike": _all_alike,
    "few items": _few_items,
    "eleven items": _eleven_items,
    "many items": _many_items,
    "one heavy user": _one_heavy_user,
    "one rating each": _one_rating_each,
    "heavy users first": _heavy_users_first,
    "one item by all": _one_item_by_all,
    "pairs at random": _pairs_at_random,
}


def write_shape(path: Path, name: str, size: float = 1.0) -> Path:
    """Write ratings of a shape; ``size`` scales users, and items where these are what is awkward."""
    frame = SHAPES[name](size, np.random.default_rng(1)).unique(["userId", "movieId"], keep="last", maintain_order=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_csv(path)
    return path


if __name__ == "__main__":
    if len(sys.argv) == 4:
        write_shape(Path(sys.argv[3]), sys.argv[1], float(sys.argv[2]))
    else:
        print("\n".join(SHAPES))
