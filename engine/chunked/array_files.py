"""Arrays in files as `numpy.save` and `numpy.savez` write them: read whole, or a few rows at a time.

No more memory is taken than the file has bytes, whatever it says of itself.
"""

from __future__ import annotations

import math
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engine.chunked.errors import damage_named

# What an array is stands in a file as a Python literal. Some versions of CPython count the depth of what they parse for
# all threads together, and fail where two parse at the same time.
_PARSING = threading.Lock()
# Bytes of a row of an array that has no rows, at most.
_LARGE_ROW = 2**24


def load_array(path: Path, mmap_mode: Literal["r"] | None = None) -> NDArray[Any]:
    """Read an array that `numpy.save` has written, or map it.

    Raises
    ------
    DamagedError
        Where the file is none of these, or has not as many numbers as it says.
    """
    with damage_named(path):
        if mmap_mode is not None:
            with _PARSING:
                mapped: NDArray[Any] = np.lib.format.open_memmap(path, mode=mmap_mode)  # which looks at the size alone
            return mapped
        with path.open("rb", buffering=0) as file:
            with _PARSING:
                shape, dtype, order = _announced(file)
            found: NDArray[Any] = np.fromfile(file, dtype=dtype, count=math.prod(shape))
        return found.reshape(shape, order=order)


def _announced(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], Literal["C", "F"]]:
    """Read what a file says of its array, and see that it has so many numbers; where these begin it is left.

    Raises
    ------
    ValueError
        Where it has not, or is no such file.
    """
    shape, by_column, dtype = _header(file)
    size, needed = os.fstat(file.fileno()).st_size, file.tell() + math.prod(shape) * dtype.itemsize
    row = math.prod(shape[1:]) * dtype.itemsize  # of which there may be none: then nothing else says how large it is
    if dtype.hasobject or min(shape, default=0) < 0 or size < needed or row > max(size, _LARGE_ROW):
        raise ValueError(f"{dtype} of shape {shape}, in {size} bytes")
    return shape, dtype, "F" if by_column else "C"


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays that `numpy.savez` has written, by name.

    Raises
    ------
    DamagedError
        Where the file is none of these, or an array has not as many numbers as it says, or is compressed.
    """
    with damage_named(path):
        try:
            with _PARSING, zipfile.ZipFile(path) as members:
                if sum(member.file_size for member in members.infolist()) > path.stat().st_size:
                    raise ValueError("arrays are compressed")
                for member in members.infolist():
                    _refuse_promise(members, member)
        except zipfile.BadZipFile as error:
            raise ValueError(str(error)) from error
        with _PARSING, np.load(path) as found:
            return dict(found)


def _refuse_promise(members: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """See that an array takes no more memory than it takes of the file."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    with members.open(member) as file:
        shape, _, dtype = _header(file)
    if math.prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(f"shape {shape} of {member.filename}, in {member.file_size} bytes")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns lie together, and type of numbers."""
    if (version := np.lib.format.read_magic(file)) != (1, 0):
        raise ValueError(f"format {version}")
    return np.lib.format.read_array_header_1_0(file)


class ArrayFile:
    """An array in a file that `numpy.save` has written: some of its rows are read when they are asked for.

    What has been read of a file that is mapped would count as held for as long as it is mapped.

    Parameters
    ----------
    path : Path

    Raises
    ------
    DamagedError
        Where the file is none of these.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with damage_named(path), path.open("rb", buffering=0) as file:
            with _PARSING:
                self.shape, self.dtype, order = _announced(file)
            if not self.shape or (order == "F" and len(self.shape) > 1):
                raise ValueError("no rows, or columns that lie together")
            self._begin = file.tell()

    def __getitem__(self, some: slice, /) -> NDArray[Any]:
        start, stop, _ = some.indices(self.shape[0])
        n, row = max(0, stop - start), math.prod(self.shape[1:])
        with damage_named(self._path):
            read = np.fromfile(self._path, self.dtype, n * row, offset=self._begin + start * row * self.dtype.itemsize)
            return read.reshape(n, *self.shape[1:])


@contextmanager
def array_file(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Write an array as `numpy.save` does, some rows after the others, so that not all are in memory.

    Parameters
    ----------
    path : Path
    dtype, shape
        Of the whole array.

    Yields
    ------
    callable
        Writes the next rows.

    Raises
    ------
    ValueError
        Where other rows were written than the shape says.
    """
    dtype, row, written = np.dtype(dtype), math.prod(shape[1:]), 0
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)

        def write(rows: NDArray[Any]) -> None:
            nonlocal written
            np.ascontiguousarray(rows, dtype=dtype).tofile(file)
            written += rows.size

        yield write
    if written != row * shape[0]:
        raise ValueError(f"{path}: {written} numbers were written of an array of shape {shape}")
