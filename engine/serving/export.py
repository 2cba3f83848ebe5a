"""The split and the lists of a finished run as Parquet, with the original ids: to compare other programs with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Unpack

import polars as pl
import pyarrow.parquet

from engine.artifacts.names import TEST, TRAIN
from engine.artifacts.records import Profile
from engine.artifacts.tables import all_item_ids, read_partition, user_ids
from engine.chunked.errors import UsageError
from engine.chunked.events import OnEvent, ignore
from engine.chunked.loop import Resources
from engine.chunked.storage import Place, on_this_machine
from engine.chunked.storage.outputs import is_stream
from engine.serving.everybody import recommend_all
from engine.serving.finished import FinishedRun, damage_told, open_finished
from engine.serving.whole import replacing

LISTS = "lists.parquet"


class Exported(NamedTuple):
    """What was written: the folder, and how many train ratings, test ratings, and items in lists."""

    out: Path
    n_train: int
    n_test: int
    n_listed: int


def export(
    where: Place, out: str | os.PathLike[str], *, on_event: OnEvent = ignore, **resources: Unpack[Resources]
) -> Exported:
    """Write ``train.parquet``, ``test.parquet`` and ``lists.parquet``.

    The first two have ``user``, ``item`` and ``rating``; test has ratings of items, too, that train does not have. The
    lists are those that the run measured (`engine.stages.recommend` has the columns). Of train and test a partition is
    in memory at a time, and all ids.

    Parameters
    ----------
    where : path or URL
        The work directory.
    out : path
        The folder to write to, made if it is not there.
    on_event : callable
        Told what happens, for progress.
    **resources
        Of the lists, as `engine.serving.everybody.recommend_all` takes them.

    Raises
    ------
    UsageError, BudgetError, LockedError, DamagedError, Interrupted
        See `engine.chunked.errors`.
    """
    run, folder = open_finished(where), on_this_machine(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror}): name a folder") from None
    for name in (f"{TRAIN}.parquet", f"{TEST}.parquet", LISTS):
        is_stream(folder / name, text=False)
    with damage_told(run):
        n_train, n_test = (_write(run, kind, folder / f"{kind}.parquet") for kind in (TRAIN, TEST))
    k = run.settings.evaluate.k
    lists = recommend_all(where, folder / LISTS, k=k, include_test=True, on_event=on_event, **resources)
    return Exported(folder, n_train, n_test, lists.n_items)


def _write(run: FinishedRun, kind: str, target: Path) -> int:
    """Write a part of the split, partition by partition; return its number of ratings."""
    tables = (rows.to_arrow() for rows in _partitions(run, kind))
    first, n = next(tables), 0  # a run has a partition
    with replacing(target) as file, pyarrow.parquet.ParquetWriter(file, first.schema) as writer:
        for table in chain([first], tables):
            writer.write_table(table)
            n += table.num_rows
    return n


def _partitions(run: FinishedRun, kind: str) -> Iterator[pl.DataFrame]:
    profile = Profile.of(run.stages["ingest"])
    users, items = user_ids(run.stages["ingest"]), all_item_ids(run.stages["ingest"])
    for part in range(len(profile.first_users)):
        rows = read_partition(run.stages["split"], part, "user", "item", "rating", kind=kind)
        yield pl.DataFrame(
            {
                "user": users.gather(rows["user"]),
                "item": items.gather(rows["item"]),
                "rating": rows["rating"].cast(pl.Float64) * profile.rating_step,
            }
        )
