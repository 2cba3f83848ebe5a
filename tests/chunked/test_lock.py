from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.chunked.errors import LockedError
from engine.chunked.storage import Place, locate

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
        "with locate(sys.argv[1]).hold() as fd:\n"
        f"    subprocess.Popen([sys.executable, '-c', {child!r}], pass_fds=(fd,), stdout=subprocess.DEVNULL)\n"
        "    os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", parent, str(path)], check=True)
    start = time.monotonic()
    with path.hold():
        assert 0.1 < time.monotonic() - start < 3
