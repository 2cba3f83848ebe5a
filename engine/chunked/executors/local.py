"""Runs stages in child processes, whose memory comes back when they end; stages that fit beside it share one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType

import msgspec

from engine.chunked import memory
from engine.chunked.budget import MIB, format_size
from engine.chunked.errors import EngineError, Interrupted, ProgramError, rebuilt
from engine.chunked.events import Failed, OnEvent, WorkerEnded, WorkerEvent, WorkerFull, from_line
from engine.chunked.executors.base import WorkerLimit, environment
from engine.chunked.executors.child import COMMAND, Child
from engine.chunked.executors.orders import Load, Run, to_line
from engine.chunked.executors.processes import (
    Asked,
    Words,
    ask,
    ended,
    ended_so,
    process_failed,
    processors,
    was_killed,
)
from engine.chunked.executors.seen import Seen
from engine.chunked.pipeline import Job
from engine.chunked.references import Reference
from engine.chunked.storage import Location

# Bytes that one stage's libraries may take more than another's.
_PROBES_DIFFER = 32 * MIB


class LocalExecutor:
    """One process at a time, which runs tasks on threads; see `engine.chunked.executors.base` for its attributes.

    The process goes on with the next stage where all that is of use to that fits into the budget beside what the
    process holds by then; otherwise it ends, and a fresh one goes on. Leaving the ``with`` block ends it.

    What is allowed, this process and the child share. What this process held before is its caller's and not counted,
    unless the process is claimed: see `engine.chunked.memory.process_claimed`.

    Parameters
    ----------
    allowed : int or None
        Bytes; none: `engine.chunked.memory.default_budget`.
    workers : int or None
        Tasks at a time at most; none: as many as processors.
    keep_open : tuple of int
        Descriptors that child processes inherit.
    """

    processes = 1
    limit: WorkerLimit | None = None

    def __init__(self, allowed: int | None, workers: int | None, keep_open: tuple[int, ...] = ()) -> None:
        self.allowed = memory.default_budget() if allowed is None else allowed
        self.max_workers = workers or processors()
        self._environment = {**os.environ, **environment(self.max_workers)}
        self._keep_open = keep_open
        self._callers_bytes = memory.callers_bytes()
        self._child: Child | None = None

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_child()

    def reserved_bytes(self, stages: Sequence[Reference], where: Location) -> list[int]:
        """See `engine.chunked.executors.base.Executor`."""
        self._end_child()
        among = Asked()
        probe = partial(_loaded_apart, where=where, environment=self._environment, among=among)
        groups = _tried_out_together(stages)
        first = probe(groups[0]) if groups else 0
        # Probes are within the budget, too: as many at a time as fit beside this process, by what the first took.
        at_a_time = (self.allowed - self._own_bytes()) // max(1, first + _PROBES_DIFFER)
        with ThreadPoolExecutor(max(1, min(self.max_workers, at_a_time))) as pool:
            try:
                others = list(pool.map(probe, groups[1:]))
            except BaseException:
                among.end()  # the pool would wait for them
                raise
        own = self._own_bytes()
        held = {stage: own + each for group, each in zip(groups, [first, *others], strict=False) for stage in group}
        return [held[stage] for stage in stages]

    def reserved_together(self, stages: Sequence[Reference], where: Location) -> int | None:
        """See `engine.chunked.executors.base.Executor`; the process that tries it out then runs the stages."""
        reserved = 0
        for stage in stages:
            reserved = self._own_bytes() + self._load(stage, where)
            if reserved + _PROBES_DIFFER > self.allowed:
                self._end_child()
                return None
        return reserved

    def _load(self, stage: Reference, where: Location) -> int:
        """Have the child load a stage; return what it holds then."""
        child, doing = self._running_child(), f"loading {stage.text}"
        try:
            last = next(child.ask(_load([stage], where)), None)
        except BaseException:
            self._end_child(kill=True)
            raise
        if isinstance(last, WorkerEnded):
            return last.measured or memory.ASSUMED_RESERVED
        code = self._end_child()
        if isinstance(last, Failed):
            raise rebuilt(last, doing)
        raise process_failed(doing, code, child.words.last())

    def _own_bytes(self) -> int:
        return max(0, memory.resident_bytes() - self._callers_bytes)

    def bytes_in_use(self) -> int:
        """See `engine.chunked.executors.base.Executor`."""
        child = self._child
        return self._own_bytes() + (memory.tree_bytes(child.pid) if child is not None else 0)

    def run(self, job: Job, on_event: OnEvent) -> None:
        """See `engine.chunked.executors.base.Executor`."""
        seen = Seen()
        while isinstance(last := self._run(job, on_event, seen), WorkerFull):
            self._end_child()  # a fresh one goes on with the round
        if not isinstance(last, WorkerEnded):
            child = self._running_child()
            raise self._as_error(job, self._end_child(), child.words, last, seen)

    def _run(self, job: Job, on_event: OnEvent, seen: Seen) -> WorkerEvent | None:
        """Let the child run what is left of a stage, and pass on what it tells; return the last of it."""
        child, own = self._running_child(), self._own_bytes()
        last: WorkerEvent | None = None
        try:
            for told in child.ask(Run(job, self.allowed, self.max_workers, own)):
                last = msgspec.structs.replace(told, measured=own + told.measured)
                if not isinstance(last, WorkerFull):
                    seen.take(last)
                    on_event(last)
        except KeyboardInterrupt:
            child.stop()
            self._child = None
            raise Interrupted(f"stopped in {seen.where(job.step)}; run again to go on") from None
        except BaseException:
            self._end_child(kill=True)
            raise
        return last

    def _running_child(self) -> Child:
        if self._child is None:
            self._child = Child(self._environment, self._keep_open)
        return self._child

    def _end_child(self, *, kill: bool = False) -> int:
        """End the child, if there is one; return its exit code."""
        child, self._child = self._child, None
        if child is None:
            return 0
        return child.kill() if kill else child.end()

    def _as_error(self, job: Job, code: int, words: Words, last: WorkerEvent | None, seen: Seen) -> EngineError:
        if was_killed(code):
            return EngineError(
                f"stage {job.step} {ended(code)}, in round {seen.round} after {seen.done} of {seen.tasks} tasks "
                f"(at work on {', '.join(seen.running) or 'none'}): "
                f"{format_size(seen.projected)} projected, {format_size(seen.measured)} last measured, "
                f"{format_size(self.allowed)} allowed; run again to go on, with a smaller budget if the machine has "
                "less to give"
            )
        if isinstance(last, Failed):
            return rebuilt(last, f"stage {job.step}")
        return ProgramError(f"the process of stage {job.step} {ended_so(code, words.last())}")


def _tried_out_together(stages: Sequence[Reference]) -> list[list[Reference]]:
    """Stages whose processes hold the same: those of one module; all, where nothing is measured and it is assumed."""
    groups: dict[tuple[str, str], list[Reference]] = {}
    for stage in stages:
        module = (stage.module, stage.file) if memory.is_measured() else ("", "")
        groups.setdefault(module, []).append(stage)
    return list(groups.values())


def _load(stages: Sequence[Reference], where: Location) -> Load:
    return Load(list(stages), str(where.absolute()))


def _loaded_apart(stages: Sequence[Reference], where: Location, environment: dict[str, str], among: Asked) -> int:
    """What a process holds that has loaded nothing but some stages: tried out by one that then ends."""
    doing = f"loading {stages[0].text}"
    told = from_line(ask(doing, COMMAND, to_line(_load(stages, where)), environment, among))
    return told.measured or memory.ASSUMED_RESERVED
