"""Runs a stage in a child process, so that its memory is its own and comes back when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import IO, Any

from engine.chunked import memory
from engine.chunked.budget import format_size
from engine.chunked.errors import EngineError, Interrupted
from engine.chunked.executors.base import ENVIRONMENT, WorkerLimit, as_error
from engine.chunked.executors.processes import PYTHON, ask, interrupts_held
from engine.chunked.runner import Event
from engine.chunked.storage.location import Location
from engine.chunked.task import Job


class LocalExecutor:
    """One process a stage, which runs tasks on threads; see `engine.chunked.executors.base` for parameters and methods.

    What is allowed, this process and the child share. What this process held before is its caller's and not counted,
    unless the process is claimed: see `engine.chunked.memory.process_claimed`.
    """

    processes = 1
    limit: WorkerLimit | None = None

    def __init__(
        self,
        allowed: int | None,
        workers: int | None,
        environment: Callable[[int], Mapping[str, str]],
        keep_open: tuple[int, ...] = (),
    ) -> None:
        self.allowed = memory.default_budget() if allowed is None else allowed
        self.max_workers = workers or len(os.sched_getaffinity(0))
        self._environment = {**os.environ, **ENVIRONMENT, **environment(self.max_workers)}
        self._keep_open = keep_open
        self._callers_bytes = memory.callers_bytes()

    def reserved_bytes(self, modules: Sequence[str], where: Location) -> list[int]:
        """See `engine.chunked.executors.base.Executor`."""
        with ThreadPoolExecutor(self.max_workers) as pool:
            found = list(pool.map(partial(self._reserved_bytes, where=where), modules))
        own = self._own_bytes()
        return [own + each for each in found]

    def _own_bytes(self) -> int:
        return max(0, memory.resident_bytes() - self._callers_bytes)

    def _reserved_bytes(self, module: str, where: Location) -> int:
        code = (
            f"import contextlib, os, {module}, engine.chunked.executors.worker\nfrom engine.chunked import memory\n"
            "from engine.chunked.storage import location\n"
            f"location.warm(location.locate({str(where)!r}))\n"
            "with contextlib.suppress(BrokenPipeError): os.write(1, str(memory.peak_bytes()).encode())"
        )
        return int(ask([*PYTHON, "-c", code], "", self._environment))

    def bytes_in_use(self) -> int:
        """See `engine.chunked.executors.base.Executor`."""
        return max(0, memory.tree_bytes(os.getpid()) - self._callers_bytes)

    def run(self, job: Job, on_event: Callable[[Event], None]) -> None:
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
        seen: dict[str, Any] = {"round": "start", "projected": 0, "measured": 0, "done": 0, "tasks": 0, "running": []}
        with child:
            try:
                last = self._converse(job, child.stdin, child.stdout, on_event, seen)
                code = child.wait()
            except KeyboardInterrupt:
                _stop(child)
                where = f"stage {job.name}, round {seen['round']}, {seen['done']} of {seen['tasks']} tasks done"
                raise Interrupted(f"stopped in {where}; run the same command again to go on") from None
            except BaseException:
                child.kill()
                raise
        if code != 0 or last.get("event") != "end":
            raise self._as_error(job, code, last, seen)

    def _converse(
        self, job: Job, stdin: IO[str], stdout: IO[str], on_event: Callable[[Event], None], seen: dict[str, Any]
    ) -> Event:
        own = self._own_bytes()
        message = {"job": asdict(job), "allowed": self.allowed, "max_workers": self.max_workers, "parent_bytes": own}
        last: Event = {}
        try:
            stdin.write(json.dumps(message) + "\n")
            stdin.flush()
        except BrokenPipeError:
            return last  # it died at once; its exit code says how
        for line in stdout:
            told = json.loads(line)
            last = {**told, "measured": own + told["measured"]}
            seen.update({key: last[key] for key in seen if key in last})
            if last["event"] == "round":
                seen["running"].clear()
            elif last["event"] == "begin":
                seen["running"].append(last["task"])
            elif last["event"] == "task":
                seen["running"].remove(last["task"])
                seen["done"] += 1
            on_event(last)
        return last

    def _as_error(self, job: Job, code: int, last: Event, seen: Mapping[str, Any]) -> EngineError:
        if code == -signal.SIGKILL:
            return EngineError(
                f"stage {job.name} was killed from outside, probably by the kernel for want of memory, "
                f"in round {seen['round']} after {seen['done']} of {seen['tasks']} tasks "
                f"(at work on {', '.join(seen['running']) or 'none'}): "
                f"{format_size(seen['projected'])} projected, {format_size(seen['measured'])} last measured, "
                f"{format_size(self.allowed)} allowed; run the same command again to go on, with a smaller --memory if "
                "the machine has less to give"
            )
        if last.get("event") != "error":
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            return EngineError(f"the process of stage {job.name} ended {how}; run the same command again to go on")
        return as_error(job.name, last)


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
