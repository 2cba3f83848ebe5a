"""Opening a ratings file: what its head says of its format, its columns and their types.

Polars is imported for Parquet only, see `engine.ratings.source`.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from engine.chunked.errors import UsageError, refuse_no_utf8
from engine.chunked.storage import Location, Place, locate
from engine.ratings.columns import checked, choose
from engine.ratings.faults import Fault, first_fault
from engine.ratings.records import ID_NUMBER, INTEGER, NUMBER, Record, fits_int64, open_bytes, read_records
from engine.ratings.source import COLUMNS_OPTION, KINDS, MOST_ID, Column, IdType, Names, Source

if TYPE_CHECKING:
    import polars as pl

HEAD_ROWS = 1000
RATINGS_FILES = (
    "ratings.parquet",
    *(f"ratings.{kind}{z}" for kind in ("csv", "tsv", "dat") for z in ("", ".gz", ".zst")),
)

_SEPARATORS = (",", "\t", "::")
# The end of a file's name that says what kind of file it is, and all after it.
_KIND = re.compile(r"\.(csv|tsv|dat|data|txt|parquet|pq|gz|zst)(\.|$).*", re.IGNORECASE)
_OTHER_SEPARATORS = (";", "|")
_WITH_COMMAS = "save the file with commas, tabs or :: between the columns"
# Row groups up to so many rows do not matter.
_ROW_GROUP = 1 << 18


def open_source(
    path: Place, columns: Sequence[str] | None = None, *, name: str | None = None, times: bool = False
) -> Source:
    """Say what a ratings file is, from its first thousand rows.

    Parameters
    ----------
    path
        A file in CSV, TSV, ``::``-separated (plain, gzip or zstd) or Parquet; or a folder with ``ratings.csv`` or such.
    columns
        The names of the user, item, rating and, if wanted, timestamp column, where they are not the usual ones. Without
        ratings there are two names, or the third is empty.
    name
        Shown with results; else the folder's or file's name.
    times
        Whether timestamps are needed; if not, a column that holds none is ignored.

    Raises
    ------
    UsageError
        For all that is visibly wrong, with what to do about it.
    """
    columns = checked(columns)
    file = _ratings_file(locate(path))
    refuse_no_utf8(str(file.absolute()), "path")
    source = _opened(file, columns, times, name)
    return replace(source, notes=(*source.notes, *_values_notes(source)))


def _opened(file: Location, columns: Sequence[str] | None, times: bool, name: str | None) -> Source:
    magic = read_magic(file)
    twin = _synthetic_name(file.parent)
    titles = file.parent / "movies.csv"
    folder = file.resolve().parent
    usual = folder.name if file.name in RATINGS_FILES else _KIND.sub("", file.name)
    source = Source(file, name or twin or usual or "ratings", twin is not None, titles if titles.is_file() else None)
    if magic == b"PAR1":
        return _open_parquet(source, columns, times)
    return _open_text(replace(source, compression=compression_of(magic)), columns, times)


def _values_notes(source: Source) -> list[str]:
    if source.values == "pairs":
        return ["no column of ratings: every row counts 1, and pairs that repeat add up"]
    if source.values == "counts":
        return [f"column {source.columns[2]} is read as counts, not ratings: pairs that repeat add up"]
    return []


def ratings_in(where: Place) -> Location | None:
    """Return the ratings file of a folder, if it has one."""
    folder = locate(where)
    return next((folder / name for name in RATINGS_FILES if (folder / name).is_file()), None)


def _ratings_file(path: Location) -> Location:
    if path.is_file():
        return path
    if not path.exists():
        raise UsageError(f"{path} does not exist: give a ratings file, or a folder that holds ratings.csv")
    if not path.is_dir():
        raise UsageError(f"{path} is no regular file: save the ratings as a file first, they are read more than once")
    if found := ratings_in(path):
        return found
    held = path.names()
    listed = ", ".join(held[:8]) + (", ..." if len(held) > 8 else "")
    raise UsageError(f"{path} holds no ratings.csv (.tsv, .dat, .parquet), only: {listed or 'nothing'}")


def read_magic(file: Location) -> bytes:
    """Return the first bytes of a file that may hold ratings.

    Raises
    ------
    UsageError
        If it cannot be read, is empty, or is a zip archive.
    """
    try:
        with file.local().open("rb") as stream:
            magic = stream.read(4)
    except OSError as exc:
        raise UsageError(f"{file} cannot be read ({exc.strerror or exc}): check its permissions") from exc
    if not magic:
        raise UsageError(f"{file} is empty: it should hold a header and ratings")
    if magic == b"PK\x03\x04":
        raise UsageError(f"{file} is a zip archive: unpack it, then give the ratings file or its folder")
    return magic


def _synthetic_name(folder: Location) -> str | None:
    try:
        return str(json.loads((folder / "synthetic.json").read_bytes())["name"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as exc:
        raise UsageError(f"{folder / 'synthetic.json'} names no data set: generate the data again") from exc


def compression_of(magic: bytes) -> Literal["none", "gzip", "zstd"]:
    """Tell the compression of a text file by its first bytes."""
    return "gzip" if magic.startswith(b"\x1f\x8b") else "zstd" if magic == b"\x28\xb5\x2f\xfd" else "none"


def _open_text(source: Source, columns: Sequence[str] | None, times: bool) -> Source:
    source, records = read_head(source)
    source = _with_columns(source, records[0].fields, columns)
    if times:
        _refuse_timeless(source)
    rows = records[int(source.header) :]
    if not any(row.problem or any(row.fields) for row in rows):
        raise UsageError(f"{source.path} has a header and no ratings")
    row_bytes = sum(len(row.text.encode()) for row in rows) // len(rows)
    source = replace(_with_types(source, rows, times), row_bytes=row_bytes)
    if fault := first_fault(source, rows):
        raise UsageError(str(fault))
    return source


def read_head(source: Source) -> tuple[Source, list[Record]]:
    """Settle the separator of a text file; return its first records, too, of which the very first is sound.

    Raises
    ------
    UsageError
        If it is no text, holds nothing, or its first record is bad or goes over several lines.
    """
    source = _with_separator(source)
    path, records = source.path, list(islice(read_records(source), HEAD_ROWS + 1))
    if not any(record.problem or any(record.fields) for record in records):
        raise UsageError(f"{path} has only blank lines: it should hold a header and ratings")
    if records[0].problem:
        raise UsageError(str(Fault(path, 1, None, records[0].problem, records[0].text)))
    if not any(records[0].fields) or "\n" in "".join(records[0].fields):
        raise UsageError(f"{path} has no header in line 1, or it goes on in line 2: put all column names into line 1")
    return source, records


def _with_separator(source: Source) -> Source:
    """Settle the separator by the first line, and note oddities."""
    path = source.path
    try:
        with open_bytes(source) as stream:
            head = stream.read(1 << 16)
    except (OSError, EOFError, zlib.error, ValueError) as exc:
        raise UsageError(f"{path} cannot be decompressed ({exc}): it is cut or damaged, fetch it again") from exc
    if b"\0" in head:
        raise UsageError(f"{path} is not text: give a CSV, TSV or .dat file in UTF-8, or Parquet")
    oddities = {"a byte order mark": head.startswith(codecs.BOM_UTF8), "CR LF line ends": b"\r\n" in head}
    notes = tuple(f"the file has {oddity}, read as usual" for oddity, there in oddities.items() if there)
    first = head.removeprefix(codecs.BOM_UTF8).split(b"\n", 1)[0].decode(errors="replace").rstrip("\r")
    separator = max(_SEPARATORS, key=first.count)
    _refuse_separator(path, first, first.count(separator))
    return replace(source, separator=separator, notes=notes)


def _refuse_separator(path: Location, first: str, known: int) -> None:
    """Refuse a first line that tells of a separator that is not read."""
    if re.fullmatch("sep=.?", first, re.IGNORECASE):
        raise UsageError(f"{path}, line 1 is {first!r}, by which Excel knows the separator: delete it, {_WITH_COMMAS}")
    other = max(_OTHER_SEPARATORS if known else (*_OTHER_SEPARATORS, " "), key=first.count)
    if first.count(other) > max(known, 1):
        raise UsageError(f"{path} seems to be separated by {other!r}, which is not read: {_WITH_COMMAS}")


def _with_columns(source: Source, first: list[str], columns: Sequence[str] | None) -> Source:
    """Take the names from the header; where the first line is a rating already, from their places."""
    path, fields = source.path, [field.strip() for field in first[:: len(source.separator)]]
    if not _is_headless(fields):
        names, values = choose(path, fields, columns)
        return replace(source, fields=tuple(fields), columns=names, values=values)
    if source.separator != "::" and not {".dat", ".data"} & set(path.suffixes):
        raise UsageError(f"{path}, line 1 holds a rating, not column names: put userId,movieId,rating,... above it")
    if columns:
        raise UsageError(f"{path} has no header: its columns are {', '.join(KINDS)} by their place, so drop --columns")
    fields = [*KINDS, *(f"field{k}" for k in range(5, len(fields) + 1))][: len(fields)]
    names, values = choose(path, fields, None)
    return replace(source, header=False, fields=tuple(fields), columns=names, values=values)


def _is_headless(fields: Sequence[str]) -> bool:
    """Whether the first line is a rating already, or two numbers: a user and an item."""
    return len(fields) > 1 and all(map(NUMBER.fullmatch, fields[1:2] if len(fields) == 2 else fields[2:3]))


def _refuse_timeless(source: Source) -> None:
    """Refuse a file without a column of timestamps where they are needed."""
    if source.columns[3] is None:
        raise UsageError(
            f"{source.path} has the columns {', '.join(source.fields)}, none of them with timestamps, which a "
            f"split by time needs: name it with {COLUMNS_OPTION}, or use --set split.method=notebook"
        )


def _with_types(source: Source, rows: list[Record], times: bool) -> Source:
    """Settle from the head how ids are read, and, unless they are needed, whether the timestamps are any."""
    (user_type, user_notes), (item_type, item_notes) = (_id_type(source, c, rows) for c in source.layout[:2])
    notes = (*source.notes, *user_notes, *item_notes)
    source = replace(source, user_type=user_type, item_type=item_type, notes=notes)
    timestamp = source.column("timestamp")
    if times or not timestamp or any(INTEGER.fullmatch(text) for _, text in _cells(timestamp, rows)):
        return source
    note = f"column {timestamp.name} is ignored: its values are no whole seconds"
    return replace(source, columns=(*source.columns[:3], None), notes=(*notes, note))


def _id_type(source: Source, column: Column, rows: list[Record]) -> tuple[IdType, list[str]]:
    cells = _cells(column, rows)
    odd = [(line, text) for line, text in cells if not (ID_NUMBER.fullmatch(text) and fits_int64(text))]
    if not odd:
        return "int64", []
    fraction = next(((line, text) for line, text in odd if "." in text), None)
    if fraction and all(NUMBER.fullmatch(text) for _, text in cells):
        problem = "a number with a decimal point is no id: write whole numbers, or names"
        raise UsageError(str(Fault(source.path, fraction[0], column.name, problem, fraction[1])))
    return "string", [f"column {column.name} is read as text: line {odd[0][0]} has {odd[0][1]!r}"]


def _cells(column: Column, rows: list[Record]) -> list[tuple[int, str]]:
    """Return the lines and texts of a column, where there is a text."""
    cells = [(row.line, row.fields[column.place]) for row in rows if len(row.fields) > column.place]
    return [(line, text) for line, text in cells if text.strip()]


def _open_parquet(source: Source, columns: Sequence[str] | None, times: bool) -> Source:
    path = source.path
    schema, metadata = _parquet_footer(source)
    names, values = choose(path, list(schema), columns)
    if metadata.num_rows == 0:
        raise UsageError(f"{path} has columns and no ratings")
    user_type, item_type = _parquet_id_types(path, schema, names)
    timestamp, notes = _parquet_timestamp(path, schema, names[3], times)
    source = replace(
        source,
        format="parquet",
        fields=tuple(schema),
        columns=(*names[:3], timestamp),
        values=values,
        user_type=user_type,
        item_type=item_type,
        group_rows=max(metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)),
    )
    if times:
        _refuse_timeless(source)
    source = replace(source, row_bytes=max(_parquet_row_bytes(source), 24 + _text_bytes(source, metadata)))
    return replace(source, notes=(*notes, *_row_group_notes(source)))


def _parquet_footer(source: Source) -> tuple[dict[str, pl.DataType], Any]:
    """Return the columns with their types as Polars reads them, and pyarrow's metadata."""
    import polars as pl
    import pyarrow.parquet

    try:
        return pl.read_parquet_schema(source.local), pyarrow.parquet.read_metadata(source.local)
    except (pl.exceptions.PolarsError, OSError, ValueError) as exc:
        raise UsageError(
            f"{source.path} cannot be read as Parquet ({exc}): it is cut or damaged, write it again"
        ) from exc


def _parquet_id_types(path: Location, schema: dict[str, pl.DataType], names: Names) -> tuple[IdType, IdType]:
    """Return how ids of users and of items are read; refuse types that are neither ids nor ratings."""
    import polars as pl

    user, item, rating, _ = names
    types: list[IdType] = ["int64" if schema[name].is_integer() else "string" for name in (user, item)]
    for name, numeric in ((user, types[0] == "int64"), (item, types[1] == "int64"), (rating, True)):
        if name is not None and not (
            schema[name].is_numeric() if numeric else schema[name] in (pl.String, pl.Categorical, pl.Enum)
        ):
            wanted = "numbers" if name == rating else "whole numbers or text"
            raise UsageError(f"{path}, column {name} has type {schema[name]} where {wanted} are needed: cast it")
    return types[0], types[1]


def _parquet_timestamp(
    path: Location, schema: dict[str, pl.DataType], timestamp: str | None, times: bool
) -> tuple[str | None, list[str]]:
    """Return the column of timestamps, and a note if there is one that holds none and is not needed."""
    import polars as pl

    if not timestamp or schema[timestamp].is_integer() or isinstance(schema[timestamp], pl.Datetime):
        return timestamp, []
    if times:
        raise UsageError(
            f"{path}, column {timestamp} has type {schema[timestamp]} where whole seconds, or a date and time, are "
            "needed: cast it"
        )
    return None, [f"column {timestamp} is ignored: its type is {schema[timestamp]}"]


def _parquet_row_bytes(source: Source) -> int:
    """Return the mean size of a row: three numbers, and ids that are text."""
    import polars as pl

    texts = [pl.col(column.name) for column in source.layout if column.type == "string"]
    head = pl.scan_parquet(source.local, glob=False, hive_partitioning=False).select(texts).head(HEAD_ROWS).collect()
    return 24 + sum(int(column.cast(pl.String).str.len_bytes().sum()) // len(column) for column in head)


def _text_bytes(source: Source, metadata: Any) -> int:
    """The mean size of a row's ids that are text, in the row group where they are longest; by the footer.

    Raises
    ------
    UsageError
        Where it is more than any id may have.
    """
    texts, longest = [column.name for column in source.layout if column.type == "string"], 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        columns = [group.column(k) for k in range(group.num_columns)]
        mean = [c.total_uncompressed_size // max(1, group.num_rows) for c in columns if c.path_in_schema in texts]
        longest = max(longest, sum(mean))
        if any(each > MOST_ID for each in mean):
            raise UsageError(f"{source.path} has ids of {max(mean)} bytes, {MOST_ID} are allowed: give shorter ones")
    return longest


def _row_group_notes(source: Source) -> list[str]:
    if source.group_rows <= _ROW_GROUP:
        return []
    mib = source.group_bytes >> 20
    return [f"row groups of {source.group_rows} rows take about {mib} MiB to read: smaller ones would take less"]
