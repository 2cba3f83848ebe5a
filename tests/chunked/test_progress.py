"""What a person sees while it runs."""

from __future__ import annotations

import io
import time

from engine.chunked.events import Preparing, RoundBegan, StageBegan, StageEnded, TaskEnded
from engine.chunked.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_told_what_is_prepared_and_a_log_is_not() -> None:
    for stream, expected in ((Terminal(), "finding the ratings ...\n"), (io.StringIO(), "")):
        with Progress(stream=stream) as progress:
            progress(Preparing("finding the ratings"))
        assert stream.getvalue() == expected


def test_on_a_terminal_time_passes_though_no_task_ends() -> None:
    stream = Terminal()
    with Progress(stream=stream) as progress:
        progress(StageBegan("split", "train and test", 2))
        progress(RoundBegan("draw", 2, 0, 1, 1, False, 0))
        before = len(stream.getvalue())
        deadline = time.monotonic() + 30
        while len(stream.getvalue()) == before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        progress(TaskEnded("draw.00000", 0.1))
        progress(StageEnded("split", 1.0, 7 << 20))
    assert "split: train and test" in stream.getvalue()
    assert "peak 7 MiB" in stream.getvalue()
