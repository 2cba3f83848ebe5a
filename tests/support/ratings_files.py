"""Ratings files in all their formats, and their rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from engine.ratings.opening import open_source
from engine.ratings.scan import scan
from engine.ratings.source import RatingsFile, Source

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


def open_file(path: Path, *arguments: Any, **options: Any) -> RatingsFile:
    """The only file of what is there."""
    (file,) = open_source(path, *arguments, **options).files
    return file


def rows(source: Source | RatingsFile, **options: Any) -> list[tuple[Any, ...]]:
    files = source.files if isinstance(source, Source) else (source,)
    return [row for file in files for row in scan(file, **options).collect(engine="streaming").rows()]


def looks_faulty(file: RatingsFile) -> bool:
    """Judge by the fast path alone."""
    try:
        frame = scan(file).collect(engine="streaming")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return True
    return any(frame.null_count().row(0))
