"""One person's ratings, or the items they took, in a file of their own."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

from engine.chunked.errors import UsageError
from engine.chunked.storage import Location, Place, locate
from engine.ratings.columns import COUNTS, ITEMS, RATINGS, find, unclear
from engine.ratings.faults import OR_TEXT, THE_FIRST, as_number, locate_fault
from engine.ratings.records import NUMBER, read_records
from engine.ratings.source import BLANKS, RatingsFile, Source, Values
from engine.ratings.text_head import compression_of, decimal_of, read_head, read_magic

# The columns, as they are called in messages.
_ITEM_AND_RATING = "movieId,rating"


def read_person(where: Place, usual: Source) -> tuple[list[Any], list[float]]:
    """Read one person's ratings: a text file with a column of items and one of ratings; others are ignored.

    Where the run's file has no ratings, or counts, items alone are enough: each counts 1.

    Parameters
    ----------
    where
        CSV, TSV or ``::``-separated, with a header; plain, gzip or zstd.
    usual
        The ratings file that the items are of. Its names are looked for first, then the usual ones.

    Returns
    -------
    list of int or str, list of float
        Items and ratings, in the order of the file.

    Raises
    ------
    UsageError
        For all that is wrong, with line and column, and what to do about it.
    """
    path = locate(where)
    file = _open_person(path, usual.first)
    if fault := locate_fault(file):
        problem = fault.problem.replace(THE_FIRST, "those of the run").removesuffix(OR_TEXT)
        raise UsageError(str(replace(fault, problem=problem)))
    item, *rating = file.layout
    as_id = int if item.type == "int64" else str
    rows = [row.fields for row in islice(read_records(file), file.skip, None) if any(row.fields)]
    ratings = [as_number(file, row[rating[0].place]) or 0.0 if rating else 1.0 for row in rows]
    rated = zip(rows, ratings, strict=True)
    taken = [(row, value) for row, value in rated if value or file.values == "ratings"]  # a count of 0 says: not taken
    return [as_id(row[item.place].strip(BLANKS)) for row, _ in taken], [value for _, value in taken]


def _open_person(path: Location, usual: RatingsFile) -> RatingsFile:
    """Say what the file is, from its head: its item ids are of the type of the run's."""
    if not path.is_file():
        raise UsageError(f"{path} does not exist or is no file: give a file with the columns {_ITEM_AND_RATING}")
    magic = read_magic(path)
    if magic == b"PAR1":
        raise UsageError(f"{path} is Parquet: give a person's ratings as text, with the columns {_ITEM_AND_RATING}")
    file, rows, _ = read_head(RatingsFile(path, compression=compression_of(magic)))
    fields = [field.strip() for field in rows[file.skip - 1].fields[:: len(file.separator)]]
    item, rating = _item_and_rating(path, fields, usual)
    if not any(row.problem or any(row.fields) for row in rows[file.skip :]):
        raise UsageError(f"{path} has a header and no ratings: below it, write a line for each item")
    values: Values = "pairs" if rating is None else "ratings" if usual.values == "pairs" else usual.values
    columns = ("", item, rating, None)
    file = replace(file, fields=tuple(fields), columns=columns, values=values, item_type=usual.item_type)
    return replace(file, decimal=decimal_of(file, rows[file.skip :]))


def _item_and_rating(path: Location, fields: list[str], usual: RatingsFile) -> tuple[str, str | None]:
    """Find the names of the two columns: those of the run's own file, or else the usual ones."""
    if len(fields) > 1 and all(NUMBER.fullmatch(field) for field in fields[:2]):
        raise UsageError(f"{path}, line 1 holds a rating, not column names: put {_ITEM_AND_RATING} above it")
    if {*usual.columns[1:3]} <= set(fields):
        return usual.columns[1:3]
    remedy = f"call them {_ITEM_AND_RATING}"
    item = usual.columns[1] if usual.columns[1] in fields else find(path, fields, ITEMS, remedy)
    rating = find(path, fields, COUNTS if usual.values == "counts" else RATINGS, remedy)
    if item is None or (rating is None and usual.values == "ratings"):
        raise unclear(path, fields, remedy)
    return item, rating
