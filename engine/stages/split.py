"""Partitions -> train and test.

Which ratings are test's is settled by ``split.method``:

- ``notebook``: the rows the notebook picks: one generator for all users in ascending order, each drawing without
  replacement from its rows in file order. A draw depends only on counts, so a first round draws for everybody and
  leaves a bit per rating. With ``split.folds`` each user's ratings are shared out among folds, and one is test's.
- ``random``: of each user as many; which ones is settled by the seed and the ids of the pair alone
  (`engine.model.split.turns`), so that no round has to go before, and other ratings do not matter.
- ``leave-last``: each user's last by time, of ratings at the same time that of the greater item code last.
- ``global-time``: those later than one moment: the earliest that leaves no more than the share asked for. It is the
  same whatever the order of the file: ratings of the same second are not parted. Users who rated nothing up to then
  are unknown to any model: their ratings are left out, as those of items that only test knows are.
- ``none``: none are.
- ``given``: those of a test part made elsewhere, as ingest has marked them.

Partitions are then split apart from each other.

Files
-----
``held_out/00000.npy``, ...
    ``notebook``: for each rating of a partition, whether it is in test; 8 to a byte.
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
from engine.artifacts import tables
from engine.artifacts.names import CUT, partition_path
from engine.artifacts.records import Profile, partition_counts
from engine.chunked.array_files import load_array
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.model.split import (
    draw_fold,
    draw_held_out,
    greatest_of_each,
    held_out_of_each,
    last_of_each,
    numbers_of_text,
    share,
    smallest,
    turns,
)


class SplitStage:
    """Settle what is held out as far as that takes all users, then split."""

    def __init__(self, inputs: Inputs[config.Split]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._ingest = inputs.upstream["ingest"]
        self._own = inputs.own

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        if self._section.method == "notebook":
            yield Round("draw", plan["draw"], self._draw)
        elif self._section.method == "global-time":
            yield Round("cut", plan["cut"], self._find_cut)
        yield Round("split", plan["split"], self._split, self._load)

    def _load(self) -> NDArray[np.uint64] | None:
        """The numbers of all items' ids, where they settle what is held out."""
        return numbers_of(tables.all_item_ids(self._ingest)) if self._section.method == "random" else None

    def _first_users(self) -> list[int]:
        """Code of the first user of each partition, and the number of users."""
        return Profile.of(self._ingest).bounds

    def _draw(self, index: int, context: TaskContext) -> dict[str, Any]:
        rng = np.random.default_rng(self._section.seed)
        (context.scratch / "held_out").mkdir()
        for part, (first, last) in enumerate(itertools.pairwise(self._first_users())):
            users = tables.read_partition(self._ingest, part, "user")["user"].to_numpy()
            counts = np.bincount(users - np.uint32(first), minlength=last - first).astype(np.int64)
            mask = self._drawn(rng, counts)
            np.save(context.scratch / f"held_out/{part:05d}.npy", np.packbits(mask))
        return {}

    def _drawn(self, rng: np.random.Generator, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which ratings of consecutive users are held out."""
        section = self._section
        if section.folds is not None:
            return draw_fold(rng, counts, section.fold, section.folds, section.min_ratings)
        return draw_held_out(rng, counts, section.test_fraction, section.min_ratings)

    def _find_cut(self, index: int, context: TaskContext) -> dict[str, Any]:
        """Find the moment after which ratings are test's."""
        profile = Profile.of(self._ingest)
        n = sum(part.n_ratings for part in partition_counts(self._ingest))
        n_test = max(1, int(share(np.array([n]), self._section.test_fraction)[0]))
        return {"time": smallest(self._times, max(0, n - n_test - 1), profile.time_min, profile.time_max)}

    def _times(self) -> Iterator[NDArray[np.int64]]:
        for part in range(len(self._first_users()) - 1):
            yield tables.read_partition(self._ingest, part, "time")["time"].to_numpy()

    def _split(self, index: int, context: TaskContext) -> dict[str, Any]:
        given = self._section.method == "given"
        columns = ["user", "item", "rating", *["time"] * self._section.by_time, *["test"] * given]
        ratings = tables.read_partition(self._ingest, index, *columns)
        held_out, left_out = self._held_out(index, ratings, context.shared)
        counts = {"n_left_out": int(left_out.sum())}
        if given:
            users = ratings["user"].to_numpy()
            counts["n_unknown_users"] = len(np.setdiff1d(users[held_out], users[~held_out]))
        for kind, mask in (("train", ~held_out), ("test", held_out & ~left_out)):
            part = ratings.select("user", "item", "rating").filter(pl.Series(mask)).sort("user", "item")
            path = context.scratch / partition_path(index, kind)
            path.parent.mkdir()
            part.write_parquet(path, compression="lz4", statistics=False)
            counts[f"n_{kind}"] = part.height
        return counts

    def _held_out(
        self, index: int, ratings: pl.DataFrame, of_items: NDArray[np.uint64] | None
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether each rating of a partition is held out, and whether it is then left out altogether."""
        none = np.zeros(ratings.height, dtype=bool)
        if self._section.method == "notebook":
            packed = load_array(self._own.path(f"held_out/{index:05d}.npy"))
            return np.unpackbits(packed, count=ratings.height).astype(bool), none
        if not self._section.tests:
            return none, none
        if self._section.method == "given":
            return ratings["test"].to_numpy(), none
        first, last = self._first_users()[index : index + 2]
        users = ratings["user"].to_numpy() - np.uint32(first)
        if of_items is not None:
            of_users = numbers_of(tables.user_ids_between(self._ingest, first, last))
            drawn = turns(self._section.seed, of_users[users], of_items[ratings["item"].to_numpy()])
            return greatest_of_each(users, drawn, self._sizes(np.bincount(users, minlength=last - first))), none
        times = ratings["time"].to_numpy()
        if self._section.method == "leave-last":
            sizes = self._sizes(np.bincount(users, minlength=last - first))
            return last_of_each(users, ratings["item"].to_numpy(), times, sizes), none
        later = times > self._own.result(CUT)["time"]
        unknown = np.bincount(users[~later], minlength=last - first) == 0
        return later, unknown[users]

    def _sizes(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many of each user's last ratings are held out."""
        n, least = self._section.leave_last, self._section.min_ratings
        if n is None:
            return held_out_of_each(counts, self._section.test_fraction, least)
        return np.where(counts >= max(least, n + 1), n, 0)


def numbers_of(ids: pl.Series) -> NDArray[np.uint64]:
    """A number of 64 bits for each id, which depends on nothing else: of a number its own."""
    if ids.dtype == pl.String:
        return numbers_of_text(ids.to_list())
    return ids.cast(pl.Int64).to_numpy().view(np.uint64)
