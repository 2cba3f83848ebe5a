"""A small stage for tests of the engine: it squares numbers, adds them up, and can be told to fail."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine import chunked
from engine.chunked import errors
from engine.chunked.budget import MIB, Cost
from engine.chunked.journal import Committed
from engine.chunked.pipeline import Inputs, Job, Known, Pipeline, Step, job
from engine.chunked.storage import Place, locate
from engine.chunked.task import Costs, Planned, Round, TaskContext


class ToyStage:
    """``squares`` leaves one file a task (temporary), ``halves`` two sums, ``total`` the sum of those.

    Every start of a task is noted in the folder ``calls`` of the details, so that work redone can be counted.
    ``trouble`` there maps a task id to what is to happen when it runs; ``cost`` is what a task costs.
    """

    def __init__(self, inputs: Inputs[Mapping[str, Any]]) -> None:
        self.own: Committed = inputs.own
        self.inputs = inputs
        self.n = inputs.params["n"]
        self.trouble: dict[str, str] = inputs.details.get("trouble", {})
        self.calls = Path(inputs.details["calls"])
        self.calls.mkdir(exist_ok=True, parents=True)

    @staticmethod
    def plan(known: Known) -> Costs:
        cost = Cost(task=known.details.get("cost", MIB))
        rounds = {"squares": known.params["n"], "halves": 2, "total": 1}
        return Costs({name: Planned(n, cost) for name, n in rounds.items()})

    def rounds(self) -> Iterator[Round]:
        plan = self.inputs.plan()
        yield Round("squares", plan["squares"], self._square, until="halves")
        yield Round("halves", plan["halves"], self._half)
        yield Round("total", plan["total"], self._total)

    def _begin(self, task_id: str) -> None:
        with (self.calls / task_id).open("a") as file:
            file.write("x")
        what = self.trouble.get(task_id)
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "sleep":
            time.sleep(60)
        elif what == "hold":
            held = bytearray(300 * MIB)
            time.sleep(4)
            del held
        elif what == "usage":
            raise errors.UsageError("no good: bring another")
        elif what == "crash":
            raise RuntimeError("a bug")
        elif what == "short":
            raise RuntimeError("100 requested and 0 written")  # as NumPy has it
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


def toy_pipeline(calls: Path, n: int = 6, **details: Any) -> Pipeline:
    """One step, the toy."""
    return Pipeline("toys", [Step("toy", ToyStage, params={"n": n})], {"calls": str(calls), **details})


def run_toy(where: Path) -> object:
    """Run it in a work directory."""
    return chunked.run(toy_pipeline(where.parent / "calls"), where, memory="200MiB")


def toy_job(root: Place, **options: Any) -> Job:
    """The toy in a folder of one's own choosing."""
    pipeline = toy_pipeline(calls_of(root), **options)
    return job(pipeline, pipeline.steps[0], {"toy": locate(root)})


def calls_of(root: Place) -> Path:
    """The folder beside a stage's in which its calls are noted."""
    return Path(str(root)).parent / "calls"


def count_calls(root: Place) -> dict[str, int]:
    return {path.name: len(path.read_text()) for path in sorted(calls_of(root).iterdir())}
