"""What the source is converted to, and how much of it is read at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from engine.chunked.journal import Committed
from engine.model.sizes import INGEST_LEAST_ROW_GROUP, INGEST_ROW_GROUP, INGEST_ROW_GROUP_BYTES
from engine.ratings.source import Source

KEY = "key"
"""The column of what ids go by where they are text."""
TEXT = {"user": "user_text", "item": "item_text"}
"""Columns of the converted source that hold the ids themselves where these are text."""
KINDS = ("user", "item")

Blocks = Iterator[pl.DataFrame]


def source_path(index: int) -> str:
    """Where a piece of the source is once it is converted."""
    return f"source/{index:05d}.parquet"


class Converted:
    """The pieces of the source, in their order as if they were one file.

    Parameters
    ----------
    own : Committed
        What ingest has left.
    source : Source
    """

    def __init__(self, own: Committed, source: Source) -> None:
        self._own, self.source = own, source
        types = {"user": source.user_type, "item": source.item_type}
        self.texts = [kind for kind in KINDS if types[kind] == "string"]

    @property
    def row_group(self) -> int:
        """Rows of it that are read or written at once, fewer where they are long."""
        if not self.texts:
            return INGEST_ROW_GROUP
        return max(INGEST_LEAST_ROW_GROUP, min(INGEST_ROW_GROUP, INGEST_ROW_GROUP_BYTES // self.source.row_bytes))

    def name(self, kind: str) -> str:
        """Name of the column with the ids themselves."""
        return TEXT[kind] if kind in self.texts else kind

    def paths(self) -> list[Path]:
        """Of all pieces."""
        return [self._own.path(source_path(index)) for index in range(len(self.source.pieces))]

    def groups(self, path: Path, columns: Sequence[str] = (), start: int = 0, stop: int | None = None) -> Blocks:
        """Go through the rows of a piece, a row group at a time."""
        size, rows = self.row_group, pl.scan_parquet(path, glob=False)
        stop = rows.select(pl.len()).collect().item() if stop is None else stop
        for at in range(start, stop, size):
            yield rows.select(columns or pl.all()).slice(at, min(size, stop - at)).collect()

    def lengths(self) -> list[int]:
        """Rows of each piece."""
        return [figures["n_rows"] for figures in self._own.results("convert")]

    def rows(self, lengths: Sequence[int], start: int, stop: int, *columns: str) -> Blocks:
        """Go through rows ``start`` to ``stop`` of all, the last excluded; ``lengths`` are those of the pieces."""
        first = 0
        for path, length in zip(self.paths(), lengths, strict=True):
            last = first + length
            if max(start, first) < min(stop, last):
                yield from self.groups(path, columns, max(start, first) - first, min(stop, last) - first)
            first = last
