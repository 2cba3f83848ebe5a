"""A synthetic data set that behaves like ml-25m: same files, same shape, nobody's data.

Films and users share a latent space. A topic is a direction in it and a distribution over all films; a user mixes a
few topics, draws distinct films from the mixture and rates each by how well it points the user's way. What is seen
and how it is rated come from one taste, so neighbours carry signal for ranking and for rating alike.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["GENERATOR_VERSION", "TwinSummary", "write_twin"]

GENERATOR_VERSION = 1
FILES = ("ratings.csv", "movies.csv", "synthetic.json")

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Progress = Callable[[int, int], None]

# One for each latent dimension: a film is of the genres in whose direction it lies.
GENRES = (
    *("Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller"),
)


@dataclasses.dataclass(frozen=True)
class _Model:
    """Every constant of the generator, and where it comes from."""

    # Published for ml-25m. Of the 62 423 films listed, about 59 000 happen to be rated.
    users: int = 162_541
    films: int = 62_423
    max_film_id: int = 209_171
    opening: int = 789_609_600  # 1995-01-09, Unix seconds
    half_stars: int = 1_045_526_400  # 2003-02-18: only whole stars until then
    closing: int = 1_574_294_400  # 2019-11-21
    stars: tuple[int, ...] = (  # ratings of 0.5, 1.0 .. 5.0
        *(393_068, 776_815, 399_490, 1_640_868, 1_262_797),
        *(4_896_928, 3_177_318, 6_639_798, 2_200_539, 3_612_474),
    )
    whole_stars: tuple[float, ...] = (0.056, 0.108, 0.261, 0.349, 0.226)  # 1 .. 5 in ml-1m, from before half stars

    # Ratings of a user at quantiles, log-interpolated. Minimum, quartiles and maximum are published; the points above
    # the upper quartile were set to give the published mean of 153.8.
    user_q: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 0.9, 0.97, 0.995, 0.9995, 0.99999, 0.999994, 1.0)
    user_n: tuple[float, ...] = (19.5, 36.5, 71.5, 162.5, 342, 650, 1360, 3000, 9000, 30_000, 32_202)

    # Weights with which films are drawn, likewise. Fitted until the films' counts had the published quartiles
    # (2, 6, 36), mean (423) and maximum (81 491).
    film_q: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 0.9, 0.97, 0.99, 0.998, 1.0)
    film_w: tuple[float, ...] = (0.55, 0.66, 1.7, 11.9, 174, 2230, 9800, 28_000, 50_500)

    # What is seen: fitted on the notebook's algorithm at scale 1 (`python -m bench.notebook`), which finds a Recall@50
    # of 0.49 (0.504 on ml-25m) and an RMSE of 2.72 (2.608), where popularity alone has a recall of 0.21.
    dims: int = len(GENRES)
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

    batch: int = 2048  # users; each batch has a generator of its own, so another number means other data
    draws: tuple[int, ...] = (2, 4, 16)  # for each film wanted, in rounds
    most_draws: int = 16_000  # beyond which a user is cheaper to race


MODEL = _Model()


class TwinSummary(NamedTuple):
    """What was written: the folder and the numbers of ratings, users and rated films."""

    path: Path
    n_ratings: int
    n_users: int
    n_items: int


class _World(NamedTuple):
    """What all users share. Every topic has two distributions: its hits, and its whole depth."""

    film_ids: Ints  # (films,), ascending
    film_vectors: Singles  # (films, dims)
    film_bias: Singles  # (films,)
    topic_vectors: Floats  # (topics, dims), unit length
    topic_mass: Floats  # (topics,), shares of all draws, sum 1
    # (2 * topics * films,): row number plus cumulative probability; row k is the hits of topic k, topics + k its depth.
    topic_cdf: Floats


class _Users(NamedTuple):
    """A batch of n users."""

    sizes: Ints  # (n,), how many films each rates
    shares: Floats  # (n, topics), sum 1
    vectors: Singles  # (n, dims)
    bias: Singles  # (n,)
    start: Ints  # (n,), Unix seconds of the first rating
    span: Floats  # (n,), seconds from the first to the last


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _log_interp(q: Floats, points: tuple[float, ...], values: tuple[float, ...]) -> Floats:
    return np.exp(np.interp(q, points, np.log(values)))


def _make_world(seed: int) -> _World:
    rng = _rng(seed, 0)
    ids = np.append(np.sort(rng.permutation(MODEL.max_film_id - 1)[: MODEL.films - 1]) + 1, MODEL.max_film_id)
    quantiles = rng.permutation((np.arange(MODEL.films) + 0.5) / MODEL.films)
    weights = _log_interp(quantiles, MODEL.film_q, MODEL.film_w)
    film_vectors = rng.standard_normal((MODEL.films, MODEL.dims), dtype=np.float32)
    film_bias = rng.normal(MODEL.esteem * np.log(weights), MODEL.film_bias).astype(np.float32)
    topic_vectors = rng.standard_normal((MODEL.topics, MODEL.dims))
    topic_vectors /= np.sqrt((topic_vectors**2).sum(axis=1, keepdims=True))
    cdf, mass = _topic_films(np.einsum("kd,jd->kj", topic_vectors, film_vectors), weights)
    return _World(ids, film_vectors, film_bias, topic_vectors, mass, cdf)


def _topic_films(affinity: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """`topic_cdf` and `topic_mass` of the world, from affinities (topics, films) and weights (films,)."""
    joint = np.exp(MODEL.sharpness * affinity)
    # Dividing by the film's total leaves its popularity over all topics at its weight.
    joint *= weights / weights.sum() / joint.sum(axis=0)
    mass = joint.sum(axis=1)
    cdf = np.cumsum(np.concatenate([joint * weights ** (MODEL.fame - 1.0), joint]), axis=1)
    cdf /= cdf[:, -1:]
    cdf += np.arange(len(cdf))[:, None]
    return cdf.ravel(), mass


def _make_users(world: _World, rng: np.random.Generator, n: int) -> _Users:
    sizes = np.rint(_log_interp(rng.random(n), MODEL.user_q, MODEL.user_n)).astype(np.int64)
    sizes = sizes.clip(20, int(MODEL.user_n[-1]))
    shares = rng.standard_gamma(MODEL.topics_per_user * world.topic_mass, (n, MODEL.topics)) + 1e-12
    shares /= shares.sum(axis=1, keepdims=True)
    vectors = MODEL.topic_taste * np.einsum("uk,kd->ud", shares, world.topic_vectors)
    vectors += rng.normal(0.0, MODEL.own_taste * MODEL.own_decay ** np.arange(MODEL.dims), vectors.shape)
    bias = rng.normal(0.0, MODEL.user_bias, n)
    start = rng.integers(MODEL.opening, MODEL.closing, n)
    # Most rate in one sitting, eight seconds a film; a fifth come back over months.
    span = np.where(rng.random(n) < 0.2, rng.exponential(3e7, n), 8.0 * sizes)
    return _Users(sizes, shares, vectors.astype(np.float32), bias.astype(np.float32), start, span)


def _draw_films(world: _World, rng: np.random.Generator, users: _Users) -> tuple[Ints, Ints]:
    """Rows (user, film) of everybody's distinct films, sorted by user, then film.

    Users draw with replacement and keep their first distinct films. Who is left short starts over with more draws,
    and where that would take too many, with `_race`, at the price of one clock for every film there is.
    """
    ladder = np.cumsum(users.shares, axis=1)
    ladder = ladder / ladder[:, -1:] + np.arange(len(ladder))[:, None]
    waiting, packed = np.arange(len(ladder)), []
    for factor in MODEL.draws:
        able = waiting[factor * users.sizes[waiting] <= MODEL.most_draws]
        tries = factor * users.sizes[able] + 40
        user = np.repeat(able, tries)
        topic = _pick(rng, ladder.ravel(), user, MODEL.topics)
        # Everybody starts with famous films; who rates thousands works through the catalogue.
        before = np.arange(len(user)) - np.repeat(np.cumsum(tries) - tries, tries)
        topic += MODEL.topics * (rng.random(len(user)) * (MODEL.patience + before) > MODEL.patience)
        film = _pick(rng, world.topic_cdf, topic, MODEL.films)
        kept, short = _first_distinct(user, film, users.sizes)
        packed.append(user[kept] << 16 | film[kept])
        waiting = waiting[short[waiting]]
    packed += [u << 16 | _race(world, rng, users.shares[u], int(users.sizes[u])) for u in waiting]
    pairs = np.sort(np.concatenate(packed))
    return pairs >> 16, pairs & 0xFFFF


def _pick(rng: np.random.Generator, cdf: Floats, row: Ints, width: int) -> Ints:
    """For each of `row`, a random column of that row of `cdf` (rows * width,), which holds row + cumulated shares."""
    # A hair below 1, so that the sum never rounds up into the next row.
    aim = row + rng.random(len(row)) * (1.0 - 1e-12)
    # Searching in order keeps to one part of a table larger than the cache: six times faster, sorting included.
    order = np.argsort(aim)
    column = np.empty(len(row), dtype=np.int64)
    column[order] = np.searchsorted(cdf, aim[order], side="right")
    return column - row * width


def _first_distinct(user: Ints, film: Ints, sizes: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Positions of each user's first `sizes[user]` distinct films, and who has fewer (n,): of those, none."""
    # With the position in the low bits, the smallest key of a (user, film) is its first draw.
    key = np.sort(user << 48 | film << 32 | np.arange(len(user)))
    turn = np.sort(key[np.diff(key >> 32, prepend=-1) != 0] & 0xFFFFFFFF)
    owner = user[turn]  # ascending, as `user` is
    found = np.bincount(owner, minlength=len(sizes))
    rank = np.arange(len(turn)) - np.repeat(np.cumsum(found) - found, found)
    short = found < sizes
    return turn[(rank < sizes[owner]) & ~short[owner]], short


def _race(world: _World, rng: np.random.Generator, shares: Floats, size: int) -> Ints:
    """Rows of `size` films drawn without replacement: exponential clocks at the films' rates, first to ring first."""
    hits_share = MODEL.patience * np.log1p(size / MODEL.patience) / size  # of `size` draws in a row
    mixture = np.concatenate([shares * hits_share, shares * (1.0 - hits_share)])
    cdf = world.topic_cdf.reshape(len(mixture), MODEL.films)
    rates = np.full(MODEL.films, 1e-15)  # the cumulative sum rounds the rarest films to nothing
    for topic in np.flatnonzero(mixture > 1e-6):
        rates += mixture[topic] * np.diff(cdf[topic], prepend=topic)
    return np.argpartition(rng.standard_exponential(MODEL.films) / rates, size)[:size]


def _rate(world: _World, rng: np.random.Generator, n: int) -> tuple[_Users, Ints, Ints, Singles]:
    """`n` new users, and a row of users, a row of films and an opinion for each of their ratings."""
    users = _make_users(world, rng, n)
    user, film = _draw_films(world, rng, users)
    liking = np.einsum("nd,nd->n", users.vectors[user], world.film_vectors[film])
    noise = rng.standard_normal(len(user), dtype=np.float32)
    return users, user, film, users.bias[user] + world.film_bias[film] + liking + noise


def _star_steps(world: _World, seed: int) -> tuple[Floats, Floats]:
    """Opinions at which the next star begins, for half-star (9,) and whole-star (4,) users, from a pilot."""
    opinions = np.concatenate([_rate(world, _rng(seed, 1, batch), MODEL.batch)[3] for batch in range(4)])
    stars = np.array(MODEL.stars) / sum(MODEL.stars)
    whole = np.array(MODEL.whole_stars) / sum(MODEL.whole_stars)
    # Half-star users make up for what the early, whole-star users give, so that the sum is the published histogram.
    stars[1::2] -= whole * (MODEL.half_stars - MODEL.opening) / (MODEL.closing - MODEL.opening)
    half_steps = np.quantile(opinions, np.cumsum(stars)[:-1] / stars.sum())
    return half_steps, np.quantile(opinions, np.cumsum(whole)[:-1])


def _batch(world: _World, steps: tuple[Floats, Floats], rng: np.random.Generator, first: int, n: int) -> pl.DataFrame:
    """Ratings of `n` users from number `first` on."""
    users, user, film, opinion = _rate(world, rng, n)
    start = users.start[user]
    half = 0.5 + 0.5 * np.searchsorted(steps[0], opinion)
    whole = 1.0 + np.searchsorted(steps[1], opinion)
    when = start + (rng.random(len(user)) * users.span[user]).astype(np.int64)
    return pl.DataFrame(
        {
            "userId": user + first,
            "movieId": world.film_ids[film],
            "rating": np.where(start < MODEL.half_stars, whole, half),
            "timestamp": np.minimum(when, MODEL.closing),
        }
    )


def _movies(world: _World, seed: int) -> pl.DataFrame:
    years = 2019 - np.minimum(_rng(seed, 2).exponential(20.0, MODEL.films), 100).astype(np.int64)
    ids = world.film_ids.tolist()
    genres = ["|".join(np.compress(row, GENRES)) for row in world.film_vectors > 1.0]
    return pl.DataFrame(
        {
            "movieId": ids,
            "title": [f"Synthetic Film {i} ({year})" for i, year in zip(ids, years.tolist(), strict=True)],
            "genres": [g or "(no genres listed)" for g in genres],
        }
    )


def _write_ratings(path: Path, world: _World, seed: int, n_users: int, progress: Progress | None) -> tuple[int, int]:
    """Write all batches; returns the numbers of ratings and of rated films."""
    steps = _star_steps(world, seed)
    n_ratings, rated = 0, np.zeros(MODEL.max_film_id + 1, dtype=bool)
    with path.open("wb") as file:
        for batch, first in enumerate(range(0, n_users, MODEL.batch)):
            last = min(first + MODEL.batch, n_users)
            frame = _batch(world, steps, _rng(seed, 3, batch), first + 1, last - first)
            frame.write_csv(file, include_header=batch == 0)
            n_ratings += frame.height
            rated[frame["movieId"].to_numpy()] = True
            if progress is not None:
                progress(last, n_users)
    return n_ratings, int(rated.sum())


def write_twin(out: Path, *, scale: float = 1.0, seed: int = 0, progress: Progress | None = None) -> TwinSummary:
    """Write `ratings.csv`, `movies.csv` and `synthetic.json` (what made them) into the folder `out`.

    The same seed and scale give the same bytes, for the same numpy on the same kind of processor. Memory does not
    grow with `scale`. The files appear under their names when all are whole, `synthetic.json` last.

    Parameters
    ----------
    out : Path
        Folder, created if missing; files of these names are replaced.
    scale : float
        Number of users as a share of ml-25m's 162 541. The catalogue stays the same.
    seed : int
        Seed of everything random, >= 0.
    progress : callable, optional
        Called after each batch with the users done and the users in all.
    """
    n_users = max(1, round(MODEL.users * scale))
    made = out / ".twin.partial"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        world = _make_world(seed)
        n_ratings, n_items = _write_ratings(made / FILES[0], world, seed, n_users, progress)
        _movies(world, seed).write_csv(made / FILES[1])
        about = {"name": "twin", "scale": scale, "seed": seed, "n_ratings": n_ratings, "n_users": n_users}
        about |= {"n_items": n_items, "generator_version": GENERATOR_VERSION}
        (made / FILES[2]).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        for name in FILES:
            with (made / name).open("rb+") as file:
                os.fsync(file.fileno())
        for name in FILES:
            (made / name).replace(out / name)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return TwinSummary(out, n_ratings, n_users, n_items)
