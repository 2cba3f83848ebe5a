"""What both versions draw, and how: streams of random numbers, distinct items of each user."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from engine.ratings.twin.published import Floats, Ints, Singles

# Bits of an item's row in a key with its user's.
_BITS = 20
_MASK = (1 << _BITS) - 1
# Bits of a draw's place below that: what is left of 63 where there are 4096 users.
_PLACES = 31


class Rated(NamedTuple):
    """The ratings of some users, before they are stars.

    Attributes
    ----------
    start : int64 array, shape (users,)
        Unix seconds of the first rating.
    span : float64 array, shape (users,)
        Seconds from the first rating to the last.
    user : int64 array, shape (ratings,)
        Rows of users, ascending.
    item : int64 array, shape (ratings,)
        Rows of items, ascending within a user.
    opinion : float32 array, shape (ratings,)
        How much it is liked, in no unit.
    """

    start: Ints
    span: Floats
    user: Ints
    item: Ints
    opinion: Singles


class World(Protocol):
    """What all users share; made of a seed."""

    @property
    def item_ids(self) -> Ints:
        """Shape (items,), ascending."""

    @property
    def item_vectors(self) -> Singles:
        """Shape (items, dims): by the first dimensions an item has genres."""

    def rate(self, rng: np.random.Generator, n: int) -> Rated:
        """The ratings of ``n`` new users."""


def stream(seed: int, *key: int) -> np.random.Generator:
    """A generator of its own for each key."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def packed(user: Ints, item: Ints) -> Ints:
    """One number for a user and an item; sorted by user, then item."""
    return user << _BITS | item


def unpacked(pairs: Ints) -> tuple[Ints, Ints]:
    """Users and items of such numbers."""
    return pairs >> _BITS, pairs & _MASK


def first_distinct(user: Ints, item: Ints, sizes: Ints) -> tuple[Ints, Ints]:
    """Find each user's first distinct items.

    Parameters
    ----------
    user, item : int64 arrays, shape (draws,)
        ``user`` ascends; each user's draws are in order.
    sizes : int64 array, shape (users,)
        How many each is to have.

    Returns
    -------
    int64 array
        Positions of the draws that are kept.
    int64 array, shape (users,)
        How many distinct items each has drawn: where these are fewer than it is to have, none are kept.
    """
    # With the position in the low bits, the smallest key of a (user, item) is its first draw.
    key = np.sort(packed(user, item) << _PLACES | np.arange(len(user)))
    turn = np.sort(key[np.diff(key >> _PLACES, prepend=-1) != 0] & (1 << _PLACES) - 1)
    owner = user[turn]  # ascending, as `user` is
    found = np.bincount(owner, minlength=len(sizes))
    rank = np.arange(len(turn)) - np.repeat(np.cumsum(found) - found, found)
    return turn[(rank < sizes[owner]) & (found >= sizes)[owner]], found


def first_to_ring(rng: np.random.Generator, rates: Floats, size: int) -> Ints:
    """Rows of ``size`` items drawn without replacement: exponential clocks at the items' rates, first to ring first."""
    return np.argpartition(rng.standard_exponential(len(rates)) / rates, size)[:size]
