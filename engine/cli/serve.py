"""``engine serve``."""

from __future__ import annotations

import argparse
import os
from typing import Any

from engine.chunked import memory
from engine.chunked.errors import UsageError
from engine.chunked.executors.base import environment
from engine.chunked.extras import install
from engine.cli.parsing import add_on_workdir, whole
from engine.cli.showing import say


def add(commands: Any) -> None:
    """Declare it."""
    does = "answer requests for recommendations over HTTP, with a page for people"
    parser = add_on_workdir(commands, "serve", does, "example:\n  engine serve runs/ml-latest-small --port 8000")
    parser.set_defaults(command=_serve, loads=True)
    parser.add_argument("--host", default="127.0.0.1", help="what to listen on (default: 127.0.0.1: this machine)")
    parser.add_argument("--port", type=whole, default=8000, metavar="N", help="of that host (default: 8000)")
    parser.add_argument(
        "--memory", default="300MiB", metavar="SIZE", help="what the process may take in all (default: 300MiB)"
    )
    parser.add_argument("--workers", type=whole, default=2, metavar="N", help="requests answered at once (default: 2)")


def _serve(options: argparse.Namespace) -> int:
    if options.workers < 1 or not 1 <= options.port < 2**16:
        raise UsageError("--workers takes 1 or more, --port 1 to 65535")
    os.environ.update(environment(workers=options.workers))
    memory.keep_little()  # that of the C library has read its variables
    try:
        from engine.serving.web.server import serve
    except ModuleNotFoundError as error:
        raise UsageError(f"serve needs {error.name}: {install('serve')}") from None
    serve(
        options.workdir,
        host=options.host,
        port=options.port,
        memory=options.memory,
        threads=options.workers,
        ready=lambda address: say(f"{options.workdir} on {address}; Ctrl-C ends it"),
    )
    return 0
