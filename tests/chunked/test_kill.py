"""Killed anywhere, a run goes on, redoes a task per worker at most, and leaves the bytes of an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bench.kill import Rig, contents

ROOT = Path(__file__).parent.parent.parent
TOY = """
import sys
from pathlib import Path
from tests.chunked.test_runner import run_here
run_here(Path(sys.argv[1]), workers=1)
"""


def run_toy(root: Path, at_call: int) -> int:
    """Run the toy stage in a process that is killed before its n-th call of the commit protocol."""
    log = root.parent / "log"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'bench' / 'killed'}:{ROOT}"}
    environment |= {"KILLED_LOG": str(log), "KILLED_AT_CALL": str(at_call)}
    return subprocess.run([sys.executable, "-c", TOY, str(root)], env=environment, start_new_session=True).returncode


def test_killed_at_every_point_of_the_commit_protocol(tmp_path: Path) -> None:
    assert run_toy(tmp_path / "undisturbed" / "toy", 0) == 0
    expected = contents(tmp_path / "undisturbed" / "toy")
    kills = 0
    while True:
        root = tmp_path / str(kills) / "toy"
        code = run_toy(root, kills + 1)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
        assert run_toy(root, 0) == 0
        assert contents(root) == expected, f"killed before call {kills}"
        begun = Counter((root.parent / "log").read_text().split())
        assert begun.total() - len(begun) <= 1
    # A task commits with four calls and more: flush and rename its file, flush the folder, write its record.
    assert kills >= 9 * 4


def test_killed_at_random_a_run_leaves_the_same_bytes_for_any_budget_and_workers(tmp_path: Path) -> None:
    rig = Rig(tmp_path, seed=os.getpid())
    while rig.report.kills < 20 and rig.report.sound:
        rig.disturb(10)
    assert rig.report.failures == []
    assert rig.report.differing == []
    assert rig.report.too_much_redone == []
    assert rig.report.kills >= 20
