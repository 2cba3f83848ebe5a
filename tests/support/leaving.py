"""A stage that leaves memory behind in its process, and says in which process it ran, with what."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from engine import chunked
from engine.chunked.budget import MIB

ROUNDS = ("first", "second")
_left: list[bytearray] = []


class LeavingStage:
    """Two rounds; ``leaves`` are MiB that stay, and ``rows`` those that a row of a batch costs in each round."""

    def __init__(self, inputs: chunked.Inputs[Mapping[str, Any]]) -> None:
        self._inputs = inputs

    @staticmethod
    def plan(known: chunked.Known) -> chunked.Costs:
        costs = [chunked.Cost(task=MIB, row=row * MIB, max_rows=10) for row in known.params["rows"]]
        return chunked.Costs({name: chunked.Planned(1, cost) for name, cost in zip(ROUNDS, costs, strict=True)})

    def rounds(self) -> Iterator[chunked.Round]:
        plan = self._inputs.plan()
        for name in ROUNDS:
            yield chunked.Round(name, plan[name], self._run)

    def _run(self, index: int, context: chunked.TaskContext) -> dict[str, Any]:
        _left.append(bytearray(b"x") * (self._inputs.params["leaves"] * MIB // 2))
        return {"pid": os.getpid(), "batch_rows": context.batch_rows}
