"""Ratings of a synthetic world as the files of a data set, written by several processes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.chunked.errors import UsageError, write_named
from engine.ratings.twin import published
from engine.ratings.twin.draws import World, stream
from engine.ratings.twin.interests import InterestWorld
from engine.ratings.twin.published import ML25M, Floats, Shape
from engine.ratings.twin.topics import TopicWorld

FILES = ("ratings.csv", "movies.csv", "synthetic.json")
FORMATS = ("csv", "parquet")
NEWEST = 2
BATCH = 2048
"""Users; each batch has a generator of its own, so another number means other data."""
FILE_BATCHES = 32
"""Batches in a Parquet file."""
PILOTS = 4
"""Batches whose opinions say where stars begin."""
_ROW_GROUP = 2**17  # ratings in a row group of Parquet, at most

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


class _Batch(NamedTuple):
    """Users with consecutive ids: which batch they are, and how many."""

    number: int
    n_users: int


class _Part(NamedTuple):
    """A file of batches that was written."""

    path: Path
    n_ratings: int
    n_users: int
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

    def write_csv(self, path: Path, batches: Sequence[_Batch]) -> _Part:
        """Write the ratings of a batch; the first has the header."""
        (batch,) = batches
        frame = self._frame(batch)
        frame.write_csv(path, include_header=batch.number == 0)
        return _Part(path, frame.height, batch.n_users, self._rated(frame))

    def write_parquet(self, path: Path, batches: Sequence[_Batch]) -> _Part:
        """Write the ratings of some batches, each in row groups of its own."""
        n_ratings, rated = 0, np.zeros(len(self._world.item_ids), dtype=bool)
        first = self._frame(batches[0])
        with pq.ParquetWriter(path, first.to_arrow().schema, compression="zstd") as file:
            for batch in batches:
                frame = first if batch is batches[0] else self._frame(batch)
                file.write_table(frame.to_arrow(), row_group_size=_ROW_GROUP)
                n_ratings += frame.height
                rated |= self._rated(frame)
        return _Part(path, n_ratings, sum(batch.n_users for batch in batches), rated)

    def _frame(self, batch: _Batch) -> pl.DataFrame:
        rng = stream(self._seed, 3, batch.number)
        rated = self._world.rate(rng, batch.n_users)
        start = rated.start[rated.user]
        half = 0.5 + 0.5 * np.searchsorted(self.steps[0], rated.opinion)
        whole = 1.0 + np.searchsorted(self.steps[1], rated.opinion)
        when = start + (rng.random(len(start)) * rated.span[rated.user]).astype(np.int64)
        return pl.DataFrame(
            {
                "userId": rated.user + (batch.number * BATCH + 1),
                "movieId": self._world.item_ids[rated.item],
                "rating": np.where(start < published.HALF_STARS, whole, half),
                "timestamp": np.minimum(when, published.CLOSING),
            }
        )

    def _rated(self, frame: pl.DataFrame) -> NDArray[np.bool_]:
        """Which items are rated."""
        return np.isin(self._world.item_ids, frame["movieId"].to_numpy())

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


def _write(file_format: str, path: Path, batches: Sequence[_Batch]) -> _Part:
    assert _writer is not None
    return _write_with(_writer, file_format, path, batches)


def _write_with(writer: _Writer, file_format: str, path: Path, batches: Sequence[_Batch]) -> _Part:
    return (writer.write_csv if file_format == "csv" else writer.write_parquet)(path, batches)


@contextmanager
def _parts(
    order: _Order, folder: Path, files: Sequence[Sequence[_Batch]], file_format: str, processes: int
) -> Iterator[tuple[_Writer, Iterator[_Part]]]:
    """The files in order, and who wrote them or would."""
    paths = [folder / f"ratings-{number:05d}.{file_format}" for number in range(len(files))]
    writer = _Writer(order)
    processes = min(processes, len(files))
    if processes == 1:
        yield writer, map(partial(_write_with, writer, file_format), paths, files)
        return
    known = order._replace(steps=writer.steps)
    # Not forked: a copy of a process that has threads may wait for ever for a lock that one of these held.
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin, (known,)) as pool:
        try:
            yield writer, pool.map(partial(_write, file_format), paths, files)
        finally:
            pool.shutdown(cancel_futures=True)


def _told(parts: Iterable[_Part], n_users: int, progress: Progress | None) -> Iterator[_Part]:
    """Tell how many users are done."""
    n_done = 0
    for part in parts:
        yield part
        n_done += part.n_users
        if progress is not None:
            progress(n_done, n_users)


def _joined(parts: Iterable[_Part], path: Path) -> Iterator[_Part]:
    """Join text files to one, and remove them."""
    with path.open("wb") as file:
        for part in parts:
            with part.path.open("rb") as written:
                shutil.copyfileobj(written, file, 2**20)
            part.path.unlink()
            yield part


def _counted(parts: Iterable[_Part]) -> tuple[int, int]:
    """The numbers of ratings and of rated items."""
    n_ratings, rated = 0, np.zeros(1, dtype=bool)
    for part in parts:
        n_ratings, rated = n_ratings + part.n_ratings, rated | part.rated
    return n_ratings, int(rated.sum())


def _files(n_users: int, file_format: str) -> list[list[_Batch]]:
    """Batches of each of the files that are written one by one; those of text are joined then."""
    batches_per_file = 1 if file_format == "csv" else FILE_BATCHES
    batches = [_Batch(number, min(BATCH, n_users - number * BATCH)) for number in range(-(-n_users // BATCH))]
    return [batches[start : start + batches_per_file] for start in range(0, len(batches), batches_per_file)]


def n_parts(scale: float, shape: Shape, file_format: str) -> int:
    """How many parts `write_twin` makes one after the other, with a call of ``progress`` after each."""
    return len(_files(_n_users(scale, shape), file_format))


def _n_users(scale: float, shape: Shape) -> int:
    return max(1, round(shape.users * scale))


def write_twin(
    out: Path,
    *,
    scale: float = 1.0,
    seed: int = 0,
    version: int = NEWEST,
    shape: Shape = ML25M,
    file_format: str = "csv",
    processes: int = 1,
    progress: Progress | None = None,
) -> TwinSummary:
    """Write ratings, `movies.csv` and `synthetic.json` (what made them) into the folder `out`.

    Ratings are `ratings.csv`, or `ratings-00000.parquet` and more of some ten million ratings each. The same arguments
    give the same bytes, for the same numpy on the same kind of processor, however many processes write them. Memory
    does not grow with `scale`. The files appear under their names when all are whole, `synthetic.json` last.

    Parameters
    ----------
    out : Path
        Folder, created if missing; files of these names are replaced, but those of Parquet.
    scale : float
        Number of users as a share of the shape's. The catalogue stays the same.
    seed : int
        Seed of everything random, >= 0.
    version : {1, 2}
        Which generator: 1 is easier than real ratings, and has ml-25m's shape alone.
    shape : Shape
        How many users, items and ratings.
    file_format : {"csv", "parquet"}
        Of the ratings.
    processes : int
        How many write; each takes some 300 MiB.
    progress : callable, optional
        Called after each batch, or file of Parquet, with the users done and the users in all.

    Raises
    ------
    UsageError
        Where the folder holds ratings already that would be read with files of Parquet.
    """
    n_users = _n_users(scale, shape)
    if file_format == "parquet" and (there := sorted(out.glob("ratings*"))):
        raise UsageError(f"{out} holds {there[0].name}, which would be read, too: give another folder, or remove it")
    made = out / ".twin.partial"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    with write_named(out):
        try:
            files = _files(n_users, file_format)
            with _parts(_Order(version, seed, shape), made, files, file_format, processes) as (writer, parts):
                told = _told(parts, n_users, progress)
                n_ratings, n_items = _counted(_joined(told, made / FILES[0]) if file_format == "csv" else told)
            writer.write_items(made / FILES[1])
            about = {"name": "twin", "scale": scale, "seed": seed, "n_ratings": n_ratings, "n_users": n_users}
            about |= {"n_items": n_items, "generator_version": version}
            (made / FILES[2]).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            names = sorted(path.name for path in made.iterdir() if path.name != FILES[-1])
            for name in (*names, FILES[-1]):
                with (made / name).open("rb+") as file:
                    os.fsync(file.fileno())
            for name in (*names, FILES[-1]):
                (made / name).replace(out / name)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return TwinSummary(out, n_ratings, n_users, n_items)
