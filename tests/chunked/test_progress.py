"""What a person sees while it runs."""

from __future__ import annotations

import io
import time
from itertools import pairwise

import pytest

from engine.chunked import progress
from engine.chunked.events import Note, Preparing, RoundBegan, StageBegan, StageEnded, StageSkipped, TaskEnded
from engine.chunked.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_told_what_is_prepared_and_a_log_is_not() -> None:
    for stream, expected in ((Terminal(), "finding the ratings ...\n"), (io.StringIO(), "")):
        with Progress(stream=stream) as shown:
            shown(Preparing("finding the ratings"))
        assert stream.getvalue() == expected


def test_a_terminal_is_told_what_takes_long_between_bars_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SILENT", 0.1)
    stream = Terminal()
    with Progress(stream=stream) as shown:
        shown(Preparing("measuring"))
        wait_for(2, stream)
    assert [line.partition(":")[0] for line in stream.getvalue().splitlines()] == ["measuring ...", "measuring"]


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


def seen(stream: io.StringIO) -> list[str]:
    """What stands on a terminal's lines in the end."""
    return [line.rstrip("\r").rpartition("\r")[2] for line in stream.getvalue().split("\n")[:-1]]


@pytest.mark.parametrize(("idle", "why"), [(False, "done before"), (True, "nothing to do")])
def test_a_stage_that_is_skipped_leaves_no_bar_on_a_terminal(idle: bool, why: str) -> None:
    stream = Terminal()
    with Progress(stream=stream) as shown:
        shown(StageBegan("biases", "how far users and items are from the mean", 12))
        shown(StageSkipped("biases", idle))
    assert seen(stream) == [f"biases: {why}"]


def test_a_bar_and_all_beside_it_fit_a_terminal_whatever_a_stage_does() -> None:
    stream = Terminal()
    with Progress(stream=stream) as shown:
        for stage, does in (("biases", "how far users and items are from the mean"), ("a" * 30, "much"), ("b", "c")):
            shown(StageBegan(stage, does, 1200))
            shown(TaskEnded("x.00000", 0.1))
            shown(StageEnded(stage, 0.1, 1023 << 20))
    lines = seen(stream)
    assert [line.partition(":")[0] for line in lines] == ["biases", "a" * 30, "b"]
    for line in lines:
        assert len(line) < 80
        assert " 1200/1200 " in line
        assert line.endswith("00:00<00:00, peak 1023 MiB")


def test_a_note_is_broken_between_words_on_a_terminal_and_one_line_in_a_log() -> None:
    text = "words " * 20 + "x" * 90
    for stream in (Terminal(), io.StringIO()):
        with Progress(stream=stream) as shown:
            shown(Note(text))
        lines = stream.getvalue().splitlines()
        assert " ".join(line.strip() for line in lines) == f"note: {text}"
        assert len(lines) == (3 if stream.isatty() else 1)
        assert all(len(line) <= 80 and line.startswith("  words") for line in lines[1:-1])
