"""Runs a stage in a child process, so that its memory is its own and comes back when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO, Any

import msgspec

from engine.chunked import memory
from engine.chunked.budget import MIB, format_size
from engine.chunked.errors import EngineError, Interrupted, address_space_limit, rebuilt
from engine.chunked.events import Failed, OnEvent, WorkerEnded, WorkerEvent, from_line
from engine.chunked.executors.base import WorkerLimit, environment
from engine.chunked.executors.processes import PYTHON, Asked, ask, ended, interrupts_held
from engine.chunked.executors.seen import Seen
from engine.chunked.pipeline import Job
from engine.chunked.references import Reference
from engine.chunked.storage import Location

# Bytes that one stage's libraries may take more than another's.
_PROBES_DIFFER = 32 * MIB


class LocalExecutor:
    """One process a stage, which runs tasks on threads; see `engine.chunked.executors.base` for its attributes.

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
        self.max_workers = workers or len(os.sched_getaffinity(0))
        self._environment = {**os.environ, **environment(self.max_workers)}
        self._keep_open = keep_open
        self._callers_bytes = memory.callers_bytes()
        self._child: subprocess.Popen[str] | None = None

    def reserved_bytes(self, stages: Sequence[Reference], where: Location) -> list[int]:
        """See `engine.chunked.executors.base.Executor`."""
        among = Asked()
        probe = partial(self._reserved_bytes, where=where, among=among)
        first = probe(stages[0]) if stages else 0
        # Probes are within the budget, too: as many at a time as fit beside this process, by what the first took.
        at_a_time = (self.allowed - self._own_bytes()) // max(1, first + _PROBES_DIFFER)
        with ThreadPoolExecutor(max(1, min(self.max_workers, at_a_time))) as pool:
            try:
                others = list(pool.map(probe, stages[1:]))
            except BaseException:
                among.end()  # the pool would wait for them
                raise
        own = self._own_bytes()
        return [own + held for held in [first, *others][: len(stages)]]

    def _own_bytes(self) -> int:
        return max(0, memory.resident_bytes() - self._callers_bytes)

    def _reserved_bytes(self, stage: Reference, where: Location, among: Asked) -> int:
        question = json.dumps({"stage": msgspec.to_builtins(stage), "where": str(where.absolute())})
        doing = f"loading {stage.text}"
        command = [*PYTHON, "-m", "engine.chunked.executors.probe"]
        told = from_line(ask(doing, command, question, self._environment, among))
        if isinstance(told, Failed):
            raise rebuilt(told, doing)
        return told.measured

    def bytes_in_use(self) -> int:
        """See `engine.chunked.executors.base.Executor`."""
        child = self._child
        return self._own_bytes() + (memory.tree_bytes(child.pid) if child is not None else 0)

    def run(self, job: Job, on_event: OnEvent) -> None:
        """See `engine.chunked.executors.base.Executor`."""
        with interrupts_held():
            child = subprocess.Popen(
                [*PYTHON, "-m", "engine.chunked.executors.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=self._environment,
                pass_fds=self._keep_open,
            )
        assert child.stdin is not None
        assert child.stdout is not None
        self._child = child
        seen = Seen()
        with child:
            try:
                last = self._converse(job, child.stdin, child.stdout, on_event, seen)
                code = child.wait()
            except KeyboardInterrupt:
                _stop(child)
                raise Interrupted(f"stopped in {seen.where(job.step)}; run again to go on") from None
            except BaseException:
                child.kill()
                raise
            finally:
                self._child = None
        if code != 0 or not isinstance(last, WorkerEnded):
            raise self._as_error(job, code, last, seen)

    def _converse(self, job: Job, stdin: IO[str], stdout: IO[str], on_event: OnEvent, seen: Seen) -> WorkerEvent | None:
        """Tell the child what to do, and pass on what it tells; return the last of it."""
        own = self._own_bytes()
        message: dict[str, Any] = {"job": msgspec.to_builtins(job), "allowed": self.allowed}
        message |= {"max_workers": self.max_workers, "parent_bytes": own}
        last: WorkerEvent | None = None
        try:
            stdin.write(json.dumps(message) + "\n")
            stdin.flush()
        except BrokenPipeError:
            return last  # it died at once; its exit code says how
        for line in stdout:
            told = from_line(line)
            last = msgspec.structs.replace(told, measured=own + told.measured)
            seen.take(last)
            on_event(last)
        return last

    def _as_error(self, job: Job, code: int, last: WorkerEvent | None, seen: Seen) -> EngineError:
        if code == -signal.SIGKILL:
            return EngineError(
                f"stage {job.step} {ended(code)}, in round {seen.round} after {seen.done} of {seen.tasks} tasks "
                f"(at work on {', '.join(seen.running) or 'none'}): "
                f"{format_size(seen.projected)} projected, {format_size(seen.measured)} last measured, "
                f"{format_size(self.allowed)} allowed; run again to go on, with a smaller budget if the machine has "
                "less to give"
            )
        if isinstance(last, Failed):
            return rebuilt(last, f"stage {job.step}")
        remedy = address_space_limit() or "run again to go on"
        return EngineError(f"the process of stage {job.step} {ended(code)}; {remedy}")


def _stop(child: subprocess.Popen[str]) -> None:
    """Ask the child to end, and end it if it does not."""
    assert child.stdin is not None
    try:
        child.stdin.write("stop\n")
        child.stdin.flush()
        child.wait(timeout=5)
    except (BrokenPipeError, subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()
        child.wait()
