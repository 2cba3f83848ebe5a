"""A process that runs stages, one after another: ``python -m engine.chunked.executors.worker``, started by executors.

It gets orders (`engine.chunked.executors.orders`) as lines of JSON on standard input and tells what happens as lines of
JSON on standard output; the last event of each order is `WorkerEnded`, or says why it is not. The line ``stop`` asks it
to end soon. The end of standard input means that there is nothing more to do; during a stage, that the parent is gone.
"""

from __future__ import annotations

import gc
import os
import queue
import sys
import threading
from collections.abc import Callable

import msgspec

from engine.chunked import memory
from engine.chunked.errors import Interrupted, describe
from engine.chunked.events import WorkerEnded, WorkerEvent, WorkerFull, WorkerReady, to_line
from engine.chunked.executors.orders import STOP, Load, Order, Run, from_line
from engine.chunked.journal import Journal
from engine.chunked.references import Reference, load
from engine.chunked.runner import Crowded, Limits, StageRunner
from engine.chunked.storage import locate, staging
from engine.chunked.store import StageStore

# A stopping worker has this long to finish its tasks; then it drops them.
GRACE_SECONDS = 4.0


class _Inbox:
    """Orders, read from standard input in a thread of their own, which cannot be joined."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._running = False
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Order | None:
        """Wait for an order; None where there are no more."""
        return self._orders.get()

    def done(self) -> None:
        """Take note that the order is done, before that is told."""
        self._running = False

    def _read(self) -> None:
        for line in sys.stdin:
            if line.strip() == STOP:
                self.stop.set()
                timer = threading.Timer(GRACE_SECONDS, os._exit, (Interrupted.exit_code,))
                timer.daemon = True
                timer.start()
                self._orders.put(None)
            else:
                order = from_line(line)
                self._running = isinstance(order, Run)
                self._orders.put(order)
        if self._running:
            os._exit(1)
        self._orders.put(None)


class _Worker:
    """Does what orders say.

    Parameters
    ----------
    emit : callable
        Tells an event.
    stop : threading.Event
        Set where a stage is to end early.
    """

    def __init__(self, emit: Callable[[WorkerEvent], None], stop: threading.Event) -> None:
        self._emit = emit
        self._stop = stop
        self._loaded: set[Reference] = set()
        self._has_run = False

    def do(self, order: Order) -> None:
        if isinstance(order, Load):
            self._load(order)
        else:
            self._run(order)

    def _load(self, order: Load) -> None:
        for stage in order.stages:
            load(stage)
        self._loaded.update(order.stages)
        locate(order.where).warm()

    def _run(self, order: Run) -> None:
        job = order.job
        # Fresh is a process that holds nothing of any stage but this one's modules.
        fresh = not self._has_run and self._loaded <= {job.stage}
        if not fresh:
            _drop_what_is_left()
        self._has_run = True
        root, stage = job.opened()
        root.warm()
        reserved = memory.reserved_bytes() + order.parent_bytes
        self._emit(WorkerReady(reserved))
        limits = Limits(order.allowed, reserved, order.max_workers, fresh)
        StageRunner(job.step, stage, StageStore(root), Journal(root), limits, self._emit, self._stop).run(job.upto)


def _drop_what_is_left() -> None:
    """Give back all that earlier stages have left but their modules, and measure from here on."""
    staging.clear()
    gc.collect()
    gc.freeze()  # what is left stays, and is not gone through the next time
    memory.give_back()
    memory.reset_peak()


def main() -> int:
    """Follow the orders on standard input; the exit code is 0, or 1 after an error event."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not end up between the events
    lock = threading.Lock()

    def emit(event: WorkerEvent) -> None:
        with lock:
            try:
                out.write(to_line(msgspec.structs.replace(event, measured=memory.peak_bytes())))
            except BrokenPipeError:
                os._exit(1)  # who gave the orders has been killed: there is nobody to tell

    inbox = _Inbox()
    worker = _Worker(emit, inbox.stop)
    while (order := inbox.next()) is not None:
        try:
            worker.do(order)
        except Crowded:
            emit(WorkerFull())
            return 0
        except BaseException as error:
            emit(describe(error))
            return 1
        inbox.done()
        emit(WorkerEnded())
    return 0


if __name__ == "__main__":
    code = main()
    staging.clear()
    sys.stdout.flush()
    os._exit(code)  # the thread that reads standard input cannot be joined
