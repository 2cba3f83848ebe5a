"""Titles of items, from a file beside the ratings or a named one. Whatever is wrong with it, answers go without."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.chunked.storage import Location
from engine.ratings.columns import ITEMS, column_key
from engine.ratings.encodings import WINDOWS
from engine.ratings.records import NUMBER, Record, read_records
from engine.ratings.source import BLANKS, RatingsFile
from engine.ratings.text_head import compression_of, read_head, read_magic
from engine.serving.ids import take

# What the columns are called, as `column_key` gives it.
_ITEM_NAMES = {*set().union(*ITEMS), "id"}
_TITLE_NAMES = {"title", "name", "booktitle", "movietitle", "producttitle", "productname", "artistname", "trackname"}


class Titles:
    """Titles of the items of a run.

    Parameters
    ----------
    path : Path or Remote or None
        As `read_titles` takes it.
    items : Series
        Ids of all items.
    column : str, optional
        What the ratings call their items.

    Attributes
    ----------
    fault : str
        What was wrong with the file when it was last read; empty where nothing was.
    """

    def __init__(self, path: Location | None, items: pl.Series, column: str = "") -> None:
        self._path, self._items, self._column = path, items, column
        self._held: pl.Series | None = None
        self.fault = ""

    @property
    def nbytes(self) -> int:
        """Bytes of the file: about as many as all titles take."""
        try:
            return self._path.state()[0] if self._path is not None and self._path.settled else 0
        except OSError:
            return 0

    def hold(self) -> None:
        """Read all titles, and keep them in memory from now on."""
        self._held = self.of(self._items)

    def unpack(self) -> None:
        """The same: a file of texts cannot be read by the place of an item."""
        self.hold()

    def at(self, columns: NDArray[np.integer[Any]]) -> pl.Series:
        """Titles of the items of some columns, null where not known."""
        held = self._held
        return self.of(take(self._items, columns)) if held is None else take(held, columns)

    def of(self, ids: pl.Series) -> pl.Series:
        """The same of ids, which the run need not have."""
        titles, self.fault = read_titles(self._path, ids, self._column)
        return titles


def read_titles(path: Location | None, items: pl.Series, column: str = "") -> tuple[pl.Series, str]:
    """Titles of items, null where not known; and what is wrong with the file, if anything.

    Parameters
    ----------
    path : Path or Remote or None
        Text or Parquet, in any form that ratings are read in; with columns of items and titles by their usual names, or
        without a header, then these are the first two.
    items : Series
        Ids.
    column : str, optional
        What the column of items is called if by no usual name.
    """
    unknown = pl.Series("title", [None] * len(items), dtype=pl.String)
    if path is None:
        return unknown, ""
    try:
        ids = items.cast(pl.String).to_list()
        found: dict[str, str | None] = dict.fromkeys(ids)
        try:
            _find(_rows(path, found, column), found)
        except UnicodeDecodeError:
            found = dict.fromkeys(ids)
            _find(_rows(path, found, column, WINDOWS), found)
        return pl.Series("title", [found[item] for item in ids], dtype=pl.String), ""
    except (Exception, pl.exceptions.PanicException) as error:  # whatever it is, ids can be shown
        reason = " ".join(str(error).split("\n", 1)[0].split()).removeprefix(f"{path}").lstrip(", :")[:100]
        return unknown, f"{path} cannot be read as movieId,title,... ({reason}): ids are shown"


def _find(rows: Iterator[tuple[str, str]], found: dict[str, str | None]) -> None:
    """Note the first title of each item."""
    for item, title in rows:
        if found[item] is None:
            found[item] = title


def _rows(
    path: Location, wanted: Collection[str], column: str, encoding: str | None = None
) -> Iterator[tuple[str, str]]:
    """Items that are wanted and their titles, in the order of the file."""
    if not path.settled:
        raise ValueError("only a run asks a server that a record names")
    if not path.is_file():
        raise ValueError("there is no such file")
    magic = read_magic(path)
    if magic == b"PAR1":
        return _parquet_rows(path, wanted, column)
    file, head, _ = read_head(RatingsFile(path, compression=compression_of(magic)))
    return _text_rows(file if encoding is None else replace(file, encoding=encoding), head, wanted, column)


def _parquet_rows(path: Location, wanted: Collection[str], column: str) -> Iterator[tuple[str, str]]:
    table = pl.scan_parquet(path.local(), glob=False, hive_partitioning=False)
    fields = table.collect_schema().names()
    item, title = (pl.col(fields[place]).cast(pl.String) for place in _places(fields, column))
    return iter(table.select(item, title).filter(item.is_in(list(wanted)), title.is_not_null()).collect().iter_rows())


def _text_rows(
    file: RatingsFile, head: Sequence[Record], wanted: Collection[str], column: str
) -> Iterator[tuple[str, str]]:
    step, names = len(file.separator), head[file.skip - 1].fields
    headless = NUMBER.fullmatch(names[0]) is not None
    item, title = (0, 1) if headless else _places(names[::step], column)
    for record in islice(read_records(file), file.skip - headless, None):
        if "not UTF-8" in record.problem:
            raise UnicodeDecodeError("utf-8", b"", 0, 1, record.problem)
        if record.problem:
            raise ValueError(f"line {record.line}: {record.problem}")
        cells = record.fields[::step]
        if len(cells) <= max(item, title) or cells[item].strip(BLANKS) not in wanted:
            continue
        if "\n" in cells[title]:
            raise ValueError(f"line {record.line}: a title over several lines: a stray quote")
        yield cells[item].strip(BLANKS), cells[title]


def _places(fields: Sequence[str], column: str) -> tuple[int, int]:
    """Of the column of items and of that of titles."""
    keys = [column_key(field) for field in fields]
    item, title = ([k for k, key in enumerate(keys) if key in names] for names in (_ITEM_NAMES, _TITLE_NAMES))
    item = [k for k, key in enumerate(keys) if key == column_key(column)] if column and not item else item
    if len(item) > 1:  # beside an id of the run's, one of somebody else's
        item = [k for k in item if keys[k] in ITEMS[0]] or item
    if not item or not title:
        raise ValueError(f"its columns are {', '.join(fields) or 'none'}, not an item's id and its title")
    return item[0], title[0]
