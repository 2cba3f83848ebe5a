"""A ratings file: how it is described, and how it is read.

`scan` reads it, lazily and fast. What is wrong in it shows there as an error or as a null;
`engine.ratings.faults.locate_fault` then names the line. `engine.ratings.opening` says what a file is.

Polars is imported where it is used: who only opens a text file need not carry it, and can still set its chunk sizes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from engine.chunked.storage import Location, locate

if TYPE_CHECKING:
    import polars as pl

IdType = Literal["int64", "string"]
Names = tuple[str, str, str | None, str | None]
Values = Literal["ratings", "counts", "pairs"]

KINDS = ("user", "item", "rating", "timestamp")
BLANKS = " \t"
"""What counts for nothing around the fields of a text file."""
IDS = KINDS[:2]
COLUMNS_OPTION = "--columns user,item,rating[,timestamp]"
# Ratings are squared and summed in float32, which ends at 3e38: this leaves room for a billion of them and more.
MOST_RATING = 1e12
# Bytes of an id that is text.
MOST_ID = 1 << 12
_LEAST: dict[Values, float] = {"ratings": -MOST_RATING, "counts": 0, "pairs": 0}
_PIECE = 1 << 18


class Column(NamedTuple):
    """A column that is read: what it is, its name and place in the file, and its type."""

    kind: str
    name: str
    place: int
    type: str


@dataclass(frozen=True)
class Source:
    """A ratings file and how to read it.

    `fields` are all columns of the file, `columns` the names of user, item, rating and timestamp among them, None where
    there is none; the user's is empty in a file of one person's ratings. `values` says what the ratings are: counts are
    those of how often the user took the item, and pairs are users and items alone, each row read as a count of 1.
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
    columns: Names = ("", "", None, None)
    values: Values = "ratings"
    user_type: IdType = "string"
    item_type: IdType = "string"
    row_bytes: int = 0
    group_rows: int = 0
    notes: tuple[str, ...] = ()

    @property
    def local(self) -> Path:
        """Where its content is on a local disk."""
        return self.path.local()

    @property
    def layout(self) -> list[Column]:
        """The columns that are read; their places count the empty field inside each ``::``."""
        types = (self.user_type, self.item_type, "float64", "int64")
        named = [(k, name, t) for k, name, t in zip(KINDS, self.columns, types, strict=True) if name]
        return [Column(kind, name, self.fields.index(name) * len(self.separator), as_) for kind, name, as_ in named]

    def column(self, kind: str) -> Column | None:
        """One of them."""
        return next((column for column in self.layout if column.kind == kind), None)

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
        return replace(self, path=self.path.absolute(), titles=self.titles and self.titles.absolute())

    def to_json(self) -> dict[str, Any]:
        """Return the source as plain JSON types."""
        return asdict(self) | {"path": str(self.path), "titles": self.titles and str(self.titles)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Source:
        """Rebuild what `to_json` returned."""
        paths = {"path": locate(record["path"]), "titles": record["titles"] and locate(record["titles"])}
        return cls(**record | paths | {key: tuple(record[key]) for key in ("fields", "columns", "notes")})


def scan(source: Source, *, timestamp: bool = False) -> pl.LazyFrame:
    """Read ``user``, ``item``, ``rating`` and, if asked, ``timestamp``; lazily, streaming, in the order of the file.

    Every fault shows as a null in user, item or rating, or as an error: PolarsError, OSError for a damaged archive, and
    PanicException for a file cut right after a quote. A rating is made null where it is not finite or too large, a
    count also where it is negative, and where an id or timestamp is missing, an id is not the text of its number, or a
    stray quote has swallowed lines. Only lines without any content are left out.
    `engine.ratings.faults.locate_fault` finds the line.
    """
    import polars as pl

    raw, read, sound = _scan_parquet(source) if source.format == "parquet" else _scan_text(source)
    sound += [read[c.kind].str.len_bytes().is_between(1, MOST_ID) for c in source.layout if c.type == "string"]
    read.setdefault("rating", pl.lit(1.0))
    sound += [
        column.is_between(_LEAST[source.values], MOST_RATING) if kind == "rating" else column.is_not_null()
        for kind, column in read.items()
    ]
    read["rating"] = pl.when(pl.all_horizontal(sound)).then(read["rating"])
    return raw.select(read[kind].alias(kind) for kind in (KINDS if timestamp else KINDS[:3]))


def _scan_parquet(source: Source) -> tuple[pl.LazyFrame, dict[str, pl.Expr], list[pl.Expr]]:
    """Return the frame, how each kind of column is read from it, and what holds for sound rows."""
    import polars as pl

    raw = pl.scan_parquet(source.local, glob=False, hive_partitioning=False)
    schema = raw.collect_schema()
    types = _polars_types(source)
    read = {c.kind: pl.col(c.name).cast(types[c.kind], strict=False) for c in source.layout}
    if isinstance(schema.get(source.columns[3] or ""), pl.Datetime):
        read["timestamp"] = pl.col(source.layout[3].name).dt.epoch("s")
    return raw, read, []


def _scan_text(source: Source) -> tuple[pl.LazyFrame, dict[str, pl.Expr], list[pl.Expr]]:
    """Return the same of a text file. Its columns go by their places: names may occur twice."""
    import polars as pl

    types = _polars_types(source)
    # Ids are read as text: the parser of numbers takes 007 and +7 for 7.
    columns: dict[str, type[pl.DataType]] = {str(k): pl.String for k in range(source.width)}
    columns |= {str(c.place): types[c.kind] for c in source.layout if c.kind not in IDS}
    raw = pl.scan_csv(
        source.local,
        schema=columns,
        separator=source.separator[0],
        quote_char=None if source.separator == "::" else '"',
        has_header=False,
        skip_lines=int(source.header),
        missing_columns="insert",
        glob=False,
    )
    # It has to name every column: Polars parses a line, and sees surplus fields, only as far as columns are asked.
    raw = raw.filter(pl.any_horizontal(pl.all().is_not_null()))
    read = {c.kind: pl.col(str(c.place)) for c in source.layout}
    read |= {c.kind: read[c.kind].str.strip_chars(BLANKS) for c in source.layout if c.type == "string"}
    sound = [pl.col(str(k)).is_null() for k in range(1, source.width, 2) if source.separator == "::"]
    sound += [~read[c.kind].str.contains("\n", literal=True) for c in source.layout if c.type == "string"]
    for kind in (c.kind for c in source.layout if c.kind in IDS and c.type == "int64"):
        sound.append(_starts_as_its_number(read[kind]))
        read[kind] = read[kind].cast(pl.Int64, strict=False)
    return raw, read, sound


def _starts_as_its_number(text: pl.Expr) -> pl.Expr:
    """Whether an id that Polars can cast to a number is written as the number is: no plus, no zeros before it.

    Comparing first characters so takes a third of the time of making the text anew.
    """
    import polars as pl

    positive = (text >= pl.lit("1")) & (text < pl.lit(":"))
    negative = (text >= pl.lit("-1")) & (text < pl.lit("-:"))
    return positive | negative | (text == pl.lit("0"))


def _polars_types(source: Source) -> dict[str, type[pl.DataType]]:
    import polars as pl

    types = {"int64": pl.Int64, "string": pl.String, "float64": pl.Float64}
    return {c.kind: types[c.type] for c in source.layout}


def digest(source: Source, seen: Callable[[bytes], None] | None = None) -> tuple[int, str]:
    """Return the size of the file in bytes and the SHA-256 of its content, in hex; `seen` gets each piece of it."""
    size, sha256 = 0, hashlib.sha256()
    with source.local.open("rb") as stream:
        while piece := stream.read(_PIECE):
            size += len(piece)
            sha256.update(piece)
            if seen:
                seen(piece)
    return size, sha256.hexdigest()
