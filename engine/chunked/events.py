"""What happens while a run goes on, as types: from the processes that work to whoever shows it.

A process that runs a stage tells `WorkerEvent` as lines of JSON; the run loop adds the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec


def _tag(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


class Event(msgspec.Struct, frozen=True, tag_field="event", tag=_tag):
    """Base of all events; as JSON, ``event`` is its name: ``round_began``."""


class RunBegan(Event, frozen=True):
    """The run has its work directory and its executor.

    Attributes
    ----------
    name, workdir : str
        What is run, and where.
    allowed, processes : int
        Bytes allowed to each of so many processes that run tasks.
    notes : list of str
        What the user should know.
    """

    name: str
    workdir: str
    allowed: int
    processes: int
    notes: list[str] = []


class Note(Event, frozen=True):
    """Something the user should know."""

    text: str


class Preparing(Event, frozen=True):
    """What is done before the first stage, for people: it may take seconds."""

    text: str


class Explained(Event, frozen=True):
    """Why each stage runs or is skipped, by its name."""

    why: dict[str, str]


class StageBegan(Event, frozen=True):
    """A stage is next: its name, what it does, and its planned number of tasks."""

    stage: str
    does: str
    tasks: int


class StageSkipped(Event, frozen=True):
    """The stage was done before, or is ``idle``: it has nothing to do."""

    stage: str
    idle: bool = False


class StageEnded(Event, frozen=True):
    """The stage is done: what it took, in seconds and bytes, and bytes of chunks read and found in a cache."""

    stage: str
    seconds: float
    measured: int
    stored: int = 0
    kept: int = 0


class WorkerEvent(Event, frozen=True, kw_only=True):
    """Told by a process that works.

    Attributes
    ----------
    measured : int
        Bytes, the most of the present round so far.
    """

    measured: int = 0


class WorkerReady(WorkerEvent, frozen=True):
    """The stage is open; bytes held before any data."""

    reserved: int


class RoundBegan(WorkerEvent, frozen=True):
    """A round begins.

    Attributes
    ----------
    round : str
    tasks, done : int
        Of the round, and those done before.
    workers, batch_rows, cache, projected
        See `engine.chunked.budget.Allotment`.
    """

    round: str
    tasks: int
    done: int
    workers: int
    batch_rows: int
    cache: int
    projected: int


class TaskBegan(WorkerEvent, frozen=True):
    """A task begins."""

    task: str


class TaskEnded(WorkerEvent, frozen=True):
    """A task is done and recorded.

    Attributes
    ----------
    task : str
    seconds : float
    stored, kept : int
        See `engine.chunked.task.Reads`.
    """

    task: str
    seconds: float
    stored: int = 0
    kept: int = 0


class RoundEnded(WorkerEvent, frozen=True):
    """All tasks of a round are done."""

    round: str


class Failed(WorkerEvent, frozen=True):
    """What went wrong: made and turned into an error again by `engine.chunked.errors`.

    Attributes
    ----------
    kind : str
        Name of the class of the error; empty for a fault of the program.
    message : str
    enough : int or None
        Bytes of memory that would be enough, where that is the matter.
    """

    kind: str
    message: str
    enough: int | None = None


class WorkerEnded(WorkerEvent, frozen=True):
    """The process has done all it was asked to."""


class WorkerFull(WorkerEvent, frozen=True):
    """The process holds so much of earlier stages that the next round would get less in it than in a fresh one."""


Told = WorkerReady | RoundBegan | TaskBegan | TaskEnded | RoundEnded | Failed | WorkerEnded | WorkerFull
"""All that a process that works may tell."""

OnEvent = Callable[[Event], Any]
"""Called with every event, in the process that began the run."""


def ignore(event: Event) -> None:
    """Do nothing."""


_decoder: msgspec.json.Decoder[Told] = msgspec.json.Decoder(Told)


def to_line(event: WorkerEvent) -> str:
    """An event as a line of JSON."""
    return msgspec.json.encode(event).decode() + "\n"


def from_line(line: str | bytes) -> Told:
    """The event that such a line tells."""
    return _decoder.decode(line)
