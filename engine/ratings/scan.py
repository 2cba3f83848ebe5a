"""Reading a ratings file with Polars: lazily and fast.

What is wrong in it shows as an error or as a null; `engine.ratings.faults.locate_fault` then names the line.
"""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl

from engine.ratings.source import BLANKS, IDS, KINDS, MOST_ID, MOST_RATING, RatingsFile, Values
from engine.ratings.times import in_unit, most_of

_LEAST: dict[Values, float] = {"ratings": -MOST_RATING, "counts": 0, "pairs": 0}


def scan(file: RatingsFile, *, timestamp: bool = False, text: Path | bytes | None = None) -> pl.LazyFrame:
    """Read ``user``, ``item``, ``rating`` and, if asked, ``timestamp``; lazily, streaming, in the order of the file.

    Every fault shows as a null in user, item or rating, or as an error: PolarsError, OSError for a damaged archive, and
    PanicException for a file cut right after a quote. A rating is made null where it is not finite or too large, a
    count also where it is negative, and where an id or timestamp is missing, an id is not the text of its number, or a
    stray quote has swallowed lines. Only lines without any content are left out.

    Parameters
    ----------
    file
        What to read.
    timestamp
        Whether timestamps are wanted, too.
    text
        Where its text is in UTF-8, if it is not itself (`engine.ratings.records.write_utf8`); or the text, not empty.
    """
    raw, read, sound = _scan_parquet(file) if file.format == "parquet" else _scan_text(file, text or file.local)
    sound += [read[c.kind].str.len_bytes().is_between(1, MOST_ID) for c in file.layout if c.type == "string"]
    read.setdefault("rating", pl.lit(1.0))
    sound += [
        column.is_between(_LEAST[file.values], MOST_RATING) if kind == "rating" else column.is_not_null()
        for kind, column in read.items()
    ]
    read["rating"] = pl.when(pl.all_horizontal(sound)).then(read["rating"])
    return raw.select(read[kind].alias(kind) for kind in (KINDS if timestamp else KINDS[:3]))


def scan_raw(file: RatingsFile) -> pl.LazyFrame:
    """The rows of a Parquet file as they are; the columns that are read have names that `tame` gives."""
    raw = pl.scan_parquet(file.local, glob=False, hive_partitioning=False)
    wild = {name: tame(name) for name in file.columns if name and tame(name) != name}
    return raw.rename(wild) if wild else raw


def tame(name: str) -> str:
    """The name of a column, which Polars must not take for a pattern of names."""
    return f"{name}\0" if name == "*" or (name.startswith("^") and name.endswith("$")) else name


def _scan_parquet(file: RatingsFile) -> tuple[pl.LazyFrame, dict[str, pl.Expr], list[pl.Expr]]:
    """Return the frame, how each kind of column is read from it, and what holds for sound rows."""
    read = {}
    for column in file.layout:
        cell = pl.col(tame(column.name))
        if column.kind == "timestamp":
            read[column.kind] = _time(file, cell)
        else:
            read[column.kind] = cell.cast(_TYPES[column.type], strict=False)
    return scan_raw(file), read, []


def _scan_text(file: RatingsFile, text: Path | bytes) -> tuple[pl.LazyFrame, dict[str, pl.Expr], list[pl.Expr]]:
    """Return the same of a text file. Its columns go by their places: names may occur twice."""
    # Ids are read as text: the parser of numbers takes 007 and +7 for 7.
    columns: dict[str, type[pl.DataType]] = {str(k): pl.String for k in range(file.width)}
    columns |= {str(c.place): _text_type(file, c.type) for c in file.layout if c.kind not in IDS}
    raw = pl.scan_csv(
        text,
        schema=columns,
        separator=file.separator[0],
        quote_char='"' if file.quotes else None,
        has_header=False,
        skip_lines=file.skip,
        missing_columns="insert",
        glob=False,
    )
    # It has to name every column: Polars parses a line, and sees surplus fields, only as far as columns are asked.
    raw = raw.filter(pl.any_horizontal(pl.all().is_not_null()))
    read = {c.kind: pl.col(str(c.place)) for c in file.layout}
    read |= {c.kind: read[c.kind].str.strip_chars(BLANKS) for c in file.layout if c.type == "string"}
    sound = [pl.col(str(k)).is_null() for k in range(1, file.width, 2) if file.separator == "::"]
    sound += [~read[c.kind].str.contains("\n", literal=True) for c in file.layout if c.type == "string"]
    for kind in (c.kind for c in file.layout if c.kind in IDS and c.type == "int64"):
        sound.append(_starts_as_its_number(read[kind]))
        read[kind] = read[kind].cast(pl.Int64, strict=False)
    if "rating" in read and file.decimal == ",":
        sound.append(~read["rating"].str.contains(".", literal=True))
        read["rating"] = _with_point(read["rating"]).cast(pl.Float64, strict=False)
    if "timestamp" in read:
        read["timestamp"] = _time(file, read["timestamp"])
    return raw, read, sound


def _text_type(file: RatingsFile, type_: str) -> type[pl.DataType]:
    return pl.String if type_ == "float64" and file.decimal == "," else _TYPES[type_]


def _with_point(text: pl.Expr) -> pl.Expr:
    return text.str.strip_chars_start(BLANKS).str.replace(",", ".", literal=True)


def _time(file: RatingsFile, cell: pl.Expr) -> pl.Expr:
    if file.format == "parquet" and file.time_type in ("int64", "float64"):
        cell = cell.cast(_TYPES[f"time:{file.time_type}"], strict=False)
    if file.timed and file.time_type in ("int64", "float64") and math.isfinite(most := most_of(file.time_unit)):
        cell = pl.when(cell.is_between(-int(most), int(most), closed="none")).then(cell)
    return in_unit(cell, file.time_type, file.time_unit, file.time_kept)


def _starts_as_its_number(text: pl.Expr) -> pl.Expr:
    """Whether an id that Polars can cast to a number is written as the number is: no plus, no zeros before it.

    Of others this says nothing. Comparing first characters so takes less than a third of the time of making the text
    anew: a plus and a minus come before the digits.
    """
    return (text >= pl.lit("1")) | text.is_between(pl.lit("-1"), pl.lit("0"))


_TYPES: dict[str, type[pl.DataType]] = {
    "int64": pl.Int64,
    "string": pl.String,
    "float64": pl.Float64,
    "time:int64": pl.Int64,
    "time:float64": pl.Float64,
    "time:text": pl.String,
}
