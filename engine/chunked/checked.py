"""What the author of a pipeline gives, seen to be what the engine takes: plans, stages, results of tasks.

A mistake is told in a sentence that names the step, before it becomes an error elsewhere, or a wrong result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from engine.chunked.budget import Cost
from engine.chunked.errors import UsageError
from engine.chunked.plain import json_value, plain, whole_number
from engine.chunked.task import Costs, Planned, Round, Stage


class PlannedRounds(dict[str, Planned]):
    """The rounds of a plan, by name; asked for another one, they say which there are.

    Parameters
    ----------
    step : str
        The step they are of.
    rounds : mapping of str to Planned
    """

    def __init__(self, step: str, rounds: Mapping[str, Planned]) -> None:
        super().__init__(rounds)
        self._step = step

    def __missing__(self, name: str) -> Planned:
        raise UsageError(f"step {self._step}: its plan has no round '{name}', only {', '.join(self)}")


def costs(step: str, given: Any) -> Costs:
    """What a step's plan has returned.

    Raises
    ------
    UsageError
        Where it is no plan.
    """
    if not isinstance(given, Costs) or not isinstance(given.rounds, Mapping):
        raise UsageError(f"step {step}: its plan returns a {type(given).__name__}: return chunked.Costs")
    if not given.rounds:
        raise UsageError(f"step {step}: its plan has no rounds: give one at least")
    rounds = {name: _planned(step, name, each) for name, each in given.rounds.items()}
    seconds = plain(given.seconds)
    if not isinstance(seconds, int | float) or not seconds >= 0:
        raise UsageError(f"step {step}: its plan says that it takes {seconds!r} seconds: give a number, 0 or more")
    disk = whole_number(given.disk, f"step {step}: disk, bytes that it writes,", 0)
    kept = disk if given.kept is None else whole_number(given.kept, f"step {step}: kept, bytes that stay,", 0)
    if kept > disk:
        raise UsageError(f"step {step}: its plan keeps {kept:,} of {disk:,} bytes on the disk: give no more than disk")
    return Costs(PlannedRounds(step, rounds), disk, seconds, kept)


def _planned(step: str, name: str, given: Any) -> Planned:
    if not isinstance(given, Planned) or not isinstance(given.cost, Cost):
        kind = type(given).__name__
        raise UsageError(f"step {step}: its plan has a {kind} for round {name}: give chunked.Planned(tasks, cost)")
    # 0 while a survey has not yet told how many, or where the data leave nothing to do.
    n_tasks = whole_number(given.n_tasks, f"step {step}: the number of tasks of round {name}", 0)
    return Planned(n_tasks, given.cost)


class CheckedStage:
    """A stage whose rounds are those of its plan.

    Parameters
    ----------
    step : str
        The step it is of.
    stage : object
        What the step's class or function has given.
    plan : callable
        Gives the rounds that are planned, by what is known then.
    """

    def __init__(self, step: str, stage: Any, plan: Callable[[], Mapping[str, Planned]]) -> None:
        if not callable(getattr(stage, "rounds", None)):
            raise UsageError(f"step {step}: its stage is {stage!r}, which has no method rounds")
        self._step, self._stage, self._plan = step, stage, plan

    def rounds(self) -> Iterator[Round]:
        """Yield the rounds of the stage.

        Raises
        ------
        UsageError
            For what is no round, for two with one name; at the end, where the plan has others.
        """
        stage: Stage = self._stage
        given: Any = stage.rounds()
        if not hasattr(given, "__iter__"):
            raise UsageError(f"step {self._step}: rounds() returns {given!r}: let it yield chunked.Round(...)")
        seen: list[str] = []
        for each in given:
            if not isinstance(each, Round):
                raise UsageError(f"step {self._step}: rounds() yields {each!r}: let it yield chunked.Round(...)")
            if each.name in seen:
                raise UsageError(f"step {self._step}: rounds() yields two rounds with the name {each.name}")
            seen.append(each.name)
            yield each
        planned = list(self._plan())
        if set(planned) != set(seen):
            raise UsageError(
                f"step {self._step}: rounds() yields {', '.join(seen) or 'nothing'}, and its plan has "
                f"{', '.join(planned)}: give both the same names"
            )


def result(task: str, given: Any) -> dict[str, Any]:
    """What a task has returned, as JSON values.

    Raises
    ------
    UsageError
        Where it is no mapping of them.
    """
    if not isinstance(given, Mapping | None):
        raise UsageError(f"task {task} returns {given!r}: return a dict of a few JSON values, or nothing")
    values: dict[str, Any] = json_value(given or {}, f"result of task {task}")
    return values
