"""ratings.csv -> Parquet partitions by user range.

The file is streamed once into Parquet row groups, which can be read again cheaply; a look at those
settles ids, dtypes and partition bounds; then each partition takes its users' rows, in file order.

Files
-----
``users.parquet``, ``items.parquet``
    Original ids in ascending order: an id's row number is its code.
``ratings/00000.parquet``, ...
    ``user``, ``item`` (codes, uint32) and ``rating`` (a multiple of ``rating_step``), grouped by user,
    rows of a user in file order; of a pair rated twice only the later row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine import config, source
from engine.chunked.errors import EngineError, UsageError, system_error
from engine.chunked.task import Round, TaskContext
from engine.stages.inputs import StageInputs
from engine.stages.names import ITEMS, USERS, partition_path

SOURCE = "source.parquet"
# Small enough to stream, large enough that statistics and headers cost nothing.
_ROW_GROUP = 2**17
# Ids as dense as this are looked up in a table, which takes a tenth of the time of a binary search.
_TABLE_PER_ID = 16
_UNKNOWN = np.uint32(2**32 - 1)


class IngestStage:
    """Convert, profile, partition."""

    def __init__(self, inputs: StageInputs[config.Ingest]) -> None:
        self._inputs = inputs
        self._section = inputs.section
        self._source = inputs.source
        self._own = inputs.own

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        costs = self._inputs.plan(self._inputs.shapes)
        yield Round("convert", 1, self._convert, costs["convert"].cost, until="partition")
        yield Round("profile", 1, self._profile, costs["profile"].cost)
        profile = self._own.result("profile.00000")
        costs = self._inputs.plan(self._inputs.shapes.profiled(profile))
        n_partitions = len(profile["first_users"])
        yield Round("partition", n_partitions, self._partition, costs["partition"].cost, load=self._load_ids)

    def _convert(self, index: int, context: TaskContext) -> None:
        try:
            source.scan(self._source).sink_parquet(
                context.scratch / SOURCE, row_group_size=_ROW_GROUP, compression_level=1
            )
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            self._refuse_change()
            self._refuse(error)
        self._refuse_change()

    def _refuse_change(self) -> None:
        """Refuse a source that is not the one whose digest is in the fingerprint."""
        if source.state(self._source.path) != self._inputs.source_state:
            raise EngineError(f"{self._source.path}: changed while it was read: run again")

    def _refuse(self, error: BaseException | None) -> NoReturn:
        """Say where the source is wrong; called once the fast path saw that it is."""
        fault = source.locate_fault(self._source)
        if fault is not None:
            raise UsageError(str(fault))
        if error is not None and system_error(error) is not None:
            raise error  # the source is sound: a full disk, say
        raise UsageError(f"{self._source.path}: cannot be read as ratings: {error or 'missing or invalid values'}")

    def _profile(self, index: int, context: TaskContext) -> dict[str, Any]:
        rows = pl.scan_parquet(self._own.path(SOURCE))
        summary = _summarise(rows)
        if summary["faults"]:
            self._refuse(None)
        users = _count_by_user(rows)
        items = rows.select("item").unique().collect(engine="streaming").sort("item")
        users.select("user").write_parquet(context.scratch / USERS)
        items.write_parquet(context.scratch / ITEMS)
        counts = users["len"].to_numpy().astype(np.int64)
        return {
            "n_rows": summary["n_rows"],
            "n_users": users.height,
            "n_items": items.height,
            "most_ratings_of_a_user": int(counts.max()),
            "rating_dtype": summary["rating_dtype"],
            "rating_step": summary["rating_step"],
            "rating_min": summary["rating_min"],
            "rating_max": summary["rating_max"],
            "sorted_by_user": _sorted_by_user(users),
            "first_users": first_users(counts, self._section.ratings_per_partition).tolist(),
        }

    def _load_ids(self) -> tuple[pl.Series, pl.Series]:
        return pl.read_parquet(self._own.path(USERS))["user"], pl.read_parquet(self._own.path(ITEMS))["item"]

    def _partition(self, index: int, context: TaskContext) -> dict[str, Any]:
        profile = self._own.result("profile.00000")
        starts = [*profile["first_users"], profile["n_users"]]
        all_users, items = context.shared
        users = all_users[starts[index] : starts[index + 1]]
        coded = encode(self._read(users), users, starts[index], items, profile["rating_dtype"], profile["rating_step"])
        ratings = coded[latest_by_user(coded["user"].to_numpy(), coded["item"].to_numpy())]
        target = context.scratch / partition_path(index)
        target.parent.mkdir()
        ratings.write_parquet(target, row_group_size=_ROW_GROUP, compression_level=1)
        return {"n_ratings": ratings.height, "n_repeated": coded.height - ratings.height}

    def _read(self, users: pl.Series) -> pl.DataFrame:
        """Rows of the converted source that belong to a range of users."""
        ours = pl.col("user").is_between(pl.lit(users[0]), pl.lit(users[-1]))
        return pl.scan_parquet(self._own.path(SOURCE)).filter(ours).collect(engine="streaming")


def _summarise(rows: pl.LazyFrame) -> dict[str, Any]:
    """Counts, rating range and dtype of the converted source, in one streaming pass."""
    rating = pl.col("rating")
    fault = pl.any_horizontal(pl.col("user", "item", "rating").is_null()) | ~rating.is_finite()
    half_stars = (rating * 2 == (rating * 2).round()) & rating.is_between(0, 127.5)
    found = rows.select(
        n_rows=pl.len(),
        faults=fault.sum(),
        half_stars=half_stars.all(),
        single=(rating.cast(pl.Float32).cast(pl.Float64) == rating).all(),
        rating_min=rating.min(),
        rating_max=rating.max(),
    )
    summary = found.collect(engine="streaming").row(0, named=True)
    summary["rating_step"] = 0.5 if summary["half_stars"] else 1.0
    summary["rating_dtype"] = "uint8" if summary["half_stars"] else "float32" if summary["single"] else "float64"
    return summary


def _count_by_user(rows: pl.LazyFrame) -> pl.DataFrame:
    """Each user's number of rows and the first and last of them, by ascending user."""
    counts = rows.with_row_index("row").group_by("user").agg(pl.len(), first=pl.min("row"), last=pl.max("row"))
    return counts.collect(engine="streaming").sort("user")


def _sorted_by_user(users: pl.DataFrame) -> bool:
    """Whether the file has its users one after another, ascending; streaming engines cannot compare rows."""
    together = (users["last"] - users["first"] + 1 == users["len"]).all()
    return together and users["first"].is_sorted()


def first_users(counts: NDArray[np.int64], ratings_per_partition: int) -> NDArray[np.int64]:
    """Cut users into partitions of about the same number of ratings.

    Parameters
    ----------
    counts : int64 array, shape (users,)
        Ratings of each user.
    ratings_per_partition : int
        Users whose first rating falls into the same stretch of this many ratings share a partition.

    Returns
    -------
    int64 array, shape (partitions,)
        Code of the first user of each partition, ascending from 0.
    """
    starts = np.cumsum(counts) - counts
    _, first = np.unique(starts // ratings_per_partition, return_index=True)
    return np.asarray(first, dtype=np.int64)


def encode(
    rows: pl.DataFrame, users: pl.Series, first_user: int, items: pl.Series, dtype: str, step: float
) -> pl.DataFrame:
    """Replace ids by codes, and ratings by multiples of ``step``.

    Parameters
    ----------
    rows : DataFrame
        ``user``, ``item``, ``rating`` as in the source.
    users, items : Series
        Ids in ascending order; all that occur.
    first_user : int
        Code of the first of ``users``; films are coded from 0.
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
    return rows.select(user=user + np.uint32(first_user), item=item, rating=scaled.cast(stored))


def codes(ids: pl.Series, known: pl.Series) -> NDArray[np.uint32]:
    """Position of each id among the known ones, which ascend.

    Raises
    ------
    EngineError
        Where an id is not known: rows would be lost.
    """
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


def latest_by_user(users: NDArray[np.uint32], items: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Rows grouped by ascending user, in their order within each; of a pair that repeats, only its last row.

    Parameters
    ----------
    users, items : uint32 arrays, shape (rows,)

    Returns
    -------
    intp array, shape (distinct pairs,)
        Row numbers.
    """
    pairs = users.astype(np.uint64) << np.uint64(32) | items
    if (pairs[1:] > pairs[:-1]).all():
        return np.arange(len(pairs))
    by_pair = np.argsort(pairs, kind="stable")
    pairs = pairs[by_pair]
    last = np.append(pairs[1:] != pairs[:-1], True)
    rows = np.sort(by_pair[last])
    return rows[np.argsort(users[rows], kind="stable")]


def count_users(path: Path, first_user: int, n_users: int) -> NDArray[np.int64]:
    """Ratings of each user of a partition, in order of code; shape (n_users,)."""
    codes = pl.read_parquet(path, columns=["user"])["user"].to_numpy()
    return np.bincount(codes - np.uint32(first_user), minlength=n_users).astype(np.int64)
