"""A small stage for tests of the engine: it squares numbers, adds them up, and can be told to fail."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.chunked import errors
from engine.chunked.budget import MIB, Cost
from engine.chunked.journal import Committed
from engine.chunked.task import Round, TaskContext


class ToyStage:
    """``squares`` leaves one file a task (temporary), ``halves`` two sums, ``total`` the sum of those.

    Every start of a task is noted in the folder ``calls`` beside the stage's, so that work redone can be counted.
    ``trouble`` maps a task id to what is to happen when it runs.
    """

    def __init__(self, root: Path, n: int = 6, trouble: dict[str, str] | None = None, cost: int = MIB) -> None:
        self.own = Committed(root)
        self.n = n
        self.trouble = trouble or {}
        self.cost = Cost(task=cost)
        self.calls = root.parent / "calls"
        self.calls.mkdir(exist_ok=True, parents=True)

    def rounds(self) -> Iterator[Round]:
        yield Round("squares", self.n, self._square, self.cost, until="halves")
        yield Round("halves", 2, self._half, self.cost)
        yield Round("total", 1, self._total, self.cost)

    def _begin(self, task_id: str) -> None:
        with (self.calls / task_id).open("a") as file:
            file.write("x")
        what = self.trouble.get(task_id)
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "sleep":
            time.sleep(60)
        elif what == "usage":
            raise errors.UsageError("no good: bring another")
        elif what == "crash":
            raise RuntimeError("a bug")
        elif what == "full":
            raise OSError(28, "No space left on device", "somewhere")

    def _square(self, index: int, context: TaskContext) -> dict[str, Any]:
        self._begin(f"squares.{index:05d}")
        (context.scratch / "squares").mkdir()
        (context.scratch / f"squares/{index}.txt").write_text(str(index**2))
        return {"square": index**2}

    def _half(self, index: int, context: TaskContext) -> None:
        self._begin(f"halves.{index:05d}")
        values = [int(self.own.path(f"squares/{i}.txt").read_text()) for i in range(index, self.n, 2)]
        (context.scratch / f"half-{index}.txt").write_text(str(sum(values)))

    def _total(self, index: int, context: TaskContext) -> dict[str, Any]:
        self._begin("total.00000")
        return {"total": sum(int(self.own.path(f"half-{i}.txt").read_text()) for i in range(2))}


def open_stage(root: str, **options: Any) -> tuple[Path, ToyStage]:
    return Path(root), ToyStage(Path(root), **options)


def count_calls(root: Path) -> dict[str, int]:
    return {path.name: len(path.read_text()) for path in sorted((root.parent / "calls").iterdir())}
