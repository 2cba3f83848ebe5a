"""Zarr arrays whose chunks are written by different tasks.

One task creates an array (and owns its ``zarr.json``); others fill it, each whole chunks of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray

from engine.chunked.storage import Place, locate

# By default zarr leaves out chunks that hold only the fill value: a hole would look like data.
_CONFIG: dict[str, Any] = {"write_empty_chunks": True}
_METADATA = "zarr.json"


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
    array = open_array(scratch, name, mode="r+")
    stop = start + len(values)
    if start % array.chunks[0] or (stop % array.chunks[0] and stop != array.shape[0]):
        raise ValueError(f"rows {start} to {stop} of {name} are not whole chunks of {array.chunks[0]} rows")
    array[start:stop] = values
    (target / _METADATA).unlink()


def open_array(root: Place, name: str, mode: Any = "r") -> zarr.Array[Any]:
    """Open a committed array."""
    array: zarr.Array[Any] = zarr.open_array((locate(root) / name).zarr_store(), mode=mode, zarr_format=3)
    configured: zarr.Array[Any] = array.with_config(_CONFIG)  # type: ignore[call-overload]
    return configured


def read_rows(array: zarr.Array[Any], start: int, stop: int) -> NDArray[Any]:
    """Rows ``start`` to ``stop`` of an array, in memory."""
    return np.asarray(array[start:stop])


def take_rows(array: zarr.Array[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Rows of the given ascending numbers, in memory; reads one chunk of rows at a time."""
    taken = np.empty((len(rows), *array.shape[1:]), dtype=array.dtype)
    chunk = array.chunks[0]
    for start in range(0, array.shape[0], chunk):
        first, last = np.searchsorted(rows, [start, start + chunk])
        if first < last:
            taken[first:last] = read_rows(array, start, min(start + chunk, array.shape[0]))[rows[first:last] - start]
    return taken
