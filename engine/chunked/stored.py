"""Committed Zarr arrays, read chunk by chunk: what is asked for is unpacked where it is to be, by whoever asks.

Zarr writes arrays and reads their metadata. Its own way to a chunk leads through one loop of events for all threads,
and takes several times as long as unpacking does.
"""

from __future__ import annotations

import errno
import itertools
import math
import sys
from typing import Any

import numcodecs.zstd
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, ZstdCodec
from zarr.core.metadata import ArrayV3Metadata

from engine.chunked.errors import damage_named
from engine.chunked.storage import Location

# What a frame of Zstandard begins with, and the bytes of its longest header.
_ZSTD, _MOST_HEADER = b"\x28\xb5\x2f\xfd", 18
# Bytes of an array that must not be taken for there because its metadata say so: see `Stored`.
_LARGE = 64 * 2**20


class LastChunk:
    """The rows of a chunk of which not all were wanted: who reads on begins with them.

    Attributes
    ----------
    number : int
        -1 where there are none.
    rows : array
    """

    def __init__(self) -> None:
        self.number = -1
        self.rows: NDArray[Any] = np.empty(0)


class Stored:
    """A committed array.

    Parameters
    ----------
    place : Location
        Its folder.
    whole : bool
        Whether a chunk that is missing is damage, and not rows of the fill value.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    chunks : tuple of int
        Rows of a chunk first; where a chunk has not all of a row, those beside it are read with it.
    nbytes : int
        Of all of it, in memory.

    Raises
    ------
    DamagedError
        Where it cannot be opened, is packed as `engine.chunked.arrays.create_array` does not, or is a large one that
        lacks its last chunk.
    """

    def __init__(self, place: Location, *, whole: bool = False) -> None:
        self.place, self._is_whole = place, whole
        with damage_named(place):
            array: zarr.Array[Any] = zarr.open_array(place.zarr_store(), mode="r", zarr_format=3)
            metadata = array.metadata
            assert isinstance(metadata, ArrayV3Metadata)
            _refuse_other(array, metadata)
            self.shape: tuple[int, ...] = array.shape
            self.chunks: tuple[int, ...] = array.chunks
            self.dtype: np.dtype[Any] = array.dtype
            self.nbytes = math.prod(self.shape) * self.dtype.itemsize
            self._fill = array.fill_value
            self._name_of = metadata.encode_chunk_key
            last = ((n - 1) // chunk for n, chunk in zip(self.shape, self.chunks, strict=True))
            if self.nbytes > _LARGE and not (place / self._name_of(tuple(last))).is_file():
                raise ValueError(f"shape {self.shape}, of which the last chunk is missing")

    def read(self, start: int, stop: int, last: LastChunk | None = None) -> NDArray[Any]:
        """Rows ``start`` to ``stop``, or to the end; where a chunk is missing, the fill value, as with Zarr.

        Parameters
        ----------
        start, stop : int
        last : LastChunk, optional
            What the one who reads on has got.

        Raises
        ------
        DamagedError
            Where a chunk does not become as many bytes as it should; no other is unpacked.
        """
        size = self.chunks[0]
        start, stop, _ = slice(start, stop).indices(self.shape[0])
        with damage_named(self.place):
            found = np.empty((max(0, stop - start), *self.shape[1:]), dtype=self.dtype)
            for number in range(start // size, -(-stop // size)):
                begin = number * size
                low, high = max(start, begin), min(stop, begin + size)
                into = found[low - start : high - start]
                if high - low == size and self.chunks[1:] == self.shape[1:]:
                    self._unpack(number, into)
                else:
                    into[...] = self._rows(number, last or LastChunk())[low - begin : high - begin]
        return found

    def _rows(self, number: int, last: LastChunk) -> NDArray[Any]:
        """The rows of a chunk, which become the last ones."""
        if last.number != number:
            last.number, last.rows = -1, np.empty(0)  # of two chunks one has room
            rows = np.empty((self.chunks[0], *self.shape[1:]), dtype=self.dtype)
            if self.chunks[1:] == self.shape[1:]:
                self._unpack(number, rows)
            else:
                self._join(number, rows)
            last.number, last.rows = number, rows
        return last.rows

    def _join(self, number: int, rows: NDArray[Any]) -> None:
        """Unpack the chunks that rows are cut into."""
        chunk = np.empty(self.chunks, dtype=self.dtype)
        grid = (range(-(-n // size)) for n, size in zip(self.shape[1:], self.chunks[1:], strict=True))
        for place in itertools.product(*grid):
            self._unpack(number, chunk, place)
            ranges = zip(place, self.chunks[1:], self.shape[1:], strict=True)
            some = tuple(slice(at * size, min((at + 1) * size, n)) for at, size, n in ranges)
            rows[:, *some] = chunk[:, *(slice(each.stop - each.start) for each in some)]

    def _unpack(self, number: int, into: NDArray[Any], beside: tuple[int, ...] | None = None) -> None:
        """Unpack a chunk: the first of its rows, or the one ``beside`` that."""
        place = (number, *(beside or (0,) * len(self.shape[1:])))
        packed = self._packed(self.place / self._name_of(place), into.nbytes)
        if packed is None:
            if self._is_whole:
                raise ValueError(f"chunk {number} is missing")
            into[...] = self._fill
            return
        if (n := _unpacked_bytes(packed[:_MOST_HEADER])) != into.nbytes:
            raise ValueError(f"a chunk of {n} bytes, where {into.nbytes} should be")
        try:
            numcodecs.zstd.decompress(packed, into)
        except RuntimeError as error:
            raise ValueError(str(error)) from error

    def _packed(self, place: Location, n_bytes: int) -> bytes | None:
        """A chunk of so many bytes, as it is stored: of no more, since what cannot be packed becomes hardly larger."""
        try:
            return place.read_bytes(n_bytes + n_bytes // 2**10 + 2**16)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            raise ValueError(f"a chunk of more bytes than {n_bytes} are packed in") from error


def _refuse_other(array: zarr.Array[Any], metadata: ArrayV3Metadata) -> None:
    """See that an array is cut and packed as those here are.

    Raises
    ------
    ValueError
        Where it is not.
    """
    bytes_, *packed = metadata.codecs
    if not isinstance(bytes_, BytesCodec) or [type(codec) for codec in packed] != [ZstdCodec]:
        raise ValueError("its chunks are packed in another way")
    if array.dtype.itemsize > 1 and (bytes_.endian is None or bytes_.endian.value != sys.byteorder):
        raise ValueError("its numbers have their bytes in another order")
    if not array.shape or any(chunk > max(1, n) for n, chunk in zip(array.shape, array.chunks, strict=True)):
        raise ValueError(f"chunks {array.chunks} of shape {array.shape}")


def _unpacked_bytes(start: bytes) -> int:
    """What a frame of Zstandard says (RFC 8878, 3.1.1.1) that it becomes; -1 where it does not say."""
    flags = start[len(_ZSTD)] if start.startswith(_ZSTD) and len(start) > len(_ZSTD) else 0
    in_one_piece = flags >> 5 & 1
    size = (in_one_piece, 2, 4, 8)[flags >> 6]
    begin = len(_ZSTD) + 1 + (not in_one_piece) + (0, 1, 2, 4)[flags & 3]
    return int.from_bytes(start[begin : begin + size], "little") + 256 * (size == 2) if size else -1
