"""Processes started from this one: a question answered by a short-lived one, Ctrl-C kept from all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from engine.chunked.errors import EngineError, address_space_limit, refuse_little_address_space

# -P: the folder a user stands in must not be searched for modules.
PYTHON = (sys.executable, "-P")


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
        Where it fails.
    """
    refuse_little_address_space()
    with interrupts_held():
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    if among is not None:
        among.add(child)
    with child:
        try:
            output, _ = child.communicate(question)
        except BaseException:
            child.kill()  # it would only complain that nobody listens any more
            raise
    if child.returncode:
        raise process_failed(doing, child.returncode)
    return output


def process_failed(doing: str, code: int) -> EngineError:
    """What is raised where a process has ended with this code instead of doing what it was asked to."""
    remedy = address_space_limit() or "run again"
    return EngineError(f"{doing}: the process that does it {ended(code)}; {remedy}")


def was_killed(code: int) -> bool:
    """Whether a process was ended so that it could do nothing about it."""
    return code == -getattr(signal, "SIGKILL", 0) < 0


def ended(code: int) -> str:
    """How a process ended, in words, by its exit code as `subprocess` has it."""
    if was_killed(code):
        return "was killed from outside, probably by the kernel for want of memory"
    return f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
