"""What a stage is made of: rounds of tasks, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from engine.chunked.budget import Cost
from engine.chunked.errors import UsageError


@dataclass
class Reads:
    """What a task was given of stored chunks.

    Attributes
    ----------
    stored, kept : int
        Bytes, unpacked: read from storage, and found in a cache.
    """

    stored: int = 0
    kept: int = 0


@dataclass(frozen=True)
class TaskContext:
    """What a running task is given.

    Attributes
    ----------
    scratch : Path
        An empty folder. Every file the task leaves below it is committed under the same relative
        name in the stage's folder; no other task may write that name.
    batch_rows : int
        How many rows the budget lets the task work on at a time. Must never influence the result.
    shared : object
        What ``Round.load`` returned; read-only, seen by all tasks of the round.
    reads : Reads
        Counted by the task where it reads through a cache: told in ``run.json``.
    """

    scratch: Path
    batch_rows: int
    shared: Any = None
    reads: Reads = field(default_factory=Reads)


TaskResult = Mapping[str, Any] | None


class Planned(NamedTuple):
    """A round as it is planned: its number of tasks, and what they cost.

    Tasks are numbered 0 to ``n_tasks - 1``; their number depends on data and parameters only.
    """

    n_tasks: int
    cost: Cost


class Costs(NamedTuple):
    """What a stage will take.

    Attributes
    ----------
    rounds : mapping of str to Planned
        Its rounds, in order.
    disk : int
        Bytes on the disk at a time, at most, temporary files included.
    seconds : float
        What it would take one worker; 0 where that is not known.
    kept : int, optional
        Bytes of those on the disk that stay when it is done; by default all.
    """

    rounds: Mapping[str, Planned]
    disk: int = 0
    seconds: float = 0.0
    kept: int | None = None

    @property
    def n_tasks(self) -> int:
        """Tasks of all rounds."""
        return sum(planned.n_tasks for planned in self.rounds.values())


def _load_nothing() -> None:
    return None


_NAME = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


@dataclass(frozen=True)
class Round:
    """Tasks that may run in any order and at the same time.

    Attributes
    ----------
    name : str
        Unique within the stage; with the task's number it names the task and its record.
    planned : Planned
        Number of tasks and cost, from the stage's plan: `engine.chunked.pipeline.Inputs.plan`.
    run : callable
        ``run(index, context)`` does one task. What it returns (JSON, small) is kept in its record.
    load : callable
        Called once in the process before the first task; its value reaches the tasks as
        ``context.shared``.
    load_cached : callable or None
        ``load_cached(n_bytes)`` is called instead of ``load`` where there is room for so much of the cost's ``cache``.
    until : str or None
        Where given, the round's files are temporary: they are needed until the round of this name is
        complete, removed then, and made again only if a round they serve has to run again: one after theirs, up
        to that. It may be temporary itself. They outlive a killed process; of those that a power cut damages, the
        tasks are done again.
    """

    name: str
    planned: Planned
    run: Callable[[int, TaskContext], TaskResult]
    load: Callable[[], Any] = _load_nothing
    load_cached: Callable[[int], Any] | None = None
    until: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not set(self.name) <= _NAME:
            raise UsageError(f"a round has the name {self.name!r}: use letters, digits, - and _")
        if not isinstance(self.planned, Planned):
            raise UsageError(f"round {self.name}: {self.planned!r} is no plan of it: give self.inputs.plan()[name]")
        if not callable(self.run):
            raise UsageError(f"round {self.name}: {self.run!r} cannot be called: give a method of (index, context)")

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return self.planned.n_tasks

    @property
    def cost(self) -> Cost:
        """The memory the round takes."""
        return self.planned.cost

    def task_id(self, index: int) -> str:
        """Name of a task within its stage, e.g. ``pass-2.00004``."""
        return task_id(self.name, index)

    def task_ids(self) -> list[str]:
        """Names of all the tasks, in order."""
        return [self.task_id(i) for i in range(self.n_tasks)]


def task_id(round_name: str, index: int = 0) -> str:
    """Name of a round's task within its stage."""
    return f"{round_name}.{index:05d}"


class Stage(Protocol):
    """A sequence of rounds."""

    def rounds(self) -> Iterator[Round]:
        """Yield the rounds in order.

        A generator: the runner asks for the next round only when the one before it is complete, so that
        a round's shape may depend on what earlier rounds committed.
        """
        ...
