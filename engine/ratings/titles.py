"""A file of items and their titles, read row by row, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from engine.chunked.storage import Location
from engine.ratings.columns import ITEMS, column_key
from engine.ratings.encodings import WINDOWS
from engine.ratings.records import NO_RECORD, NUMBER, Record, read_records
from engine.ratings.source import BLANKS, RatingsFile
from engine.ratings.text_head import compression_of, read_head, read_magic

# What the columns are called, as `column_key` gives it.
_ITEM_NAMES = {*set().union(*ITEMS), "id"}
_TITLE_NAMES = {"title", "name", "booktitle", "movietitle", "producttitle", "productname", "artistname", "trackname"}
# Rows that are looked at before a run: what is wrong with such a file is mostly seen in the first.
_LOOKED_AT = 10_000
_LINE_END = re.compile(r"[\r\n]+")


class Dropped:
    """Rows of a file whose titles cannot be read, while the others can.

    Attributes
    ----------
    fault : str
        What is to be said of them, if there are any.
    """

    def __init__(self) -> None:
        self._first, self._n = "", 0

    def add(self, where: str) -> None:
        """Note one more, by its place and what is wrong."""
        self._first = self._first or where
        self._n += 1

    def fault_in(self, path: Location) -> str:
        """What is to be said of them; empty where there are none."""
        more = f", nor those of {self._n - 1} more" if self._n > 1 else ""
        return f"{path}, {self._first}: this title is not shown{more}" if self._n else ""


def fault_of(path: Location | None, column: str) -> str:
    """What is wrong with a file of titles, by its first rows; empty where nothing is seen, or nobody may look yet."""
    if path is None or not path.settled:
        return ""
    try:
        try:
            _exhaust(title_rows(path, column, dropped := Dropped(), most=_LOOKED_AT))
        except UnicodeDecodeError:
            _exhaust(title_rows(path, column, dropped := Dropped(), encoding=WINDOWS, most=_LOOKED_AT))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # what a library in Rust panics with is no Exception
        return unreadable(path, error)
    return dropped.fault_in(path)


def unreadable(path: Location, error: BaseException) -> str:
    """Say that a file of titles cannot be read, and why."""
    reason = " ".join(str(error).split("\n", 1)[0].split()).removeprefix(f"{path}").lstrip(", :")[:100]
    return f"{path} cannot be read as movieId,title,... ({reason}): ids are shown"


def _exhaust(rows: Iterator[tuple[str, str]]) -> None:
    for _ in rows:
        pass


def title_rows(
    path: Location,
    column: str,
    dropped: Dropped,
    wanted: Collection[str] | None = None,
    encoding: str | None = None,
    most: int | None = None,
) -> Iterator[tuple[str, str]]:
    """Items and their titles, each in one line, in the order of the file.

    Parameters
    ----------
    path : Path or Remote
        Text or Parquet, in any form that ratings are read in; with columns of items and titles by their usual names, or
        without a header, then these are the first two.
    column : str
        What the column of items is called if by no usual name.
    dropped : Dropped
        Where rows without a title that can be read are noted.
    wanted : collection of str, optional
        Items that are given, as text. None: all.
    encoding : str, optional
        Of a text. None: what its head looks like.
    most : int, optional
        Rows that are looked at, at most.

    Raises
    ------
    Exception
        Of whatever kind it is that the file cannot be read for. UnicodeDecodeError is what another encoding may mend.
    """
    if not path.settled:
        raise ValueError("only a run asks a server that a record names")
    if not path.is_file():
        raise ValueError("there is no such file")
    magic = read_magic(path)
    if magic == b"PAR1":
        return _parquet_rows(path, column, dropped, wanted, most)
    file, head, _ = read_head(RatingsFile(path, compression=compression_of(magic)), nameless=True)
    file = file if encoding is None else replace(file, encoding=encoding)
    return _text_rows(file, head, column, dropped, wanted, most)


def _parquet_rows(
    path: Location, column: str, dropped: Dropped, wanted: Collection[str] | None, most: int | None
) -> Iterator[tuple[str, str]]:
    import polars as pl  # which finding the ratings mostly does without

    table = pl.scan_parquet(path.local(), glob=False, hive_partitioning=False)
    schema = table.collect_schema()
    at_item, at_title = _places(schema.names(), column)
    item, title = (pl.col(schema.names()[at]) for at in (at_item, at_title))
    if schema.dtypes()[at_title] != pl.Binary:  # of which one may be no text
        title = title.cast(pl.String)
    item = item.cast(pl.String)
    of_wanted = [] if wanted is None else [item.is_in(list(wanted))]
    rows = (table if most is None else table.head(most)).select(item, title)
    for of, found in rows.filter(*of_wanted, title.is_not_null()).collect().iter_rows():
        try:
            yield of, in_one_line(found if isinstance(found, str) else found.decode())
        except UnicodeDecodeError:
            dropped.add(f"item {of}: its title is not UTF-8")


def in_one_line(title: str) -> str:
    r"""A title with a blank for each end of a line in it: it is shown in one.

    Examples
    --------
    >>> in_one_line("Dr. Strangelove,\r\n or How I Learned\n")
    'Dr. Strangelove, or How I Learned'
    """
    if "\n" not in title and "\r" not in title:
        return title
    return " ".join(filter(None, (line.strip() for line in _LINE_END.split(title))))


def _text_rows(
    file: RatingsFile,
    head: Sequence[Record],
    column: str,
    dropped: Dropped,
    wanted: Collection[str] | None,
    most: int | None,
) -> Iterator[tuple[str, str]]:
    step, names = len(file.separator), head[file.skip - 1].fields
    headless = not names or NUMBER.fullmatch(names[0]) is not None
    item, title = (0, 1) if headless else _places(names[::step], column)
    start = file.skip - headless
    for record in islice(read_records(file, go_on=True), start, None if most is None else start + most):
        if "not UTF-8" in record.problem:
            raise UnicodeDecodeError("utf-8", b"", 0, 1, record.problem)
        if record.problem.startswith(NO_RECORD):
            dropped.add(f"line {record.line}: {record.problem}")
            continue
        if record.problem:
            raise ValueError(f"line {record.line}: {record.problem}")
        cells = record.fields[::step]
        if len(cells) <= max(item, title) or (wanted is not None and cells[item].strip(BLANKS) not in wanted):
            continue
        yield cells[item].strip(BLANKS), in_one_line(cells[title])


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
