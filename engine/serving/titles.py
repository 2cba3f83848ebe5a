"""Titles of items, from a file beside the ratings or a named one. Whatever is wrong with it, answers go without."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.chunked.printable import printable
from engine.chunked.storage import Location
from engine.ratings.encodings import WINDOWS
from engine.ratings.titles import Dropped, title_rows, unreadable
from engine.serving.ids import take


class TitlesWarning(UserWarning):
    """Titles, or one of them, cannot be read."""


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
        titles, fault = read_titles(self._path, ids, self._column)
        if fault and fault != self.fault:
            warnings.warn(printable(fault), TitlesWarning, stacklevel=2)
        self.fault = fault
        return titles


def read_titles(path: Location | None, items: pl.Series, column: str = "") -> tuple[pl.Series, str]:
    """Titles of items, null where not known; and what is wrong with the file, if anything.

    Parameters
    ----------
    path : Path or Remote or None
        As `engine.ratings.titles.title_rows` takes it, as well as ``column``.
    items : Series
        Ids.
    column : str, optional
    """
    unknown = pl.Series("title", [None] * len(items), dtype=pl.String)
    if path is None:
        return unknown, ""
    try:
        ids = items.cast(pl.String).to_list()
        found: dict[str, str | None] = dict.fromkeys(ids)
        try:
            _find(title_rows(path, column, dropped := Dropped(), found), found)
        except UnicodeDecodeError:
            found = dict.fromkeys(ids)
            _find(title_rows(path, column, dropped := Dropped(), found, WINDOWS), found)
        return pl.Series("title", [found[item] for item in ids], dtype=pl.String), dropped.fault_in(path)
    except (Exception, pl.exceptions.PanicException) as error:  # whatever it is, ids can be shown
        return unknown, unreadable(path, error)


def _find(rows: Iterator[tuple[str, str]], found: dict[str, str | None]) -> None:
    """Note the first title of each item."""
    for item, title in rows:
        if found[item] is None:
            found[item] = title
