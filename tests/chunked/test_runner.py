from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.chunked.budget import GIB, MIB, Cost
from engine.chunked.errors import BudgetError, EngineError, Interrupted, UsageError
from engine.chunked.events import OnEvent, RoundBegan, WorkerEnded, WorkerReady
from engine.chunked.executors.local import LocalExecutor
from engine.chunked.journal import Journal
from engine.chunked.pipeline import Job
from engine.chunked.runner import Limits, StageRunner, rounds_needed
from engine.chunked.storage import locate
from engine.chunked.store import StageStore
from engine.chunked.task import Planned, Round, TaskContext
from tests.support.toy import count_calls, toy_job

TOTAL = sum(i**2 for i in range(6))


def run_here(
    root: Path, *, workers: int = 2, allowed: int = GIB, stop: threading.Event | None = None, **options: Any
) -> list[Any]:
    events: list[Any] = []
    _, stage = toy_job(root, **options).opened()
    limits = Limits(allowed, 0, workers)
    StageRunner("toy", stage, StageStore(root), Journal(root), limits, events.append, stop or threading.Event()).run()
    return events


def run_in_child(job: Job, on_event: OnEvent) -> None:
    with LocalExecutor(GIB, 2) as executor:
        executor.run(job, on_event)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "toy"


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_a_stage_runs_its_rounds_in_order_and_drops_temporary_files(root: Path) -> None:
    run_here(root)
    assert Journal(root).result("total.00000") == {"total": TOTAL}
    assert Journal(root).finished()
    assert files(root) == [
        "half-0.txt",
        "half-1.txt",
        *(f"records/{name}.json" for name in ("halves.00000", "halves.00001", "stage", "total.00000")),
    ]


def test_what_is_done_is_not_done_again(root: Path) -> None:
    run_here(root)
    run_here(root)
    assert set(count_calls(root).values()) == {1}


def test_a_failed_task_stops_the_stage_and_is_the_only_one_redone(root: Path) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        run_here(root, workers=1, trouble={"squares.00003": "crash"})
    run_here(root, workers=1)
    calls = count_calls(root)
    assert calls.pop("squares.00003") == 2
    assert set(calls.values()) == {1}


def test_temporary_rounds_run_again_only_for_a_round_they_serve(root: Path) -> None:
    run_here(root)
    Journal(root).forget("total.00000")
    run_here(root)
    assert count_calls(root)["squares.00000"] == 1
    Journal(root).forget("halves.00001")
    run_here(root)
    calls = count_calls(root)
    assert calls["squares.00000"] == 2
    assert calls["halves.00000"] == 1
    assert calls["halves.00001"] == 2


def test_a_stopped_run_goes_on_later(root: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        run_here(root, stop=stop)
    assert count_calls(root) == {}
    run_here(root)
    assert Journal(root).finished()


def test_the_budget_limits_the_workers_and_a_refusal_names_stage_and_round(root: Path) -> None:
    events = run_here(root, workers=4, allowed=25 * MIB, cost=10 * MIB)
    assert (events[0].workers, events[0].projected) == (2, 20 * MIB)
    with pytest.raises(BudgetError, match=r"toy \(squares\) needs 10 MiB"):
        run_here(root.parent / "other" / "toy", allowed=5 * MIB, cost=10 * MIB)
    assert not (root.parent / "other" / "toy" / "squares").exists()


def test_a_child_process_reports_events_and_its_peak(root: Path) -> None:
    events: list[Any] = []
    run_in_child(toy_job(root), events.append)
    assert [type(event) for event in events][:2] == [WorkerReady, RoundBegan]
    assert isinstance(events[-1], WorkerEnded)
    assert 5 * MIB < events[-1].measured < 500 * MIB
    assert Journal(root).finished()


@pytest.mark.parametrize(
    ("trouble", "kind", "message"),
    [
        ("usage", UsageError, "no good: bring another"),
        ("crash", EngineError, "RuntimeError: a bug"),
        ("full", EngineError, r"no space left on the disk \(somewhere\): free some space there"),
        ("short", EngineError, r"no space left on the disk \(.*/toy\): free some space there"),
        (
            "kill",
            EngineError,
            r"round halves after [01] of 2 tasks \(at work on .*halves.00000.*\): .* projected, .* MiB last measured",
        ),
    ],
)
def test_a_child_that_fails_says_how(root: Path, trouble: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        run_in_child(toy_job(root, trouble={"halves.00000": trouble}), lambda event: None)
    assert not Journal(root).done("halves.00000")
    run_in_child(toy_job(root), lambda event: None)
    assert Journal(root).result("total.00000") == {"total": TOTAL}
    assert count_calls(root)["squares.00000"] == 1


def test_results_do_not_depend_on_workers(tmp_path: Path) -> None:
    digests = []
    for workers in (1, 3):
        root = tmp_path / str(workers) / "toy"
        run_here(root, workers=workers)
        digests.append([(record.task, record.files, record.result) for record in Journal(root).records()])
    assert digests[0] == digests[1]


def test_a_round_that_is_temporary_until_no_round_is_refused(tmp_path: Path) -> None:
    class Stage:
        def rounds(self) -> Iterator[Round]:
            yield Round("one", Planned(1, Cost(task=1)), lambda index, context: None, until="tow")
            yield Round("two", Planned(1, Cost(task=1)), lambda index, context: None)

    limits = Limits(2**30, 0, 1)
    runner = StageRunner("toy", Stage(), StageStore(tmp_path), Journal(tmp_path), limits, print, threading.Event())
    with pytest.raises(UsageError, match=r"toy: rounds are temporary \(one until tow\)"):
        runner.run()


class Chain:
    """Rounds that add 1 to what the round before has left, each temporary until the next; ``last`` stays.

    What ``far`` has left, the first, is there until ``last``.
    """

    NAMES = ("far", "a", "b", "c", "last")
    UNTIL = {"far": "last", "a": "b", "b": "c", "c": "last", "last": None}  # noqa: RUF012

    def __init__(self, root: Path, fails: str = "") -> None:
        self._root, self._fails, self.calls = root, fails, []  # type: tuple[Path, str, list[str]]

    def rounds(self) -> Iterator[Round]:
        for name in self.NAMES:
            yield Round(name, Planned(1, Cost(task=1)), partial(self._run, name), until=self.UNTIL[name])

    def _run(self, name: str, index: int, context: TaskContext) -> dict[str, int]:
        if name == self._fails:
            raise RuntimeError("a bug")
        self.calls.append(name)
        before = self.NAMES[self.NAMES.index(name) - 1]
        found = 0 if name == "far" else int((self._root / before).read_text())
        if name == "last":
            found += int((self._root / "far").read_text())
        (context.scratch / name).write_text(str(found + 1))
        return {"found": found + 1}


def run_chain(root: Path, fails: str = "") -> list[str]:
    stage = Chain(root, fails)
    runner = StageRunner(
        "chain", stage, StageStore(root), Journal(root), Limits(GIB, 0, 1), lambda event: None, threading.Event()
    )
    with pytest.raises(RuntimeError) if fails else nullcontext():
        runner.run()
    return stage.calls


@pytest.mark.parametrize("fails", Chain.NAMES)
def test_temporary_rounds_follow_each_other_and_none_is_done_again_that_none_needs(fails: str, root: Path) -> None:
    done = Chain.NAMES[: Chain.NAMES.index(fails)]
    assert run_chain(root, fails) == list(done)
    there = {"far", *done[-1:]} & set(done)
    assert {name for name in files(root) if "/" not in name} == there  # what the next needs, and no more
    assert run_chain(root) == list(Chain.NAMES[len(done) :])
    assert Journal(root).result("last.00000") == {"found": 6}
    assert [name for name in files(root) if "/" not in name] == ["last"]
    assert run_chain(root) == []
    Journal(root).forget("last.00000")
    assert run_chain(root) == list(Chain.NAMES)


@pytest.mark.parametrize(
    ("missing", "needed"),
    [
        ({"last"}, {"last"}),
        ({"a", "last"}, {"last"}),
        ({"a", "b", "last"}, {"last"}),
        ({"c", "last"}, {"c", "last"}),
        ({"a", "c", "last"}, {"c", "last"}),
        ({"b", "c", "last"}, {"b", "c", "last"}),
        ({"far", "a", "b", "last"}, {"far", "last"}),
        ({"a", "b"}, set()),
        (set(), set()),
    ],
)
def test_rounds_needed(missing: set[str], needed: set[str], root: Path) -> None:
    assert rounds_needed(list(Chain(root).rounds()), missing) == needed


def test_what_stays_is_flushed_before_the_stage_is_said_to_be_complete(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    run_here(root)
    names = [Path(path).relative_to(root).as_posix() for path in flushed]
    *before, record, folder = names
    assert record.startswith("records/.stage.json.")
    assert folder == "records"
    files = set(locate(root).sizes()) - {"records/stage.json"}
    assert {name for name in before if Path(root, name).is_file()} == files
    assert {".", "records"} <= set(before)


@pytest.mark.parametrize("name", ["squares/3.txt", "records/squares.00003.json"])
def test_what_a_power_cut_left_of_a_temporary_task_is_found_and_done_again(root: Path, name: str) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        run_here(root, trouble={"halves.00000": "crash"})
    os.truncate(root / name, 0)
    (task,) = Journal(root).damaged()
    assert task == "squares.00003"
    Journal(root).forget(task)
    run_here(root)
    assert Journal(root).result("total.00000") == {"total": TOTAL}
    assert count_calls(root)[task] == 2
