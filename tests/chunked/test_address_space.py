"""Where a limit on address space is what fails, it is named; where something else is, that is told."""

from __future__ import annotations

import pytest

from engine.artifacts import sound
from engine.artifacts.doubts import doubted
from engine.chunked import errors
from engine.chunked.budget import GIB
from engine.chunked.errors import DamagedError, damage_named, describe
from engine.chunked.journal import Committed

LIMIT = "processes may have 4096 MiB of address space here"


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes may have 4 GiB of address space."""
    monkeypatch.setattr(errors, "_most_address_space", lambda: 4 * GIB)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("\nUnable to allocate 3 GiB"),
        RuntimeError("can't start new thread"),
        ImportError("lib.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
        ValueError("std::bad_alloc"),
    ],
)
@pytest.mark.usefixtures("limited")
def test_what_is_of_memory_is_told_with_the_limit(error: BaseException) -> None:
    said = describe(error)
    assert said.kind == "EngineError"
    assert LIMIT in said.message
    what = said.message.partition(": processes")[0]
    assert what == (str(error).strip() or "no more memory")


@pytest.mark.usefixtures("limited")
def test_another_fault_is_not_hidden_by_the_limit() -> None:
    """The limit is told beside it, since a library may have lost what was refused to it."""
    try:
        raise ValueError("three is no number of wheels")
    except ValueError as error:
        said = describe(error)
    assert said.kind == ""
    assert "Traceback" in said.message
    assert "ValueError: three is no number of wheels\n" in said.message
    assert f"If that is for want of memory: {LIMIT}" in said.message


@pytest.mark.usefixtures("limited")
def test_a_sound_array_for_which_there_is_no_room_is_not_called_damaged() -> None:
    import numpy as np

    with pytest.raises(MemoryError), damage_named("a/vectors"):
        raise np._core._exceptions._ArrayMemoryError((1000, 50), np.dtype("float32"))  # type: ignore[attr-defined]
    with pytest.raises(DamagedError), damage_named("a/vectors"):  # more than there could be without a limit
        raise np._core._exceptions._ArrayMemoryError((671, 10**9), np.dtype("float32"))  # type: ignore[attr-defined]


def test_files_are_not_doubted_for_want_of_memory() -> None:
    """Neither compared, for which there would be no memory, nor called what this program doesn't write."""

    def never() -> dict[str, Committed]:
        raise AssertionError

    def short() -> None:
        raise MemoryError("Unable to allocate 3 GiB")

    with pytest.raises(MemoryError), doubted(never):
        short()
    with pytest.raises(MemoryError):
        list(sound._told("w/stages/matrix", short))
