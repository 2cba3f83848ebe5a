"""Stages share a process while all that is of use to the next fits beside what it holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import chunked
from engine.chunked import loop
from engine.chunked.budget import MIB
from engine.chunked.events import Event, RoundBegan, WorkerReady
from tests.support.leaving import ROUNDS, LeavingStage


def run(where: Path, memory: int, *steps: tuple[int, int, int]) -> tuple[list[list[int]], list[Event]]:
    """Run steps that leave so many MiB and whose rows cost so many in each round; each round's process, and events."""
    named = [
        chunked.Step(f"step{i}", LeavingStage, params={"leaves": leaves, "rows": rows})
        for i, (leaves, *rows) in enumerate(steps)
    ]
    events: list[Event] = []
    result = chunked.run(chunked.Pipeline("steps", named), where, memory=memory, workers=1, on_event=events.append)
    entries = [result.committed(step.name) for step in named]
    return [[each.results(name)[0]["pid"] for name in ROUNDS] for each in entries], events


def rounds(events: list[Event]) -> list[RoundBegan]:
    return [event for event in events if isinstance(event, RoundBegan)]


def test_with_room_all_stages_run_in_one_process_that_is_gone_afterwards(tmp_path: Path) -> None:
    pids, _ = run(tmp_path, 512 * MIB, (1, 1, 1), (1, 1, 1), (1, 1, 1))
    ((pid,),) = {tuple(set(each)) for each in pids}
    assert pid != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_stage_that_would_get_less_beside_what_was_left_gets_a_fresh_process(tmp_path: Path) -> None:
    pids, events = run(tmp_path, 192 * MIB, (90, 1, 1), (0, 12, 12), (0, 1, 1))
    assert pids[0][0] == pids[0][1] != pids[1][0], "90 MiB were left, and 120 are of use to the next"
    assert pids[1] == pids[2] == [pids[1][0]] * 2, "after which there is room again"
    assert [event.batch_rows for event in rounds(events)] == [10] * 6


def test_the_process_is_left_between_two_rounds_where_the_second_would_get_less(tmp_path: Path) -> None:
    """What the first process has done is not done again, and each round gets all that is of use to it."""
    pids, events = run(tmp_path, 192 * MIB, (60, 1, 1), (0, 1, 12))
    assert pids[0] == [pids[1][0]] * 2
    assert pids[1][0] != pids[1][1]
    assert [(event.round, event.batch_rows) for event in rounds(events)] == [("first", 10), ("second", 10)] * 2


def test_in_a_fresh_process_a_stage_gets_what_there_is(tmp_path: Path) -> None:
    """A budget in which nothing gets all that would be of use: every stage has its own process, as small as can be."""
    pids, events = run(tmp_path, 128 * MIB, (3, 50, 50), (3, 50, 50))
    assert len({pid for each in pids for pid in each}) == 2
    reserved = [event.reserved for event in events if isinstance(event, WorkerReady)]
    assert abs(reserved[-1] - reserved[0]) < 4 * MIB
    for event in rounds(events):
        assert 1 <= event.batch_rows < 3
        assert event.projected <= 128 * MIB


def test_what_is_measured_is_of_each_stage_and_never_more_than_projected(tmp_path: Path) -> None:
    named = [
        chunked.Step("large", LeavingStage, params={"leaves": 0, "rows": [12, 12]}),
        chunked.Step("small", LeavingStage, params={"leaves": 0, "rows": [1, 1]}),
    ]
    result = loop.run(chunked.Pipeline("two", named), tmp_path, memory="512MiB", workers=1)
    for entry in result.stages:
        assert 0 < entry.measured <= entry.projected <= 512 * MIB
