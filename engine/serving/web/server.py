"""A finished run served until it is interrupted."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import uvicorn

from engine.chunked.errors import UsageError
from engine.chunked.storage import Place
from engine.serving.titles import TitlesWarning
from engine.serving.web.app import make_app
from engine.serving.web.current import Current
from engine.serving.web.limits import MOST_CONNECTIONS
from engine.serving.web.patience import Patient

# Of uvicorn.
SETTINGS: Mapping[str, Any] = {
    "http": Patient,
    "log_level": "warning",
    "access_log": False,
    "timeout_keep_alive": 5,
    "limit_concurrency": MOST_CONNECTIONS,
}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(
    where: Place,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    memory: str | int = "300MiB",
    threads: int = 2,
    ready: Callable[[str], Any] = print,
) -> None:
    """Serve a work directory's newest finished run, and each newer one from when it is published.

    Parameters
    ----------
    where : path or URL
        The work directory.
    host, port : str, int
        What to listen on; by default this machine alone.
    memory : str or int
        Bytes that the process may take.
    threads : int
        Requests that are answered at a time.
    ready : callable
        Told the address before the first request.

    Raises
    ------
    UsageError, DamagedError, BudgetError
        As `engine.serving.web.current.Current`; UsageError, too, where nothing can listen there.
    """
    warnings.simplefilter("ignore", TitlesWarning)  # a line of the log says it
    current = Current(where, memory, threads)
    local = [*_LOOPBACK, "[::1]"] if host in _LOOPBACK else None
    shown = f"[{host}]" if ":" in host else host
    server = uvicorn.Server(uvicorn.Config(make_app(current, threads=threads, hosts=local), **SETTINGS))
    with _listening(host, port) as listening:
        ready(f"http://{shown}:{port}/")
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # Its connections have it, too. asyncio asks for it itself, but not where a socket does not name its protocol:
        # an answer's body would wait until the client's system has acknowledged its head, 40 ms on Linux.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        number = error.errno or 0  # the sentence beside it may have the address again
        why = os.strerror(number) if number > 0 else error.strerror or error
        raise UsageError(f"{host}:{port} cannot be listened on ({why}): name another --port, or --host") from None
