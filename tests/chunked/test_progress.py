"""What a person sees while it runs."""

from __future__ import annotations

import io
import time
from itertools import pairwise

import pytest

from engine.chunked import progress
from engine.chunked.events import Preparing, RoundBegan, StageBegan, StageEnded, TaskEnded
from engine.chunked.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_told_what_is_prepared_and_a_log_is_not() -> None:
    for stream, expected in ((Terminal(), "finding the ratings ...\n"), (io.StringIO(), "")):
        with Progress(stream=stream) as shown:
            shown(Preparing("finding the ratings"))
        assert stream.getvalue() == expected


class Log(io.StringIO):
    """A log, and when each line of it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def flush(self) -> None:
        self.times.append(time.monotonic())


def wait_for(lines: int, stream: io.StringIO) -> None:
    deadline = time.monotonic() + 30
    while stream.getvalue().count("\n") < lines:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_log_is_told_what_takes_long_the_less_often_the_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SILENT", 0.1)
    monkeypatch.setattr(progress, "_SELDOM", 0.4)
    stream = Log()
    with Progress(stream=stream) as shown:
        shown(Preparing("finding the ratings"))
        wait_for(1, stream)
        shown(StageBegan("fit", "the model", 5))
        shown(RoundBegan("fold", 5, 2, 1, 1, False, 0))
        wait_for(2, stream)
        shown(TaskEnded("fold.00002", 0.1))
        wait_for(12, stream)
        shown(StageEnded("fit", 1.0, 7 << 20))
        wait_for(14, stream)
    lines = stream.getvalue().splitlines()
    assert lines[:3] == [
        "finding the ratings: after 0 s",
        "fit: 2 of 5 tasks after 0 s",
        "fit: 3 of 5 tasks after 0 s",
    ]
    assert lines[11].startswith("fit: 3 of 5 tasks after ")
    assert lines[12:] == ["fit: 5 tasks in 1.0 s, peak 7 MiB", "making ready: after 0 s"]
    pauses = [after - before for before, after in pairwise(stream.times[1:12])]
    assert min(pauses) >= 0.1
    assert pauses[9] > 0.2


def test_a_log_of_short_stages_has_a_line_for_each() -> None:
    stream = Log()
    with Progress(stream=stream) as shown:
        for stage in ("one", "two"):
            shown(StageBegan(stage, "something", 1))
            shown(TaskEnded("x.00000", 0.1))
            shown(StageEnded(stage, 0.1, 7 << 20))
    assert len(stream.getvalue().splitlines()) == 2


def test_on_a_terminal_time_passes_though_no_task_ends() -> None:
    stream = Terminal()
    with Progress(stream=stream) as shown:
        shown(StageBegan("split", "train and test", 2))
        shown(RoundBegan("draw", 2, 0, 1, 1, False, 0))
        before = len(stream.getvalue())
        deadline = time.monotonic() + 30
        while len(stream.getvalue()) == before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        shown(TaskEnded("draw.00000", 0.1))
        shown(StageEnded("split", 1.0, 7 << 20))
    assert "split: train and test" in stream.getvalue()
    assert "peak 7 MiB" in stream.getvalue()
