"""Finding the first fault of a ratings file, and naming it: the line, the column, and what to do."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from engine.chunked.errors import UsageError
from engine.chunked.storage import Location
from engine.ratings.lengths import MOST_RECORD, Lengths
from engine.ratings.records import ID_NUMBER, INTEGER, NUMBER, Record, fits_int64, open_bytes, read_records, whole
from engine.ratings.source import (
    BLANKS,
    COLUMNS_OPTION,
    IDS,
    MOST_ID,
    MOST_RATING,
    Column,
    Source,
    digest,
    scan,
)

# How ids are read is settled by the first ones; but in a file of one person's ratings, by those of the run.
THE_FIRST = "those at the top of the file"
OR_TEXT = ", or move the line to the top of the data to have ids read as text"
_PIECE = 1 << 18
_NO_TIMES = f", or do without the column, and a split by time: {COLUMNS_OPTION}"


@dataclass(frozen=True)
class Fault:
    """The first bad record of a ratings file.

    Lines count from 1, the header included; in Parquet, rows do. 0 stands for a file that can't be read at all.
    """

    path: Location
    line: int
    column: str | None
    problem: str
    text: str
    unit: str = "line"

    def __str__(self) -> str:
        line = f", {self.unit} {self.line}" if self.line else ""
        column = f", column {self.column}" if self.column else ""
        text = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        return f"{self.path}{line}{column}: {self.problem}: {text!r}"


def locate_fault(source: Source) -> Fault | None:
    """Find the first bad record by reading the file once more, a line at a time; None if there is none."""
    if source.format == "parquet":
        return _parquet_fault(source)
    return first_fault(source, islice(read_records(source, _sound_line(source)), int(source.header), None))


def measured_digest(source: Source) -> tuple[int, str]:
    """`digest`, and refuse a record of a text file that is too long to be held, without holding it.

    Raises
    ------
    UsageError
        Where there is one.
    """
    if source.format == "parquet":
        return digest(source)
    lengths = Lengths(quotes=source.separator != "::")
    found = digest(source, lengths.add if source.compression == "none" else None)
    if source.compression != "none":
        # One that is cut or damaged is told where it is read.
        with suppress(OSError, EOFError, zlib.error, ValueError):
            for piece in _pieces(source):
                lengths.add(piece)
    if lengths.too_long is not None:
        problem = f"a line of more than {MOST_RECORD >> 20} MiB, or a stray quote; mend or delete it"
        raise UsageError(str(_fault_at(source, lengths.too_long, problem)))
    return found


def _pieces(source: Source) -> Iterator[bytes]:
    with open_bytes(source) as stream:
        while piece := stream.read(_PIECE):
            yield piece


def _fault_at(source: Source, start: int, problem: str) -> Fault:
    """The fault of the line that starts at a byte."""
    line = 1
    for piece in _pieces(source):
        if start < len(piece):
            line += piece[:start].count(b"\n")
            return Fault(source.path, line, None, problem, piece[start : start + 80].decode(errors="replace"))
        line += piece.count(b"\n")
        start -= len(piece)
    return Fault(source.path, line, None, problem, "")


def _sound_line(source: Source) -> re.Pattern[bytes]:
    """Match lines that are certainly fine, without quotes and in ASCII: nearly all of them, in a tenth of the time."""
    kinds = {
        column.place: "id" if column.kind in IDS and column.type == "int64" else column.type for column in source.layout
    }
    text = rb'[^\x00-\x1f"\x7f-\xff' + re.escape(source.separator[:1].encode()) + b"]"
    cell = {
        "id": b"(?:0|[1-9][0-9]{0,17})",
        "int64": b"[0-9]{1,18}",
        "float64": rb"[0-9]{1,9}(?:\.[0-9]{0,9})?",
        "string": b" *" + text + b"(?<! )" + text + b"{0,%d} *" % (MOST_ID - 1),
    }
    cells = [cell.get(kinds.get(k, ""), text + b"*") for k in range(0, source.width, len(source.separator))]
    return re.compile(re.escape(source.separator.encode()).join(cells) + rb"\r?\n")


def first_fault(source: Source, records: Iterable[Record]) -> Fault | None:
    """Find the first of some records of a text file that is bad; None if there is none."""
    layout, counts = source.layout, source.values == "counts"
    for line, text, fields, broken in records:
        if problem := broken or _line_problem(source, text, fields):
            return Fault(source.path, line, None, problem, text.rstrip("\r\n"))
        if not any(fields):
            continue
        for column in layout:
            cell = fields[column.place] if len(fields) > column.place else ""
            if problem := _cell_problem(column, cell, counts=counts):
                return Fault(source.path, line, column.name, problem, cell or text.rstrip("\r\n"))
    return None


def _line_problem(source: Source, text: str, fields: list[str]) -> str:
    surplus = len(fields) > source.width
    if source.separator == "::":
        return f"more than {len(source.fields)} fields, or a single ':'" if surplus or any(fields[1::2]) else ""
    if surplus:
        return f"{len(fields)} fields where the file has {source.width}: quote a field that holds a separator"
    return "a stray quote: double it and put the field in quotes" if text.count('"') % 2 else ""


def _parquet_fault(source: Source) -> Fault | None:
    import polars as pl

    try:
        bad = pl.any_horizontal(pl.all().is_null())
        row = scan(source).with_row_index("row").filter(bad).select("row").head(1).collect(engine="streaming")
        if row.is_empty():
            return None
        raw = {c: pl.col(c.name).to_physical() if c.kind == "timestamp" else pl.col(c.name) for c in source.layout}
        cells = pl.scan_parquet(source.local, glob=False, hive_partitioning=False).slice(row.item(), 1)
        texts = cells.select(column.cast(pl.String).fill_null("") for column in raw.values()).collect().row(0)
    except (pl.exceptions.PolarsError, OSError) as exc:
        return Fault(source.path, 0, None, "cannot be read, it is cut or damaged: write it again", str(exc))
    counts = source.values == "counts"
    problems = (
        (c.name, _cell_problem(c, text, in_text=False, counts=counts), text) for c, text in zip(raw, texts, strict=True)
    )
    column, problem, text = next(found for found in problems if found[1])
    return Fault(source.path, row.item() + 1, column, problem, text, "row")


def _cell_problem(column: Column, text: str, *, in_text: bool = True, counts: bool = False) -> str:
    """Say what is wrong with a value, of a text file or of Parquet, and what to do; nothing if it is fine."""
    what = {"user": "user id", "item": "item id", "rating": "count" if counts else "rating"}.get(
        column.kind, column.kind
    )
    if not (text.strip(BLANKS) if in_text or column.type != "string" else text):
        optional = _NO_TIMES if column.kind == "timestamp" else ""
        return f"missing {what}; complete or delete the line{optional}"
    if column.type == "string" and len(text.encode(errors="surrogateescape")) > MOST_ID:
        return f"{what} of more than {MOST_ID} bytes; give shorter ones"
    if column.type == "string":
        return f"{what} over several lines: a quote is missing before or after it" if "\n" in text else ""
    if column.type == "float64":
        return _rating_problem(text, what, counts)
    if not INTEGER.fullmatch(text):
        if column.kind == "timestamp":
            return f"{what} is not a whole number of seconds; write dates and fractions as such numbers{_NO_TIMES}"
        return f"{what} is not a whole number, as {THE_FIRST} are; correct it{OR_TEXT}"
    if not fits_int64(text):
        return f"{what} does not fit 64 bits"
    if column.kind in IDS and not ID_NUMBER.fullmatch(text):
        return f"{what} is not written as {THE_FIRST} are, but may mean {whole(text)}; write it so{OR_TEXT}"
    return ""


def _rating_problem(text: str, what: str, counts: bool) -> str:
    if not NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        return f"{what} is not a finite number"
    if abs(float(text)) > MOST_RATING:
        return f"{what} is too large to compute with; give {what}s from {-MOST_RATING:,.0f} to {MOST_RATING:,.0f}"
    return f"{what} is negative" if counts and float(text) < 0 else ""
