"""Folders on a disk reached part by part, so that no symbolic link below a given folder is followed.

Every part is opened from the one above it: what has been opened stays what it is, whatever takes its name meanwhile.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.chunked.errors import DamagedError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def refused_link(path: Path | str) -> DamagedError:
    """What is raised where a link is found."""
    return DamagedError(
        f"{path}: a symbolic link, and nothing is read or written through one in a work directory: remove it, or put "
        "what it leads to in its place; only the work directory as a whole may be a link"
    )


@contextmanager
def open_folder(root: str, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """Open a folder below ``root``; links are followed in ``root``, none below. Folders are made if ``make``.

    Raises
    ------
    DamagedError
        Where one of the parts is a link.
    """
    if make:
        Path(root).mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root, _FOLDER)
    try:
        path = root
        for part in parts:
            path = f"{path}/{part}"
            deeper = _step(descriptor, part, path, make)
            os.close(descriptor)
            descriptor = deeper
        yield descriptor
    finally:
        os.close(descriptor)


def _step(folder: int, name: str, path: str, make: bool = False) -> int:
    """Open a folder in a folder, which is made if ``make``."""
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
    except OSError:
        if _is_link(folder, name):
            raise refused_link(path) from None
        raise
    with suppress(FileExistsError):  # made by somebody else, just now
        os.mkdir(name, dir_fd=folder)
    return _step(folder, name, path)


def _is_link(folder: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def walk(folder: int, path: str, within: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below an open folder that is no folder, by its name relative to it; ``path`` is for messages.

    Raises
    ------
    DamagedError
        Where it comes to a link.
    """
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = within + entry.name
        if entry.is_symlink():
            raise refused_link(f"{path}/{name}")
        if not entry.is_dir(follow_symlinks=False):
            yield name, entry
            continue
        try:
            deeper = _step(folder, entry.name, f"{path}/{name}")
        except FileNotFoundError:
            continue  # gone meanwhile
        try:
            yield from walk(deeper, path, f"{name}/")
        finally:
            os.close(deeper)


def remove(folder: int, name: str, *, ignore_errors: bool = False) -> None:
    """Remove what has a name in an open folder, and all below; a link itself, never what it leads to.

    A folder is emptied by what was opened, after it was seen to be the one that has the name (`shutil.rmtree`).
    """
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        shutil.rmtree(name, ignore_errors=ignore_errors, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)
