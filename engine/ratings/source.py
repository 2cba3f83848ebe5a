"""Ratings, and the files they are in: how each is to be read. `engine.ratings.opening` finds that out.

Nothing here loads Polars: who only opens text files need not carry it, and can still set its chunk sizes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from engine.chunked.errors import UsageError
from engine.chunked.storage import Location, locate

IdType = Literal["int64", "string"]
Names = tuple[str, str, str | None, str | None]
Values = Literal["ratings", "counts", "pairs"]
TimeType = Literal["int64", "float64", "text", "date"]
TimeUnit = Literal["s", "ms", "us", "ns"]

KINDS = ("user", "item", "rating", "timestamp")
BLANKS = " \t"
"""What counts for nothing around the fields of a text file."""
IDS = KINDS[:2]
COLUMNS_OPTION = "--columns user,item,rating[,timestamp]"
# Ratings are squared and summed in float32, which ends at 3e38: this leaves room for a billion of them and more.
MOST_RATING = 1e12
# Bytes of an id that is text.
MOST_ID = 1 << 12
_PIECE = 1 << 18
FRAMES = "dataset"
"""The folder of a work directory that data frames are written to."""
_FRAME = re.compile(FRAMES + r"/frame-[0-9a-f]{8}\.parquet$")


def frame_name(digest: str) -> str:
    """What a data frame is called in a work directory, by its SHA-256.

    Examples
    --------
    >>> frame_name("dc711987aa")
    'frame-dc711987'
    """
    return f"frame-{digest[:8]}"


class NoRatingsError(UsageError):
    """A file without ratings."""


class Column(NamedTuple):
    """A column that is read: what it is, its name and place in the file, and its type."""

    kind: str
    name: str
    place: int
    type: str


@dataclass(frozen=True)
class RatingsFile:
    """One file and how to read it.

    Attributes
    ----------
    path
        A file in a store is read from a copy on a local disk, which each process makes when it first needs it.
    separator, decimal
        Of a text file: what separates fields, and the sign before decimals.
    skip
        Of a text file: lines above the ratings.
    encoding
        Of a text file, as Python calls it. What is not UTF-8 is read from a copy that is.
    fields
        All its columns.
    columns
        Names of user, item, rating and timestamp among them, None where there is none; the user's is empty in a file
        of one person's ratings.
    values
        What the ratings are: counts are those of how often the user took the item, and pairs are users and items
        alone, each row read as a count of 1.
    user_type, item_type
        How ids are read; the same in all files.
    time_type, time_unit
        How timestamps are written, and what of; text is what `engine.ratings.times` reads.
    time_kept
        The unit they are read as; the same in all files.
    timed
        Whether timestamps are used; then numbers have to be of the unit of those at the top.
    row_bytes
        The mean size of the first thousand rows.
    group_rows
        Those of the largest row group of a Parquet file.
    group_text_bytes
        What ids that are text take beside, in the row group where they take most.
    held_out
        Whether it is of a test part that was made elsewhere.
    pieces
        That it is converted in, one by one (`engine.ratings.pieces`).
    """

    path: Location
    format: Literal["text", "parquet"] = "text"
    separator: str = ","
    decimal: Literal[".", ","] = "."
    skip: int = 1
    encoding: str = "utf-8"
    compression: Literal["none", "gzip", "zstd"] = "none"
    fields: tuple[str, ...] = ()
    columns: Names = ("", "", None, None)
    values: Values = "ratings"
    user_type: IdType = "string"
    item_type: IdType = "string"
    time_type: TimeType = "int64"
    time_unit: TimeUnit = "s"
    time_kept: TimeUnit = "s"
    timed: bool = False
    row_bytes: int = 0
    group_rows: int = 0
    group_text_bytes: int = 0
    held_out: bool = False
    pieces: int = 1

    @property
    def of_frame(self) -> bool:
        """Whether it is a data frame of the caller's, who has not chosen its path and need not know it."""
        return bool(_FRAME.search(str(self.path)))

    @property
    def called(self) -> str:
        """What it is called in messages."""
        if not self.of_frame:
            return str(self.path)
        return "the data frame of the test part" if self.held_out else "the data frame"

    @property
    def local(self) -> Path:
        """Where its content is on a local disk."""
        return self.path.local()

    @property
    def quotes(self) -> bool:
        """Whether fields may be in quotes."""
        return self.separator != "::"

    @property
    def layout(self) -> list[Column]:
        """The columns that are read; their places count the empty field inside each ``::``."""
        types = (self.user_type, self.item_type, "float64", f"time:{self.time_type}")
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
        return self.group_rows * (24 + 8) + self.group_text_bytes

    @property
    def reading(self) -> list[str]:
        """What of it determines what is read, given its content."""
        usual = [self.format, self.separator, self.columns, self.user_type, self.item_type]
        rest = {
            "decimal": ".",
            "encoding": "utf-8",
            "time_type": "int64",
            "time_kept": self.time_unit,
            "held_out": False,
        }
        unusual = [f"{name}={getattr(self, name)}" for name, value in rest.items() if getattr(self, name) != value]
        return [*map(str, usual), *unusual]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return asdict(self) | {"path": str(self.path)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> RatingsFile:
        """Rebuild what `to_json` returned."""
        tuples = {key: tuple(record[key]) for key in ("fields", "columns")}
        return cls(**record | tuples | {"path": locate(record["path"])})


@dataclass(frozen=True)
class Source:
    """Ratings: one file, or several that are read one after the other as if they were one.

    Attributes
    ----------
    files
        In the order in which they are read.
    origin
        What they are of, such as the path of the file or the folder.
    name
        Shown with results.
    synthetic
        Whether the ratings are generated, to be called so wherever results are shown.
    titles
        A file of items and their titles, if there is any.
    notes
        Oddities that were coped with, for the log.
    """

    files: tuple[RatingsFile, ...]
    origin: str
    name: str
    synthetic: bool = False
    titles: Location | None = None
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> RatingsFile:
        """The first file; names and types of ids are as in all."""
        return self.files[0]

    @property
    def user_type(self) -> IdType:
        """How ids of users are read."""
        return self.first.user_type

    @property
    def item_type(self) -> IdType:
        """How ids of items are read."""
        return self.first.item_type

    @property
    def values(self) -> Values:
        """What the ratings are."""
        return self.first.values

    @property
    def row_bytes(self) -> int:
        """Of the file with the largest rows."""
        return max(file.row_bytes for file in self.files)

    @property
    def group_bytes(self) -> int:
        """What is held of the file of which most is."""
        return max(file.group_bytes for file in self.files)

    @property
    def compressed(self) -> bool:
        """Whether any file is."""
        return any(file.compression != "none" for file in self.files)

    @property
    def columnar(self) -> bool:
        """Whether any file is Parquet."""
        return any(file.format == "parquet" for file in self.files)

    @property
    def parsed(self) -> bool:
        """Whether times or ratings of any file are read as text and then taken apart."""
        return any(file.decimal == "," or (file.columns[3] and file.time_type == "text") for file in self.files)

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """The pieces that its files are converted in, in order: the number of the file, and that of the piece in it."""
        return [(number, piece) for number, file in enumerate(self.files) for piece in range(file.pieces)]

    @property
    def copied_bytes(self) -> int:
        """What is copied to the local disk to be read."""
        return sum(file.path.copied_bytes for file in self.files)

    @property
    def recoded(self) -> int:
        """How many times larger the files may be as UTF-8, uncompressed, where one is read from such a copy; else 0."""
        return any(file.encoding != "utf-8" for file in self.files) * (16 if self.compressed else 2)

    def located(self) -> Source:
        """Return the same with absolute paths, for whoever reads it from another folder."""
        files = tuple(replace(file, path=file.path.absolute()) for file in self.files)
        return replace(self, files=files, titles=self.titles and self.titles.absolute())

    def to_json(self) -> dict[str, Any]:
        """Return the source as plain JSON types."""
        files = [file.to_json() for file in self.files]
        return {**vars(self), "files": files, "titles": self.titles and str(self.titles), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Source:
        """Rebuild what `to_json` returned."""
        files = tuple(map(RatingsFile.from_json, record["files"]))
        titles = record["titles"] and locate(record["titles"])
        return cls(**record | {"files": files, "titles": titles, "notes": tuple(record["notes"])})


def digest(file: RatingsFile, seen: Callable[[bytes], None] | None = None) -> tuple[int, str]:
    """Return the size of the file in bytes and the SHA-256 of its content, in hex; `seen` gets each piece of it."""
    size, sha256 = 0, hashlib.sha256()
    with file.local.open("rb") as stream:
        while piece := stream.read(_PIECE):
            size += len(piece)
            sha256.update(piece)
            if seen:
                seen(piece)
    return size, sha256.hexdigest()
