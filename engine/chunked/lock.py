"""One run at a time in a work directory."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.chunked.errors import LockedError

# A killed run's worker sees its parent gone and leaves at once; wait for that rather than refuse.
_PATIENCE_SECONDS = 3.0


def holder(path: Path) -> dict[str, object] | None:
    """Who holds the lock now (``pid``, ``host``, ``since``), or None."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return _read_holder(path)
    return None


def _read_holder(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _alive(who: dict[str, object]) -> bool:
    if not who:
        return False  # somebody looks at the lock, or is about to write down who they are
    pid = who.get("pid")
    if who.get("host") != socket.gethostname() or not isinstance(pid, int):
        return True  # cannot tell, so believe the lock
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def hold(path: Path) -> Iterator[int]:
    """Hold the lock file at ``path``; yields its descriptor, for children that must keep it held.

    The kernel drops the lock when its last holder dies, so a lock never outlives a run.

    Raises
    ------
    LockedError
        Where another process holds it; names the holder.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                who = _read_holder(path)
                if _alive(who) or time.monotonic() > deadline:
                    raise LockedError(
                        f"{path.parent} is in use by process {who.get('pid', '?')} on {who.get('host', '?')} "
                        f"since {who.get('since', '?')}: wait for it, or use another --workdir"
                    ) from None
                time.sleep(0.02)
        me = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(me).encode(), 0)
        yield descriptor
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
