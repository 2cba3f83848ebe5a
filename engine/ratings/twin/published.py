"""What is published of ml-25m, and how many users and items a synthetic set has instead."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from engine.chunked.errors import UsageError

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

ITEMS = 62_423
"""Films listed. About 59 000 happen to be rated."""
MAX_ITEM_ID = 209_171
OPENING = 789_609_600
"""1995-01-09, Unix seconds: the first rating."""
HALF_STARS = 1_045_526_400
"""2003-02-18: only whole stars until then."""
CLOSING = 1_574_294_400
"""2019-11-21: the last rating."""
STARS = (393_068, 776_815, 399_490, 1_640_868, 1_262_797, 4_896_928, 3_177_318, 6_639_798, 2_200_539, 3_612_474)
"""Ratings of 0.5, 1.0 .. 5.0."""
WHOLE_STARS = (0.056, 0.108, 0.261, 0.349, 0.226)
"""Shares of 1 .. 5 in ml-1m, from before half stars."""

# Ratings of a user at quantiles, log-interpolated. Minimum, quartiles and maximum are published; the points above
# the upper quartile were set to give the published mean of 153.8.
_SIZE_QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.97, 0.995, 0.9995, 0.99999, 0.999994, 1.0)
_SIZES = (19.5, 36.5, 71.5, 162.5, 342, 650, 1360, 3000, 9000, 30_000, 32_202)
_LEAST, _MEAN = 20, 153.8


@dataclasses.dataclass(frozen=True)
class Shape:
    """How many there are of what.

    Attributes
    ----------
    users : int
        How many there are, times the scale.
    items : int
        Items listed.
    most_rated : bool
        Whether most of them are to be rated, however few ratings there are for each, as in files of one's own, which
        list none but those. Else popularity alone decides, as in ml-25m, of whose catalogue few users rate a part.
    ratings_per_user : float
        The mean; quantiles are in proportion to ml-25m's.
    """

    users: int = 162_541
    items: int = ITEMS
    most_rated: bool = False
    ratings_per_user: float = _MEAN


ML25M = Shape()


def shape_of(users: int | None = None, items: int | None = None, ratings: int | None = None) -> Shape:
    """ml-25m's shape, but with so many users, items and ratings.

    Raises
    ------
    UsageError
        Where a number is less than 1, or there are too many ratings for the items.
    """
    for name, asked in (("users", users), ("items", items), ("ratings", ratings)):
        if asked is not None and asked < 1:
            raise UsageError(f"{asked} {name}: must be at least 1")
    shape = Shape(users or ML25M.users, items or ML25M.items, most_rated=items is not None)
    if ratings:
        shape = dataclasses.replace(shape, ratings_per_user=ratings / shape.users)
    if shape.ratings_per_user > shape.items / 4:
        raise UsageError(
            f"{shape.ratings_per_user:,.0f} ratings of each user are too many of {shape.items:,} items: "
            "at most a quarter of them; ask for fewer ratings, or more users or items"
        )
    return shape


def log_interp(q: Floats, points: tuple[float, ...], values: tuple[float, ...]) -> Floats:
    """Values at quantiles, their logarithms interpolated between points."""
    return np.exp(np.interp(q, points, np.log(values)))


def draw_sizes(rng: np.random.Generator, n: int, shape: Shape = ML25M) -> Ints:
    """How many items each of ``n`` users rates; never more than half of all."""
    factor = shape.ratings_per_user / _MEAN
    sizes = np.rint(factor * log_interp(rng.random(n), _SIZE_QUANTILES, _SIZES)).astype(np.int64)
    least = max(1, round(factor * _LEAST))
    return sizes.clip(least, max(least, min(int(factor * _SIZES[-1]), shape.items * 32_202 // ITEMS)))


def draw_sessions(rng: np.random.Generator, sizes: Ints) -> tuple[Ints, Floats]:
    """Each user's first rating in Unix seconds, and seconds from there to the last; shape (users,)."""
    start = rng.integers(OPENING, CLOSING, len(sizes))
    # Most rate in one sitting, eight seconds a film; a fifth come back over months.
    span = np.where(rng.random(len(sizes)) < 0.2, rng.exponential(3e7, len(sizes)), 8.0 * sizes)
    return start, span


def draw_ids(rng: np.random.Generator, items: int) -> Ints:
    """Item ids, ascending, with gaps as in ml-25m; the greatest is `MAX_ITEM_ID`, or as far off as it."""
    greatest = max(MAX_ITEM_ID, items * MAX_ITEM_ID // ITEMS)
    return np.append(np.sort(rng.permutation(greatest - 1)[: items - 1]) + 1, greatest)
