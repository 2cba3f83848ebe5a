"""Items as people name them on a command line: by an id, or by a title."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from engine.chunked.errors import UsageError
from engine.chunked.printable import printable
from engine.serving import ids
from engine.serving.recommender import Recommender

# Titles that are listed where several match.
_LISTED = 10
_YEAR = re.compile(r"\s*\(\d{4}\)$")
_LAST = re.compile(r", (the|an?)$")
_FIRST = re.compile(r"^(the|an?) ")


def items_named(recommender: Recommender, texts: Sequence[str]) -> tuple[list[Any], list[str]]:
    """Ids of items, and what was taken for each that was named by its title.

    An id is an id, though it may be in titles, too. What is neither stays as it is, for whoever tells of unknown ids.

    Raises
    ------
    UsageError
        Where a text is in the titles of several items and is none of them, with these; where there is no item at all.
    """
    known = ids.places(ids.as_ids(list(texts), "item"), recommender.items)[1].tolist()
    found, taken = [], []
    for text, is_id in zip(texts, known, strict=True):
        row = None if is_id else _titled(recommender, text)
        found.append(text if row is None else row["item"])
        if row is not None:
            taken.append(f"{text}: taken as {row['item']}, {row['title']}")
    if not taken and not any(known):
        why = f"; {recommender.no_titles}" if recommender.no_titles else ""
        named = ", ".join(map(printable, texts[:3])) + ", ..." * (len(texts) > 3)
        has = ids.describe(recommender.items, "item")
        raise ids.UnknownIdError(f"no item has this id or title: {named}: {has}{why}")
    return found, taken


def _titled(recommender: Recommender, text: str) -> dict[str, Any] | None:
    """The item that a title, or a part of one, is meant for; None where there is none."""
    wanted = _bare(text)
    if not wanted:
        return None
    titles = recommender.find_items(wanted, len(recommender.items)).filter(pl.col("title").is_not_null())
    rows = titles.to_dicts()
    ways: list[Callable[[str], bool]] = [
        lambda title: title.lower() == text.strip().lower(),
        lambda title: _bare(title) == wanted,
    ]
    if not text.strip().isdigit():  # an id that there is not is no part of a title
        ways.append(lambda title: True)
    for way in ways:
        if matches := [row for row in rows if way(row["title"])]:
            return _only(text, matches)
    return None


def _only(text: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if len(rows) > 1:
        listed = "; ".join(f"{printable(row['item'])} {printable(row['title'])}" for row in rows[:_LISTED])
        more = f"; and {len(rows) - _LISTED} more" if len(rows) > _LISTED else ""
        raise UsageError(f"{printable(text)}: {len(rows)} titles match, give the id of one: {listed}{more}")
    return rows[0]


def _bare(title: str) -> str:
    """A title in lower case, without its year, and without an article before or behind it.

    Examples
    --------
    >>> _bare("Matrix, The (1999)"), _bare("The Matrix"), _bare("Alien (1979)")
    ('matrix', 'matrix', 'alien')
    """
    return _FIRST.sub("", _LAST.sub("", _YEAR.sub("", title.strip().lower())))
