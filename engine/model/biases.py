"""The bias model: a rating is the mean, plus how far its user and its item usually are from that."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.model.scoring import row_numbers


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
