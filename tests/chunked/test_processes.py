"""Processes that are killed while they are asked something, and runs side by side in one process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engine import cli
from engine.chunked import memory
from engine.chunked.budget import GIB, MIB
from engine.chunked.errors import EngineError, UsageError
from engine.chunked.events import Event, TaskBegan
from engine.chunked.executors.local import LocalExecutor
from engine.chunked.executors.orders import Load, to_line
from engine.chunked.executors.processes import ask
from engine.chunked.references import refer
from engine.chunked.storage import locate
from tests.support.toy import toy_job


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed from outside"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "ended by signal 15"),
        ("raise SystemExit(7)", "ended with exit code 7"),
    ],
)
def test_a_process_that_gives_no_answer_is_told_by_what_it_did(code: str, how: str) -> None:
    with pytest.raises(EngineError) as raised:
        ask("counting sheep", [sys.executable, "-c", code], "")
    said = str(raised.value)
    assert said.startswith(f"counting sheep: the process that does it {how}")
    assert said.endswith("; run again")
    assert "import" not in said
    assert sys.executable not in said


def test_a_process_that_fails_is_told_by_what_it_said(capfd: pytest.CaptureFixture[str]) -> None:
    """By what it tells of its failure; else by the last that it says on standard error, which is shown as well."""
    told = 'print(\'{"event": "failed", "kind": "UsageError", "message": "no sheep: bring some"}\'); exit(1)'
    with pytest.raises(UsageError, match=r"^no sheep: bring some$"):
        ask("counting sheep", [sys.executable, "-c", told], "")
    for code, reason in (
        ("raise ImportError('no wool at http://somebody:secret@host/')", "ImportError: no wool at http://...@host/"),
        ("import sys, os; print('no wool\\n', file=sys.stderr, flush=True); os.abort()", "no wool"),
    ):
        with pytest.raises(
            EngineError, match=f"ended [a-z0-9 ]+ \\({re.escape(reason)}\\); mend that, then run again$"
        ):
            ask("counting sheep", [sys.executable, "-c", code], "")
        assert "no wool" in capfd.readouterr().err
    assert (
        ask("counting sheep", [sys.executable, "-c", "import sys; print(3); print('baa', file=sys.stderr)"], "")
        == "3\n"
    )
    assert capfd.readouterr().err == "baa\n"


@pytest.mark.parametrize(("measured", "processes"), [(True, 2), (False, 1)])
def test_what_is_the_same_is_tried_out_once(
    measured: bool, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of stages of one module, and of all stages where nothing can be measured."""
    started: list[Any] = []
    popen = subprocess.Popen

    def start(*arguments: Any, **named: Any) -> Any:
        started.append(popen(*arguments, **named))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(memory, "is_measured", lambda: measured)
    names = ("tests.support.toy:ToyStage", "tests.support.leaving:LeavingStage", "tests.support.toy:toy_job")
    stages = [refer(name) for name in names]
    with LocalExecutor(GIB, 2) as executor:
        held = executor.reserved_bytes(stages, locate(tmp_path))
        assert held[0] == held[2]
        assert len(started) == processes
        with pytest.raises(
            EngineError, match=r"tests\.support\.toy:Nothing is not found"
        ):  # what is not there is missed
            executor.reserved_bytes([*stages, refer("tests.support.toy:Nothing")], locate(tmp_path))


@pytest.mark.parametrize("which", [1, 2])
def test_a_run_whose_first_processes_are_killed_says_what_they_did(
    which: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[Any] = []
    popen = subprocess.Popen

    def start(*arguments: Any, **named: Any) -> Any:
        started.append(popen(*arguments, **named))
        if len(started) == which:
            started[-1].kill()
        return started[-1]

    (tmp_path / "ratings.csv").write_text("userId,movieId,rating\n1,1,4\n2,1,3\n")
    monkeypatch.setattr(subprocess, "Popen", start)
    assert cli.main(["run", str(tmp_path / "ratings.csv"), "--workdir", str(tmp_path / "w"), "--quiet"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    doing = "finding the ratings" if which == 1 else "loading engine.stages."
    assert line.startswith(f"engine: {doing}")
    assert "was killed from outside" in line
    assert "-c" not in line.split()


def test_two_runs_in_two_threads_count_each_its_own_child(tmp_path: Path) -> None:
    with LocalExecutor(GIB, 1) as small, LocalExecutor(GIB, 1) as large:
        _count_each_its_own(small, large, tmp_path)


def _count_each_its_own(small: LocalExecutor, large: LocalExecutor, tmp_path: Path) -> None:
    holding = threading.Event()
    counted: dict[str, int] = {}
    measured: list[int] = []

    def note(event: Event) -> None:
        if isinstance(event, TaskBegan) and event.task == "total.00000":
            holding.set()

    def hold() -> None:
        large.run(toy_job(tmp_path / "large" / "toy", trouble={"total.00000": "hold"}), note)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(30)
    deadline = time.monotonic() + 30
    while large.bytes_in_use() < 200 * MIB and time.monotonic() < deadline:
        time.sleep(0.05)
    counted["large"] = large.bytes_in_use()

    def take(event: Event) -> None:
        measured.append(getattr(event, "measured", 0))
        counted["small"] = max(counted.get("small", 0), small.bytes_in_use())

    small.run(toy_job(tmp_path / "small" / "toy"), take)
    thread.join()
    assert counted["large"] >= 200 * MIB
    assert 5 * MIB < counted["small"] < 150 * MIB
    assert max(measured) < 150 * MIB


def test_a_worker_that_nobody_listens_to_ends_without_a_word(tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "engine.chunked.executors.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    worker.stdout.close()
    worker.stdout = None
    _, said = worker.communicate(to_line(Load([], str(tmp_path))), timeout=60)
    assert said == ""
    assert worker.returncode == 1


def test_memory_of_a_process_that_is_gone_is_none() -> None:
    from engine.chunked.memory import tree_bytes

    child = os.fork()
    if child == 0:
        signal.pause()
    assert tree_bytes(child) > 0
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert tree_bytes(child) == 0
