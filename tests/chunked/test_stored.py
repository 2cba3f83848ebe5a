"""Committed arrays, read chunk by chunk, against what Zarr reads of them."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.codecs import BytesCodec

from engine.chunked import arrays
from engine.chunked.csr import CsrReader, create
from engine.chunked.errors import DamagedError
from engine.chunked.storage import locate
from engine.chunked.stored import LastChunk, Stored
from tests.support.replaced import promise

KINDS = [
    ((50,), (7,), "uint8"),
    ((50,), (7,), "uint16"),
    ((50, 3), (7, 3), "float32"),
    ((50, 5), (7, 2), "int16"),
    ((50, 5, 4), (7, 5, 3), "int32"),
    ((7,), (7,), "int64"),
    ((1, 2), (1, 2), "float64"),
]
Array = tuple[Path, Stored]


@pytest.fixture(scope="module", params=KINDS, ids=str)
def array(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Array:
    shape, chunks, dtype = request.param
    folder = tmp_path_factory.mktemp("stored")
    arrays.create_array(folder, "a", shape=shape, chunks=chunks, dtype=dtype, fill=0)
    arrays.writable_array(folder, "a")[:] = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    return folder / "a", arrays.open_array(folder, "a")


@given(bounds=st.tuples(st.integers(0, 50), st.integers(0, 50)))
def test_rows_are_those_that_zarr_reads(array: Array, bounds: tuple[int, int]) -> None:
    path, stored = array
    start, stop = sorted(bounds)  # beyond the end, too
    found = stored.read(start, stop)
    expected: Any = zarr.open_array(str(path), mode="r")[start:stop]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of chunks in the order in which they are unpacked."""
    numbers: list[int] = []
    unpack = Stored._unpack

    def noting(self: Stored, number: int, into: np.ndarray, beside: tuple[int, ...] | None = None) -> None:
        numbers.append(number)
        unpack(self, number, into, beside)

    monkeypatch.setattr(Stored, "_unpack", noting)
    return numbers


def test_who_reads_on_unpacks_a_chunk_once(array: Array, unpacked: list[int]) -> None:
    _, stored = array
    n, last = stored.shape[0], LastChunk()
    parts = [stored.read(start, min(start + 5, n), last) for start in range(0, n, 5)]
    n_beside = math.prod(-(-size // chunk) for size, chunk in zip(stored.shape[1:], stored.chunks[1:], strict=True))
    assert unpacked == [number for number in range(-(-n // 7)) for _ in range(n_beside)]
    np.testing.assert_array_equal(np.concatenate(parts), stored.read(0, n))


def test_stretches_of_rows_unpack_a_chunk_once(tmp_path: Path, unpacked: list[int]) -> None:
    rng = np.random.default_rng(0)
    indptr = np.concatenate([[0], np.cumsum(rng.integers(0, 9, 20))])
    create(tmp_path, "m", indptr=indptr, n_columns=9, value_dtype="uint8", value_step=0.5, chunk=16)
    for name in ("indices", "data"):
        arrays.writable_array(tmp_path, f"m/{name}")[:] = rng.integers(0, 9, indptr[-1]).astype(np.uint8)
    reader = CsrReader(tmp_path, "m")
    stretches = [(0, 3), (3, 4), (4, 4), (4, 11), (11, 20)]
    unpacked.clear()
    found = list(reader.read_stretches(stretches))
    assert sorted(unpacked) == sorted(2 * list(range(-(-int(indptr[-1]) // 16))))
    for (start, stop), rows in zip(stretches, found, strict=True):
        np.testing.assert_array_equal(rows.widen().toarray(), reader.read(start, stop).widen().toarray())


@pytest.mark.parametrize("chunks", [(3, 4), (3, 3)])
def test_a_chunk_that_is_gone_is_the_fill_value_as_with_zarr(tmp_path: Path, chunks: tuple[int, int]) -> None:
    arrays.create_array(tmp_path, "a", shape=(9, 4), chunks=chunks, dtype="int8", fill=-1)
    arrays.writable_array(tmp_path, "a")[:] = np.ones((9, 4), dtype=np.int8)
    (tmp_path / "a/c/1/0").unlink()
    found, expected = arrays.open_array(tmp_path, "a").read(0, 9), zarr.open_array(str(tmp_path / "a"), mode="r")[:]
    assert -1 in found
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("part", ["indices", "data"])
def test_what_is_missing_of_a_matrix_is_damage(tmp_path: Path, part: str) -> None:
    """Zeros would be values of the first column."""
    indptr = np.array([0, 2, 5])
    create(tmp_path, "m", indptr=indptr, n_columns=4, value_dtype="uint8", value_step=0.5, chunk=2)
    for name in ("indices", "data"):
        arrays.writable_array(tmp_path, f"m/{name}")[:] = np.ones(5, dtype=np.uint8)
    (tmp_path / "m" / part / "c/1").unlink()
    with pytest.raises(DamagedError, match=rf"/m/{part}: not what it says it is \(chunk 1 is missing\)"):
        CsrReader(tmp_path, "m").read(0, 2)


def test_row_pointers_of_other_rows_are_damage_before_they_are_read(tmp_path: Path, unpacked: list[int]) -> None:
    create(tmp_path, "m", indptr=np.arange(10), n_columns=4, value_dtype="uint8", value_step=0.5, chunk=2)
    grid = {"name": "regular", "configuration": {"chunk_shape": [2000]}}
    promise(tmp_path / "m/indptr/zarr.json", shape=[2000], chunk_grid=grid)
    with pytest.raises(DamagedError, match=r"/m: not what it says it is \(its parts do not fit together"):
        CsrReader(tmp_path, "m")
    assert unpacked == []


def test_numbers_with_their_bytes_in_another_order_are_not_read(tmp_path: Path) -> None:
    other = "big" if sys.byteorder == "little" else "little"
    zarr.create_array(tmp_path / "a", shape=(4,), chunks=(4,), dtype="i4", serializer=BytesCodec(endian=other))[:] = 1
    with pytest.raises(DamagedError, match="bytes in another order"):
        arrays.open_array(tmp_path, "a")


def test_a_chunk_of_more_bytes_than_any_has_is_not_read(tmp_path: Path) -> None:
    arrays.create_array(tmp_path, "a", shape=(9,), chunks=(3,), dtype="uint8", fill=0)
    arrays.writable_array(tmp_path, "a")[:] = np.ones(9, dtype=np.uint8)
    (tmp_path / "a/c/1").write_bytes(bytes(2**20))
    with pytest.raises(
        DamagedError, match=r"/a: not what it says it is \(a chunk of more bytes than 3 are packed in\)"
    ):
        arrays.open_array(tmp_path, "a").read(0, 9)


@pytest.mark.parametrize("altered", [1, 12, -1])
def test_a_chunk_that_does_not_unpack_is_damage(tmp_path: Path, altered: int) -> None:
    arrays.create_array(tmp_path, "a", shape=(4000,), chunks=(4000,), dtype="uint16", fill=0)
    arrays.writable_array(tmp_path, "a")[:] = np.arange(4000, dtype=np.uint16) % 61
    content = bytearray((tmp_path / "a/c/0").read_bytes())
    content[altered] ^= 255
    (tmp_path / "a/c/0").write_bytes(content[: len(content) - (altered == -1)])
    with pytest.raises(DamagedError, match="/a: not what it says it is"):
        Stored(locate(tmp_path) / "a").read(0, 4000)


def test_columns_cut_into_more_chunks_than_there_are_numbers_are_counted_one_by_one(tmp_path: Path) -> None:
    arrays.create_array(tmp_path, "a", shape=(2, 8), chunks=(1, 1), dtype="int8", fill=0)
    promise(tmp_path / "a/zarr.json", shape=[2, 10**15])
    with pytest.raises(DamagedError, match="the last chunk is missing"):
        arrays.open_array(tmp_path, "a")
