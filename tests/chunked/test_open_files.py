"""What the machine has too little of is told as that, and never as damage of a file."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import cli
from engine.artifacts import sound
from engine.artifacts.doubts import doubted
from engine.chunked import errors, sealed, workdir
from engine.chunked.errors import EngineError, describe, is_of_machine, is_short
from engine.chunked.journal import Committed, StageRecord
from engine.chunked.storage import locate
from engine.ratings.opening import open_source
from engine.serving.ids import read_ids


class RustPanic(BaseException):
    """As pyo3's are."""


SHORT = [
    OSError(errno.EMFILE, "Too many open files", "w/x"),
    OSError(errno.ENFILE, "Too many open files in system"),
    RuntimeError("cannot open w/x: Too many open files (os error 24)"),
    RustPanic('failed to create UnixStream: Os { code: 24, kind: Uncategorized, message: "Too many open files" }'),
]


@pytest.mark.parametrize("error", SHORT)
def test_too_few_open_files_are_told_with_the_way_on(error: BaseException) -> None:
    told = describe(error)
    assert told.kind == "EngineError"
    assert "ulimit -n" in told.message or "the system has no more open files" in told.message
    assert told.message.startswith(str(error))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES])
def test_files_are_not_doubted_for_what_the_machine_says(number: int) -> None:
    def never() -> dict[str, Committed]:
        raise AssertionError

    def failing() -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(OSError, match="Errno"), doubted(never):
        failing()
    with pytest.raises(OSError, match="Errno"):
        list(sound._told("w/stages/matrix", failing))


def test_what_says_something_of_a_file_is_not_the_machines() -> None:
    for number in (errno.ENOENT, errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.ENOTDIR, errno.EFBIG):
        assert not is_of_machine(OSError(number, ""))
    assert not is_short(OSError(errno.EACCES, ""))


@pytest.fixture
def no_more(tmp_path: Path) -> Iterator[Path]:
    """A folder with files in it, and a process that may open none."""
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating\n1,2,3\n")
    workdir.make(tmp_path / "w")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (8, hard))
    held = []
    try:
        while True:  # those that are free among the first
            held.append(os.open("/", os.O_RDONLY))
    except OSError:
        yield tmp_path
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: sealed.read_sealed(locate(folder / "w" / workdir.MARKER), StageRecord),
        lambda folder: workdir.make(folder / "w"),
        lambda folder: open_source(folder / "ratings.csv"),
        lambda folder: read_ids(folder / "ratings.csv"),
    ],
)
def test_readers_call_nothing_damaged_or_misnamed(read: Callable[[Path], object], no_more: Path) -> None:
    with pytest.raises(OSError, match="Too many open files"):
        read(no_more)


def test_few_open_files_are_refused_before_libraries_are_loaded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (errors.LEAST_OPEN_FILES - 1, -1))
    assert cli.main(["report", "x"]) == EngineError.exit_code
    assert "31 open files" in (told := capsys.readouterr().err)
    assert "ulimit -n" in told


@pytest.mark.parametrize(
    "error", [OSError(errno.EFBIG, os.strerror(errno.EFBIG)), RuntimeError("io error: File too large (os error 27)")]
)
def test_what_a_limit_on_sizes_ends_is_no_fault_of_a_file(error: Exception) -> None:
    assert is_short(error)
    assert "ulimit -f" in describe(error).message


def test_a_limit_on_sizes_of_files_is_named(tmp_path: Path) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)); from engine import cli; "
        "from engine.chunked.storage import locate; "
        "cli.main.__globals__['_parsed'] = lambda given: locate('x').put(bytes(1000)); sys.exit(cli.main([]))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "ulimit -f" in told.stderr
