"""Folders on a disk reached part by part, so that no symbolic link below a given folder is followed.

Every part is opened from the one above it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.chunked.errors import DamagedError
from engine.chunked.storage.folders import Folder, Kind, named

# Folders in one another that are gone through: no step leaves nearly as many. Each is open until those in it are done.
_DEEPEST = 64


def refused_depth(path: Path | str) -> DamagedError:
    """What is raised where folders are too many in one another."""
    return DamagedError(f"{path}: more than {_DEEPEST} folders in one another, which no run leaves: remove it (rm -r)")


def refused_link(path: Path | str) -> DamagedError:
    """What is raised where a link is found."""
    return DamagedError(
        f"{path}: a symbolic link, and nothing is read or written through one in a work directory: remove it, or put "
        "what it leads to in its place; only the work directory as a whole may be a link"
    )


@contextmanager
def open_folder(root: str, parts: Sequence[str], *, make: bool = False) -> Iterator[Folder]:
    """Open a folder below ``root``; links are followed in ``root``, none below. Folders are made if ``make``.

    What stands below ``root`` in the place of such a folder, and is none, is removed then: it is damage, and no file of
    the engine's ever had that name.

    Raises
    ------
    DamagedError
        Where one of the parts is a link.
    """
    if make:
        with named(root):
            Path(root).mkdir(parents=True, exist_ok=True)
    folder: Folder = Kind.at(root)
    try:
        path = root
        for part in parts:
            path = f"{path}/{part}"
            deeper = _step(folder, part, path, make)
            folder.close()
            folder = deeper
        yield folder
    finally:
        folder.close()


def _step(folder: Folder, name: str, path: str, make: bool = False) -> Folder:
    """Open a folder in a folder, which is made if ``make``."""
    try:
        return folder.enter(name)
    except FileNotFoundError:
        if not make:
            raise
    except OSError as error:
        if _is(folder, name, stat.S_ISLNK):
            raise refused_link(path) from None
        if not (make and isinstance(error, NotADirectoryError)):
            raise
        _clear(folder, name)
    with suppress(FileExistsError):  # made by somebody else, just now
        folder.make(name)
    return _step(folder, name, path)


def _clear(folder: Folder, name: str) -> None:
    """Remove what is no folder, a link itself; not the folder that somebody else has made there just now."""
    try:
        folder.unlink(name)
    except FileNotFoundError:
        return
    except OSError:
        if not _is(folder, name, stat.S_ISDIR):
            raise


def _is(folder: Folder, name: str, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(folder.stat(name).st_mode)
    except FileNotFoundError:
        return False


def walk(folder: Folder, path: str, within: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below an open folder that is no folder, by its name relative to it; ``path`` is for messages.

    Raises
    ------
    DamagedError
        Where it comes to a link, or folders are too many in one another.
    """
    if within.count("/") > _DEEPEST:
        raise refused_depth(f"{path}/{within.partition('/')[0]}")
    for entry in folder.entries():
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
            deeper.close()


def remove(folder: Folder, name: str, path: Path | str, *, ignore_errors: bool = False) -> None:
    """Remove what has a name in an open folder, and all below; a link itself, never what it leads to.

    ``path`` is the same for messages.

    Raises
    ------
    DamagedError
        Where folders are too many in one another.
    """
    try:
        found = folder.stat(name)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        folder.unlink(name)
        return
    try:
        folder.remove_tree(name, ignore_errors=ignore_errors)
    except RecursionError:
        raise refused_depth(path) from None
