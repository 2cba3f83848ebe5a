"""What the footer and the first rows of a Parquet file say: columns, types, sizes. Loads Polars and pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import polars as pl
import pyarrow.compute
import pyarrow.parquet

from engine.chunked.errors import UsageError, is_short
from engine.chunked.storage import Location
from engine.ratings import sense
from engine.ratings.columns import choose
from engine.ratings.scan import scan_raw, tame
from engine.ratings.source import MOST_ID, IdType, Names, NoRatingsError, RatingsFile, TimeType, TimeUnit
from engine.ratings.times import settle, unit_of

_HEAD_ROWS = 1000
# Bytes of a column chunk that are no values: the least and the greatest value, which pages name, may be as long as ids.
_HEADERS = 3 * MOST_ID
# Row groups up to so many rows do not matter.
_ROW_GROUP = 1 << 18
# Of a decimal number, in Polars.
_MOST_DIGITS = 38


def open_parquet(path: Location, columns: Sequence[str] | None, times: bool) -> tuple[RatingsFile, list[str]]:
    """Settle how a Parquet file is read; with what should be noted.

    Raises
    ------
    UsageError
        For all that is visibly wrong.
    """
    file = RatingsFile(path, format="parquet", skip=0)
    with _damage_told(path):
        return _opened(file, columns, times)


def _opened(file: RatingsFile, columns: Sequence[str] | None, times: bool) -> tuple[RatingsFile, list[str]]:
    schema, metadata = _footer(file)
    names, values = choose(file.called, list(schema), columns)
    if metadata.num_rows == 0:
        raise NoRatingsError(f"{file.called} has columns and no ratings")
    user_type, item_type = _id_types(file.called, schema, metadata, names)
    file = replace(
        file,
        fields=tuple(schema),
        columns=names,
        values=values,
        user_type=user_type,
        item_type=item_type,
        group_rows=max(group.num_rows for group in _groups(metadata)),
    )
    head = (
        scan_raw(file)
        .select(pl.col(tame(each.name)).alias(each.kind) for each in file.layout)
        .head(_HEAD_ROWS)
        .collect()
    )
    file, notes = _with_times(file, head, times)
    row_bytes = max(_row_bytes(file, head), 24 + _text_bytes(file, metadata))
    file = replace(file, row_bytes=row_bytes, group_text_bytes=_group_text_bytes(file, schema, metadata, row_bytes))
    ratings = head["rating"].cast(pl.Float64).drop_nulls().to_list() if names[2] else []
    return file, [*notes, *sense.refuse_nonsense(file, ratings), *_row_group_notes(file)]


@contextmanager
def _damage_told(path: Location) -> Iterator[None]:
    """Tell what a library says of a file that it cannot read as damage: the footer may be sound, and a page not."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as exc:
        if is_short(exc):
            raise
        told = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        raise UsageError(f"{path} cannot be read as Parquet ({told}): it is cut or damaged, write it again") from exc


def _footer(file: RatingsFile) -> tuple[dict[str, pl.DataType], Any]:
    """Return the columns with their types as Polars reads them, and pyarrow's metadata."""
    try:
        return pl.read_parquet_schema(file.local), pyarrow.parquet.read_metadata(file.local)
    except pl.exceptions.DuplicateError as exc:
        raise UsageError(f"{file.path} has columns of the same name ({exc}): rename one, and write it again") from exc


def _id_types(called: str, schema: Mapping[str, pl.DataType], metadata: Any, names: Names) -> tuple[IdType, IdType]:
    """Return how ids of users and of items are read; refuse types that are neither ids nor ratings."""
    user, item, rating, _ = names
    for used in filter(None, names):
        kind = schema[used]
        if isinstance(kind, pl.Decimal) and (kind.precision or 0) > _MOST_DIGITS:
            told = f"decimals of {kind.precision} digits, of which {_MOST_DIGITS} are read: cast it, such as to double"
            raise UsageError(f"{called}, column {used} has {told}")
    types: list[IdType] = ["int64" if schema[name].is_integer() else "string" for name in (user, item)]
    large = [name for name in (user, item) if schema[name] == pl.UInt64 and _most(metadata, name) >= 2**63]
    for name, numeric in ((user, types[0] == "int64"), (item, types[1] == "int64"), (rating, True)):
        if name is not None and not (
            schema[name].is_numeric() if numeric else schema[name] in (pl.String, pl.Categorical, pl.Enum)
        ):
            wanted = "numbers" if name == rating else "whole numbers or text"
            otherwise = f"; {sense.instead(names)}" if name == rating and schema[name].is_temporal() else ""
            told = f"{called}, column {name} has type {schema[name]} where {wanted} are needed: cast it{otherwise}"
            raise UsageError(told)
    return "string" if user in large else types[0], "string" if item in large else types[1]


def _most(metadata: Any, name: str) -> int:
    """The greatest number of a column, by the footer; 0 where that does not say."""
    columns = [group.column(k) for group in _groups(metadata) for k in range(group.num_columns)]
    own = [column.statistics for column in columns if column.path_in_schema == name]
    return max((each.max for each in own if each is not None and each.has_min_max), default=0)


def _groups(metadata: Any) -> list[Any]:
    return [metadata.row_group(k) for k in range(metadata.num_row_groups)]


def _with_times(file: RatingsFile, head: pl.DataFrame, times: bool) -> tuple[RatingsFile, list[str]]:
    """Settle how timestamps are read; without them where they are none, or texts not needed."""
    column = file.column("timestamp")
    if column is None:
        return file, []
    dtype = head.schema[column.kind]
    settled = _time_type(head[column.kind].drop_nulls())
    if settled is None and times:
        raise UsageError(
            f"{file.called}, column {column.name} has type {dtype} where times are needed (numbers, dates and times, "
            "or ISO text): cast it"
        )
    if settled is None or (settled[0] == "text" and not times):
        notes = [] if settled else [f"column {column.name} is ignored: its type is {dtype}"]
        return replace(file, columns=(*file.columns[:3], None)), notes
    return replace(file, time_type=settled[0], time_unit=settled[1]), []


def _time_type(times: pl.Series) -> tuple[TimeType, TimeUnit] | None:
    if isinstance(times.dtype, pl.Datetime):
        return "date", times.dtype.time_unit
    if times.dtype == pl.Date:
        return "date", "s"
    if times.dtype.is_integer():
        return "int64", unit_of(times.to_list())
    if times.dtype.is_float():
        return "float64", unit_of(times.to_list())
    return settle(times.to_list()) if times.dtype == pl.String else None


def _row_bytes(file: RatingsFile, head: pl.DataFrame) -> int:
    """Return the mean size of a row: three numbers, and ids that are text."""
    texts = [head[column.kind] for column in file.layout if column.type == "string"]
    return 24 + sum(int(text.cast(pl.String).str.len_bytes().sum()) // len(text) for text in texts)


def _text_bytes(file: RatingsFile, metadata: Any) -> int:
    """The mean size of a row's ids that are text, in the row group where they are longest.

    By the footer, and by the dictionary where a column chunk has one: its values are stored once each, however many
    rows have them, so the footer's sizes hide how long they are.

    Raises
    ------
    UsageError
        Where an id is longer than any may be.
    """
    texts, longest = [column.name for column in file.layout if column.type == "string"], 0
    if not texts:
        return 0
    with pyarrow.parquet.ParquetFile(file.local, read_dictionary=texts) as opened:
        for number, group in enumerate(_groups(metadata)):
            columns = [group.column(k) for k in range(group.num_columns)]
            means = []
            for column in (each for each in columns if each.path_in_schema in texts):
                mean = max(0, column.total_uncompressed_size - _HEADERS) // max(1, group.num_rows)
                lengths = _entry_bytes(opened, number, column.path_in_schema) if column.has_dictionary_page else [mean]
                if max(mean, *lengths) > MOST_ID:
                    raise UsageError(
                        f"{file.called}, column {column.path_in_schema}, row group {number} has ids of "
                        f"{max(mean, *lengths)} bytes, {MOST_ID} are allowed: give shorter ones"
                    )
                means.append(max(mean, sum(lengths) // len(lengths)))
            longest = max(longest, sum(means))
    return longest


def _group_text_bytes(file: RatingsFile, schema: Mapping[str, pl.DataType], metadata: Any, row_bytes: int) -> int:
    """What is held of a row group's texts: pages with each value once, where those of rows are, and what is cast."""
    texts = [column.name for column in file.layout if column.type == "string"]
    cast = any(schema[name] != pl.String for name in texts)
    most = 0
    for group in _groups(metadata):
        columns = [group.column(k) for k in range(group.num_columns)]
        pages = sum(each.total_uncompressed_size for each in columns if each.path_in_schema in texts)
        most = max(most, pages + group.num_rows * (8 * len(texts) + cast * row_bytes))
    return most


def _entry_bytes(opened: Any, group: int, name: str) -> Sequence[int]:
    """How long the entries of a column chunk's dictionary are, in bytes; reading a row of it reads them."""
    rows = next(opened.iter_batches(1, row_groups=[group], columns=[name]), None)
    if rows is None or not isinstance(rows.column(0), pyarrow.DictionaryArray):
        return [0]
    found: list[int] = pyarrow.compute.binary_length(rows.column(0).dictionary).to_pylist()
    return found or [0]


def _row_group_notes(file: RatingsFile) -> list[str]:
    if file.group_rows <= _ROW_GROUP:
        return []
    mib = file.group_bytes >> 20
    return [f"row groups of {file.group_rows} rows take about {mib} MiB to read: smaller ones would take less"]
