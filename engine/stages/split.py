"""Partitions -> train and test, a share of each user's ratings held out.

The rows are the ones the notebook picks: one generator for all users in ascending order, each drawing
without replacement from its rows in file order. A draw depends only on counts, so the first round draws
for everybody and leaves a bit per rating; partitions are then split apart from each other.

Files
-----
``held_out/00000.npy``, ...
    For each rating of a partition, whether it is in test; 8 to a byte.
``train/00000.parquet``, ``test/00000.parquet``, ...
    ``user``, ``item``, ``rating`` as in ingest, sorted by user and item.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine import config
from engine.chunked.task import Round, TaskContext
from engine.stages.ingest import count_users
from engine.stages.inputs import StageInputs
from engine.stages.names import partition_path


class SplitStage:
    """Draw, then split."""

    def __init__(self, inputs: StageInputs[config.Split]) -> None:
        self._inputs = inputs
        self._section = inputs.section
        self._ingest = inputs.upstream["ingest"]
        self._own = inputs.own

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        costs = self._inputs.plan(self._inputs.shapes)
        yield Round("draw", 1, self._draw, costs["draw"].cost)
        n_partitions = len(self._ingest.result("profile.00000")["first_users"])
        yield Round("split", n_partitions, self._split, costs["split"].cost)

    def _draw(self, index: int, context: TaskContext) -> dict[str, Any]:
        profile = self._ingest.result("profile.00000")
        starts = [*profile["first_users"], profile["n_users"]]
        rng = np.random.default_rng(self._section.seed)
        (context.scratch / "held_out").mkdir()
        for part, (first, last) in enumerate(itertools.pairwise(starts)):
            counts = count_users(self._ingest.path(partition_path(part)), first, last - first)
            mask = draw_held_out(rng, counts, self._section.test_fraction, self._section.min_ratings)
            np.save(context.scratch / f"held_out/{part:05d}.npy", np.packbits(mask))
        return {}

    def _split(self, index: int, context: TaskContext) -> dict[str, Any]:
        ratings = pl.read_parquet(self._ingest.path(partition_path(index)))
        packed = np.load(self._own.path(f"held_out/{index:05d}.npy"))
        held_out = pl.Series(np.unpackbits(packed, count=ratings.height).astype(bool))
        counts = {}
        for kind, mask in (("train", ~held_out), ("test", held_out)):
            part = ratings.filter(mask).sort("user", "item")
            path = context.scratch / partition_path(index, kind)
            path.parent.mkdir()
            part.write_parquet(path, compression_level=1)
            counts[f"n_{kind}"] = part.height
        return counts


def draw_held_out(
    rng: np.random.Generator, counts: NDArray[np.int64], test_fraction: float, min_ratings: int
) -> NDArray[np.bool_]:
    """Draw the held-out rows of consecutive users.

    Parameters
    ----------
    rng : numpy.random.Generator
        Advanced by as much as these users take.
    counts : int64 array, shape (users,)
        Ratings of each user.
    test_fraction : float
        ``max(1, int(n * test_fraction))`` of ``n`` rows are held out.
    min_ratings : int
        Users with fewer rows draw nothing.

    Returns
    -------
    bool array, shape (sum of counts,)
        True where the row is in test; users one after another, rows in file order.
    """
    mask = np.zeros(int(counts.sum()), dtype=bool)
    start = 0
    for n in counts.tolist():
        if n >= min_ratings:
            size = max(1, int(n * test_fraction))
            mask[start + rng.choice(n, size=size, replace=False)] = True
        start += n
    return mask
