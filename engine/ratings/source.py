"""A ratings file, as the pipeline reads it.

`open_source` looks at the head of a file and says what it is. `scan` reads it, lazily and fast. What is wrong further
down shows there as an error or as a null; then `locate_fault` reads the file again, slowly, and names the line.

Polars is imported where it is used: who only opens a text file need not carry it, and can still set its chunk sizes.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import io
import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, cast

from engine.chunked.errors import UsageError
from engine.chunked.storage import staging
from engine.chunked.storage.location import Location, Remote, absolute, locate, names_in

if TYPE_CHECKING:
    import polars as pl

IdType = Literal["int64", "string"]
Names = tuple[str, str, str, str | None]

HEAD_ROWS = 1000
RATINGS_FILES = (
    "ratings.parquet",
    *(f"ratings.{kind}{z}" for kind in ("csv", "tsv", "dat") for z in ("", ".gz", ".zst")),
)
COLUMNS_OPTION = "--columns user,item,rating[,timestamp]"
_FILM_AND_RATING = "movieId,rating"
# How ids are read is settled by the first ones; but in a file of one person's ratings, by those of the run.
_THE_FIRST = "those at the top of the file"
_OR_TEXT = ", or move the line to the top of the data to have ids read as text"

_KINDS = ("user", "item", "rating", "timestamp")
_USUAL_NAMES = ({"user", "userid"}, {"item", "itemid", "movie", "movieid"}, {"rating"}, {"timestamp"})
_SEPARATORS = (",", "\t", "::")
_MAX_LINE = 1 << 17
# Row groups up to so many rows do not matter.
_ROW_GROUP = 1 << 18
# What Polars reads as a number: int() and float() also take "1_0", and digits of other scripts.
_INTEGER = re.compile(r"[ \t]*[+-]?[0-9]+")
_NUMBER = re.compile(r"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# Ids like "007" or "+7" are not the number 7.
_INTEGER_ID = re.compile(r"[ \t]*(0|-?[1-9][0-9]*)")


class Column(NamedTuple):
    """A column that is read: what it is, its name and place in the file, and its type."""

    kind: str
    name: str
    place: int
    type: str


@dataclass(frozen=True)
class Source:
    """A ratings file and how to read it.

    `fields` are all columns of the file, `columns` the names of user, item, rating and timestamp (or None) among them;
    the user's is empty in a file of one person's ratings.
    `synthetic` is for generated data, to be called so wherever results are shown. `titles` is the ``movies.csv`` beside
    the ratings, if any, with columns ``movieId,title,...``. `row_bytes` is the mean size of the first thousand rows,
    `group_rows` are those of the largest row group of a Parquet file. `notes` are oddities that were coped with, for
    the log. A file in a store is read from a copy on a local disk, which each process makes when it first needs it.
    """

    path: Location
    name: str
    synthetic: bool
    titles: Location | None
    format: Literal["text", "parquet"] = "text"
    separator: str = ","
    header: bool = True
    compression: Literal["none", "gzip", "zstd"] = "none"
    fields: tuple[str, ...] = ()
    columns: Names = ("", "", "", None)
    user_type: IdType = "string"
    item_type: IdType = "string"
    row_bytes: int = 0
    group_rows: int = 0
    notes: tuple[str, ...] = ()

    @property
    def local(self) -> Path:
        """Where its content is on a local disk."""
        return staging.local(self.path)

    @property
    def layout(self) -> list[Column]:
        """The columns that are read; their places count the empty field inside each ``::``."""
        types = (self.user_type, self.item_type, "float64", "int64")
        named = [(k, name, t) for k, name, t in zip(_KINDS, self.columns, types, strict=True) if name]
        return [Column(kind, name, self.fields.index(name) * len(self.separator), as_) for kind, name, as_ in named]

    @property
    def width(self) -> int:
        """Fields of a line, split at every single character of the separator: three for ``a::b``."""
        return (len(self.fields) - 1) * len(self.separator) + 1

    @property
    def group_bytes(self) -> int:
        """What is held of a Parquet file while it is read: Polars decodes whole row groups."""
        return self.group_rows * (self.row_bytes + 8)

    def located(self) -> Source:
        """Return the same with absolute paths, for whoever reads it from another folder."""
        return replace(self, path=absolute(self.path), titles=self.titles and absolute(self.titles))

    def to_json(self) -> dict[str, Any]:
        """Return the source as plain JSON types."""
        return asdict(self) | {"path": str(self.path), "titles": self.titles and str(self.titles)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Source:
        """Rebuild what `to_json` returned."""
        paths = {"path": locate(record["path"]), "titles": record["titles"] and locate(record["titles"])}
        return cls(**record | paths | {key: tuple(record[key]) for key in ("fields", "columns", "notes")})


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


class _Record(NamedTuple):
    line: int
    text: str
    fields: list[str]
    problem: str


def open_source(
    path: Location, columns: Sequence[str] | None = None, *, name: str | None = None, times: bool = False
) -> Source:
    """Say what a ratings file is, from its first thousand rows.

    Parameters
    ----------
    path
        A file in CSV, TSV, ``::``-separated (plain, gzip or zstd) or Parquet; or a folder with ``ratings.csv`` or such.
    columns
        The names of the user, item, rating and, if wanted, timestamp column, where they are not the usual ones.
    name
        Shown with results; else the folder's or file's name.
    times
        Whether timestamps are needed; if not, a column that holds none is ignored.

    Raises
    ------
    UsageError
        For all that is visibly wrong, with what to do about it.
    """
    if columns is not None and (len(columns) not in (3, 4) or len(set(columns)) < len(columns)):
        raise UsageError(f"{COLUMNS_OPTION} takes three or four different names, not {','.join(columns)!r}")
    file = _ratings_file(path)
    magic = _magic(file)
    twin = _synthetic_name(file.parent)
    titles = file.parent / "movies.csv"
    folder = file.resolve().parent if isinstance(file, Path) else file.parent
    usual = folder.name if file.name in RATINGS_FILES else file.name.split(".")[0]
    source = Source(file, name or twin or usual or "ratings", twin is not None, titles if titles.is_file() else None)
    if magic == b"PAR1":
        return _open_parquet(source, columns, times)
    return _open_text(replace(source, compression=_compression(magic)), columns, times)


def read_person(path: Location, usual: Source) -> tuple[list[Any], list[float]]:
    """Read one person's ratings: a text file with a column of films and one of ratings; others are ignored.

    Parameters
    ----------
    path
        CSV, TSV or ``::``-separated, with a header; plain, gzip or zstd.
    usual
        The ratings file that the films are of. Its names are looked for first, then the usual ones.

    Returns
    -------
    list of int or str, list of float
        Films and ratings, in the order of the file.

    Raises
    ------
    UsageError
        For all that is wrong, with line and column, and what to do about it.
    """
    if not path.is_file():
        raise UsageError(f"{path} does not exist or is no file: give a file with the columns {_FILM_AND_RATING}")
    magic = _magic(path)
    if magic == b"PAR1":
        raise UsageError(f"{path} is Parquet: give a person's ratings as text, with the columns {_FILM_AND_RATING}")
    source, first = _head(Source(path, path.stem, False, None, compression=_compression(magic)))
    fields = [field.strip() for field in first[0].fields[:: len(source.separator)]]
    if len(fields) > 1 and all(_NUMBER.fullmatch(field) for field in fields[:2]):
        raise UsageError(f"{path}, line 1 holds a rating, not column names: put {_FILM_AND_RATING} above it")
    item, rating = usual.columns[1:3]
    if not {item, rating} <= set(fields):
        item, rating = _named(path, fields, _USUAL_NAMES[1:3], f"call them {_FILM_AND_RATING}")[:2]
    if not any(row.problem or any(row.fields) for row in first[1:]):
        raise UsageError(f"{path} has a header and no ratings")
    source = replace(source, fields=tuple(fields), columns=("", item, rating, None), item_type=usual.item_type)
    if fault := locate_fault(source):
        problem = fault.problem.replace(_THE_FIRST, "those of the run").removesuffix(_OR_TEXT)
        raise UsageError(str(replace(fault, problem=problem)))
    film, value = source.layout
    rows = [row.fields for row in islice(_records(source), 1, None) if any(row.fields)]
    as_id = int if film.type == "int64" else str
    return [as_id(row[film.place]) for row in rows], [float(row[value.place]) for row in rows]


def scan(source: Source, *, timestamp: bool = False) -> pl.LazyFrame:
    """Read ``user``, ``item``, ``rating`` and, if asked, ``timestamp``; lazily, streaming, in the order of the file.

    Every fault shows as a null in user, item or rating, or as an error: PolarsError, OSError for a damaged archive, and
    PanicException for a file cut right after a quote. A rating is made null where it is not finite, an id or timestamp
    is missing, or a stray quote has swallowed lines. Only lines without any content are left out. `locate_fault` finds
    the line.
    """
    import polars as pl

    types = {"int64": pl.Int64, "string": pl.String, "float64": pl.Float64}
    if source.format == "parquet":
        raw = pl.scan_parquet(source.local, glob=False, hive_partitioning=False)
        schema = raw.collect_schema()
        read = {c.kind: pl.col(c.name).cast(types[c.type], strict=False) for c in source.layout}
        if isinstance(schema.get(source.columns[3] or ""), pl.Datetime):
            read["timestamp"] = pl.col(source.layout[3].name).dt.epoch("s")
        sound = []
    else:
        read = {c.kind: pl.col(str(c.place)) for c in source.layout}
        raw = pl.scan_csv(
            source.local,
            schema={str(k): pl.String for k in range(source.width)}
            | {str(c.place): types[c.type] for c in source.layout},
            separator=source.separator[0],
            quote_char=None if source.separator == "::" else '"',
            has_header=False,
            skip_lines=int(source.header),
            missing_columns="insert",
            glob=False,
        )
        # It has to name every column: Polars parses a line, and sees surplus fields, only as far as columns are asked.
        raw = raw.filter(pl.any_horizontal(pl.all().is_not_null()))
        sound = [pl.col(str(k)).is_null() for k in range(1, source.width, 2) if source.separator == "::"]
        sound += [~read[c.kind].str.contains("\n", literal=True) for c in source.layout if c.type == "string"]
    sound += [read[c.kind] != "" for c in source.layout if c.type == "string"]
    sound += [column.is_finite() if kind == "rating" else column.is_not_null() for kind, column in read.items()]
    read["rating"] = pl.when(pl.all_horizontal(sound)).then(read["rating"])
    return raw.select(read[kind].alias(kind) for kind in (_KINDS if timestamp else _KINDS[:3]))


def locate_fault(source: Source) -> Fault | None:
    """Find the first bad record by reading the file once more, a line at a time; None if there is none."""
    if source.format == "parquet":
        return _parquet_fault(source)
    return _first_fault(source, islice(_records(source, _sound_line(source)), int(source.header), None))


def state(path: Location) -> list[int]:
    """What changes whenever the file is written or replaced: inode, size, times of modification and of change (ns).

    Of an object in a store: its size, and a number made of what the store tells of it.
    """
    if isinstance(path, Remote):
        size, version = path.state()
        return [size, int(version[:12], 16)]
    found = path.stat()
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def digest(source: Source) -> tuple[int, str]:
    """Return the size of the file in bytes and the SHA-256 of its content, in hex."""
    with source.local.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return stream.tell(), sha256


def ratings_in(folder: Location) -> Location | None:
    """Return the ratings file of a folder, if it has one."""
    return next((folder / name for name in RATINGS_FILES if (folder / name).is_file()), None)


def _magic(file: Location) -> bytes:
    """The first bytes of a file that may hold ratings."""
    try:
        with staging.local(file).open("rb") as stream:
            magic = stream.read(4)
    except OSError as exc:
        raise UsageError(f"{file} cannot be read ({exc.strerror or exc}): check its permissions") from exc
    if not magic:
        raise UsageError(f"{file} is empty: it should hold a header and ratings")
    if magic == b"PK\x03\x04":
        raise UsageError(f"{file} is a zip archive: unpack it, then give the ratings file or its folder")
    return magic


def _compression(magic: bytes) -> Literal["none", "gzip", "zstd"]:
    return "gzip" if magic.startswith(b"\x1f\x8b") else "zstd" if magic == b"\x28\xb5\x2f\xfd" else "none"


def _ratings_file(path: Location) -> Location:
    if path.is_file():
        return path
    if not path.exists():
        raise UsageError(f"{path} does not exist: give a ratings file, or a folder that holds ratings.csv")
    if not path.is_dir():
        raise UsageError(f"{path} is no regular file: save the ratings as a file first, they are read more than once")
    if found := ratings_in(path):
        return found
    held = names_in(path)
    listed = ", ".join(held[:8]) + (", ..." if len(held) > 8 else "")
    raise UsageError(f"{path} holds no ratings.csv (.tsv, .dat, .parquet), only: {listed or 'nothing'}")


def _synthetic_name(folder: Location) -> str | None:
    try:
        return str(json.loads((folder / "synthetic.json").read_text())["name"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as exc:
        raise UsageError(f"{folder / 'synthetic.json'} names no data set: generate the data again") from exc


def _choose(path: Location, fields: Sequence[str], columns: Sequence[str] | None) -> Names:
    """Find the columns to read: each is to be there once; without `columns`, the timestamp may be missing."""
    wanted = [{name} for name in columns] if columns else _USUAL_NAMES
    remedy = f"say which of them to read with {COLUMNS_OPTION}"
    chosen = _named(path, fields, wanted, remedy, exact=bool(columns), needed=len(columns) if columns else 3)
    return chosen[0], chosen[1], chosen[2], chosen[3] if len(chosen) > 3 else None


def _refuse_timeless(source: Source) -> None:
    """Refuse a file without a column of timestamps where they are needed."""
    if source.columns[3] is None:
        raise UsageError(
            f"{source.path} has the columns {', '.join(source.fields)}, none of them with timestamps, which a "
            f"split by time needs: name it with {COLUMNS_OPTION}, or use --set split.method=notebook"
        )


def _named(
    path: Location,
    fields: Sequence[str],
    wanted: Sequence[set[str]],
    remedy: str,
    *,
    exact: bool = False,
    needed: int = 2,
) -> list[str]:
    """Find the one column with each of the wanted names; after the first `needed`, some may be missing."""
    keys = {field: field if exact else re.sub("[-_ ]", "", field).casefold() for field in fields}
    found = [[field for field in fields if keys[field] in names] for names in wanted]
    if any(len(names) != 1 for names in found[:needed]) or any(len(names) > 1 for names in found):
        missing = [name for names in wanted for name in names if exact and name not in fields]
        lacks = f", but no {' and no '.join(missing)}" if missing else ""
        raise UsageError(f"{path} has the columns {', '.join(fields)}{lacks}: {remedy}")
    return [names[0] for names in found if names]


def _open_text(source: Source, columns: Sequence[str] | None, times: bool) -> Source:
    source, records = _head(source)
    path = source.path
    source = _with_columns(source, records[0].fields, columns)
    if times:
        _refuse_timeless(source)
    rows = records[int(source.header) :]
    if not any(row.problem or any(row.fields) for row in rows):
        raise UsageError(f"{path} has a header and no ratings")
    source = replace(
        _with_types(source, rows, times), row_bytes=sum(len(row.text.encode()) for row in rows) // len(rows)
    )
    if fault := _first_fault(source, rows):
        raise UsageError(str(fault))
    return source


def _head(source: Source) -> tuple[Source, list[_Record]]:
    """Settle the separator of a text file; return its first records, too, of which the very first is sound."""
    path = source.path
    try:
        with _bytes(source) as stream:
            head = stream.read(1 << 16)
    except (OSError, EOFError, zlib.error, ValueError) as exc:
        raise UsageError(f"{path} cannot be decompressed ({exc}): it is cut or damaged, fetch it again") from exc
    if b"\0" in head:
        raise UsageError(f"{path} is not text: give a CSV, TSV or .dat file in UTF-8, or Parquet")
    oddities = {"a byte order mark": head.startswith(codecs.BOM_UTF8), "CR LF line ends": b"\r\n" in head}
    notes = tuple(f"the file has {oddity}, read as usual" for oddity, there in oddities.items() if there)
    first = head.split(b"\n", 1)[0].decode(errors="replace")
    source = replace(source, separator=max(_SEPARATORS, key=first.count), notes=notes)
    records = list(islice(_records(source), HEAD_ROWS + 1))
    if not any(record.problem or any(record.fields) for record in records):
        raise UsageError(f"{path} has only blank lines: it should hold a header and ratings")
    if records[0].problem:
        raise UsageError(str(Fault(path, 1, None, records[0].problem, records[0].text)))
    if not any(records[0].fields) or "\n" in "".join(records[0].fields):
        raise UsageError(f"{path} has no header in line 1, or it goes on in line 2: put all column names into line 1")
    return source, records


def _with_columns(source: Source, first: list[str], columns: Sequence[str] | None) -> Source:
    """Take the names from the header; where the first line is a rating already, from their places."""
    path, fields = source.path, [field.strip() for field in first[:: len(source.separator)]]
    if len(fields) < 3 or not _NUMBER.fullmatch(fields[2]):
        return replace(source, fields=tuple(fields), columns=_choose(path, fields, columns))
    if source.separator != "::" and not {".dat", ".data"} & set(path.suffixes):
        raise UsageError(f"{path}, line 1 holds a rating, not column names: put userId,movieId,rating,... above it")
    if columns:
        raise UsageError(f"{path} has no header: its columns are {', '.join(_KINDS)} by their place, so drop --columns")
    fields = [*_KINDS, *(f"field{k}" for k in range(5, len(fields) + 1))][: len(fields)]
    return replace(source, header=False, fields=tuple(fields), columns=_choose(path, fields, None))


def _with_types(source: Source, rows: list[_Record], times: bool) -> Source:
    """Settle from the head how ids are read, and, unless they are needed, whether the timestamps are any."""
    user, item, _, *timestamp = source.layout
    user_type, user_notes = _id_type(source, user, rows)
    item_type, item_notes = _id_type(source, item, rows)
    notes = (*source.notes, *user_notes, *item_notes)
    source = replace(source, user_type=user_type, item_type=item_type, notes=notes)
    if times or not timestamp or any(_INTEGER.fullmatch(text) for _, text in _cells(timestamp[0], rows)):
        return source
    note = f"column {timestamp[0].name} is ignored: its values are no whole seconds"
    return replace(source, columns=(*source.columns[:3], None), notes=(*notes, note))


def _cells(column: Column, rows: list[_Record]) -> list[tuple[int, str]]:
    """Return the lines and texts of a column, where there is a text."""
    cells = [(row.line, row.fields[column.place]) for row in rows if len(row.fields) > column.place]
    return [(line, text) for line, text in cells if text.strip()]


def _id_type(source: Source, column: Column, rows: list[_Record]) -> tuple[IdType, list[str]]:
    cells = _cells(column, rows)
    odd = [(line, text) for line, text in cells if not (_INTEGER_ID.fullmatch(text) and _fits_int64(text))]
    if not odd:
        return "int64", []
    fraction = next(((line, text) for line, text in odd if "." in text), None)
    if fraction and all(_NUMBER.fullmatch(text) for _, text in cells):
        problem = "a number with a decimal point is no id: write whole numbers, or names"
        raise UsageError(str(Fault(source.path, fraction[0], column.name, problem, fraction[1])))
    return "string", [f"column {column.name} is read as text: line {odd[0][0]} has {odd[0][1]!r}"]


def _open_parquet(source: Source, columns: Sequence[str] | None, times: bool) -> Source:
    import polars as pl
    import pyarrow.parquet

    path = source.path
    try:
        schema = pl.read_parquet_schema(source.local)
        metadata = pyarrow.parquet.read_metadata(source.local)
    except (pl.exceptions.PolarsError, OSError, ValueError) as exc:
        raise UsageError(f"{path} cannot be read as Parquet ({exc}): it is cut or damaged, write it again") from exc
    user, item, rating, timestamp = _choose(path, list(schema), columns)
    if metadata.num_rows == 0:
        raise UsageError(f"{path} has columns and no ratings")
    types: list[IdType] = ["int64" if schema[name].is_integer() else "string" for name in (user, item)]
    for name, numeric in ((user, types[0] == "int64"), (item, types[1] == "int64"), (rating, True)):
        if not (schema[name].is_numeric() if numeric else schema[name] in (pl.String, pl.Categorical, pl.Enum)):
            wanted = "numbers" if name == rating else "whole numbers or text"
            raise UsageError(f"{path}, column {name} has type {schema[name]} where {wanted} are needed: cast it")
    notes: list[str] = []
    if timestamp and not (schema[timestamp].is_integer() or isinstance(schema[timestamp], pl.Datetime)):
        if times:
            raise UsageError(
                f"{path}, column {timestamp} has type {schema[timestamp]} where whole seconds, or a date and time, are "
                "needed: cast it"
            )
        notes.append(f"column {timestamp} is ignored: its type is {schema[timestamp]}")
        timestamp = None
    largest = max(metadata.row_group(k).num_rows for k in range(metadata.num_row_groups))
    names = (user, item, rating, timestamp)
    source = replace(source, format="parquet", fields=tuple(schema), columns=names, group_rows=largest)
    if times:
        _refuse_timeless(source)
    texts = [pl.col(name) for name, type_ in zip((user, item), types, strict=True) if type_ == "string"]
    head = pl.scan_parquet(source.local, glob=False, hive_partitioning=False).select(texts).head(HEAD_ROWS).collect()
    row_bytes = 24 + sum(int(column.cast(pl.String).str.len_bytes().sum()) // len(column) for column in head)
    source = replace(source, user_type=types[0], item_type=types[1], row_bytes=row_bytes)
    if largest > _ROW_GROUP:
        mib = source.group_bytes >> 20
        notes.append(f"row groups of {largest} rows take about {mib} MiB to read: smaller ones would take less")
    return replace(source, notes=tuple(notes))


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
    problems = ((c.name, _cell_problem(c, text), text) for c, text in zip(raw, texts, strict=True))
    column, problem, text = next(found for found in problems if found[1])
    return Fault(source.path, row.item() + 1, column, problem, text, "row")


def _first_fault(source: Source, records: Iterable[_Record]) -> Fault | None:
    layout = source.layout
    for line, text, fields, broken in records:
        if problem := broken or _line_problem(source, text, fields):
            return Fault(source.path, line, None, problem, text.rstrip("\r\n"))
        if not any(fields):
            continue
        for column in layout:
            cell = fields[column.place] if len(fields) > column.place else ""
            if problem := _cell_problem(column, cell):
                return Fault(source.path, line, column.name, problem, cell or text.rstrip("\r\n"))
    return None


def _line_problem(source: Source, text: str, fields: list[str]) -> str:
    surplus = len(fields) > source.width
    if source.separator == "::":
        return f"more than {len(source.fields)} fields, or a single ':'" if surplus or any(fields[1::2]) else ""
    if surplus:
        return f"{len(fields)} fields where the file has {source.width}: quote a field that holds a separator"
    return "a stray quote: double it and put the field in quotes" if text.count('"') % 2 else ""


def _cell_problem(column: Column, text: str) -> str:
    """Say what is wrong with a value and what to do; nothing if it is fine."""
    what = {"user": "user id", "item": "item id"}.get(column.kind, column.kind)
    if not (text if column.type == "string" else text.strip(" \t")):
        without = f", or do without the column, and a split by time: {COLUMNS_OPTION}"
        optional = without if column.kind == "timestamp" else ""
        return f"missing {what}; complete or delete the line{optional}"
    if column.type == "string":
        return f"{what} over several lines: a quote is missing before or after it" if "\n" in text else ""
    if column.type == "float64":
        return "" if _NUMBER.fullmatch(text) and math.isfinite(float(text)) else f"{what} is not a finite number"
    if _INTEGER.fullmatch(text):
        return "" if _fits_int64(text) else f"{what} does not fit 64 bits"
    other = _OR_TEXT if column.kind != "timestamp" else ""
    return f"{what} is not a whole number, as {_THE_FIRST} are; correct it{other}"


def _fits_int64(text: str) -> bool:
    return -(2**63) <= int(text) < 2**63


def _sound_line(source: Source) -> re.Pattern[bytes]:
    """Match lines that are certainly fine, without quotes and in ASCII: nearly all of them, in a tenth of the time."""
    kinds = {column.place: column.type for column in source.layout}
    text = rb'[^\x00-\x1f"\x7f-\xff' + re.escape(source.separator[:1].encode()) + b"]"
    cell = {"int64": b"[0-9]{1,18}", "float64": rb"[0-9]{1,9}(?:\.[0-9]{0,9})?", "string": text + b"+"}
    cells = [cell.get(kinds.get(k, ""), text + b"*") for k in range(0, source.width, len(source.separator))]
    return re.compile(re.escape(source.separator.encode()).join(cells) + rb"\r?\n")


def _bytes(source: Source) -> BinaryIO:
    """Open the file, decompressed; a block at a time is in memory."""
    if source.compression == "none":
        return source.local.open("rb")
    if source.compression == "gzip":
        stream: Any = gzip.GzipFile(source.local)
    else:
        import pyarrow

        stream = pyarrow.input_stream(str(source.local), compression="zstd")
    return cast("BinaryIO", io.BufferedReader(stream, 1 << 16))


def _records(source: Source, skip: re.Pattern[bytes] | None = None) -> Iterator[_Record]:
    """Yield the records of a text file, each with the number of its first line; one with a problem is the last.

    Records in a single line that `skip` matches are left out.
    """
    line = 1
    taken: list[bytes] = []

    def lines(stream: BinaryIO) -> Iterator[str]:
        nonlocal line
        while raw := stream.readline(_MAX_LINE):
            if skip and not taken and skip.fullmatch(raw):
                line += 1
                continue
            taken.append(raw.removeprefix(codecs.BOM_UTF8) if line == 1 else raw)
            if len(raw) == _MAX_LINE:
                raise csv.Error(f"line of {_MAX_LINE} bytes or more")
            yield taken[-1].decode()

    with _bytes(source) as stream:
        quoting: Any = {"quoting": csv.QUOTE_NONE} if source.separator == "::" else {"strict": True}
        reader = csv.reader(lines(stream), delimiter=source.separator[0], **quoting)
        problem = ""
        while not problem:
            line += len(taken)
            taken.clear()
            fields: list[str] = []
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as exc:
                problem = f"not a valid record ({exc}); look for a stray quote, carriage return or missing line end"
            except UnicodeDecodeError as exc:
                problem = f"not UTF-8 ({exc.reason}); convert the file, e.g. with iconv -f latin1 -t utf-8"
            except (OSError, EOFError, zlib.error, ValueError) as exc:
                problem = f"the file is cut or damaged here ({exc}); fetch it again"
            yield _Record(line, b"".join(taken).decode(errors="backslashreplace"), fields, problem)
