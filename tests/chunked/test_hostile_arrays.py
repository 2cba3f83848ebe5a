"""Arrays and matrices that promise what is not there: damage, named before it takes memory or time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numcodecs
import numpy as np
import pytest

from engine.chunked import arrays, csr
from engine.chunked.errors import DamagedError
from engine.chunked.storage import locate
from engine.chunked.store import StageStore
from tests.support.replaced import deep, pipe, promise, socket_


def write_array(root: Path, shape: tuple[int, ...] = (12, 2)) -> Path:
    store = StageStore(root)
    scratch = store.new_scratch("layout.00000")
    arrays.create_array(scratch, "a", shape=shape, chunks=(5, 2), dtype="float32", fill=0)
    store.commit(scratch)
    scratch = store.new_scratch("fill.00000")
    arrays.write_rows(root, scratch, "a", 0, np.ones(shape, np.float32))
    store.commit(scratch)
    return root / "a" / "zarr.json"


BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


@pytest.mark.parametrize("rows", [10**7, 671 * 10**9])
def test_an_array_that_promises_what_is_not_there_is_damaged(tmp_path: Path, rows: int) -> None:
    promise(write_array(tmp_path), shape=[rows, 2])
    with pytest.raises(DamagedError, match=r"/a: not what it says it is .*last chunk is missing"):
        arrays.open_array(tmp_path, "a")


def test_one_chunk_that_promises_too_much_is_damaged(tmp_path: Path) -> None:
    grid = {"name": "regular", "configuration": {"chunk_shape": [671 * 10**9, 2]}}
    promise(write_array(tmp_path), shape=[671 * 10**9, 2], chunk_grid=grid)
    array = arrays.open_array(tmp_path, "a")
    with pytest.raises(DamagedError, match=r"/a: not what it says it is"):
        arrays.read_rows(array, 0, array.shape[0])


@pytest.mark.parametrize("rows", [1, 4, 6, 10**7])
def test_a_chunk_that_becomes_more_than_it_should_is_not_unpacked(tmp_path: Path, rows: int) -> None:
    (write_array(tmp_path).parent / "c/0/0").write_bytes(numcodecs.Zstd().encode(bytes(8 * rows)))
    array = arrays.open_array(tmp_path, "a")
    tracemalloc.start()
    with pytest.raises(DamagedError, match=rf"/a: not what it says it is \(a chunk of {8 * rows} bytes, where 40 "):
        arrays.read_rows(array, 0, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20


@pytest.mark.parametrize("n", [1, 10, 255, 256, 257, 65_791, 65_792, 10**6])
def test_what_a_chunk_becomes_is_known_before(tmp_path: Path, n: int) -> None:
    store, rows = StageStore(tmp_path), np.random.default_rng(0).integers(256, size=n).astype(np.uint8)
    scratch = store.new_scratch("layout.00000")
    arrays.create_array(scratch, "a", shape=(n,), chunks=(n,), dtype="uint8", fill=0)
    store.commit(scratch)
    scratch = store.new_scratch("fill.00000")
    arrays.write_rows(tmp_path, scratch, "a", 0, rows)
    store.commit(scratch)
    np.testing.assert_array_equal(arrays.hold(arrays.open_array(tmp_path, "a")), rows)


@pytest.mark.parametrize("content", [b"", b"x", b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\x00\x58\x00\x00"])
def test_a_chunk_that_does_not_say_what_it_becomes_is_damage(tmp_path: Path, content: bytes) -> None:
    (write_array(tmp_path).parent / "c/0/0").write_bytes(content)
    with pytest.raises(DamagedError, match="/a: not what it says it is"):
        arrays.read_rows(arrays.open_array(tmp_path, "a"), 0, 1)


@pytest.mark.parametrize(
    "altered",
    [
        {"codecs": [BYTES, {"name": "gzip", "configuration": {"level": 1}}]},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [13, 2]}}},
    ],
)
def test_an_array_cut_or_packed_as_none_here_is_damage(tmp_path: Path, altered: dict[str, Any]) -> None:
    promise(write_array(tmp_path), **altered)
    with pytest.raises(DamagedError, match=r"/a: not what it says it is \((its chunks are packed|chunks \(13, 2\))"):
        arrays.open_array(tmp_path, "a")


@pytest.mark.parametrize(
    "altered", [{"shape": [-1, 2]}, {"shape": "x"}, {"data_type": "x"}, {"codecs": []}, {"zarr_format": 9}, {"a": 1}]
)
def test_metadata_that_are_none_are_damage(tmp_path: Path, altered: dict[str, Any]) -> None:
    promise(write_array(tmp_path), **altered)
    with pytest.raises(DamagedError, match=r"/a: not what it says it is"):
        arrays.open_array(tmp_path, "a")


def test_deep_metadata_are_damage(tmp_path: Path) -> None:
    deep(write_array(tmp_path))
    with pytest.raises(DamagedError, match="/a: not what it says it is"):
        arrays.open_array(tmp_path, "a")


@pytest.mark.parametrize(
    ("name", "replace"), [("c/0/0", pipe), ("c/0/0", socket_), ("c/of nobody", pipe), ("zarr.json", socket_)]
)
def test_what_is_no_file_of_an_array_is_told_before_anybody_waits_for_it(
    tmp_path: Path, name: str, replace: Callable[[Path], None]
) -> None:
    """Zarr opens whatever is there."""
    victim = write_array(tmp_path).parent / name
    victim.unlink(missing_ok=True)
    replace(victim)
    with pytest.raises(DamagedError, match=f"/a/{name}: no regular file"):
        arrays.open_array(locate(tmp_path).enclosed(), "a")


def write_matrix(root: Path) -> Path:
    store = StageStore(root)
    scratch = store.new_scratch("layout.00000")
    indptr = np.array([0, 2, 2, 5])
    csr.create(scratch, "m", indptr=indptr, n_columns=4, value_dtype="uint8", value_step=0.5, chunk=2)
    for name in ("indices", "data"):
        arrays.writable_array(scratch, f"m/{name}")[:] = np.array([0, 3, 1, 2, 3], dtype=np.uint8)
    store.commit(scratch)
    return root / "m"


@pytest.mark.parametrize("part", ["indptr", "indices", "data"])
@pytest.mark.parametrize("n", [4000, 671 * 10**9])
def test_a_matrix_whose_parts_promise_what_is_not_there_is_damaged(tmp_path: Path, part: str, n: int) -> None:
    promise(write_matrix(tmp_path) / part / "zarr.json", shape=[n])
    with pytest.raises(DamagedError, match="not what it says it is"):
        csr.CsrReader(tmp_path, "m")


@pytest.mark.parametrize("shape", [[3, 671 * 10**9], [671 * 10**9, 4], [3], None, ["x", 4]])
def test_a_matrix_of_another_shape_is_damaged(tmp_path: Path, shape: object) -> None:
    metadata = write_matrix(tmp_path) / "zarr.json"
    attributes = msgspec.json.decode(metadata.read_bytes())["attributes"]
    promise(metadata, attributes={**attributes, "shape": shape})
    with pytest.raises(DamagedError, match="/m: not what it says it is"):
        csr.CsrReader(tmp_path, "m")
