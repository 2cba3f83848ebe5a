"""The bias model: a rating is the mean, plus how far its user and its item usually are from that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

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


def fit_biases(ratings: NarrowRows, passes: int, user_damping: float, item_damping: float) -> Biases:
    """Settle biases of items and users in turn.

    b_u and b_i minimise the squared error of mu + b_u + b_i with damping (Koren 2010,
    https://doi.org/10.1145/1644873.1644874, section 2.1): each is the sum of what the others leave of its ratings, over
    their number plus the damping. Sums of ratings are taken once; what a pass subtracts from them are products of
    biases with the matrix of ones where a rating is.

    Parameters
    ----------
    ratings : NarrowRows
        Users x items.
    passes : int
        Times that the users' biases, then the items', are settled.
    user_damping, item_damping : float
        Ratings equal to the mean that are added.
    """
    n_users = len(ratings.indptr) - 1
    user_sums, item_sums, item_counts = _sums(ratings)
    mean = float(user_sums.sum()) / max(1, len(ratings.data))
    user_sums -= mean * np.diff(ratings.indptr)
    item_sums -= mean * item_counts
    users = np.zeros(n_users)
    items = damped(item_sums, item_counts, item_damping)
    for p in range(passes):
        left = item_sums.copy()
        for start, stop, rows in _pieces(ratings):
            rated = csr_matrix((np.ones(rows.nnz), rows.indices, rows.indptr), shape=rows.shape)
            of_users = user_sums[start:stop] - rated @ items
            users[start:stop] = damped(of_users, np.diff(rows.indptr), user_damping)
            left -= np.asarray(rated.T @ users[start:stop])
        if p < passes - 1:
            items = damped(left, item_counts, item_damping)
    low, high = (float(f(ratings.data)) * ratings.value_step if len(ratings.data) else 0.0 for f in (np.min, np.max))
    return Biases(mean, users.astype(np.float32), items.astype(np.float32), low, high)


def _sums(ratings: NarrowRows) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Sum of each user's ratings, and of each item's, and how many an item has."""
    users, items = np.zeros(len(ratings.indptr) - 1), np.zeros(ratings.n_columns)
    counts = np.zeros(ratings.n_columns, dtype=np.int64)
    for start, stop, rows in _pieces(ratings):
        users[start:stop] = rows @ np.ones(ratings.n_columns)
        items += rows.T @ np.ones(stop - start)
        counts += np.bincount(rows.indices, minlength=ratings.n_columns)
    return users, items, counts


def _pieces(ratings: NarrowRows) -> Iterator[tuple[int, int, csr_matrix]]:
    """Whole users, of about `BIAS_RATINGS` together: first and last, and their ratings."""
    lengths = np.diff(ratings.indptr)
    for start, stop in cut_by_work(lengths, BIAS_RATINGS, len(lengths)):
        yield start, stop, ratings.part(start, stop).widen()
