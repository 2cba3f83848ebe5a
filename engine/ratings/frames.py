"""Data frames and matrices as ratings: streamed into a Parquet file, a few rows at a time.

What is written depends on the content alone, not on who holds it: the same rows of Polars, pandas or PyArrow are the
same ratings, and find the results of an earlier run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.chunked.errors import UsageError
from engine.ratings.columns import checked, choose, in_python
from engine.ratings.matrices import sound

if TYPE_CHECKING:
    import pyarrow as pa

# Rows of a row group of the file, and of what is taken from a frame at once.
_ROWS = 1 << 17
_KINDS = "a path, a Polars, pandas or PyArrow table, a PyArrow dataset, or a SciPy sparse matrix"
_LABEL = "the data frame"


def is_frame(dataset: object) -> bool:
    """Whether it is no name or path, but data."""
    return dataset is not None and not isinstance(dataset, str)


def write_frame(dataset: Any, columns: Sequence[str] | None, target: Path, called: str = "dataset") -> str:
    """Write the columns of a frame that are read as Parquet; return its SHA-256.

    Parameters
    ----------
    dataset : Polars DataFrame or LazyFrame, pandas DataFrame, PyArrow Table, RecordBatchReader or Dataset, SciPy
            sparse matrix, or whatever else has the Arrow PyCapsule interface
        Of a matrix, rows are users and columns items; what is stored are the ratings.
    columns : sequence of str or None
        As `engine.ratings.opening.open_source` takes them.
    target : Path
        Where it is written.
    called : str
        What it is called in messages.

    Raises
    ------
    UsageError
        Where it is none of these, or its columns are not those of ratings.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        names, batches = _batches(dataset, columns, called)
        for table in _regrouped(_unified(batch, names) for batch in batches):
            if writer is None:
                writer = pq.ParquetWriter(target, table.schema, compression="zstd")
            writer.write_table(table.cast(writer.schema), row_group_size=_ROWS)
    except (pa.ArrowInvalid, pa.ArrowIndexError, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        told = ": ".join(map(str, error.args)).splitlines()[0]
        raise UsageError(f"{_LABEL} cannot be read ({told}): give columns of one type each, which Arrow has") from None
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise UsageError(f"{_LABEL} has no rows")
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _batches(dataset: Any, columns: Sequence[str] | None, called: str) -> tuple[list[str], Iterable[Any]]:
    """The names of the columns that are read, and the rows: record batches or tables."""
    import pyarrow as pa

    home = type(dataset).__module__.partition(".")[0]
    if home == "scipy" and hasattr(dataset, "tocoo"):
        if dataset.ndim != 2:
            raise UsageError(f"{called} has the shape {dataset.shape}: give a matrix of users and items")
        if dataset.dtype.kind not in "biuf":
            raise UsageError(f"{called} is a matrix of {dataset.dtype}: give one of real numbers")
        return ["user", "item", "rating"], _of_matrix(sound(dataset, called))
    if home == "polars" and hasattr(dataset, "collect_batches"):
        from polars.selectors import by_name  # what it is given are names, though they look like patterns

        names = _names(dataset.collect_schema().names(), columns)
        return names, (frame.to_arrow() for frame in dataset.select(by_name(*names)).collect_batches(chunk_size=_ROWS))
    if home == "pandas" and hasattr(dataset, "iloc") and hasattr(dataset, "columns"):
        if dataset.columns.nlevels > 1:
            raise UsageError(f"{_LABEL} has columns with names of several levels: give each one name, a text")
        named = dataset.rename(columns=str)
        names = _names(list(named.columns), columns)
        return names, _of_pandas(named[names])
    if home == "pyarrow" and hasattr(dataset, "scanner"):
        names = _names(dataset.schema.names, columns)
        return names, dataset.scanner(columns=names, batch_size=_ROWS).to_batches()
    if hasattr(dataset, "__arrow_c_array__") and not hasattr(dataset, "__arrow_c_stream__"):
        dataset = pa.table(pa.record_batch(dataset))
    if hasattr(dataset, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(dataset)
        return _names(reader.schema.names, columns), reader
    raise UsageError(f"{called} is a {type(dataset).__name__}: give {_KINDS}")


def _names(fields: Sequence[str], columns: Sequence[str] | None) -> list[str]:
    try:
        chosen, _ = choose(_LABEL, list(fields), checked(columns))
    except UsageError as error:
        raise UsageError(in_python(str(error))) from None
    return [name for name in chosen if name]


def _of_pandas(frame: Any) -> Iterator[Any]:
    import pyarrow as pa

    # Arrow has no numbers of the other order of bytes, as in files of other machines.
    swapped = {
        name: kind.newbyteorder("=") for name, kind in frame.dtypes.items() if getattr(kind, "isnative", True) is False
    }
    try:
        schema = pa.Schema.from_pandas(frame.drop(columns=list(swapped)) if swapped else frame, preserve_index=False)
    except TypeError as error:  # of sparse columns, say
        raise UsageError(f"{_LABEL} cannot be read ({error}): give columns of one type each, which Arrow has") from None
    for name, kind in swapped.items():
        schema = schema.append(pa.field(name, pa.from_numpy_dtype(kind)))
    for start in range(0, len(frame), _ROWS):
        rows = frame.iloc[start : start + _ROWS].astype(swapped)
        yield pa.Table.from_pandas(rows, schema=schema, preserve_index=False)


def _of_matrix(matrix: Any) -> Iterator[Any]:
    """Stored entries in the order in which they are stored, by row where that is not by row or column."""
    import numpy as np
    import pyarrow as pa

    for start in range(0, matrix.nnz, _ROWS):
        stop = min(start + _ROWS, matrix.nnz)
        if matrix.format == "coo":
            user, item = matrix.row[start:stop], matrix.col[start:stop]
        else:
            minor = matrix.indices[start:stop]
            major = np.searchsorted(matrix.indptr, np.arange(start, stop), side="right") - 1
            user, item = (major, minor) if matrix.format == "csr" else (minor, major)
        rating = np.asarray(matrix.data[start:stop], dtype=np.float64)
        yield pa.table({"user": user.astype(np.int64), "item": item.astype(np.int64), "rating": rating})


def _unified(rows: Any, names: Sequence[str]) -> pa.Table:
    """Rows with the columns that are read, in types that say the same whoever held them."""
    import pyarrow as pa

    table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
    table = table.select(names)
    table.validate(full=True)  # offsets may be anything in a table that somebody put together of buffers
    return pa.table({name: _decoded(table[name]).cast(_unified_type(table.schema.field(name).type)) for name in names})


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column without its dictionary, if it has one."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        return column
    kept = _unified_type(column.type)
    chunks = [chunk.dictionary.cast(kept).take(chunk.indices) for chunk in column.chunks]
    return pa.chunked_array(chunks, type=kept)


def _unified_type(type_: pa.DataType) -> pa.DataType:
    import pyarrow.types as pt
    from pyarrow import float64, int64, string, timestamp

    if pt.is_dictionary(type_):
        return _unified_type(type_.value_type)
    if pt.is_string(type_) or pt.is_large_string(type_) or pt.is_string_view(type_):
        return string()
    if pt.is_uint64(type_) or pt.is_null(type_):
        return type_
    if pt.is_integer(type_):
        return int64()
    if pt.is_floating(type_) or pt.is_decimal(type_):
        return float64()
    return timestamp("us", type_.tz) if pt.is_timestamp(type_) and type_.unit == "ns" else type_


def _regrouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of `_ROWS` rows, the last one smaller."""
    import pyarrow as pa

    held: list[pa.Table] = []
    n_held = 0
    for table in tables:
        while table.num_rows:
            piece = table.slice(0, _ROWS - n_held)
            table = table.slice(piece.num_rows)
            held.append(piece)
            n_held += piece.num_rows
            if n_held == _ROWS:
                yield pa.concat_tables(held).combine_chunks()
                held, n_held = [], 0
    if held:
        yield pa.concat_tables(held).combine_chunks()
