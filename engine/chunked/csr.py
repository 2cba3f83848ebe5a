"""A sparse matrix in Zarr: AnnData's ``csr_matrix`` layout, in the narrowest dtypes, written by chunks.

``indptr``, ``indices`` and ``data`` are flat arrays of one group. A chunk is a fixed number of stored
values, not of rows, so chunks never depend on how rows were grouped while writing. Values are stored as
multiples of ``value_step`` (an attribute), so that halves up to 127.5 fit one byte.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from engine.chunked import arrays
from engine.chunked.errors import damage_named
from engine.chunked.kept import KeptChunks
from engine.chunked.ranges import consecutive
from engine.chunked.storage import Place, locate
from engine.chunked.stored import LastChunk, Stored
from engine.chunked.task import Reads

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

INDICES = "indices"
DATA = "data"
INDPTR = "indptr"

# Values taken out of a chunk at once: their places take 8 bytes each.
_TAKEN = 2**16


def narrowest_index(n_columns: int) -> np.dtype[Any]:
    """The smallest unsigned dtype that holds every column number."""
    return np.min_scalar_type(max(0, n_columns - 1))


def create(
    scratch: Path,
    name: str,
    *,
    indptr: NDArray[np.int64],
    n_columns: int,
    value_dtype: str,
    value_step: float,
    chunk: int,
) -> None:
    """Create the group, its row pointers, and empty arrays for columns and values.

    Parameters
    ----------
    scratch, name
        The task's scratch folder, and the group's name.
    indptr : int64 array, shape (rows + 1,)
        Where each row starts in the flat arrays.
    n_columns : int
        Width of the matrix.
    value_dtype, value_step
        How values are stored: ``stored = value / value_step``, exactly.
    chunk : int
        Stored values in a chunk.
    """
    nnz = int(indptr[-1])
    attributes = {
        "encoding-type": "csr_matrix",
        "encoding-version": "0.1.0",
        "shape": [len(indptr) - 1, n_columns],
        "value_step": value_step,
    }
    arrays.create_group(scratch, name, attributes)
    group = zarr.open_group(str(scratch / name), mode="r+")
    group.create_array(INDPTR, data=indptr, chunks=(len(indptr),))
    for part, dtype, fill in ((INDICES, narrowest_index(n_columns), 0), (DATA, np.dtype(value_dtype), 0)):
        arrays.create_array(scratch, f"{name}/{part}", shape=(nnz,), chunks=(chunk,), dtype=dtype, fill=fill)


@dataclass(frozen=True)
class NarrowRows:
    """Rows of a matrix in their stored dtypes, wholly in memory.

    Attributes
    ----------
    indptr : int64 array, shape (rows + 1,)
    indices : unsigned array, shape (nnz,)
    data : array, shape (nnz,)
        Multiples of ``value_step``.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[Any]
    data: NDArray[Any]
    n_columns: int
    value_step: float

    def widen(self) -> csr_matrix:
        """The same rows as a float32 SciPy matrix with int32 indices."""
        return _csr(self.values(), self.indices.astype(np.int32), self.indptr, self.n_columns)

    def values(self) -> NDArray[np.float32]:
        """The values, widened; shape (nnz,)."""
        values = self.data.astype(np.float32)
        values *= np.float32(self.value_step)
        return values

    def part(self, start: int, stop: int) -> NarrowRows:
        """Rows ``start`` to ``stop``, sharing memory."""
        first, last = int(self.indptr[start]), int(self.indptr[stop])
        pointers = self.indptr[start : stop + 1] - first
        return NarrowRows(pointers, self.indices[first:last], self.data[first:last], self.n_columns, self.value_step)

    def columns(self, some: slice, there: NDArray[np.bool_]) -> NarrowRows:
        """Some consecutive columns, numbered from 0; ``there`` says which values are of these, shape (nnz,)."""
        before = np.concatenate([[0], np.cumsum(there)])
        indices = self.indices[there] - self.indices.dtype.type(some.start)
        return NarrowRows(before[self.indptr], indices, self.data[there], some.stop - some.start, self.value_step)

    def take(self, rows: NDArray[np.integer[Any]]) -> NarrowRows:
        """Some rows, in the order given."""
        starts = self.indptr[rows]
        lengths = self.indptr[rows + 1] - starts
        places = consecutive(starts, lengths)
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return NarrowRows(indptr, self.indices[places], self.data[places], self.n_columns, self.value_step)


def _csr(data: NDArray[Any], indices: NDArray[Any], indptr: NDArray[np.int64], n_columns: int) -> csr_matrix:
    from scipy.sparse import csr_matrix  # not loaded by who only writes matrices

    narrow = indptr.astype(np.int32)  # int64 pointers would make scipy widen the indices too
    return csr_matrix((data, indices, narrow), shape=(len(indptr) - 1, n_columns), copy=False)


def _chunks_of(starts: NDArray[np.int64], stops: NDArray[np.int64], size: int) -> list[int]:
    """Numbers of the chunks of ``size`` values that some stretches of values reach into, ascending."""
    some = stops > starts
    firsts, lasts = starts[some] // size, (stops[some] - 1) // size
    found: list[int] = np.unique(consecutive(firsts, lasts - firsts + 1)).tolist()
    return found


def _cut(indptr: NDArray[np.int64], first: int) -> Iterator[slice]:
    """Cut consecutive rows from ``first`` on into pieces of about `_TAKEN` values; a row is not cut."""
    start = 0
    while start < len(indptr) - 1:
        stop = int(np.searchsorted(indptr, indptr[start] + _TAKEN, side="right")) - 1
        stop = max(start + 1, stop)
        yield slice(first + start, first + stop)
        start = stop


def _committed(parts: Sequence[arrays.Rows], room: int = 0) -> KeptChunks:
    return KeptChunks([part for part in parts if isinstance(part, Stored)], room)


class CsrReader:
    """A committed matrix. Holds the row pointers (8 bytes a row) in memory.

    Parameters
    ----------
    root : Path or Remote
        The stage's folder.
    name : str
        The group's name.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    indptr : int64 array, shape (rows + 1,)

    Raises
    ------
    DamagedError
        Where its parts are not there as its metadata say.
    """

    def __init__(self, root: Place, name: str) -> None:
        place = locate(root) / name
        with damage_named(place):
            group = zarr.open_group(place.zarr_store(), mode="r", zarr_format=3)
            attributes: dict[str, Any] = dict(group.attrs)
            rows, columns = attributes["shape"]
            self.shape = (int(rows), int(columns))
            self.value_step = float(attributes["value_step"])
        pointers = arrays.open_array(root, f"{name}/{INDPTR}")
        with damage_named(place):
            if pointers.shape != (int(rows) + 1,) or pointers.dtype != np.dtype(np.int64):
                raise ValueError("its parts do not fit together")
        self.indptr: NDArray[np.int64] = arrays.read_rows(pointers, 0, pointers.shape[0])
        # Together, since others may read while they are held or unpacked.
        self._parts: tuple[arrays.Rows, arrays.Rows] = (
            arrays.open_array(root, f"{name}/{INDICES}", whole=True),
            arrays.open_array(root, f"{name}/{DATA}", whole=True),
        )
        self._held: NarrowRows | None = None
        with damage_named(place):
            self._check()

    def _check(self) -> None:
        """See that the parts are of one matrix."""
        rows, columns = self.shape
        ends = (self.nnz,)
        indices, data = self._parts
        if (len(self.indptr) - 1, indices.shape, data.shape) != (rows, ends, ends):
            raise ValueError("its parts do not fit together")
        if indices.dtype != narrowest_index(columns):
            raise ValueError(f"{columns} columns, numbered in {indices.dtype}")

    @property
    def nnz(self) -> int:
        """Number of stored values."""
        return int(self.indptr[-1])

    @property
    def dtypes(self) -> tuple[np.dtype[Any], np.dtype[Any]]:
        """Of columns and values, as they are stored."""
        indices, data = self._parts
        return indices.dtype, data.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of columns and values, as `hold` holds them."""
        return sum(int(part.nbytes) for part in self._parts)

    def hold(self) -> None:
        """Keep columns and values in memory from now on."""
        indices, data = (arrays.hold(part) for part in self._parts)
        self._held = NarrowRows(self.indptr, indices, data, self.shape[1], self.value_step)  # before its parts
        self._parts = indices, data

    def unpack(self) -> None:
        """Read columns and values, where they are not held, of files that few rows are read of quickly."""
        indices, data = self._parts
        self._parts = arrays.unpack(indices), arrays.unpack(data)

    def chunks(self, room: int = 0) -> KeptChunks:
        """Its chunks of columns and values, for `read_some`, which are kept as far as so many bytes have room."""
        return _committed(self._parts, room)

    @property
    def held(self) -> NarrowRows | None:
        """All rows, where they are kept in memory."""
        return self._held

    def read(self, start: int, stop: int) -> NarrowRows:
        """Rows ``start`` to ``stop`` in their stored dtypes."""
        return self._read(start, stop, (LastChunk(), LastChunk()))

    def read_stretches(self, stretches: Iterable[tuple[int, int]]) -> Iterator[NarrowRows]:
        """The same of stretches of rows, one after the other; a chunk that two of them share is unpacked once."""
        last = LastChunk(), LastChunk()
        for start, stop in stretches:
            yield self._read(start, stop, last)

    def _read(self, start: int, stop: int, last: Sequence[LastChunk]) -> NarrowRows:
        first, end = int(self.indptr[start]), int(self.indptr[stop])
        indices, data = (arrays.read_rows(part, first, end, each) for part, each in zip(self._parts, last, strict=True))
        return NarrowRows(self.indptr[start : stop + 1] - first, indices, data, self.shape[1], self.value_step)

    def read_some(
        self, rows: NDArray[np.integer[Any]], chunks: KeptChunks | None = None, reads: Reads | None = None
    ) -> NarrowRows:
        """Some rows in their stored dtypes, distinct and ascending; only chunks that have some of them are read.

        Parameters
        ----------
        rows : integer array
        chunks : KeptChunks, optional
            What `chunks` has made.
        reads : Reads, optional
            Where bytes that are read, and those found there, are added up.
        """
        rows, parts = np.asarray(rows), self._parts  # the parts first: where they are held, `held` is there
        if self._held is not None:
            return self._held.take(rows)
        starts, stops = self.indptr[rows], self.indptr[rows + 1]
        indptr = np.concatenate([[0], np.cumsum(stops - starts)])
        unpacked = [part.take(starts, stops) for part in parts if isinstance(part, arrays.Unpacked)]
        if unpacked:
            indices, data = unpacked
            return NarrowRows(indptr, indices, data, self.shape[1], self.value_step)
        chunks, reads = chunks or _committed(parts), reads or Reads()
        taken = [np.empty(indptr[-1], dtype=part.dtype) for part in parts]
        for number in chunks.in_turn(_chunks_of(starts, stops, chunks.size)):
            begin, end = number * chunks.size, (number + 1) * chunks.size
            first, last = int(np.searchsorted(stops, begin, side="right")), int(np.searchsorted(starts, end))
            chunk = chunks.read(number, reads)
            for some in _cut(indptr[first : last + 1], first):
                lows, highs = np.maximum(starts[some], begin), np.minimum(stops[some], end)
                places = consecutive(lows - begin, highs - lows)
                to = int(indptr[some.start] + lows[0] - starts[some.start])
                for part, into in zip(chunk, taken, strict=True):
                    into[to : to + len(places)] = part[places]
        return NarrowRows(indptr, taken[0], taken[1], self.shape[1], self.value_step)

    def read_values(self, at_once: int) -> Iterator[NDArray[np.float32]]:
        """Go through the stored values, widened; ``at_once`` of them at a time."""
        for start in range(0, self.nnz, at_once):
            some = arrays.read_rows(self._parts[1], start, min(start + at_once, self.nnz)).astype(np.float32)
            some *= np.float32(self.value_step)
            yield some

    def count_columns(self, at_once: int) -> NDArray[np.int64]:
        """Stored values of each column, shape (columns,); ``at_once`` of them are read at a time."""
        counts = np.zeros(self.shape[1], dtype=np.int64)
        for start in range(0, self.nnz, at_once):
            some = arrays.read_rows(self._parts[0], start, min(start + at_once, self.nnz))
            counts += np.bincount(some, minlength=self.shape[1])
        return counts

    def split_rows(self, parts: int, of_row: int = 0) -> list[tuple[int, int]]:
        """Cut the rows into ``parts`` ranges of about the same work each: stored values, and ``of_row`` a row."""

        def work(rows: int) -> int:
            return int(self.indptr[rows]) + of_row * rows

        each = work(self.shape[0]) / parts
        cuts = [bisect.bisect_left(range(self.shape[0] + 1), part * each, key=work) for part in range(1, parts)]
        edges = [0, *cuts, self.shape[0]]
        return list(itertools.pairwise(edges))
