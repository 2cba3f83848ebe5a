"""A process that runs one stage and leaves: ``python -m engine.chunked.executors.worker``, started by executors.

It gets a job and its limits as one line of JSON on standard input and tells what happens as lines of JSON on standard
output. Standard input then stays open: the line ``stop`` asks it to end soon, and its end means that the
parent is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from engine.chunked import memory
from engine.chunked.errors import Interrupted, describe
from engine.chunked.events import WorkerEnded, WorkerEvent, WorkerReady, to_line
from engine.chunked.journal import Journal
from engine.chunked.pipeline import Job
from engine.chunked.runner import Limits, StageRunner
from engine.chunked.storage import staging
from engine.chunked.store import StageStore

# A stopping worker has this long to finish its tasks; then it drops them.
GRACE_SECONDS = 4.0


def _watch_parent(stop: threading.Event) -> None:
    for line in sys.stdin:
        if line.strip() == "stop":
            stop.set()
            timer = threading.Timer(GRACE_SECONDS, os._exit, (Interrupted.exit_code,))
            timer.daemon = True
            timer.start()
    os._exit(1)


def _run(asked: dict[str, Any], emit: Callable[[WorkerEvent], None], stop: threading.Event) -> None:
    job = msgspec.convert(asked["job"], Job)
    root, stage = job.opened()
    root.warm()
    reserved = memory.peak_bytes() + asked["parent_bytes"]
    emit(WorkerReady(reserved))
    limits = Limits(asked["allowed"], reserved, asked["max_workers"])
    StageRunner(job.step, stage, StageStore(root), Journal(root), limits, emit, stop).run(job.upto)


def main() -> int:
    """Run the job on standard input; the exit code is 0, or 1 after an error event."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not end up between the events
    lock = threading.Lock()

    def emit(event: WorkerEvent) -> None:
        with lock:
            out.write(to_line(msgspec.structs.replace(event, measured=memory.peak_bytes())))

    asked = json.loads(sys.stdin.readline())
    stop = threading.Event()
    threading.Thread(target=_watch_parent, args=(stop,), daemon=True).start()
    try:
        _run(asked, emit, stop)
    except BaseException as error:
        emit(describe(error))
        return 1
    emit(WorkerEnded())
    return 0


if __name__ == "__main__":
    code = main()
    staging.clear()
    sys.stdout.flush()
    os._exit(code)  # the thread that reads standard input cannot be joined
