"""Processes started from this one: a question answered by a short-lived one, Ctrl-C kept from all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from engine.chunked.errors import (
    EngineError,
    address_space_limit,
    rebuilt,
    refuse_little_address_space,
    speaks_of_memory,
    without_credentials,
)
from engine.chunked.events import Failed, from_line

# -P: the folder a user stands in must not be searched for modules.
PYTHON = (sys.executable, "-P")
# Of what a process says on standard error: bytes kept, characters shown, seconds waited for the rest.
_KEPT, _SHOWN, _PATIENCE = 4096, 300, 2.0


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back. A process or thread started meanwhile never gets it: only the parent decides what it means."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows: there a process of its own is not told
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Asked:
    """Processes that are asked on several threads, all to be ended at once."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = False
        self._lock = threading.Lock()

    def add(self, child: subprocess.Popen[str]) -> None:
        """Take one in that has been started."""
        with self._lock:
            self._running.add(child)
            if self._ended:
                child.kill()

    def end(self) -> None:
        """End them, and those that are taken in from now on."""
        with self._lock:
            self._ended = True
            for child in self._running:
                child.kill()


def ask(
    doing: str,
    command: Sequence[str],
    question: str,
    environment: Mapping[str, str] | None = None,
    among: Asked | None = None,
) -> str:
    """Run a short-lived process, ``among`` others; return what it prints.

    Parameters
    ----------
    doing : str
        What it does, for messages: ``finding the input``.
    command, question, environment
        Its command line, standard input and environment.

    Raises
    ------
    EngineError
        Where it fails: what it prints then as `engine.chunked.events.Failed`, or how it ended.
    """
    refuse_little_address_space()
    with interrupts_held():
        child, words = started(command, env=environment)
    if among is not None:
        among.add(child)
    with child:
        try:
            output, _ = child.communicate(question)
        except BaseException:
            child.kill()  # it would only complain that nobody listens any more
            raise
    if not child.returncode:
        return output
    if failed := _failed(output):
        raise rebuilt(failed, doing)
    raise process_failed(doing, child.returncode, words.last())


def _failed(output: str) -> Failed | None:
    """What a process told of its failure, in the last line that it printed."""
    try:
        told = from_line(output.splitlines()[-1])
    except (IndexError, msgspec.MsgspecError):
        return None
    return told if isinstance(told, Failed) else None


class Words:
    """What a process says on standard error: passed on to that of this one, and the end of it kept.

    Parameters
    ----------
    pipe : int
        Where it can be read; closed when the process has ended.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe, self._end = pipe, b""
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def _pass_on(self) -> None:
        with os.fdopen(self._pipe, "rb", buffering=0) as pipe:
            while said := pipe.read(_KEPT):
                self._end = (self._end + said)[-_KEPT:]
                with suppress(OSError):  # there may be no such stream
                    os.write(2, said)

    def last(self) -> str:
        """The last line that says something, as the process has ended; it names the error where Python raised one."""
        self._thread.join(_PATIENCE)  # another process may have the pipe, too
        lines = self._end.decode(errors="replace").splitlines()
        return without_credentials(next((line.strip() for line in reversed(lines) if line.strip()), ""))[:_SHOWN]


def started(command: Sequence[str], **options: Any) -> tuple[subprocess.Popen[str], Words]:
    """Start a process whose standard input and output are pipes; ``options`` are those of `subprocess.Popen`."""
    reading, writing = os.pipe()
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writing, text=True, **options
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return child, Words(reading)


def process_failed(doing: str, code: int, words: str) -> EngineError:
    """What is raised where a process has ended with this code, and these words, instead of what it was asked to do."""
    return EngineError(f"{doing}: the process that does it {ended_so(code, words)}")


def ended_so(code: int, words: str) -> str:
    """How a process ended, by its last words, too, and what to do."""
    short = not words or speaks_of_memory(words)
    remedy = (short and address_space_limit()) or ("mend that, then run again" if words else "run again")
    return f"{ended(code)}{words and f' ({words})'}; {remedy}"


def was_killed(code: int) -> bool:
    """Whether a process was ended so that it could do nothing about it."""
    return code == -getattr(signal, "SIGKILL", 0) < 0


def ended(code: int) -> str:
    """How a process ended, in words, by its exit code as `subprocess` has it."""
    if was_killed(code):
        return "was killed from outside, probably by the kernel for want of memory"
    return f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
