"""Finding the first fault of a ratings file, and naming it: the line, the column, and what to do."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from engine.chunked.errors import UsageError, is_short
from engine.chunked.storage import Location
from engine.ratings.columns import in_python
from engine.ratings.encodings import UTF8, Encoding
from engine.ratings.lengths import MOST_RECORD, Lengths
from engine.ratings.records import ID_NUMBER, INTEGER, NUMBER, Record, fits_int64, open_bytes, read_records, whole
from engine.ratings.source import BLANKS, COLUMNS_OPTION, IDS, MOST_ID, MOST_RATING, Column, RatingsFile, digest
from engine.ratings.times import EXAMPLE, fits, is_iso, most_of

# How ids are read is settled by the first ones; but in a file of one person's ratings, by those of the run.
THE_FIRST = "those at the top of the file"
OR_TEXT = ", or move the line to the top of the data to have ids read as text"
_PIECE = 1 << 18
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
# Digits of whole numbers that are certainly of the unit.
_DIGITS = {"s": 11, "ms": 14, "us": 17, "ns": 18}
_MEND = "; mend or delete the line"
_DECIMALS = {
    ".": ", a decimal point being read; write it so",
    ",": ", decimals being after a comma as at the top of the file; write it so",
}
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
    frame: str = ""
    """What the data frame is called that it is in, if it is no file of the user's."""

    def __str__(self) -> str:
        if self.frame:
            return self._in_frame()
        line = f", {self.unit} {self.line}" if self.line else ""
        column = f", column {self.column}" if self.column else ""
        text = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        return f"{self.path}{line}{column}: {self.problem}: {text!r}"

    def _in_frame(self) -> str:
        """The same for who has no file, and no command line."""
        column = f", column {self.column}" if self.column else ""
        problem = in_python(self.problem).replace(THE_FIRST, "those at its top")
        text = f": {self.text[:60]!r}" if self.text else ""
        return f"row {self.line} of {self.frame}, counted from 1{column}: {problem}{text}"


def locate_fault(file: RatingsFile) -> Fault | None:
    """Find the first bad record by reading the file once more, a line at a time; None if there is none."""
    if file.format == "parquet":
        return _parquet_fault(file)
    return first_fault(file, islice(read_records(file, _sound_line(file)), file.skip, None))


class Measured(NamedTuple):
    """A file's size in bytes and SHA-256, and what all of its content says: the encoding, whether there are quotes."""

    size: int
    sha256: str
    encoding: str
    quoted: bool


def measured_digest(file: RatingsFile) -> Measured:
    """`digest`, and what else is seen on the way; refuse a record of a text file that is too long to be held.

    Raises
    ------
    UsageError
        Where there is one, found without holding it.
    """
    if file.format == "parquet":
        return Measured(*digest(file), file.encoding, quoted=False)
    lengths, encoding = Lengths(file.quotes), Encoding()

    def look(piece: bytes) -> None:
        lengths.add(piece)
        encoding.add(piece)

    as_it_is = file.compression == "none" and file.encoding == UTF8
    found = digest(file, look if as_it_is else None)
    if not as_it_is:
        # One that is cut or damaged is told where it is read.
        with suppress(OSError, EOFError, zlib.error, ValueError):
            for piece in _pieces(file):
                look(piece)
    if lengths.too_long is not None:
        problem = f"a line of more than {MOST_RECORD >> 20} MiB, or a stray quote; mend or delete it"
        raise UsageError(str(_fault_at(file, lengths.too_long, problem)))
    return Measured(*found, encoding.found if file.encoding == UTF8 else file.encoding, lengths.quoted)


def _pieces(file: RatingsFile) -> Iterator[bytes]:
    with open_bytes(file) as stream:
        while piece := stream.read(_PIECE):
            yield piece


def _fault_at(file: RatingsFile, start: int, problem: str) -> Fault:
    """The fault of the line that starts at a byte."""
    line = 1
    for piece in _pieces(file):
        if start < len(piece):
            line += piece[:start].count(b"\n")
            return Fault(file.path, line, None, problem, piece[start : start + 80].decode(errors="replace"))
        line += piece.count(b"\n")
        start -= len(piece)
    return Fault(file.path, line, None, problem, "")


def _sound_line(file: RatingsFile) -> re.Pattern[bytes]:
    """Match lines that are certainly fine, without quotes and in ASCII: nearly all of them, in a tenth of the time."""
    kinds = {
        column.place: "id" if column.kind in IDS and column.type == "int64" else column.type for column in file.layout
    }
    text = rb'[^\x00-\x1f"\x7f-\xff' + re.escape(file.separator[:1].encode()) + b"]"
    number = rb"[0-9]{1,9}(?:" + re.escape(file.decimal.encode()) + rb"[0-9]{0,9})?"
    cell = {
        "id": b"(?:0|[1-9][0-9]{0,17})",
        "time:int64": b"[0-9]{1,%d}" % _sure_digits(file),
        "time:float64": rb"[0-9]{1,10}(?:\.[0-9]{0,9})?",
        "time:text": rb"[12][0-9]{3}-(?:0[1-9]|1[0-2])-(?:[01][1-9]|2[0-8])(?:[T ][01][0-9](?::[0-5][0-9]){2})?",
        "float64": number,
        "string": b" *" + text + b"(?<! )" + text + b"{0,%d} *" % (MOST_ID - 1),
    }
    cells = [cell.get(kinds.get(k, ""), text + b"*") for k in range(0, file.width, len(file.separator))]
    return re.compile(re.escape(file.separator.encode()).join(cells) + rb"\r?\n")


def _sure_digits(file: RatingsFile) -> int:
    """Digits of a whole number that surely is a time of the file."""
    if file.time_kept != file.time_unit:
        return 10
    return _DIGITS[file.time_unit] if file.timed else 18


def first_fault(file: RatingsFile, records: Iterable[Record]) -> Fault | None:
    """Find the first of some records of a text file that is bad; None if there is none."""
    layout = file.layout
    for line, text, fields, broken in records:
        if problem := broken or _line_problem(file, text, fields):
            return Fault(file.path, line, None, problem, text.rstrip("\r\n"))
        if not any(fields):
            continue
        for column in layout:
            cell = fields[column.place] if len(fields) > column.place else ""
            if problem := cell_problem(file, column, cell):
                return Fault(file.path, line, column.name, problem, cell or text.rstrip("\r\n"))
    return None


def _line_problem(file: RatingsFile, text: str, fields: list[str]) -> str:
    surplus = len(fields) > file.width
    if file.separator == "::":
        return f"more than {len(file.fields)} fields, or a single ':'" if surplus or any(fields[1::2]) else ""
    if surplus:
        return f"{len(fields)} fields where the file has {file.width}: quote a field that holds a separator"
    return "a stray quote: double it and put the field in quotes" if text.count('"') % 2 else ""


def _parquet_fault(file: RatingsFile) -> Fault | None:
    import polars as pl

    from engine.ratings.scan import scan, scan_raw, tame

    try:
        bad = pl.any_horizontal(pl.all().is_null())
        row = scan(file).with_row_index("row").filter(bad).select("row").head(1).collect(engine="streaming")
        if row.is_empty():
            return None
        raw = {c: pl.col(tame(c.name)) for c in file.layout}
        raw |= {c: cell.to_physical() for c, cell in raw.items() if c.kind == "timestamp"}
        cells = scan_raw(file).slice(row.item(), 1)
        texts = cells.select(column.cast(pl.String).fill_null("") for column in raw.values()).collect().row(0)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as exc:
        if is_short(exc):
            raise
        return Fault(file.path, 0, None, "cannot be read, it is cut or damaged: write it again", str(exc))
    problems = ((c.name, cell_problem(file, c, text), text) for c, text in zip(raw, texts, strict=True))
    column, problem, text = next(found for found in problems if found[1])
    return Fault(file.path, row.item() + 1, column, problem, text, "row", file.called if file.of_frame else "")


def cell_problem(file: RatingsFile, column: Column, text: str) -> str:
    """Say what is wrong with a value, and what to do; nothing if it is fine."""
    what = {"user": "user id", "item": "item id", "rating": file.values.removesuffix("s")}.get(column.kind, "timestamp")
    kept_blanks = file.format == "parquet" and column.type == "string"
    if not (text if kept_blanks else text.strip(BLANKS)):
        optional = _NO_TIMES if column.kind == "timestamp" else ""
        return f"missing {what}; complete or delete the {'row' if file.format == 'parquet' else 'line'}{optional}"
    if column.kind == "timestamp":
        return _time_problem(file, text, what)
    if column.kind == "rating":
        return _rating_problem(file, text, what)
    return (
        _text_id_problem(text, what)
        if column.type == "string"
        else _number_id_problem(text, what, file.format == "parquet")
    )


def _text_id_problem(text: str, what: str) -> str:
    if len(text.encode(errors="surrogateescape")) > MOST_ID:
        return f"{what} of more than {MOST_ID} bytes; give shorter ones"
    return f"{what} over several lines: a quote is missing before or after it" if "\n" in text else ""


def _number_id_problem(text: str, what: str, in_parquet: bool) -> str:
    bare = text.strip(BLANKS)
    if not INTEGER.fullmatch(bare):
        return f"{what} is not a whole number, as {THE_FIRST} are; correct it{OR_TEXT}"
    if not fits_int64(bare):
        return f"{what} does not fit 64 bits; {'cast the column to text' if in_parquet else f'correct it{OR_TEXT}'}"
    if not ID_NUMBER.fullmatch(text):
        return f"{what} is not written as {THE_FIRST} are, but may mean {whole(bare)}; write it so{OR_TEXT}"
    return ""


def _time_problem(file: RatingsFile, text: str, what: str) -> str:
    if file.time_type == "text":
        return "" if is_iso(text) else f"{what} is no date and time such as {EXAMPLE}; write all so{_NO_TIMES}"
    number, is_whole = (NUMBER, False) if file.time_type == "float64" else (INTEGER, True)
    if not number.fullmatch(text):
        if number.fullmatch(text.rstrip(BLANKS)):
            return f"{what} has a blank after it; delete it"
        return f"{what} is not a {'whole ' * is_whole}number; write all so, or all such as {EXAMPLE}{_NO_TIMES}"
    if file.timed and abs(float(text)) >= most_of(file.time_unit):
        unit = _UNITS[file.time_unit]
        return f"{what} is no number of {unit}, as {THE_FIRST} seem to be; write all in one unit{_NO_TIMES}"
    if not fits(text, file.time_type, file.time_unit, file.time_kept):
        return f"{what} does not fit 64 bits{_MEND}"
    return ""


def _rating_problem(file: RatingsFile, text: str, what: str) -> str:
    number = as_number(file, text)
    if number is None and as_number(file, text.rstrip(BLANKS)) is not None:
        return f"{what} has a blank after it; delete it"
    if number is None or not math.isfinite(number):
        return f"{what} is not a finite number{_DECIMALS[file.decimal] if _other_decimals(file, text) else _MEND}"
    if abs(number) > MOST_RATING:
        least = 0 if file.values == "counts" else -MOST_RATING
        return f"{what} is too large to compute with; give {what}s from {least:,.0f} to {MOST_RATING:,.0f}"
    return f"{what} is negative{_MEND}" if file.values == "counts" and number < 0 else ""


def as_number(file: RatingsFile, text: str) -> float | None:
    """A rating of a file; None where it is no number."""
    if file.decimal == ",":
        text = "" if "." in text else text.replace(",", ".", 1)
    return float(text) if NUMBER.fullmatch(text) else None


def _other_decimals(file: RatingsFile, text: str) -> bool:
    """Whether it would be a number, were decimals written the other way."""
    return (text.count(",") > 0) is (file.decimal == ".") and bool(NUMBER.fullmatch(text.replace(",", ".", 1)))
