from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from engine import cli
from engine.chunked.errors import EngineError, LockedError
from engine.chunked.storage import Place, locate, staging

HOLD = """
import sys, time
from engine.chunked.storage import locate
with locate(sys.argv[1]).hold():
    print("held", flush=True)
    time.sleep(60)
"""


def hold_elsewhere(path: Place) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_holder_is_refused_and_told_who_holds(tmp_path: Path) -> None:
    path = locate(tmp_path / "lock")
    with hold_elsewhere(path) as other:
        try:
            with (
                pytest.raises(LockedError, match=rf"in use by process {other.pid} .*another work dir"),
                path.hold(),
            ):
                pass
            assert (path.holder() or {})["pid"] == other.pid
        finally:
            other.kill()


def test_a_lock_left_by_a_dead_process_stops_nobody(tmp_path: Path) -> None:
    path = locate(tmp_path / "lock")
    with hold_elsewhere(path) as other:
        other.kill()
        other.wait()
    assert path.read_text() != ""
    assert path.holder() is None
    with path.hold():
        assert (path.holder() or {})["pid"] == os.getpid()
    assert path.holder() is None


def test_a_dead_holder_whose_child_is_about_to_leave_is_waited_for(tmp_path: Path) -> None:
    path = locate(tmp_path / "lock")
    child = "import time; time.sleep(0.6)"
    parent = (
        "import subprocess, sys, os\nfrom engine.chunked.storage import locate\n"
        "with locate(sys.argv[1]).hold() as fds:\n"
        f"    subprocess.Popen([sys.executable, '-c', {child!r}], pass_fds=fds, stdout=subprocess.DEVNULL)\n"
        "    os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", parent, str(path)], check=True)
    start = time.monotonic()
    with path.hold():
        assert 0.1 < time.monotonic() - start < 3


NOT_OFFERED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL, errno.ENOSYS)


@pytest.fixture(params=NOT_OFFERED)
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some file systems on a network."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr("fcntl.flock", refuse)


def test_a_file_system_without_locks_is_named_with_a_way_on(no_locks: None, tmp_path: Path) -> None:
    for look in (lambda: locate(tmp_path / "lock").hold().__enter__(), locate(tmp_path / "lock").holder):
        with pytest.raises(EngineError, match="the file system offers no locks on folders") as raised:
            look()
        assert str(raised.value).startswith(f"{tmp_path}: ")
        assert "put the work directory on a disk of this machine" in str(raised.value)
        assert type(raised.value).exit_code == 1
    assert not (tmp_path / "lock").exists()


def test_a_run_on_a_file_system_without_locks_ends_in_one_sentence(
    no_locks: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating\n1,1,4\n")
    assert cli.main(["run", str(tmp_path / "ratings.csv"), "--workdir", str(tmp_path / "w"), "--quiet"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"engine: {tmp_path / 'w'}: the file system offers no locks")


def test_temporary_files_where_there_are_no_locks_are_refused_and_leave_nothing(
    no_locks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging.clear()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(EngineError, match=rf"{tmp_path}: the file system .*: set TMPDIR to a folder on a disk"):
        staging.folder()
    assert list(tmp_path.iterdir()) == []


def test_what_else_has_a_name_of_scratch_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staging.clear()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "vic").mkdir()
    (tmp_path / "vic" / "x").write_text("precious")
    os.mkfifo(tmp_path / "engine-scratch-pipe")
    (tmp_path / "engine-scratch-link").symlink_to("vic")
    made = staging.folder()
    assert made.parent == tmp_path
    staging.clear()
    assert (tmp_path / "vic" / "x").read_text() == "precious"
