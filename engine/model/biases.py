"""The bias model: a rating is the mean, plus how far its user and its item usually are from that."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.model.scoring import cut_by_work, row_numbers
from engine.model.sizes import BIAS_RATINGS


class Biases(NamedTuple):
    """A bias model, mu + b_u + b_i, and the range of the ratings it was made of.

    Attributes
    ----------
    mean : float
    users, items : float32 arrays, shapes (users,) and (items,)
        An item nobody rated has 0, as has a user without ratings.
    low, high : float
        Least and greatest rating.
    """

    mean: float
    users: NDArray[np.float32]
    items: NDArray[np.float32]
    low: float
    high: float


def expected(biases: Biases, users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """What the model says of pairs; float32, shape (pairs,), not clipped."""
    found: NDArray[np.float32] = np.float32(biases.mean) + biases.users[users] + biases.items[items]
    return found


def remove_bias(
    values: NDArray[np.float32],
    indptr: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
    biases: Biases,
    first_user: int,
) -> None:
    """Subtract from consecutive users' ratings what the model says of them, in place.

    Parameters
    ----------
    values, items : arrays, shape (ratings,)
        Ratings and their items.
    indptr : integer array, shape (rows + 1,)
        Where each user's start.
    biases : Biases
    first_user : int
        Code of the first of the users.
    """
    values -= expected(biases, first_user + row_numbers(indptr), items)


def damped(sums: NDArray[np.float64], counts: NDArray[np.integer[Any]], damping: float) -> NDArray[np.float64]:
    """Sums over their numbers of values and ``damping``; 0 where both are.

    Examples
    --------
    >>> damped(np.array([4.0, 0.0, 4.0]), np.array([2, 0, 1]), damping=2)
    array([1.        , 0.        , 1.33333333])
    """
    below = counts + damping
    return sums / np.where(below > 0, below, 1)


class Sums(NamedTuple):
    """What some users' ratings add up to.

    Attributes
    ----------
    of_items : float64 array, shape (items,)
        Sum of each item's ratings.
    counts : int64 array, shape (items,)
        How many it has.
    low, high : float
        Least and greatest rating; infinite where there are none.
    """

    of_items: NDArray[np.float64]
    counts: NDArray[np.int64]
    low: float
    high: float


class Start(NamedTuple):
    """What biases are settled from.

    Attributes
    ----------
    mean : float
        Of all ratings.
    left : float64 array, shape (items,)
        Sum of what the mean leaves of each item's ratings.
    counts : int64 array, shape (items,)
    """

    mean: float
    left: NDArray[np.float64]
    counts: NDArray[np.int64]


def sums_of(rows: NarrowRows) -> Sums:
    """Add up ratings, a piece after the other."""
    of_items, counts = np.zeros(rows.n_columns), np.zeros(rows.n_columns, dtype=np.int64)
    for _, _, piece in _pieces(rows):
        of_items += np.bincount(piece.indices, piece.values(), minlength=rows.n_columns)
        counts += np.bincount(piece.indices, minlength=rows.n_columns)
    if not len(rows.data):
        return Sums(of_items, counts, math.inf, -math.inf)
    return Sums(of_items, counts, *(float(each) * rows.value_step for each in (rows.data.min(), rows.data.max())))


def start_from(of_items: NDArray[np.float64], counts: NDArray[np.int64]) -> Start:
    """The mean, and what it leaves, from the sums of all users' ratings (`Sums`)."""
    mean = float(of_items.sum()) / max(1, int(counts.sum()))
    return Start(mean, of_items - mean * counts, counts)


def settle_users(rows: NarrowRows, mean: float, items: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    """Biases of some users: what the mean and the items' biases leave of their ratings; shape (rows,)."""
    users = np.zeros(len(rows.indptr) - 1)
    for start, stop, piece in _pieces(rows):
        left = piece.values().astype(np.float64)
        left -= mean
        left -= items[piece.indices]
        sums = np.asarray(np.bincount(row_numbers(piece.indptr), left, stop - start), dtype=np.float64)
        users[start:stop] = damped(sums, np.diff(piece.indptr), damping)
    return users


def taken_off(rows: NarrowRows, users: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the biases of the users who rated each item, shape (items,); ``users`` are those of the rows."""
    taken = np.zeros(rows.n_columns)
    for start, stop, piece in _pieces(rows):
        of_ratings = np.repeat(users[start:stop], np.diff(piece.indptr))
        taken += np.bincount(piece.indices, of_ratings, minlength=rows.n_columns)
    return taken


def fit_biases(ratings: NarrowRows, passes: int, user_damping: float, item_damping: float) -> Biases:
    """Settle biases of users and items in turn.

    b_u and b_i minimise the squared error of mu + b_u + b_i with damping (Koren 2010,
    https://doi.org/10.1145/1644873.1644874, section 2.1): each is the sum of what the others leave of its ratings, over
    their number plus the damping. The stage biases does the same of ratings that are not all in memory: what users of a
    part add up to for the items is added in the order of the parts.

    Parameters
    ----------
    ratings : NarrowRows
        Users x items.
    passes : int
        Times that the users' biases, then the items', are settled; at least 1.
    user_damping, item_damping : float
        Ratings equal to the mean that are added.
    """
    sums = sums_of(ratings)
    start = start_from(sums.of_items, sums.counts)
    items = damped(start.left, start.counts, item_damping)
    users = settle_users(ratings, start.mean, items, user_damping)
    for _ in range(passes - 1):
        items = damped(start.left - taken_off(ratings, users), start.counts, item_damping)
        users = settle_users(ratings, start.mean, items, user_damping)
    return Biases(start.mean, users.astype(np.float32), items.astype(np.float32), *within(sums.low, sums.high))


def within(low: float, high: float) -> tuple[float, float]:
    """A range of ratings; from 0 to 0 where there are none."""
    return (low, high) if low <= high else (0.0, 0.0)


def _pieces(ratings: NarrowRows) -> Iterator[tuple[int, int, NarrowRows]]:
    """Whole users, of about `BIAS_RATINGS` together: first and last, and their ratings."""
    lengths = np.diff(ratings.indptr)
    for start, stop in cut_by_work(lengths, BIAS_RATINGS, len(lengths)):
        yield start, stop, ratings.part(start, stop)
