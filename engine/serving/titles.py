"""Titles of items, from the ``movies.csv`` beside the ratings. Whatever is wrong with it, answers go without."""

from __future__ import annotations

import csv

import polars as pl

from engine.chunked.storage import Location
from engine.ratings.columns import ITEMS, column_key
from engine.serving.ids import as_type

_TITLE_NAMES = {"title", "name"}
_MOST_HEADER = 1 << 16


def read_titles(path: Location | None, items: pl.Series, blanks: str = "") -> tuple[pl.Series, str]:
    """Titles of items, null where not known; and what is wrong with the file, if anything.

    Parameters
    ----------
    path : Path or Remote or None
        With a header, and a column of items and one of titles, separated by commas or tabs.
    items : Series
        Ids.
    blanks : str
        What does not count around ids.
    """
    unknown = pl.Series("title", [None] * len(items), dtype=pl.String)
    try:
        if path is None or not path.is_file():
            return unknown, ""
        return _look_up(path, items, blanks), ""
    except (Exception, pl.exceptions.PanicException) as error:  # whatever it is, ids can be shown
        reason = " ".join(str(error).split("\n", 1)[0].split())[:100]
        return unknown, f"{path} cannot be read as movieId,title,... ({reason}): ids are shown"


def _look_up(path: Location, items: pl.Series, blanks: str) -> pl.Series:
    separator, fields, item, title = _header(path)
    table = (
        pl.scan_csv(
            path.local(),
            schema={str(k): pl.String for k in range(fields)},
            separator=separator,
            has_header=False,
            skip_lines=1,
            missing_columns="insert",
            truncate_ragged_lines=True,
            glob=False,
        )
        .select(item=pl.col(str(item)).str.strip_chars(blanks), title=str(title))
        .filter(pl.col("item").is_in(items.cast(pl.String).unique().implode()))
        .unique("item", keep="first")
        .collect(engine="streaming")
    )
    if table["title"].str.contains("\n", literal=True).any():
        raise ValueError("a title over several lines: a stray quote")
    table = table.with_columns(as_type(table["item"], items.dtype))
    return pl.DataFrame({"item": items}).join(table, on="item", how="left", maintain_order="left")["title"]


def _header(path: Location) -> tuple[str, int, int, int]:
    """The separator, the number of fields, and the places of the two columns."""
    with path.local().open("rb") as stream:
        line = stream.readline(_MOST_HEADER).decode("utf-8-sig").rstrip("\r\n")
    separator = "\t" if line.count("\t") > line.count(",") else ","
    fields = [column_key(field) for field in next(csv.reader([line], delimiter=separator), [])]
    places = [[k for k, field in enumerate(fields) if field in names] for names in (set.union(*ITEMS), _TITLE_NAMES)]
    if any(len(found) != 1 for found in places):
        raise ValueError(f"its columns are {', '.join(fields) or 'none'}")
    return separator, len(fields), places[0][0], places[1][0]
