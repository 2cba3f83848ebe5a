"""Version 1: users mix topics.

Films and users share a latent space. A topic is a direction in it and a distribution over all films; a user mixes a
few topics, draws distinct films from the mixture and rates each by how well it points the user's way. What is seen
and how it is rated come from one taste, so neighbours carry signal for ranking and for rating alike. Users stand in
clusters, more than real ones do.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from engine.ratings.twin.draws import Rated, first_distinct, first_to_ring, packed, stream, unpacked
from engine.ratings.twin.published import ITEMS, Floats, Ints, Singles, draw_ids, draw_sessions, draw_sizes, log_interp


@dataclasses.dataclass(frozen=True)
class _Model:
    """Every constant of this version, and where it comes from."""

    # Weights with which films are drawn at quantiles, log-interpolated. Fitted until the films' counts had the
    # published quartiles (2, 6, 36), mean (423) and maximum (81 491).
    film_q: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 0.9, 0.97, 0.99, 0.998, 1.0)
    film_w: tuple[float, ...] = (0.55, 0.66, 1.7, 11.9, 174, 2230, 9800, 28_000, 50_500)

    # What is seen: fitted on the notebook's algorithm at scale 1 (`python -m bench.notebook`), which finds a Recall@50
    # of 0.49 (0.504 on ml-25m) and an RMSE of 2.72 (2.608), where popularity alone has a recall of 0.21.
    dims: int = 16
    topics: int = 40
    sharpness: float = 3.0  # standard deviation, over films, of the log-affinity of a topic
    topics_per_user: float = 0.5  # Dirichlet concentration: most users have one or two
    fame: float = 3.0  # a topic's hits are drawn with weights to this power
    patience: float = 120.0  # draws after which the chance to pick from the hits has halved

    # How it is rated: standard deviations in units of the noise. Fitted so that the bias model has an RMSE of 0.875
    # there (0.88 on the real sample), and that latent factors explain about a fifth of what it leaves.
    user_bias: float = 0.65
    film_bias: float = 0.6
    esteem: float = 0.06  # more liked for each e-fold of weight
    topic_taste: float = 0.3  # pull of the user's topics
    own_taste: float = 0.5  # pull of the first latent dimension; each next one has `own_decay` of it
    own_decay: float = 0.75

    draws: tuple[int, ...] = (2, 4, 16)  # for each film wanted, in rounds
    most_draws: int = 16_000  # beyond which a user is cheaper to race


MODEL = _Model()


class _Users(NamedTuple):
    """A batch of n users."""

    sizes: Ints  # (n,), how many films each rates
    shares: Floats  # (n, topics), sum 1
    vectors: Singles  # (n, dims)
    bias: Singles  # (n,)
    start: Ints  # (n,), Unix seconds of the first rating
    span: Floats  # (n,), seconds from the first to the last


class TopicWorld:
    """What all users share. Every topic has two distributions: its hits, and its whole depth.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        rng = stream(seed, 0)
        self.item_ids = draw_ids(rng, ITEMS)
        quantiles = rng.permutation((np.arange(ITEMS) + 0.5) / ITEMS)
        weights = log_interp(quantiles, MODEL.film_q, MODEL.film_w)
        self.item_vectors = rng.standard_normal((ITEMS, MODEL.dims), dtype=np.float32)
        self._film_bias = rng.normal(MODEL.esteem * np.log(weights), MODEL.film_bias).astype(np.float32)
        vectors = rng.standard_normal((MODEL.topics, MODEL.dims))
        self._topic_vectors = vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True))
        affinity = np.einsum("kd,jd->kj", self._topic_vectors, self.item_vectors)
        # Row number plus cumulative probability; row k is the hits of topic k, topics + k its depth.
        self._topic_cdf, self._topic_mass = _topic_films(affinity, weights)

    def rate(self, rng: np.random.Generator, n: int) -> Rated:
        """As `World`."""
        users = self._make_users(rng, n)
        user, film = self._draw_films(rng, users)
        liking = np.einsum("nd,nd->n", users.vectors[user], self.item_vectors[film])
        noise = rng.standard_normal(len(user), dtype=np.float32)
        opinion = users.bias[user] + self._film_bias[film] + liking + noise
        return Rated(users.start, users.span, user, film, opinion)

    def _make_users(self, rng: np.random.Generator, n: int) -> _Users:
        sizes = draw_sizes(rng, n)
        shares = rng.standard_gamma(MODEL.topics_per_user * self._topic_mass, (n, MODEL.topics)) + 1e-12
        shares /= shares.sum(axis=1, keepdims=True)
        vectors = MODEL.topic_taste * np.einsum("uk,kd->ud", shares, self._topic_vectors)
        vectors += rng.normal(0.0, MODEL.own_taste * MODEL.own_decay ** np.arange(MODEL.dims), vectors.shape)
        bias = rng.normal(0.0, MODEL.user_bias, n)
        start, span = draw_sessions(rng, sizes)
        return _Users(sizes, shares, vectors.astype(np.float32), bias.astype(np.float32), start, span)

    def _draw_films(self, rng: np.random.Generator, users: _Users) -> tuple[Ints, Ints]:
        """Rows (user, film) of everybody's distinct films, sorted by user, then film.

        Users draw with replacement and keep their first distinct films. Who is left short starts over with more draws,
        and where that would take too many, with `_race`, at the price of one clock for every film there is.
        """
        ladder = np.cumsum(users.shares, axis=1)
        ladder = ladder / ladder[:, -1:] + np.arange(len(ladder))[:, None]
        waiting, pairs = np.arange(len(ladder)), []
        for factor in MODEL.draws:
            able = waiting[factor * users.sizes[waiting] <= MODEL.most_draws]
            tries = factor * users.sizes[able] + 40
            user = np.repeat(able, tries)
            topic = _pick(rng, ladder.ravel(), user, MODEL.topics)
            # Everybody starts with famous films; who rates thousands works through the catalogue.
            before = np.arange(len(user)) - np.repeat(np.cumsum(tries) - tries, tries)
            topic += MODEL.topics * (rng.random(len(user)) * (MODEL.patience + before) > MODEL.patience)
            film = _pick(rng, self._topic_cdf, topic, ITEMS)
            kept, found = first_distinct(user, film, users.sizes)
            pairs.append(packed(user[kept], film[kept]))
            waiting = waiting[(found < users.sizes)[waiting]]
        pairs += [packed(np.asarray(u), self._race(rng, users.shares[u], int(users.sizes[u]))) for u in waiting]
        return unpacked(np.sort(np.concatenate(pairs)))

    def _race(self, rng: np.random.Generator, shares: Floats, size: int) -> Ints:
        """Rows of `size` films, as if drawn until there are so many."""
        hits_share = MODEL.patience * np.log1p(size / MODEL.patience) / size  # of `size` draws in a row
        mixture = np.concatenate([shares * hits_share, shares * (1.0 - hits_share)])
        cdf = self._topic_cdf.reshape(len(mixture), ITEMS)
        rates = np.full(ITEMS, 1e-15)  # the cumulative sum rounds the rarest films to nothing
        for topic in np.flatnonzero(mixture > 1e-6):
            rates += mixture[topic] * np.diff(cdf[topic], prepend=topic)
        return first_to_ring(rng, rates, size)


def _topic_films(affinity: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Distributions over films, and shares of all draws, from affinities (topics, films) and weights (films,)."""
    joint = np.exp(MODEL.sharpness * affinity)
    # Dividing by the film's total leaves its popularity over all topics at its weight.
    joint *= weights / weights.sum() / joint.sum(axis=0)
    mass = joint.sum(axis=1)
    cdf = np.cumsum(np.concatenate([joint * weights ** (MODEL.fame - 1.0), joint]), axis=1)
    cdf /= cdf[:, -1:]
    cdf += np.arange(len(cdf))[:, None]
    return cdf.ravel(), mass


def _pick(rng: np.random.Generator, cdf: Floats, row: Ints, width: int) -> Ints:
    """For each of `row`, a random column of that row of `cdf` (rows * width,), which holds row + cumulated shares."""
    # A hair below 1, so that the sum never rounds up into the next row.
    aim = row + rng.random(len(row)) * (1.0 - 1e-12)
    # Searching in order keeps to one part of a table larger than the cache: six times faster, sorting included.
    order = np.argsort(aim)
    column = np.empty(len(row), dtype=np.int64)
    column[order] = np.searchsorted(cdf, aim[order], side="right")
    return column - row * width
