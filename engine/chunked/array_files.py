"""Arrays in files as `numpy.save` writes them, of which a few rows are in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engine.chunked.errors import DamagedError


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
        try:
            mapped = np.load(path, mmap_mode="r")
        except (ValueError, EOFError) as error:
            raise DamagedError(f"{path}: not what it says it is ({error})") from None
        self.dtype, self.shape, self._begin = mapped.dtype, mapped.shape, mapped.offset

    def __getitem__(self, some: slice, /) -> NDArray[Any]:
        start, stop, _ = some.indices(self.shape[0])
        n, row = max(0, stop - start), math.prod(self.shape[1:])
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
