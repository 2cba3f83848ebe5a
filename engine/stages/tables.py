"""Tables for people and other programs, as Parquet. Apart, because Polars costs 46 MiB to load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from numpy.typing import NDArray


def write_users(path: Path, users: pl.Series, table: Mapping[str, NDArray[Any]]) -> None:
    """Write a table of users: their original ids, then the columns given; NaN is written as null."""
    pl.DataFrame({"user": users, **table}, nan_to_null=True).write_parquet(path)
