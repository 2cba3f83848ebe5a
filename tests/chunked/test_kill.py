"""Killed anywhere, a run goes on, redoes a task per worker at most, and leaves the bytes of an undisturbed one."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from pathlib import Path

from bench.kill import Rig, contents
from tests.chunked.test_runner import run_here
from tests.support.toy import count_calls

# Each process is forked from one that has loaded the engine and nothing else.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.chunked.test_runner"])


def run_toy_until(at_call: int, root: Path) -> None:
    """Run the toy stage in this process, which is killed before its n-th call of the commit protocol."""
    os.setsid()
    os.environ |= {"KILLED_LOG": str(root.parent / "log"), "KILLED_AT_CALL": str(at_call)}
    importlib.import_module("bench.killed.sitecustomize")
    run_here(root, workers=1)


def test_killed_at_every_point_of_the_commit_protocol(tmp_path: Path) -> None:
    run_here(tmp_path / "undisturbed" / "toy")
    expected = contents(tmp_path / "undisturbed" / "toy")
    kills = 0
    while True:
        root = tmp_path / str(kills) / "toy"
        process = FORKS.Process(target=run_toy_until, args=(kills + 1, root))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
        run_here(root, workers=1)
        assert contents(root) == expected, f"killed before call {kills}"
        calls = count_calls(root)
        assert sum(calls.values()) - len(calls) <= 1
    # Two calls and more of each of the nine tasks: rename the file, rename the record. Then, of the three that stay,
    # flush files and records, and their folders; and the stage's record, which is flushed and renamed.
    assert kills >= 9 * 2 + 3 * 2 + 2


def test_killed_at_random_a_run_leaves_the_same_bytes_for_any_budget_and_workers(tmp_path: Path) -> None:
    rig = Rig(tmp_path, seed=os.getpid())
    while rig.report.kills < 12 and rig.report.sound:
        rig.disturb(6)
    assert rig.report.failures == []
    assert rig.report.differing == []
    assert rig.report.too_much_redone == []
    assert rig.report.kills >= 12
