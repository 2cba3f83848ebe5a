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
        folder = os.open(path.parent, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(path)
    finally:
        os.close(folder)
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
    return not _zombie(pid)


def _zombie(pid: int) -> bool:
    """Whether a process has ended and its parent has not asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


@contextmanager
def hold(path: Path) -> Iterator[int]:
    """Hold the folder of ``path``, a file that says who does; yields a descriptor for children that must keep it held.

    The lock is on the folder, so that removing the file lets nobody in. The kernel drops it when its last holder
    dies: a lock never outlives a run.

    Raises
    ------
    LockedError
        Where another process holds it; names the holder.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    descriptor = os.open(path.parent, os.O_RDONLY)
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
        path.write_text(json.dumps(me))
        yield descriptor
        path.write_text("")
    finally:
        os.close(descriptor)
