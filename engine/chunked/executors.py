"""Who runs a stage: a fresh process, so that its memory is its own and comes back when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any

from engine.chunked import errors, memory
from engine.chunked.budget import format_size
from engine.chunked.errors import EngineError, Interrupted
from engine.chunked.location import Location
from engine.chunked.runner import Event

# BLAS on one thread: tasks are the unit of parallelism, and a sum's order must not depend on a machine's cores.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
    "MALLOC_TRIM_THRESHOLD_": "8388608",
}


@dataclass(frozen=True)
class Job:
    """A stage to run elsewhere.

    Attributes
    ----------
    name : str
        The stage's name, for messages.
    open : str
        ``"module:function"``; called with ``spec`` it returns the stage's folder and the stage.
    spec : mapping
        JSON.
    allowed : int
        Bytes, of this process and the worker together.
    max_workers : int
        Tasks at a time, at most.
    environment : mapping of str
        Variables to set before any library is loaded.
    upto : str or None
        Leave after the round of this name.
    """

    name: str
    open: str
    spec: Mapping[str, Any]
    allowed: int
    max_workers: int
    environment: Mapping[str, str]
    upto: str | None = None


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back. A process started meanwhile never gets it: only the parent decides what it means."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -P: the folder a user stands in must not be searched for modules.
PYTHON = (sys.executable, "-P")


def ask(command: Sequence[str], question: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a short-lived process; return what it prints.

    Raises
    ------
    EngineError
        Where it fails.
    """
    with interrupts_held():
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    with child:
        try:
            output, _ = child.communicate(question)
        except BaseException:
            child.kill()  # it would only complain that nobody listens any more
            raise
    if child.returncode:
        raise EngineError(
            f"a process ended with exit code {child.returncode} ({' '.join(command)}); run the same command again"
        )
    return output


def reserved_bytes(module: str, environment: Mapping[str, str], where: Location) -> int:
    """Bytes a worker holds once it has loaded a stage's module, before any data: tried out in a process.

    What it takes to reach ``where``, the work directory, is counted.
    """
    code = (
        f"import contextlib, os, {module}, engine.chunked.worker\nfrom engine.chunked import location, memory\n"
        f"location.warm(location.locate({str(where)!r}))\n"
        "with contextlib.suppress(BrokenPipeError): os.write(1, str(memory.peak_bytes()).encode())"
    )
    command = [*PYTHON, "-c", code]
    output = ask(command, "", {**os.environ, **_ENVIRONMENT, **environment})
    return int(output)


def run_in_child(job: Job, on_event: Callable[[Event], None], keep_open: tuple[int, ...] = ()) -> None:
    """Run a stage in a child process and pass on what it tells.

    Parameters
    ----------
    job : Job
        What to run.
    on_event : callable
        Called with each event.
    keep_open : tuple of int
        Descriptors the child inherits (the work directory's lock).

    Raises
    ------
    EngineError
        What the child reported, as the same kind of error, or that it died.
    Interrupted
        After Ctrl-C.
    """
    command = [*PYTHON, "-m", "engine.chunked.worker"]
    environment = {**os.environ, **_ENVIRONMENT, **job.environment}
    with interrupts_held():
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, pass_fds=keep_open
        )
    assert child.stdin is not None
    assert child.stdout is not None
    seen: dict[str, Any] = {"round": "start", "projected": 0, "measured": 0, "done": 0, "tasks": 0, "running": []}
    with child:
        try:
            last = _converse(job, child.stdin, child.stdout, on_event, seen)
            code = child.wait()
        except KeyboardInterrupt:
            _stop(child)
            where = f"stage {job.name}, round {seen['round']}, {seen['done']} of {seen['tasks']} tasks done"
            raise Interrupted(f"stopped in {where}; run the same command again to go on") from None
        except BaseException:
            child.kill()
            raise
    if code != 0 or last.get("event") != "end":
        raise _as_error(job, code, last, seen)


def _converse(
    job: Job, stdin: IO[str], stdout: IO[str], on_event: Callable[[Event], None], seen: dict[str, Any]
) -> Event:
    message = {**asdict(job), "parent_bytes": memory.resident_bytes()}
    last: Event = {}
    try:
        stdin.write(json.dumps(message) + "\n")
        stdin.flush()
    except BrokenPipeError:
        return last  # it died at once; its exit code says how
    for line in stdout:
        last = json.loads(line)
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


def _as_error(job: Job, code: int, last: Event, seen: Mapping[str, Any]) -> EngineError:
    if code == -signal.SIGKILL:
        return EngineError(
            f"stage {job.name} was killed from outside, probably by the kernel for want of memory, "
            f"in round {seen['round']} after {seen['done']} of {seen['tasks']} tasks "
            f"(at work on {', '.join(seen['running']) or 'none'}): "
            f"{format_size(seen['projected'])} projected, {format_size(seen['measured'])} last measured, "
            f"{format_size(job.allowed)} allowed; run the same command again to go on, with a smaller --memory if "
            "the machine has less to give"
        )
    if last.get("event") != "error":
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return EngineError(f"the process of stage {job.name} ended {how}; run the same command again to go on")
    kind = getattr(errors, last["kind"], None)
    if kind is None:
        return EngineError(f"stage {job.name} failed; this is a fault of the program:\n{last['message']}")
    error: EngineError = kind(last["message"])
    return error
