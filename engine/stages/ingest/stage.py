"""Ratings files -> Parquet partitions by user range.

Each file is streamed once into Parquet row groups, which can be read again cheaply; a large one in pieces, side by
side, where it can be cut. What is seen on the way settles dtypes, and how much memory it takes to count ids, which
settles partition bounds; then each partition takes its users' rows, in the order of the files and in file order.

Files
-----
``users.parquet``, ``items.parquet``
    Original ids in ascending order: an id's row number is its code. Where ids are text, the key each goes by while the
    source is cut up: a 64-bit hash, so that rows are as narrow as those of numbers.
``ratings/00000.parquet``, ...
    ``user``, ``item`` (codes, uint32) and ``rating`` (a multiple of ``rating_step``), grouped by user,
    rows of a user in file order; of a pair rated twice only the later row, with the sum of both where
    these are counts. Rows with a count of 0 are left out: the user did not take the item. With ``ingest.times`` also
    ``time``, int64: the timestamp, in the unit that the finest of the files has (`engine.ratings.times`). With a test
    part made elsewhere also ``test``, bool: whether it is of that; of a pair in both, train's row is there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

from engine import config
from engine.artifacts.names import ITEMS, USERS, partition_path
from engine.artifacts.records import Profile
from engine.chunked.errors import DamagedError, EngineError, UsageError, is_short, system_error
from engine.chunked.journal import Journal
from engine.chunked.pipeline import Inputs
from engine.chunked.storage import Local
from engine.chunked.task import Round, TaskContext, task_id
from engine.model.ingest import latest_by_user, summed_by_pair
from engine.model.sizes import INGEST_ROW_GROUP
from engine.ratings.faults import locate_fault
from engine.ratings.pieces import read_piece
from engine.ratings.records import write_utf8
from engine.ratings.scan import scan
from engine.ratings.source import RatingsFile, Source
from engine.stages.ingest.converted import KEY, TEXT, Converted, source_path
from engine.stages.ingest.distinct import Samples
from engine.stages.ingest.profile import Profiling
from engine.stages.ingest.survey import Figures, Looks, summary, together

_UTF8 = "utf8"
# Ids as dense as this are looked up in a table, which takes a tenth of the time of a binary search.
_TABLE_PER_ID = 16
_UNKNOWN = np.uint32(2**32 - 1)


def sample_path(index: int) -> str:
    """Where a sample of its ids is."""
    return f"sample/{index:05d}.npz"


class IngestStage:
    """Convert, profile, partition."""

    def __init__(self, inputs: Inputs[config.Ingest]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._source = Source.from_json(dict(inputs.details["source"]))
        self._own = inputs.own
        self._given = any(file.held_out for file in self._source.files)
        self._columns = ["user", "item", "rating"]
        self._columns += ["time"] * self._section.times + ["test"] * self._given
        self._converted = Converted(self._own, self._source)
        self._texts = self._converted.texts

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        # Of many files, the next run may need those that are the same then: see `engine.ratings.converted`.
        until = "partition" if len(self._source.files) == 1 else None
        yield Round("convert", plan["convert"], self._convert, until=until)
        yield Round("survey", plan["survey"], self._survey)
        # Each of these is planned with what the round before it has found.
        yield from Profiling(self._inputs, self._converted).rounds()
        yield Round("partition", self._inputs.plan()["partition"], self._partition, load=self._load)

    def _convert(self, index: int, context: TaskContext) -> dict[str, Any]:
        (number, piece), target = self._source.pieces[index], context.scratch / source_path(index)
        target.parent.mkdir()
        looks = Looks(TEXT, self._converted.name("user"))
        in_pieces = self._source.files[number].pieces > 1
        taken = self._take_over(index, target)
        if not taken:
            self._write(number, piece, target, context.scratch / _UTF8, looks if in_pieces else None)
        if taken or not in_pieces:
            for rows in self._converted.groups(target):
                looks.add(rows)
        self._refuse_change(number)
        return looks.write(context.scratch / sample_path(index))

    def _write(self, number: int, piece: int, target: Path, utf8: Path, looks: Looks | None) -> None:
        """Convert a piece of a file, or with no looks at it all of it."""
        file = self._source.files[number]
        try:
            rows = self._passed(file, piece, looks) if looks else self._scan(file, self._utf8(file, utf8))
            rows.sink_parquet(target, row_group_size=self._converted.row_group, compression="lz4")
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
            if is_short(error):
                raise
            self._refuse_change(number)
            self._refuse([file], error)
        finally:
            utf8.unlink(missing_ok=True)

    def _passed(self, file: RatingsFile, piece: int, looks: Looks) -> pl.LazyFrame:
        """The rows of a piece, which are looked at as they go by, once."""

        def blocks(*_: object) -> Iterator[pl.DataFrame]:
            skip = file.skip if piece == 0 else 0
            for text in read_piece(file, piece):
                rows = self._scan(replace(file, skip=skip), text).collect()
                looks.add(rows)
                yield rows
                skip = 0

        return register_io_source(blocks, schema=self._scan(file, b"\n").collect_schema())

    def _scan(self, file: RatingsFile, text: Path | bytes | None) -> pl.LazyFrame:
        """What a file, or a text, is converted to."""
        texts = (pl.col(kind).alias(TEXT[kind]) for kind in self._texts)
        rows = scan(file, timestamp=self._section.times, text=text)
        rows = rows.rename({"timestamp": "time"}, strict=False).with_columns(pl.col(self._texts).hash(), *texts)
        return rows.with_columns(test=pl.lit(file.held_out)) if self._given else rows

    def _take_over(self, index: int, target: Path) -> bool:
        """Copy what an earlier run has made of the piece; False where there is nothing, or not what its record says."""
        folder, number = self._inputs.details.get("converted", {}).get(str(index), (None, 0))
        if folder is None:
            return False
        try:
            root = self._own.root.parent / folder
            files = Journal(root).read(task_id("convert", number)).files
            entry = next(entry for entry in files if entry.path == source_path(number))
            shutil.copyfile((root / entry.path).local(), target)
        except (DamagedError, OSError, ValueError, StopIteration):
            return False
        return Local(target).digest() == entry.sha256

    def _utf8(self, file: RatingsFile, copy: Path) -> Path | None:
        """A copy of the text, if Polars cannot read it as it is."""
        if file.encoding == "utf-8":
            return None
        write_utf8(file, copy)
        return copy

    def _refuse_change(self, index: int) -> None:
        """Refuse a file that is not the one whose digest is in the fingerprint."""
        path = self._source.files[index].path
        if path.state() != self._inputs.details["source_states"][index]:
            raise EngineError(f"{path}: changed while it was read: run again")

    def _refuse(self, files: Sequence[RatingsFile], error: BaseException | None) -> NoReturn:
        """Say where a file is wrong; called once the fast path saw that one is."""
        if fault := next((found for file in files if (found := locate_fault(file))), None):
            raise UsageError(str(fault))
        if error is not None and (system_error(error) is not None or is_short(error)):
            raise error  # the ratings are sound: a full disk, say
        where = files[0].called if len(files) == 1 else self._source.origin
        told = str(error or "missing or invalid values")
        # Python's reader, which has found no fault, passes over zeros there.
        padded = "; if there are zeros after its end, unpack it with gzip -d, which leaves them out" * ("gzip" in told)
        raise UsageError(f"{where}: cannot be read as ratings: {told}{padded}")

    def _survey(self, index: int, context: TaskContext) -> dict[str, Any]:
        figures = together(self._own.results("convert"))
        if not figures["n_rows"] or figures["faults"]:
            self._refuse(self._source.files, None)
        if self._source.values == "counts" and not figures["rating_max"]:
            where = self._source.first.called if self._source.first.of_frame else self._source.origin
            raise UsageError(f"{where}: all counts are 0, so that nobody took anything: see the column")
        samples = Samples()
        for number in range(len(self._source.pieces)):
            samples.read(self._own.path(sample_path(number)))
        return summary(figures) | samples.estimates()

    def _load(self) -> tuple[pl.Series, list[Figures]]:
        """Keys of items, and figures of each piece."""
        return self._keys("item", ITEMS, 0, None), self._own.results("convert")

    def _keys(self, kind: str, name: str, first: int, last: int | None) -> pl.Series:
        """Those of codes ``first`` to ``last``, the last excluded."""
        column = KEY if kind in self._texts else kind
        keys = pl.scan_parquet(self._own.path(name), glob=False).select(column)
        return keys.slice(first, None if last is None else last - first).collect()[column]

    def _partition(self, index: int, context: TaskContext) -> dict[str, Any]:
        profile = Profile.of(self._own)
        starts = profile.bounds
        items, pieces = context.shared
        users = self._keys("user", USERS, starts[index], starts[index + 1])
        coded = encode(
            self._read(users, pieces), users, starts[index], items, profile.rating_dtype, profile.rating_step
        )
        taken = coded.filter(pl.col("rating") != 0) if self._source.values == "counts" else coded
        ratings, n_in_train = self._parted(taken) if self._given else (self._merged(taken), 0)
        target = context.scratch / partition_path(index)
        target.parent.mkdir()
        # Nobody looks for a range within a partition: no statistics, which take half the time of a write.
        ratings.write_parquet(target, row_group_size=INGEST_ROW_GROUP, compression="lz4", statistics=False)
        counts = {"n_ratings": ratings.height, "n_repeated": taken.height - n_in_train - ratings.height}
        counts |= {"n_in_train": n_in_train} if self._given else {}
        return counts | ({"n_not_taken": coded.height - taken.height} if self._source.values == "counts" else {})

    def _parted(self, coded: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """A row for each pair of train and of test, grouped by user; and how many of test are left out for train's."""
        train, test = (self._merged(coded.filter(pl.col("test") == held_out)) for held_out in (False, True))
        new = test.join(train.select("user", "item"), on=["user", "item"], how="anti", maintain_order="left")
        return pl.concat([train, new]).sort("user", maintain_order=True), test.height - new.height

    def _merged(self, coded: pl.DataFrame) -> pl.DataFrame:
        """A row for each pair, grouped by user."""
        users, items = coded["user"].to_numpy(), coded["item"].to_numpy()
        rows = latest_by_user(users, items)
        ratings = coded[rows]
        if self._source.values == "ratings":
            return ratings
        sums = summed_by_pair(users, items, coded["rating"].to_numpy().astype(np.float64), rows)
        return ratings.with_columns(pl.Series("rating", sums).cast(coded["rating"].dtype))

    def _read(self, users: pl.Series, pieces: Sequence[Figures]) -> pl.DataFrame:
        """Rows of the converted source that belong to a range of users."""
        user = pl.col("user")
        ours = (
            user.is_in(users.implode())
            if "user" in self._texts
            else user.is_between(pl.lit(users[0]), pl.lit(users[-1]))
        )
        low, high = users.to_numpy().min(), users.to_numpy().max()
        paths = [
            path
            for path, piece in zip(self._converted.paths(), pieces, strict=True)
            if piece["n_rows"] and piece["user_min"] <= high and piece["user_max"] >= low
        ]
        rows = pl.scan_parquet(paths, glob=False).filter(ours).select(self._columns)
        return rows.collect(engine="streaming")


def encode(
    rows: pl.DataFrame, users: pl.Series, first_user: int, items: pl.Series, dtype: str, step: float
) -> pl.DataFrame:
    """Replace ids by codes, and ratings by multiples of ``step``.

    Parameters
    ----------
    rows : DataFrame
        ``user``, ``item``, ``rating`` as in the source, and ``time`` and ``test`` if they are kept.
    users, items : Series
        Ids, or their keys, in order of code; all that occur.
    first_user : int
        Code of the first of ``users``; items are coded from 0.
    dtype, step : str, float
        How ratings are stored.

    Raises
    ------
    EngineError
        Where an id has no code: rows would be lost.
    """
    stored = {"uint8": pl.UInt8, "float32": pl.Float32, "float64": pl.Float64}[dtype]
    scaled = (pl.col("rating") / step).round() if dtype == "uint8" else pl.col("rating")
    user, item = codes(rows["user"], users), codes(rows["item"], items)
    others = [name for name in ("time", "test") if name in rows.columns]
    return rows.select(
        pl.Series("user", user + np.uint32(first_user)), pl.Series("item", item), scaled.cast(stored), *others
    )


def codes(ids: pl.Series, known: pl.Series) -> NDArray[np.uint32]:
    """Position of each id among the known ones, which are distinct.

    Raises
    ------
    EngineError
        Where an id is not known: rows would be lost.
    """
    if not known.is_sorted():
        order = known.arg_sort()
        return order.to_numpy()[codes(ids, known.gather(order))]
    if known.dtype.is_integer():
        low, high = int(known[0]), int(known[-1])
        if high - low < _TABLE_PER_ID * len(known) and ids.is_between(low, high).all():
            table = np.full(high - low + 1, _UNKNOWN, dtype=np.uint32)
            table[known.to_numpy() - low] = np.arange(len(known), dtype=np.uint32)
            found: NDArray[np.uint32] = table[ids.to_numpy() - low]
            if (found != _UNKNOWN).all():
                return found
    position = np.asarray(known.search_sorted(ids), dtype=np.uint32)
    if not known.gather(np.minimum(position, len(known) - 1)).equals(ids):
        raise EngineError("the ratings file changed while it was read: run again")
    return position
