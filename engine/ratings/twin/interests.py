"""Version 2: users come across items by popularity, and take those that interest them.

Users and items have vectors in a latent space whose dimensions matter ever less. Whether a user takes an item that it
comes across is a logistic function of their product. Users are spread about some archetypes, so that neighbours are
as near, and as many clusters hold them, as with real ratings; opinions come from the same vectors, and from tastes of
the user's own.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from engine.ratings.twin.draws import Rated, first_distinct, first_to_ring, packed, stream, unpacked
from engine.ratings.twin.published import (
    ML25M,
    Floats,
    Ints,
    Shape,
    Singles,
    draw_ids,
    draw_sessions,
    draw_sizes,
    log_interp,
)


@dataclasses.dataclass(frozen=True)
class _Model:
    """Every constant of this version, and where it comes from."""

    # Weights with which items are come across at quantiles, log-interpolated. Fitted until the items' counts had the
    # quartiles (2, 6, 36), mean (423) and maximum (81 491) that are published.
    item_q: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 0.939, 0.9904, 0.9984, 0.99981, 1.0)
    item_w: tuple[float, ...] = (1.4, 2.0, 4.9, 27, 1000, 4900, 8000, 11_900, 15_500)
    even_ratings: float = 2.0  # of an item, where most are to be rated: draws in which all are as likely
    most_even: float = 0.8  # share of all draws that these are at most

    # What is seen: fitted on ml-1m and 6040 users (`python -m bench.hardness`).
    dims: int = 12
    strongest: float = 1.29  # standard deviation of the product's part that is the first dimension's
    flat: float = 1.91  # dimensions after which that begins to fall
    decay: float = 0.656  # and with which power
    interest: float = -1.67  # logit of the share of items taken by whom they say nothing
    archetypes: int = 60
    rank: float = 0.23  # power of an archetype's rank that the number of its users falls with
    alike: float = 0.94  # share of the variance of users' vectors that is their archetypes'
    strength: float = 0.14  # standard deviation of the logarithm of vectors' lengths
    fame: float = 3.36  # items come across first are drawn with weights to this power
    patience: float = 2800.0  # draws after which the chance to come across one of these has halved

    # How it is rated: standard deviations in units of the noise.
    user_bias: float = 0.65
    item_bias: float = 0.6
    esteem: float = 0.1  # more liked for each e-fold of weight
    shared_taste: float = 0.8  # pull of what is seen
    own_taste: float = 0.35  # pull of the first latent dimension; each next one has `own_decay` of it
    own_decay: float = 0.75

    draws: int = 4  # for each item that is missing, in a round
    rounds: int = 8  # after which a user's items are raced for
    most_drawn: int = 3000  # items beyond which a user is cheaper to race from the start
    at_once: int = 2**14  # draws whose vectors are multiplied at once


MODEL = _Model()

# Tables that items are drawn from: the famous ones above all, all by popularity, all alike.
_EVEN = 2


class _Users(NamedTuple):
    """A batch of n users."""

    sizes: Ints  # (n,), how many items each rates
    vectors: Singles  # (n, dims), what they come to see
    tastes: Singles  # (n, dims), how they rate it
    bias: Singles  # (n,)


class Tables:
    """Draws from distributions over items in constant time (Walker 1977, https://doi.org/10.1145/355744.355749).

    Parameters
    ----------
    weights : float64 array, shape (tables, items)
    """

    def __init__(self, weights: Floats) -> None:
        self._items = weights.shape[1]
        shares, others = zip(*(_alias(row) for row in weights), strict=True)
        self._share, self._other = np.concatenate(shares), np.concatenate(others)

    def draw(self, rng: np.random.Generator, table: Ints) -> Ints:
        """Draw an item from each of these tables, with replacement."""
        place = rng.random(len(table)) * self._items
        item = place.astype(np.int64)
        cell = item + self._items * table
        drawn: Ints = np.where(place - item < self._share[cell], item, self._other[cell])
        return drawn


def _alias(weights: Floats) -> tuple[Floats, Ints]:
    """For each item the share of its draws that are its own, and the item that the others are."""
    share, other = (weights * (len(weights) / weights.sum())).tolist(), np.arange(len(weights))
    small, large = ([item for item, each in enumerate(share) if (each < 1.0) == low] for low in (True, False))
    while small and large:
        least, most = small.pop(), large[-1]
        other[least] = most
        share[most] -= 1.0 - share[least]
        if share[most] < 1.0:
            small.append(large.pop())
    for item in small + large:
        share[item] = 1.0
    return np.array(share), other


class InterestWorld:
    """What all users share.

    Parameters
    ----------
    seed : int
    shape : Shape
    """

    def __init__(self, seed: int, shape: Shape = ML25M) -> None:
        rng = stream(seed, 0)
        n = shape.items
        self._shape = shape
        self.item_ids = draw_ids(rng, n)
        self._weights = log_interp(rng.permutation((np.arange(n) + 0.5) / n), MODEL.item_q, MODEL.item_w)
        self.item_vectors = rng.standard_normal((n, MODEL.dims), dtype=np.float32)
        self._item_bias = rng.normal(MODEL.esteem * np.log(self._weights), MODEL.item_bias).astype(np.float32)
        self._spread = MODEL.strongest * (1.0 + np.arange(MODEL.dims) / MODEL.flat) ** -MODEL.decay
        self._archetypes = rng.standard_normal((MODEL.archetypes, MODEL.dims)) * self._spread
        common = np.arange(1.0, MODEL.archetypes + 1) ** -MODEL.rank
        self._common = common / common.sum()
        self._tables = Tables(np.stack([self._weights**MODEL.fame, self._weights, np.ones(n)]))
        even = MODEL.even_ratings * n / (shape.users * shape.ratings_per_user)
        self._even = min(even, MODEL.most_even) if shape.most_rated else 0.0

    def rate(self, rng: np.random.Generator, n: int) -> Rated:
        """As `World`."""
        users = self._make_users(rng, n)
        start, span = draw_sessions(rng, users.sizes)
        user, item = self._draw_items(rng, users)
        opinion = users.bias[user] + self._item_bias[item] + self._products(users.tastes, user, item)
        opinion += rng.standard_normal(len(user), dtype=np.float32)
        return Rated(start, span, user, item, opinion)

    def _make_users(self, rng: np.random.Generator, n: int) -> _Users:
        sizes = draw_sizes(rng, n, self._shape)
        archetype = rng.choice(MODEL.archetypes, n, p=self._common)
        own = rng.standard_normal((n, MODEL.dims)) * self._spread
        vectors = np.sqrt(MODEL.alike) * self._archetypes[archetype] + np.sqrt(1.0 - MODEL.alike) * own
        vectors *= np.exp(rng.normal(-(MODEL.strength**2), MODEL.strength, (n, 1)))
        tastes = rng.normal(0.0, MODEL.own_taste * MODEL.own_decay ** np.arange(MODEL.dims), vectors.shape)
        tastes += MODEL.shared_taste / np.sqrt((self._spread**2).sum()) * vectors
        bias = rng.normal(0.0, MODEL.user_bias, n)
        return _Users(sizes, vectors.astype(np.float32), tastes.astype(np.float32), bias.astype(np.float32))

    def _draw_items(self, rng: np.random.Generator, users: _Users) -> tuple[Ints, Ints]:
        """Rows (user, item) of everybody's distinct items, sorted by user, then item.

        Users draw with replacement and keep the first distinct items that interest them. Who is left short draws on,
        and where that would take too long, `_race` decides, at the price of one clock for every item.
        """
        waiting, pairs = np.flatnonzero(users.sizes <= MODEL.most_drawn), []
        raced = np.flatnonzero(users.sizes > MODEL.most_drawn)
        user = item = np.empty(0, dtype=np.int64)
        found, drawn = np.zeros((2, len(users.sizes)), dtype=np.int64)
        for _ in range(MODEL.rounds):
            tries = MODEL.draws * (users.sizes - found)[waiting] + 40
            more_users, more_items = self._come_across(rng, users.vectors, waiting, tries, drawn[waiting])
            drawn[waiting] += tries
            order = np.argsort(np.concatenate([user, more_users]), kind="stable")
            user, item = (np.concatenate(two)[order] for two in ((user, more_users), (item, more_items)))
            kept, found = first_distinct(user, item, users.sizes)
            pairs.append(packed(user[kept], item[kept]))
            short = found < users.sizes
            waiting, (user, item) = waiting[short[waiting]], (each[short[user]] for each in (user, item))
        raced = np.concatenate([raced, waiting])
        pairs += [packed(np.asarray(u), self._race(rng, users.vectors[u], int(users.sizes[u]))) for u in raced]
        return unpacked(np.sort(np.concatenate(pairs)))

    def _come_across(
        self, rng: np.random.Generator, vectors: Singles, who: Ints, tries: Ints, drawn: Ints
    ) -> tuple[Ints, Ints]:
        """Users and items of the draws that interest, of `tries` for each user, who has `drawn` so many before."""
        user = np.repeat(who, tries)
        # Everybody starts with famous items; who rates thousands works through the catalogue.
        before = np.arange(len(user)) - np.repeat(np.cumsum(tries) - tries - drawn, tries)
        table = (rng.random(len(user)) * (MODEL.patience + before) > MODEL.patience).astype(np.int64)
        if self._even:
            table[rng.random(len(user)) < self._even] = _EVEN
        item = self._tables.draw(rng, table)
        against = np.exp(-MODEL.interest - self._products(vectors, user, item))
        taken = rng.random(len(user), dtype=np.float32) * (1.0 + against) < 1.0
        return user[taken], item[taken]

    def _products(self, vectors: Singles, user: Ints, item: Ints) -> Singles:
        """Products of users' and items' vectors, shape (pairs,)."""
        found = np.empty(len(user), dtype=np.float32)
        for first in range(0, len(user), MODEL.at_once):
            some = slice(first, first + MODEL.at_once)
            np.einsum("nd,nd->n", vectors[user[some]], self.item_vectors[item[some]], out=found[some])
        return found

    def _race(self, rng: np.random.Generator, vector: Singles, size: int) -> Ints:
        """Rows of `size` items, as if drawn until there are so many."""
        draws = MODEL.draws * size
        hits_share = MODEL.patience * np.log1p(draws / MODEL.patience) / draws
        hits = self._weights**MODEL.fame
        rates = hits_share * hits / hits.sum() + (1.0 - hits_share) * self._weights / self._weights.sum()
        rates = (1.0 - self._even) * rates + self._even / len(rates)
        against = np.exp(-MODEL.interest - np.einsum("jd,d->j", self.item_vectors, vector))
        return first_to_ring(rng, rates / (1.0 + against), size)
