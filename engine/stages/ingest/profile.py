"""How large everything is: the distinct ids in order of code, and the ratings of each user.

Of few ratings one task counts all ids. Of many they are counted by parts of the rows: each task leaves what it has
seen, sorted. Tasks by ranges of ids then put together what all of these have in their range; the ranges are cut by a
sample of the ids, so that each has about as many. Where ids are text, ranges are of the keys they go by, in no order of
the texts: tasks by ranges of texts put those in order. So no task holds all ids. The last one goes through them, for
one file, and holds how many ratings each user has.

Files
-----
All of them are temporary, and there are none where one task counts all.

``counted/user-00000.parquet``, ``counted/item-00000.parquet``, ...
    Of a part of the rows: the ids or keys, ascending, the ``count`` of each, and its text where it has one.
``sampled/00000.npz``, ...
    Some of these ids, for the bounds of ranges.
``merged/user-00000.parquet``, ...
    As ``users.parquet``, of a range of ids or keys; with the ``count`` of each.
``texts/user-00000.parquet``, ...
    Some of the texts in a range of keys, for the bounds of ranges of texts.
``ordered/user-00000.parquet``, ...
    As ``merged/``, of a range of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from engine import config
from engine.artifacts.names import ITEMS, SURVEY, USERS
from engine.chunked.array_files import load_arrays
from engine.chunked.errors import DamagedError
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.model.counting import n_ranges
from engine.model.ingest import Counts, first_users, most_of_users, range_bounds
from engine.model.sizes import RANGE_IDS, RANGE_SAMPLE
from engine.stages.ingest.converted import KEY, KINDS, TEXT, Blocks, Converted
from engine.stages.ingest.distinct import IdCounts, Ids, Texts, sampled
from engine.stages.ingest.survey import MOST_HALF_STARS

Rows = Callable[..., Blocks]
"""``rows(*columns)`` goes through them."""

_NAMES = {"user": USERS, "item": ITEMS}
_SUMMED = {"uint8": "float32", "float32": "float32", "float64": "float64"}
# Rows in a row group of temporary files, of which a task reads those with its range.
_GROUP = 2**15


class Range(NamedTuple):
    """The part of the ids that a task puts together: from ``low`` on, below ``high``, and where some are counted."""

    kind: str
    number: int
    low: Any
    high: Any
    paths: Sequence[Path]

    def filter(self, column: str) -> pl.Expr:
        """What a column is in the range."""
        above = pl.lit(True) if self.low is None else pl.col(column) >= pl.lit(self.low)
        return above if self.high is None else above & (pl.col(column) < pl.lit(self.high))

    def rows(self, *columns: str) -> Blocks:
        """Go through the range in each file."""
        for path in self.paths:
            yield pl.scan_parquet(path, glob=False).filter(self.filter(self.kind)).select(columns).collect()


def _path(folder: str, kind: str, number: int) -> str:
    return f"{folder}/{kind}-{number:05d}.parquet"


def _sample_path(number: int) -> str:
    return f"sampled/{number:05d}.npz"


class Profiling:
    """The rounds that count ids.

    Parameters
    ----------
    inputs : Inputs
        Those of ingest.
    converted : Converted
    """

    def __init__(self, inputs: Inputs[config.Ingest], converted: Converted) -> None:
        self._inputs, self._own = inputs, inputs.own
        self._converted = converted

    def rounds(self) -> Iterator[Round]:
        """As a stage's; to be gone through once ingest's survey is done."""
        plan = self._inputs.plan()
        if "count" in plan:
            count = partial(self._count, plan["count"].n_tasks)
            yield Round("count", plan["count"], count, self._converted.lengths, until="merge")
            yield Round("merge", plan["merge"], self._merge, self._ranges, until="profile")
        if "order" in plan:
            yield Round("order", plan["order"], self._order, self._text_ranges, until="profile")
        yield Round("profile", plan["profile"], self._join if "count" in plan else self._profile)

    # Of few ratings.

    def _profile(self, index: int, context: TaskContext) -> dict[str, Any]:
        lengths = self._converted.lengths()
        rows = partial(self._converted.rows, lengths, 0, sum(lengths))
        counts = {}
        for kind, found in _counted(rows).items():
            table = self._by_code(kind, *found.merged(), rows)
            counts[kind] = table["count"].to_numpy()
            table.drop("count").write_parquet(context.scratch / _NAMES[kind], row_group_size=self._converted.row_group)
        return self._found(counts["user"], len(counts["item"]))

    # Of many.

    def _count(self, n_tasks: int, index: int, context: TaskContext) -> dict[str, Any]:
        n_rows = sum(context.shared)
        start, stop = (n_rows * k // n_tasks for k in (index, index + 1))
        rows = partial(self._converted.rows, context.shared, start, stop)
        (context.scratch / "sampled").mkdir()
        (context.scratch / "counted").mkdir()
        found = {kind: each.merged() for kind, each in _counted(rows).items()}
        bits = max(0, (RANGE_IDS // RANGE_SAMPLE).bit_length() - 1)
        some = {kind: ids[sampled(ids, bits)] for kind, (ids, _) in found.items()}
        np.savez(context.scratch / _sample_path(index), user=some["user"], item=some["item"])
        for kind, (ids, counts) in found.items():
            texts = {TEXT[kind]: self._texts(kind, ids, rows).by_key()} if kind in self._converted.texts else {}
            table = pl.DataFrame({kind: ids, "count": counts, **texts})
            _write(table, context.scratch / _path("counted", kind, index))
        return {kind: [int(ids[0]), int(ids[-1])] for kind, (ids, _) in found.items()}

    def _ranges(self) -> list[Range]:
        """What each task puts together."""
        seen = self._own.results("count")
        samples = {kind: IdCounts() for kind in KINDS}
        for number in range(len(seen)):
            found = load_arrays(self._own.path(_sample_path(number)))
            for kind, sample in samples.items():
                sample.add_counted(found[kind], np.ones(len(found[kind]), dtype=np.int64))
        return [
            each._replace(paths=self._counted_in(each, seen))
            for kind, sample in samples.items()
            for each in _cut(kind, range_bounds(sample.merged()[0], self._n_ranges(kind)))
        ]

    def _counted_in(self, range_: Range, seen: Sequence[dict[str, Any]]) -> list[Path]:
        """Files with ids of a range; at least one, whose columns are known."""
        kind, low, high = range_.kind, range_.low, range_.high
        numbers = [
            number
            for number, bounds in enumerate(seen)
            if (low is None or bounds[kind][1] >= low) and (high is None or bounds[kind][0] < high)
        ]
        return [self._own.path(_path("counted", kind, number)) for number in numbers or [0]]

    def _merge(self, index: int, context: TaskContext) -> None:
        range_: Range = context.shared[index]
        found = IdCounts()
        for rows in range_.rows(range_.kind, "count"):
            found.add_counted(rows[range_.kind].to_numpy(), rows["count"].to_numpy())
        table = self._by_code(range_.kind, *found.merged(), range_.rows)
        (context.scratch / "merged").mkdir()
        _write(table, context.scratch / _path("merged", range_.kind, range_.number))
        if range_.kind in self._converted.texts:
            (context.scratch / "texts").mkdir()
            some = table.select(range_.kind).gather_every(max(1, RANGE_IDS // RANGE_SAMPLE))
            some.write_parquet(context.scratch / _path("texts", range_.kind, range_.number))

    def _text_ranges(self) -> list[Range]:
        """What each task puts in order."""
        found = []
        for kind in self._ordered():
            numbers = range(self._n_ranges(kind))
            samples = [pl.read_parquet(self._own.path(_path("texts", kind, k)), glob=False)[kind] for k in numbers]
            some = pl.concat(samples).sort()
            bounds = [some[len(some) * k // len(numbers)] for k in numbers[1:]]
            paths = [self._own.path(_path("merged", kind, number)) for number in numbers]
            found += [each._replace(paths=paths) for each in _cut(kind, bounds)]
        return found

    def _order(self, index: int, context: TaskContext) -> None:
        range_: Range = context.shared[index]
        (context.scratch / "ordered").mkdir()
        table = pl.concat(range_.rows(range_.kind, KEY, "count")).sort(range_.kind)
        _write(table, context.scratch / _path("ordered", range_.kind, range_.number))

    def _join(self, index: int, context: TaskContext) -> dict[str, Any]:
        counts = {}
        for kind, name in _NAMES.items():
            folder = "ordered" if kind in self._ordered() else "merged"
            paths = [self._own.path(_path(folder, kind, number)) for number in range(self._n_ranges(kind))]
            table = pl.scan_parquet(paths, glob=False).drop("count")
            table.sink_parquet(context.scratch / name, row_group_size=self._converted.row_group)
            counts[kind] = _counts(paths)
            if counts[kind].sum(dtype=np.int64) != self._own.result(SURVEY)["n_rows"]:
                raise DamagedError(f"{self._own.root}: another version of this program counted some ids: begin afresh")
        return self._found(counts["user"], len(counts["item"]))

    # Of either.

    def _n_ranges(self, kind: str) -> int:
        return n_ranges(self._own.result(SURVEY)[f"about_n_{kind}s"])

    def _ordered(self) -> list[str]:
        """Those whose texts are put in order by ranges."""
        return [kind for kind in self._converted.texts if self._n_ranges(kind) > 1]

    def _texts(self, kind: str, keys: Ids, rows: Rows) -> Texts:
        texts = Texts(keys)
        for block in rows(kind, TEXT[kind]):
            texts.add(block[kind].to_numpy(), block[TEXT[kind]])
        return texts

    def _by_code(self, kind: str, ids: Ids, counts: Counts, rows: Rows) -> pl.DataFrame:
        """Distinct ids in order of code, their keys where they have some, and the ``count`` of each."""
        if kind not in self._converted.texts:
            return pl.DataFrame({kind: ids, "count": counts})
        table = self._texts(kind, ids, rows).by_text()
        return pl.DataFrame({kind: table["text"], KEY: table["key"], "count": counts[ids.searchsorted(table["key"])]})

    def _found(self, counts: Counts, n_items: int) -> dict[str, Any]:
        """The profile; ``counts`` are users' ratings."""
        survey, section, values = self._own.result(SURVEY), self._inputs.params, self._converted.source.values
        known = ["n_rows", "rating_dtype", "rating_step", "rating_min", "rating_max", "sorted_by_user"]
        known += ["time_min", "time_max"] if section.times else []
        known_values = {name: survey[name] for name in known}
        if values != "ratings" and survey["rating_max"] * int(counts.max()) > MOST_HALF_STARS:
            # Sums of counts, which are not known yet; whole ones are exact up to 2^24.
            known_values |= {"rating_step": 1.0, "rating_dtype": _SUMMED[survey["rating_dtype"]]}
        return {
            **known_values,
            "values": values,
            "n_users": len(counts),
            "n_items": n_items,
            "most_ratings_of_a_user": int(counts.max()),
            "most_ratings_of_users": most_of_users(counts),
            "first_users": first_users(counts, section.ratings_per_partition).tolist(),
        }


def _counted(rows: Rows) -> dict[str, IdCounts]:
    found = {kind: IdCounts() for kind in KINDS}
    for block in rows(*KINDS):
        for kind, counts in found.items():
            counts.add(block[kind].to_numpy())
    return found


def _counts(paths: Sequence[Path]) -> Counts:
    """Those of all ranges, one after the other."""
    lengths = [pl.scan_parquet(path, glob=False).select(pl.len()).collect().item() for path in paths]
    counts = np.empty(sum(lengths), dtype=np.uint32)
    for path, end, length in zip(paths, np.cumsum(lengths), lengths, strict=True):
        counts[end - length : end] = pl.read_parquet(path, glob=False, columns=["count"])["count"].to_numpy()
    return counts


def _cut(kind: str, bounds: Sequence[Any] | Ids) -> list[Range]:
    """All ids in ranges, which begin at the bounds."""
    edges = pairwise([None, *bounds, None])
    return [Range(kind, number, low, high, ()) for number, (low, high) in enumerate(edges)]


def _write(table: pl.DataFrame, target: Path) -> None:
    """Leave ids and their counts for a later round."""
    table = table.with_columns(pl.col("count").cast(pl.UInt32))
    table.write_parquet(target, row_group_size=_GROUP, compression="lz4")
