"""Runs whose stages run in this process: one that starts processes takes three seconds, most of them to load libraries.

For tests that are not of processes, memory or signals. Everything else is as in a run: the plan, the lock, the commit
protocol, figures, what a command prints.
"""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

import msgspec
from threadpoolctl import threadpool_limits

from engine import cli
from engine.chunked.budget import GIB, MIB
from engine.chunked.errors import describe, rebuilt
from engine.chunked.events import OnEvent, WorkerEnded, WorkerEvent, WorkerReady
from engine.chunked.executors.base import WorkerLimit
from engine.chunked.journal import Journal
from engine.chunked.pipeline import Job
from engine.chunked.references import Reference, load
from engine.chunked.runner import Limits, StageRunner
from engine.chunked.storage import Location, staging
from engine.chunked.store import StageStore
from engine.config import Config
from engine.ratings import resolve

# What stages are said to hold before data, and to have taken: this process holds the tests.
HELD = 80 * MIB


class HereExecutor:
    """Stands for `engine.chunked.executors.local.LocalExecutor`; runs stages in this process."""

    processes = 1
    limit: WorkerLimit | None = None

    def __init__(self, allowed: int | None, workers: int | None, keep_open: tuple[int, ...] = ()) -> None:
        del keep_open
        self.allowed = allowed or GIB
        self.max_workers = workers or 2

    def __enter__(self) -> HereExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        staging.clear()

    def reserved_bytes(self, stages: Sequence[Reference], where: Location) -> list[int]:
        """See `engine.chunked.executors.base.Executor`."""
        with _as_told("loading stages"):
            for stage in stages:
                load(stage)
            where.warm()
        return [HELD] * len(stages)

    def reserved_together(self, stages: Sequence[Reference], where: Location) -> int | None:
        """See `engine.chunked.executors.base.Executor`."""
        return max(self.reserved_bytes(stages, where), default=0)

    def run(self, job: Job, on_event: OnEvent) -> None:
        """See `engine.chunked.executors.base.Executor`."""
        told = threading.Lock()

        def emit(event: WorkerEvent) -> None:
            with told:
                on_event(msgspec.structs.replace(event, measured=HELD))

        with _as_told(f"stage {job.step}"):
            root, stage = job.opened()
            emit(WorkerReady(HELD))
            limits = Limits(self.allowed, HELD, self.max_workers)
            store, journal = StageStore(root), Journal(root)
            StageRunner(job.step, stage, store, journal, limits, emit, threading.Event()).run(job.upto)
        emit(WorkerEnded())

    def bytes_in_use(self) -> int:
        """See `engine.chunked.executors.base.Executor`."""
        return HELD


@contextmanager
def _as_told(doing: str) -> Iterator[None]:
    """Let errors be what a caller is told of those of another process."""
    try:
        yield
    except Exception as error:
        raise rebuilt(describe(error), doing) from error


def _resolve(settings: Config) -> resolve.Found:
    """`engine.ratings.resolve.resolve`, whose question is asked of this process."""

    def ask(doing: str, command: Sequence[str], question: str) -> str:
        del command
        with _as_told(doing):
            return msgspec.json.encode(resolve._find(msgspec.json.decode(question))).decode()

    with mock.patch.object(resolve, "ask", ask):
        return resolve.resolve(settings)


@contextmanager
def in_this_process() -> Iterator[None]:
    """Let runs take no other process, nor wait for the disk, nor hand freed memory back."""
    quick: dict[str, Any] = {
        "engine.chunked.executors.local.LocalExecutor": HereExecutor,
        "engine.driver.resolve": _resolve,
        "engine.chunked.memory.give_back": lambda: None,
        "os.fsync": lambda descriptor: None,
    }
    with threadpool_limits(1):  # as in a worker process
        patches = [mock.patch(name, stand_in) for name, stand_in in quick.items()]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()


def engine_here(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What a command line does and prints, as ``python -m engine`` would, in this process."""
    given = [*map(str, arguments)]
    out, err, program = io.StringIO(), io.StringIO(), str(Path(cli.__file__).parent.parent / "__main__.py")
    with ExitStack() as stack:
        for each in (redirect_stdout(out), redirect_stderr(err), chdir(cwd or Path.cwd()), in_this_process()):
            stack.enter_context(each)
        stack.enter_context(mock.patch.object(sys, "argv", [program, *given]))
        code = cli.main(given)
    return subprocess.CompletedProcess(given, code, out.getvalue(), err.getvalue())
