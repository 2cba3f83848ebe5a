"""Ratings of a synthetic world as the files of a data set, written by several processes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.ratings.twin import published
from engine.ratings.twin.draws import World, stream
from engine.ratings.twin.interests import InterestWorld
from engine.ratings.twin.published import ML25M, Floats, Shape
from engine.ratings.twin.topics import TopicWorld

FILES = ("ratings.csv", "movies.csv", "synthetic.json")
NEWEST = 2
BATCH = 2048
"""Users; each batch has a generator of its own, so another number means other data."""
PILOTS = 4
"""Batches whose opinions say where stars begin."""

# One for each of the first latent dimensions: a film is of the genres in whose direction it lies.
GENRES = (
    *("Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller"),
)

Progress = Callable[[int, int], None]
StarSteps = tuple[Floats, Floats]


class TwinSummary(NamedTuple):
    """What was written: the folder and the numbers of ratings, users and rated items."""

    path: Path
    n_ratings: int
    n_users: int
    n_items: int


class _Order(NamedTuple):
    """What is to be made: enough for another process to make a part of it."""

    version: int
    seed: int
    shape: Shape
    steps: StarSteps | None = None


class _Part(NamedTuple):
    """A batch that was written."""

    path: Path
    n_ratings: int
    rated: NDArray[np.bool_]


def _world(order: _Order) -> World:
    return TopicWorld(order.seed) if order.version == 1 else InterestWorld(order.seed, order.shape)


def _star_steps(world: World, seed: int) -> StarSteps:
    """Opinions at which the next star begins, for half-star (9,) and whole-star (4,) users, from a pilot."""
    opinions = np.concatenate([world.rate(stream(seed, 1, batch), BATCH).opinion for batch in range(PILOTS)])
    stars = np.array(published.STARS) / sum(published.STARS)
    whole = np.array(published.WHOLE_STARS) / sum(published.WHOLE_STARS)
    # Half-star users make up for what the early, whole-star users give, so that the sum is the published histogram.
    early = (published.HALF_STARS - published.OPENING) / (published.CLOSING - published.OPENING)
    stars[1::2] -= whole * early
    half_steps = np.quantile(opinions, np.cumsum(stars)[:-1] / stars.sum())
    return half_steps, np.quantile(opinions, np.cumsum(whole)[:-1])


class _Writer:
    """Makes batches of one world; each process has one."""

    def __init__(self, order: _Order) -> None:
        self._world, self._seed = _world(order), order.seed
        self.steps = order.steps or _star_steps(self._world, order.seed)

    def write(self, path: Path, batch: int, n: int) -> _Part:
        """Write the ratings of the ``n`` users of a batch."""
        rng = stream(self._seed, 3, batch)
        rated = self._world.rate(rng, n)
        start = rated.start[rated.user]
        half = 0.5 + 0.5 * np.searchsorted(self.steps[0], rated.opinion)
        whole = 1.0 + np.searchsorted(self.steps[1], rated.opinion)
        when = start + (rng.random(len(start)) * rated.span[rated.user]).astype(np.int64)
        frame = pl.DataFrame(
            {
                "userId": rated.user + (batch * BATCH + 1),
                "movieId": self._world.item_ids[rated.item],
                "rating": np.where(start < published.HALF_STARS, whole, half),
                "timestamp": np.minimum(when, published.CLOSING),
            }
        )
        frame.write_csv(path, include_header=batch == 0)
        seen = np.zeros(len(self._world.item_ids), dtype=bool)
        seen[rated.item] = True
        return _Part(path, frame.height, seen)

    def write_items(self, path: Path) -> None:
        """Write the titles and genres of all items."""
        ids, vectors = self._world.item_ids, self._world.item_vectors[:, : len(GENRES)]
        years = 2019 - np.minimum(stream(self._seed, 2).exponential(20.0, len(ids)), 100).astype(np.int64)
        genres = ["|".join(np.compress(row, GENRES)) for row in vectors > 1.0]
        named = zip(ids.tolist(), years.tolist(), strict=True)
        titles = [f"Synthetic Film {i} ({year})" for i, year in named]
        frame = {"movieId": ids, "title": titles, "genres": [each or "(no genres listed)" for each in genres]}
        pl.DataFrame(frame).write_csv(path)


_writer: _Writer | None = None


def _begin(order: _Order) -> None:
    """Make the world of this process."""
    global _writer
    _writer = _Writer(order)


def _write(path: Path, batch: int, n: int) -> _Part:
    assert _writer is not None
    return _writer.write(path, batch, n)


@contextmanager
def _parts(order: _Order, folder: Path, n_users: int, processes: int) -> Iterator[tuple[_Writer, Iterator[_Part]]]:
    """The batches in order, each in a file of its own, and who wrote them or would."""
    batches = -(-n_users // BATCH)
    paths = [folder / f"ratings-{batch}.csv" for batch in range(batches)]
    sizes = [min(BATCH, n_users - batch * BATCH) for batch in range(batches)]
    writer = _Writer(order)
    processes = min(processes, batches)
    if processes == 1:
        yield writer, map(writer.write, paths, range(batches), sizes)
        return
    known = order._replace(steps=writer.steps)
    # Not forked: a copy of a process that has threads may wait for ever for a lock that one of these held.
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin, (known,)) as pool:
        try:
            yield writer, pool.map(_write, paths, range(batches), sizes)
        finally:
            pool.shutdown(cancel_futures=True)


def _write_ratings(path: Path, parts: Iterator[_Part], n_users: int, progress: Progress | None) -> tuple[int, int]:
    """Join all batches; returns the numbers of ratings and of rated items."""
    n_ratings, n_done, rated = 0, 0, np.zeros(1, dtype=bool)
    with path.open("wb") as file:
        for part in parts:
            with part.path.open("rb") as written:
                shutil.copyfileobj(written, file, 2**20)
            part.path.unlink()
            n_ratings, n_done, rated = n_ratings + part.n_ratings, min(n_done + BATCH, n_users), rated | part.rated
            if progress is not None:
                progress(n_done, n_users)
    return n_ratings, int(rated.sum())


def write_twin(
    out: Path,
    *,
    scale: float = 1.0,
    seed: int = 0,
    version: int = NEWEST,
    shape: Shape = ML25M,
    processes: int = 1,
    progress: Progress | None = None,
) -> TwinSummary:
    """Write `ratings.csv`, `movies.csv` and `synthetic.json` (what made them) into the folder `out`.

    The same arguments give the same bytes, for the same numpy on the same kind of processor, however many processes
    write them. Memory does not grow with `scale`. The files appear under their names when all are whole,
    `synthetic.json` last.

    Parameters
    ----------
    out : Path
        Folder, created if missing; files of these names are replaced.
    scale : float
        Number of users as a share of the shape's. The catalogue stays the same.
    seed : int
        Seed of everything random, >= 0.
    version : {1, 2}
        Which generator: 1 is easier than real ratings, and has ml-25m's shape alone.
    shape : Shape
        How many users, items and ratings.
    processes : int
        How many write; each takes some 300 MiB.
    progress : callable, optional
        Called after each batch with the users done and the users in all.
    """
    n_users = max(1, round(shape.users * scale))
    made = out / ".twin.partial"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        with _parts(_Order(version, seed, shape), made, n_users, processes) as (writer, parts):
            n_ratings, n_items = _write_ratings(made / FILES[0], parts, n_users, progress)
        writer.write_items(made / FILES[1])
        about = {"name": "twin", "scale": scale, "seed": seed, "n_ratings": n_ratings, "n_users": n_users}
        about |= {"n_items": n_items, "generator_version": version}
        (made / FILES[2]).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        for name in FILES:
            with (made / name).open("rb+") as file:
                os.fsync(file.fileno())
        for name in FILES:
            (made / name).replace(out / name)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return TwinSummary(out, n_ratings, n_users, n_items)
