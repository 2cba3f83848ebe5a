"""One run at a time in a work directory.

On a disk the lock is the kernel's, on the folder. In a store it is an object that is put only if there is none; a run
that was killed leaves it. A later one on the same machine sees that the process is gone, and takes it over. For other
machines the holder puts the object anew every `BEAT_SECONDS`: once it is silent for `SILENT_SECONDS`, and stays so
while somebody waits for it twice as long as a beat takes, it is gone. A holder that was only halted finds that the
object is another's then, and leaves it: the two write the same bytes under the same names.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from engine.chunked.errors import DamagedError, EngineError, LockedError, unless_full
from engine.chunked.storage import beneath, folders, staging
from engine.chunked.storage.folders import Folder


class LockObject(Protocol):
    """An object in a store, as far as a lock is concerned."""

    @property
    def parent(self) -> object:
        """The folder it is in."""
        ...

    def read_text(self) -> str:
        """Its content."""
        ...

    def create(self, content: bytes) -> bool:
        """Put it unless it is there; whether that was so."""
        ...

    def put(self, content: bytes) -> None:
        """Put it, or replace it."""
        ...

    def remove(self) -> None:
        """Remove it, if it is there."""
        ...


class OpenFolder(Protocol):
    """A folder on a disk, as far as a lock is concerned."""

    def opened(self) -> AbstractContextManager[Folder]:
        """The same, open."""
        ...


class LockFile(Protocol):
    """A file on a disk, as far as a lock is concerned."""

    @property
    def name(self) -> str:
        """The last part."""
        ...

    @property
    def parent(self) -> OpenFolder:
        """The folder it is in."""
        ...

    def read_text(self) -> str:
        """Its content."""
        ...


BEAT_SECONDS = 20.0
"""How often the holder of an object says that it is there."""
SILENT_SECONDS = 90.0
"""How long it is silent, by the clocks of both machines, until somebody waits for it no longer."""
# A killed run's worker sees its parent gone and leaves at once; wait for that rather than refuse.
_PATIENCE_SECONDS = 3.0
_LOCAL = "put the work directory on a disk of this machine, or into a store such as s3://bucket/folder"
# Process ids are no larger; what a lock file says may be anything.
_MAX_PID = 2**31 - 1


def holder_of_object(where: LockObject) -> dict[str, object] | None:
    """Who holds the lock now, or None."""
    who = _read_holder(where)
    return who if _alive(who) else None


def holder_of_folder(path: LockFile) -> dict[str, object] | None:
    """Who holds the lock on the folder of ``path`` now, or None."""
    try:
        with path.parent.opened() as folder:
            folders.take(folder, path.parent, _LOCAL, shared=True)
    except BlockingIOError:
        return _read_holder(path) or {}
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None


def _read_holder(path: LockFile | LockObject) -> dict[str, object] | None:
    """Whoever is written down; nobody (empty) where that names no process, None where there is no such file."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and {"pid", "host"} & set(found) else {}


def _alive(who: dict[str, object] | None) -> bool:
    if not who:
        return False  # somebody looks at the lock, or is about to write down who they are
    pid = who.get("pid")
    if who.get("host") != socket.gethostname() or not isinstance(pid, int) or not 0 < pid <= _MAX_PID:
        return not _silent(who)
    if sys.platform == "win32":
        return True  # there is no asking by signal 0, which would reach the process; the system's lock says it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not _zombie(pid)


def _silent(who: dict[str, object] | None) -> bool:
    """Whether a holder on another machine has not been heard of for long; false for who says nothing at all."""
    seen = (who or {}).get("seen")
    return isinstance(seen, int | float) and seen < time.time() - SILENT_SECONDS  # an int may be no float


def _zombie(pid: int) -> bool:
    """Whether a process has ended and its parent has not asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def _me() -> dict[str, object]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}


def _refusal(path: LockFile | LockObject, found: dict[str, object] | None, more: str = "") -> LockedError:
    who = found or {}
    return LockedError(
        f"{path.parent} is in use by process {who.get('pid', '?')} on {who.get('host', '?')} "
        f"since {who.get('since', '?')}: wait for it, or use another work directory{more}"
    )


@contextmanager
def hold_object(where: LockObject) -> Iterator[tuple[int, ...]]:
    """Hold the folder of an object; see `engine.chunked.storage.base.Location.hold`."""
    me = _me() | {"token": secrets.token_hex(8)}
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not where.create(_now(me)):
        who = _read_holder(where)
        more = f"; if it is gone, remove {where}"
        if who and "seen" in who:
            more = f"; if it is gone, it is taken for that {SILENT_SECONDS:.0f} s after its last sign of life"
        if _alive(who) or time.monotonic() > deadline:
            raise _refusal(where, who, more)
        if who and _silent(who) and who.get("host") != socket.gethostname():
            time.sleep(2 * BEAT_SECONDS)  # clocks may differ: whoever is there says so meanwhile
            if _read_holder(where) not in (who, {}, None):
                raise _refusal(where, who, more)
            deadline = time.monotonic() + _PATIENCE_SECONDS
        _take_from(who, where)
    stopped = threading.Event()
    beat = threading.Thread(target=_beat, args=(where, me, stopped), name="lock-heartbeat", daemon=True)
    beat.start()
    try:
        yield staging.descriptors()
    finally:
        stopped.set()
        beat.join()
        if (_read_holder(where) or {}).get("token") == me["token"]:
            where.remove()


def _now(me: dict[str, object]) -> bytes:
    return json.dumps(me | {"seen": round(time.time())}).encode()


def _beat(where: LockObject, me: dict[str, object], stopped: threading.Event) -> None:
    """Say again and again that this process is there, unless another has the lock."""
    while not stopped.wait(BEAT_SECONDS):
        with suppress(OSError, EngineError):  # a store that does not answer now may do so at the next beat
            who = _read_holder(where)
            if who and who.get("token") != me["token"]:
                return
            where.put(_now(me))


def _take_from(who: dict[str, object] | None, where: LockObject) -> None:
    """Remove the lock of a process that is gone, or of none, unless it is there after all, or another has just done so.

    An object is there whole: one that names nobody, such as an empty one in a copy of a local work directory, is not
    about to.
    """
    with folders.opened(tempfile.gettempdir()) as folder:
        folders.take(folder, tempfile.gettempdir(), staging.WAY_ON, wait=True)
        if who is not None and _read_holder(where) == who:
            where.remove()


@contextmanager
def hold_folder(path: LockFile) -> Iterator[tuple[int, ...]]:
    """Lock the folder of ``path``, so that removing the file lets nobody in.

    The kernel drops the lock when its last holder dies: it never outlives a run.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    with path.parent.opened() as folder:
        while True:
            try:
                folders.take(folder, path.parent, _LOCAL)
                break
            except BlockingIOError:
                who = _read_holder(path)
                if _alive(who) or time.monotonic() > deadline:
                    raise _refusal(path, who) from None
                time.sleep(0.02)
        _write(folder, path, json.dumps(_me()))
        yield folder.descriptors
        _write(folder, path, "")


def _write(folder: Folder, path: LockFile, text: str) -> None:
    """Write the lock file in place; never what else may have its name.

    It is the kernel that locks: where a disk is full, others are not told who does.
    """
    with suppress(FileNotFoundError):
        found = folder.stat(path.name)
        if stat.S_ISLNK(found.st_mode):
            raise beneath.refused_link(str(path))
        if not stat.S_ISREG(found.st_mode):
            raise DamagedError(f"{path}: no regular file: remove it, then run again")
        if found.st_nlink > 1:  # in a backup made of hard links, say
            beneath.remove(folder, path.name, str(path))
    with unless_full(), os.fdopen(folder.open(path.name, folders.REWRITE), "w") as file:
        file.truncate(0)
        file.write(text)
