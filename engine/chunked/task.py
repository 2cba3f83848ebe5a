"""What the runner needs to know of a step: stages, rounds and tasks."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engine.chunked.budget import Cost
from engine.chunked.storage.location import Location


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
    """

    scratch: Path
    batch_rows: int
    shared: Any = None


TaskResult = Mapping[str, Any] | None


def _load_nothing() -> None:
    return None


@dataclass(frozen=True)
class Round:
    """Tasks that may run in any order and at the same time.

    Attributes
    ----------
    name : str
        Unique within the stage; with the task's index it names the task and its record.
    n_tasks : int
        Tasks are numbered 0 to ``n_tasks - 1``. Depends on data and configuration only.
    run : callable
        ``run(index, context)`` does one task. What it returns (JSON, small) is kept in its record.
    cost : Cost
        The memory it takes.
    load : callable
        Called once in the process before the first task; its value reaches the tasks as
        ``context.shared``.
    load_cached : callable or None
        Called instead of ``load`` where there is room for the cost's ``cache``.
    until : str or None
        Where given, the round's files are temporary: they are needed until the round of this name is
        complete, removed then, and made again only if a round they serve has to run again.
    """

    name: str
    n_tasks: int
    run: Callable[[int, TaskContext], TaskResult]
    cost: Cost
    load: Callable[[], Any] = _load_nothing
    load_cached: Callable[[], Any] | None = None
    until: str | None = None

    def task_id(self, index: int) -> str:
        """Name of a task within its stage, e.g. ``pass-2.00004``."""
        return f"{self.name}.{index:05d}"

    def task_ids(self) -> list[str]:
        """Names of all the tasks, in order."""
        return [self.task_id(i) for i in range(self.n_tasks)]


class Stage(Protocol):
    """A step of a pipeline."""

    def rounds(self) -> Iterator[Round]:
        """Yield the rounds in order.

        A generator: the runner asks for the next round only when the one before it is complete, so that
        a round's shape may depend on what earlier rounds committed.
        """
        ...


@dataclass(frozen=True)
class Job:
    """A stage to run in some other process.

    Attributes
    ----------
    name : str
        The stage's name, for messages.
    open : str
        ``"module:function"``; called with ``spec`` it returns the stage's folder and the stage.
    spec : mapping
        JSON.
    upto : str or None
        Leave after the round of this name.
    """

    name: str
    open: str
    spec: Mapping[str, Any]
    upto: str | None = None

    def opened(self) -> tuple[Location, Stage]:
        """Construct the stage in this process; return its folder, too."""
        module, function = self.open.split(":")
        found: tuple[Location, Stage] = getattr(importlib.import_module(module), function)(**self.spec)
        return found
