"""A folder of this process on a local disk: what tasks write before it goes to a store, and copies of what they read.

It is where temporary files go (``TMPDIR``). The kernel's lock on it says that the process lives: what a killed one left
is removed by the next.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import shutil
import tempfile
import threading
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from engine.chunked.budget import format_size
from engine.chunked.errors import EngineError, write_named
from engine.chunked.storage import folders
from engine.chunked.storage.folders import Folder


class Stored(Protocol):
    """An object in a store, as far as copying it is concerned."""

    @property
    def name(self) -> str:
        """The last part of its name."""
        ...

    def state(self) -> list[int]:
        """Its size, and a number that is another once it is written again."""
        ...

    def download(self, target: Path) -> None:
        """Copy it into a file."""
        ...


WAY_ON = "set TMPDIR to a folder on a disk of this machine"

_PREFIX = "engine-scratch-"
_guard = threading.Lock()
_copying: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
_held: tuple[Path, Folder] | None = None


def folder() -> Path:
    """Return the folder, made when first asked for."""
    return _hold()[0]


def descriptors() -> tuple[int, ...]:
    """What keeps the folder locked, for child processes that outlive this one."""
    return _hold()[1].descriptors


def _hold() -> tuple[Path, Folder]:
    global _held
    with _guard:
        if _held is None:
            _sweep()
            _held = _make()
            atexit.register(clear)
        return _held


def _make() -> tuple[Path, Folder]:
    while True:
        made = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            opened = _lock(made)
        except EngineError:
            made.rmdir()
            raise
        if opened is not None and made.exists():  # else another process has just taken it for a leftover
            return made, opened


def _lock(found: Path) -> Folder | None:
    """Lock a folder; None where somebody else has, or it is gone, not ours or no folder."""
    try:
        opened = folders.Kind.at(found, follow=False)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return None
    try:
        folders.take(opened, found.parent, WAY_ON)
    except BlockingIOError:
        opened.close()
        return None
    except BaseException:
        opened.close()
        raise
    return opened


def _sweep() -> None:
    """Remove the folders of processes that are gone."""
    for found in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        opened = _lock(found)
        if opened is not None:
            _remove(found, opened)


def _remove(found: Path, opened: Folder) -> None:
    """Remove a folder before its lock goes; where the lock is a file in it, that comes last."""
    shutil.rmtree(found, ignore_errors=True)
    with suppress(OSError):
        opened.close()
    shutil.rmtree(found, ignore_errors=True)


def clear() -> None:
    """Remove this process's folder, and with it all copies."""
    global _held
    with _guard:
        if _held is not None:
            _remove(*_held)
            _held = None


def copy_of(where: Stored) -> Path:
    """A local copy of an object, made once and kept by this process; another once the object is another.

    Raises
    ------
    FileNotFoundError
        Where there is no such object.
    EngineError
        Where the disk has no room for the copy.
    """
    size, version = where.state()
    of = hashlib.sha256(f"{where} {version}".encode()).hexdigest()[:16]
    target = folder() / "copies" / of / where.name
    with _guard:
        lock = _copying[target]
    with lock:
        if not target.exists():
            _copy(where, size, target)
    return target


def _copy(where: Stored, size: int, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if size > free:
        raise EngineError(
            f"{where}: a local copy takes {format_size(size)}, but {format_size(free)} are free in "
            f"{tempfile.gettempdir()}: free some, or set TMPDIR to a folder on a larger disk"
        )
    part = target.with_name(f"{target.name}.part")
    with write_named(target):
        where.download(part)
    part.replace(target)
