"""What is Parquet. Polars costs 46 MiB to load: that is left until a table is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.artifacts import names
from engine.artifacts.records import MatrixLayout, Profile
from engine.chunked.errors import DamagedError
from engine.chunked.journal import Committed

if TYPE_CHECKING:
    import polars as pl


def read_partition(stage: Committed, index: int, *columns: str, kind: str = "ratings") -> pl.DataFrame:
    """Read a partition of ingest, or one of split.

    Parameters
    ----------
    stage : Committed
    index : int
        Of the partition.
    *columns : str
        Those wanted: ``user`` and ``item`` (codes, uint32), ``rating`` (multiples of the profile's step), and of
        ingest ``time`` (int64), where times are kept.
    kind : str
        `names.TRAIN` or `names.TEST` of split.
    """
    import polars as pl

    return pl.read_parquet(stage.path(names.partition_path(index, kind)), glob=False, columns=list(columns))


def user_ids(ingest: Committed) -> pl.Series:
    """Original ids of users, in order of code; integers or text, shape (users,)."""
    return _ids(ingest.path(names.USERS), "user", Profile.of(ingest).n_users)


def user_ids_between(ingest: Committed, start: int, stop: int) -> pl.Series:
    """The same of users ``start`` to ``stop``; no others' are held."""
    import polars as pl

    found = pl.scan_parquet(ingest.path(names.USERS), glob=False).select("user").slice(start, stop - start).collect()
    if len(found) != stop - start:
        raise DamagedError(f"{ingest.path(names.USERS)}: fewer than {stop} rows; begin afresh")
    return found["user"]


def first_user(ingest: Committed) -> str:
    """The original id of a user, as text."""
    import polars as pl

    return str(pl.scan_parquet(ingest.path(names.USERS), glob=False).select("user").head(1).collect().item())


def item_ids(matrix: Committed) -> pl.Series:
    """Original ids of items, in order of column; integers or text, shape (columns,)."""
    return _ids(matrix.path(names.COLUMNS), "item", MatrixLayout.of(matrix).n_columns)


def all_item_ids(ingest: Committed) -> pl.Series:
    """Original ids of items, those that only test knows, too, in order of code; integers or text, shape (items,)."""
    return _ids(ingest.path(names.ITEMS), "item", Profile.of(ingest).n_items)


def _ids(path: Path, column: str, n: int) -> pl.Series:
    import polars as pl

    refuse_other_length(path, n)
    return pl.read_parquet(path, glob=False, columns=[column])[column]


def refuse_other_length(path: Path, n: int) -> None:
    """See that a table has so many rows, by what it says of itself: a small file may unfold to millions.

    Raises
    ------
    DamagedError
        Where it has another number.
    """
    import polars as pl

    found = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    if found != n:
        raise DamagedError(f"{path}: {found} rows, where {n} should be; begin afresh")


def measured_users(evaluate: Committed) -> list[Path]:
    """What is measured of users, a block a file; see ``docs/metrics.md`` for its columns."""
    folder = evaluate.root / names.USER_TABLES
    return [(folder / name).local() for name in folder.names()]


def recommended(recommend: Committed) -> Path:
    """The best items for every user; see `engine.stages.recommend` for its columns."""
    return recommend.path(names.RECOMMENDED)
