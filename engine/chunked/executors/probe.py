"""A process that loads a stage's module and says what that takes: ``python -m engine.chunked.executors.probe``.

It is asked by one JSON value on standard input and answers with one line on standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

import msgspec

import engine.chunked.executors.worker  # noqa: F401  (what a worker loads counts)
from engine.chunked import memory
from engine.chunked.errors import describe
from engine.chunked.events import WorkerEvent, WorkerReady, to_line
from engine.chunked.references import Reference, load
from engine.chunked.storage import locate


def main() -> None:
    """Answer."""
    out = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    asked = json.loads(sys.stdin.read())
    answer: WorkerEvent
    try:
        load(msgspec.convert(asked["stage"], Reference))
        locate(asked["where"]).warm()
        answer = WorkerReady(0, measured=memory.peak_bytes())
    except BaseException as error:
        answer = describe(error)
    with contextlib.suppress(BrokenPipeError):
        os.write(out, to_line(answer).encode())


if __name__ == "__main__":
    main()
