"""A process that works for this one: `engine.chunked.executors.worker`, seen from outside."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO

from engine.chunked.errors import refuse_little_address_space
from engine.chunked.events import Failed, WorkerEnded, WorkerEvent, WorkerFull, from_line
from engine.chunked.executors.orders import STOP, Order, to_line
from engine.chunked.executors.processes import PYTHON, interrupts_held, started

# Seconds until a process is killed that was asked to end.
_PATIENCE = 5
COMMAND = (*PYTHON, "-m", "engine.chunked.executors.worker")


class Child:
    """A process, started at once.

    Parameters
    ----------
    environment : mapping of str
        Its variables.
    keep_open : tuple of int
        Descriptors it inherits.

    Attributes
    ----------
    words : Words
        What it says on standard error.
    """

    def __init__(self, environment: Mapping[str, str], keep_open: tuple[int, ...]) -> None:
        refuse_little_address_space()
        with interrupts_held():
            self._process, self.words = started(COMMAND, env=environment, pass_fds=keep_open)
        self.pid = self._process.pid

    def ask(self, order: Order) -> Iterator[WorkerEvent]:
        """Have it do something; yield what it tells until that is done, or it is gone."""
        try:
            self._stdin.write(to_line(order))
            self._stdin.flush()
        except BrokenPipeError:
            return  # its exit code says how it ended
        assert self._process.stdout is not None
        while (line := self._process.stdout.readline()).endswith("\n"):  # else it has ended, maybe in the midst of one
            event = from_line(line)
            yield event
            if isinstance(event, WorkerEnded | WorkerFull | Failed):
                return

    @property
    def _stdin(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    def stop(self) -> None:
        """Ask it to end though it is at work, and see that it does."""
        with suppress(BrokenPipeError):
            self._stdin.write(f"{STOP}\n")
            self._stdin.flush()
        with suppress(KeyboardInterrupt):  # once more: at once, then
            self._wait()
        self.kill()

    def end(self) -> int:
        """See that it ends, which has nothing to do any more; return its exit code."""
        with suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._wait()
        finally:
            code = self.kill()
        return code

    def _wait(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)

    def kill(self) -> int:
        """End it at once, unless it has ended; return its exit code."""
        self._process.kill()
        with suppress(BrokenPipeError), self._process:
            pass
        return self._process.returncode
