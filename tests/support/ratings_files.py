"""Ratings files in all their formats, and their rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from engine.ratings.source import Source, scan

HEADER = "userId,movieId,rating,timestamp\n"
ROWS = "1,31,2.5,1260759144\n1,1029,3.0,1260759179\n7,50,4.0,851868750\n"
GOOD = HEADER + ROWS
READ = [(1, 31, 2.5), (1, 1029, 3.0), (7, 50, 4.0)]

Write = Callable[..., Path]


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue().to_pybytes())


def parquet(path: Path, **columns: Any) -> Path:
    pl.DataFrame(columns).write_parquet(path)
    return path


def rows(source: Source, **options: Any) -> list[tuple[Any, ...]]:
    return scan(source, **options).collect(engine="streaming").rows()
