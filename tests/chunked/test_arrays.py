"""Parts of arrays in files are read as slices of the arrays are, and held no longer than that."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chunked import arrays, memory
from engine.chunked.array_files import ArrayFile, array_file, load_array, load_arrays
from engine.chunked.arrays import Unpacked
from engine.chunked.budget import MIB
from engine.chunked.errors import DamagedError


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arrays") / "a.npy"
    np.save(path, np.arange(100, dtype=np.uint16))
    return path


@given(st.integers(0, 120), st.integers(0, 120))
def test_parts_are_slices(stored: Path, start: int, stop: int) -> None:
    found = ArrayFile(stored)
    assert found.dtype == np.uint16
    assert found[start:stop].tolist() == list(range(100))[start:stop]


def test_parts_of_tables_are_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", table := np.arange(60).reshape(20, 3))
    for start, stop in ((0, 20), (3, 7), (19, 30), (5, 2)):
        np.testing.assert_array_equal(ArrayFile(tmp_path / "a.npy")[start:stop], table[start:stop])


def test_what_is_no_array_is_damaged(tmp_path: Path) -> None:
    for content in (b"", b"x" * 200, b"\x93NUMPY\x01\x00"):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(DamagedError, match=r"a\.npy: not what it says it is"):
            ArrayFile(tmp_path / "a.npy")


def test_what_has_been_read_is_not_held(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(64 * MIB // 8))
    found = ArrayFile(tmp_path / "a.npy")
    before = memory.resident_bytes()
    for start in range(0, 8 * MIB, MIB // 8):
        assert not found[start : start + MIB // 8].any()
    assert memory.resident_bytes() - before < 16 * MIB


@pytest.fixture(scope="module", params=[(50,), (50, 3)], ids=["flat", "rows"])
def unpacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, Unpacked]:
    folder = tmp_path_factory.mktemp("unpacked")
    values = np.random.default_rng(0).normal(size=request.param).astype(np.float32)
    arrays.create_array(folder, "a", shape=values.shape, chunks=(7, *values.shape[1:]), dtype=np.float32, fill=np.nan)
    array = arrays.writable_array(folder, "a")
    array[:] = values
    return values, Unpacked(arrays.open_array(folder, "a"))


@given(some=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=8))
def test_unpacked_rows_are_those_of_the_array(
    unpacked: tuple[np.ndarray, Unpacked], some: list[tuple[int, int]]
) -> None:
    values, found = unpacked
    ranges = [(min(pair), max(pair)) for pair in some]
    starts, stops = np.array(ranges, dtype=np.int64).reshape(-1, 2).T
    expected = np.concatenate([values[:0], *(values[start:stop] for start, stop in ranges)])
    np.testing.assert_array_equal(found.take(starts, stops), expected)
    for start, stop in ranges:
        np.testing.assert_array_equal(arrays.read_rows(found, start, stop), values[start:stop])
    rows = np.unique(starts[starts < 50])
    np.testing.assert_array_equal(arrays.take_rows(found, rows), values[rows])


def test_rows_may_become_others_while_they_are_unpacked() -> None:
    values = np.arange(24, dtype=np.float32).reshape(8, 3)
    found = Unpacked(values, np.int16, lambda rows: (10 * rows).astype(np.int16))
    assert (found.shape, found.dtype.name, found.nbytes) == ((8, 3), "int16", 48)
    np.testing.assert_array_equal(arrays.read_rows(Unpacked(found), 2, 7), 10 * values[2:7])


def test_an_unpacked_array_that_is_cut_is_told(unpacked: tuple[np.ndarray, Unpacked]) -> None:
    values, found = unpacked
    with pytest.raises(OSError, match="cut short"):
        found.take(np.array([48]), np.array([51]))
    assert arrays.hold(found).tobytes() == values.tobytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full")
def test_a_disk_without_room_is_told_while_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays.create_array(tmp_path, "a", shape=(9,), chunks=(9,), dtype=np.int8, fill=0)
    full = Path("/dev/full").open("wb", 0)  # noqa: SIM115 - what is unpacked closes it
    monkeypatch.setattr("engine.chunked.arrays.tempfile.TemporaryFile", lambda buffering: full)
    with pytest.raises(OSError, match="No space left"):
        Unpacked(arrays.open_array(tmp_path, "a"))


def test_an_array_written_in_pieces_is_as_one_that_is_saved(tmp_path: Path) -> None:
    whole = np.arange(24, dtype=np.float32).reshape(8, 3)
    np.save(tmp_path / "saved.npy", whole)
    with array_file(tmp_path / "written.npy", np.float32, (8, 3)) as write:
        for some in (whole[:0], whole[:5], np.asfortranarray(whole[5:])):
            write(some)
    assert (tmp_path / "written.npy").read_bytes() == (tmp_path / "saved.npy").read_bytes()
    assert ArrayFile(tmp_path / "written.npy")[4:6].tolist() == whole[4:6].tolist()


def test_an_array_written_in_pieces_has_as_many_rows_as_it_says(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"9 numbers were written of an array of shape \(4, 3\)"),
        array_file(tmp_path / "short.npy", np.float32, (4, 3)) as write,
    ):
        write(np.ones((3, 3)))


def test_arrays_of_a_file_that_unfold_are_not_read(tmp_path: Path) -> None:
    """A thousand times the file's bytes in memory."""
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10**6))
    with pytest.raises(DamagedError, match=r"a\.npz: .*compressed"):
        load_arrays(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", a=np.arange(3), b=np.array([1.5]))
    found = load_arrays(tmp_path / "a.npz")
    assert {name: each.tolist() for name, each in found.items()} == {"a": [0, 1, 2], "b": [1.5]}


@pytest.mark.parametrize("n", [7, 2 * 10**8, 10**13])
def test_arrays_that_promise_what_is_not_there_are_not_read(tmp_path: Path, n: int) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (n,)})
        file.write(b"1234")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as bundle:
        bundle.write(tmp_path / "a.npy", "a.npy")
    tracemalloc.start()
    with pytest.raises(DamagedError, match=r"a\.npy: not what it says it is"):
        load_array(tmp_path / "a.npy")
    with pytest.raises(DamagedError, match=r"a\.npz: not what it says it is"):
        load_arrays(tmp_path / "a.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04", b"[]" * 50])
def test_what_is_no_array_is_damage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    for load in (load_array, load_arrays):
        with pytest.raises(DamagedError, match="/a: not what it says it is"):
            load(tmp_path / "a")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 4), np.uint8),
        np.array(3),
    ],
)
def test_an_array_is_read_as_it_was_saved(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    np.save(tmp_path / "a.npy", array)
    for found in (load_array(tmp_path / "a.npy"), load_array(tmp_path / "a.npy", mmap_mode="r")):
        assert (found.dtype, found.shape, found.flags.f_contiguous) == (
            array.dtype,
            array.shape,
            array.flags.f_contiguous,
        )
        assert (found == array).all()
    assert load_array(tmp_path / "a.npy").flags.writeable


def test_rows_of_any_size_are_not_promised_by_an_array_without_rows(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (0, 10**13)}
        np.lib.format.write_array_header_1_0(file, header)
    for read in (load_array, ArrayFile):
        with pytest.raises(DamagedError, match=r"a.npy: not what it says it is"):
            read(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.zeros((0, 64), dtype=np.float32))
    assert load_array(tmp_path / "a.npy").shape == ArrayFile(tmp_path / "a.npy").shape == (0, 64)


def test_a_number_by_itself_has_no_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array(7.0))
    with pytest.raises(DamagedError, match="no rows"):
        ArrayFile(tmp_path / "a.npy")
