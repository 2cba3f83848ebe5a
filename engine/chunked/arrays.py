"""Zarr arrays whose chunks are written by different tasks.

One task creates an array (and owns its ``zarr.json``); others fill it, each whole chunks of its own.
"""

from __future__ import annotations

import errno
import math
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray

from engine.chunked.storage import Place, locate
from engine.chunked.stored import LastChunk, Stored

# By default zarr leaves out chunks that hold only the fill value: a hole would look like data.
_CONFIG: dict[str, Any] = {"write_empty_chunks": True}
_METADATA = "zarr.json"
# Bytes of a file that are read at once: less than what allocators ask the system for anew each time.
_AT_ONCE = 2**19


def create_group(scratch: Path, name: str, attributes: Mapping[str, Any]) -> None:
    """Create an empty Zarr group with attributes, as part of a task's output."""
    zarr.create_group(str(scratch / name), attributes=dict(attributes))


def create_array(
    scratch: Path, name: str, *, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: DTypeLike, fill: float
) -> None:
    """Create an empty Zarr array as part of a task's output.

    Parameters
    ----------
    scratch : Path
        The task's scratch folder.
    name : str
        The array's name relative to the stage's folder.
    shape, chunks, dtype, fill
        As in Zarr. Choose a fill value that cannot be data, so that a hole is visible.
    """
    chunks = tuple(max(1, min(c, n)) for c, n in zip(chunks, shape, strict=True))
    zarr.create_array(str(scratch / name), shape=shape, chunks=chunks, dtype=np.dtype(dtype), fill_value=fill)


def write_rows(root: Place, scratch: Path, name: str, start: int, values: NDArray[Any]) -> None:
    """Write rows ``start`` to ``start + len(values)`` of a committed array; they must be whole chunks.

    The chunks land in the scratch folder and are committed with the task.

    Raises
    ------
    ValueError
        Where the rows are not whole chunks: two tasks would then share one.
    """
    target = scratch / name
    target.mkdir(parents=True, exist_ok=True)
    (target / _METADATA).write_bytes((locate(root) / name / _METADATA).read_bytes())
    array = writable_array(scratch, name)
    stop = start + len(values)
    if start % array.chunks[0] or (stop % array.chunks[0] and stop != array.shape[0]):
        raise ValueError(f"rows {start} to {stop} of {name} are not whole chunks of {array.chunks[0]} rows")
    array[start:stop] = values
    (target / _METADATA).unlink()


def writable_array(scratch: Path, name: str) -> zarr.Array[Any]:
    """Open an array in a task's scratch folder, to write all chunks of it, whatever they hold."""
    array: zarr.Array[Any] = zarr.open_array(str(scratch / name), mode="r+", zarr_format=3)
    configured: zarr.Array[Any] = array.with_config(_CONFIG)  # type: ignore[call-overload]
    return configured


def open_array(root: Place, name: str, *, whole: bool = False) -> Stored:
    """Open a committed array, to read it; see `Stored`."""
    return Stored(locate(root) / name, whole=whole)


class Unpacked:
    """Rows of an array in a file without a name, uncompressed, so that a few are read without the rest of their chunk.

    The kernel keeps in memory what it has room for; none of it counts as this process's. The file goes with the object.

    Parameters
    ----------
    array : Rows
    dtype : dtype, optional
    become : Callable, optional
        What some of its rows become: as many, of the same shape and of ``dtype``. By default they stay what they are.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    nbytes : int
        Of the rows as they have become.
    chunks : tuple of int
        Rows that are best read at once, and the rest of the shape.

    Raises
    ------
    OSError
        Where the folder of temporary files (``TMPDIR``) has no room.
    """

    def __init__(
        self,
        array: Rows,
        dtype: DTypeLike | None = None,
        become: Callable[[NDArray[Any]], NDArray[Any]] = np.ascontiguousarray,
    ) -> None:
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = array.dtype if dtype is None else np.dtype(dtype)
        self._row = math.prod(self.shape[1:]) * self.dtype.itemsize
        self.nbytes = self.shape[0] * self._row
        self.chunks = (max(1, _AT_ONCE // max(1, self._row)), *self.shape[1:])
        # Without a buffer, which would be filled anew for each row. Closed when the last who may read it is gone.
        self._file: Any = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        at_once = array.shape[0] if isinstance(array, np.ndarray) else array.chunks[0]
        for start in range(0, self.shape[0], max(1, at_once)):
            rows = become(read_rows(array, start, min(start + at_once, self.shape[0])))
            if self._file.write(rows.data) != rows.nbytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), tempfile.gettempdir())

    def take(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[Any]:
        """Rows of some ranges, one range after the other."""
        found = np.empty((int((stops - starts).sum()), *self.shape[1:]), dtype=self.dtype)
        into, at = memoryview(found.reshape(-1).view(np.uint8).data), 0
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            end = at + (stop - start) * self._row
            self._read(start * self._row, into[at:end])
            at = end
        return found

    def _read(self, begin: int, into: memoryview) -> None:
        with self._lock:  # not every system reads at a place without moving there
            self._file.seek(begin)
            n_read = self._file.readinto(into)
        if n_read != len(into):
            raise OSError(f"a temporary file in {tempfile.gettempdir()} has been cut short")


Rows = Stored | Unpacked | NDArray[Any]
"""What rows are read of: a committed array, or what it holds, in memory or unpacked."""


def hold(array: Rows) -> NDArray[Any]:
    """What an array holds, in memory."""
    return array if isinstance(array, np.ndarray) else read_rows(array, 0, array.shape[0])


def unpack(array: Rows) -> Rows:
    """The same rows, in a file that few of them are read of quickly; what is in memory stays there."""
    return Unpacked(array) if isinstance(array, Stored) else array


def read_rows(array: Rows, start: int, stop: int, last: LastChunk | None = None) -> NDArray[Any]:
    """Rows ``start`` to ``stop`` of an array, in memory; see `Stored.read`."""
    if isinstance(array, np.ndarray):
        return array[start:stop]
    if isinstance(array, Unpacked):
        return array.take(np.array([start]), np.array([stop]))
    return array.read(start, stop, last)


def take_rows(array: Rows, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Rows of the given ascending numbers, in memory; of a committed array, one chunk of rows is read at a time."""
    if isinstance(array, np.ndarray):
        return array[rows]
    if isinstance(array, Unpacked):
        return array.take(rows, rows + 1)
    taken = np.empty((len(rows), *array.shape[1:]), dtype=array.dtype)
    chunk = array.chunks[0]
    for start in np.unique(rows // chunk).tolist():
        first, last = np.searchsorted(rows, [start * chunk, (start + 1) * chunk])
        stop = min((start + 1) * chunk, array.shape[0])
        taken[first:last] = read_rows(array, start * chunk, stop)[rows[first:last] - start * chunk]
    return taken
