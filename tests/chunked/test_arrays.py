"""Parts of arrays in files are read as slices of the arrays are, and held no longer than that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chunked import memory
from engine.chunked.arrays import ArrayFile
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
