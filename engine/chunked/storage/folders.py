"""An open folder on a disk, and what is done with what is directly in it.

`ByDescriptor` is the kernel's: what has been opened stays what it is, whatever takes its name meanwhile, and no link
is followed. `ByPath` is for systems that cannot open a folder (Windows): it looks for links before each use, which
keeps out links that are there, but not one that is made at that very moment.
"""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from engine.chunked.errors import EngineError

# Flags that a system does not offer are 0, and change nothing.
_ALWAYS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# Whoever opens a named pipe would wait for its other end.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _ALWAYS
READ = os.O_RDONLY | _AT_ONCE | _ALWAYS
WRITE_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _ALWAYS
REWRITE = os.O_WRONLY | os.O_CREAT | _AT_ONCE | _ALWAYS
# To flush a file: Windows wants it open for writing.
FLUSHED = READ if _NO_FOLLOW else os.O_RDWR | _ALWAYS

# What file systems say that have no locks; EBADF: some on a network lock only what is open for writing.
_NOT_OFFERED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF, errno.EINVAL, errno.ENOSYS}
# Windows keeps others from reading the byte that is locked: one that no lock file has.
_LOCKED_BYTE = 2**30
# The file that says who holds a work directory.
_LOCK_FILE = "lock"


class Folder(Protocol):
    """An open folder."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a child process inherits so that it holds the folder's lock, too."""
        ...

    def stat(self, name: str) -> os.stat_result:
        """What has the name: of a link, the link itself."""
        ...

    def open(self, name: str, flags: int) -> int:
        """Open a file, as `os.open` does."""
        ...

    def enter(self, name: str) -> Folder:
        """Open a folder; OSError where it is none, or a link."""
        ...

    def make(self, name: str) -> None:
        """Make a folder."""
        ...

    def names(self) -> list[str]:
        """All names, sorted."""
        ...

    def entries(self) -> list[os.DirEntry[str]]:
        """All there is, by name."""
        ...

    def unlink(self, name: str) -> None:
        """Remove a file or a link."""
        ...

    def remove_tree(self, name: str, *, ignore_errors: bool) -> None:
        """Remove a folder and all below."""
        ...

    def rename(self, name: str, to: Folder, new: str) -> None:
        """Move a file to another open folder, in one step, over what has the new name."""
        ...

    def flush(self) -> None:
        """Flush the list of names to the disk."""
        ...

    def lock(self, *, shared: bool = False, wait: bool = False) -> None:
        """Lock the folder for as long as it is open; BlockingIOError where somebody else has."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


@contextmanager
def named(path: str) -> Iterator[None]:
    """Name the whole path in what the system says of a part of it; what can be no path is not there."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, path) from None
    except ValueError:  # a NUL, or half of a pair
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None


class ByDescriptor:
    """A folder that the kernel has opened; ``path`` is for messages."""

    def __init__(self, descriptor: int, path: str) -> None:
        self.descriptor, self.path = descriptor, path

    def _named(self, name: str) -> AbstractContextManager[None]:
        return named(f"{self.path}/{name}")

    @classmethod
    def at(cls, path: str | os.PathLike[str], *, follow: bool = True) -> ByDescriptor:
        """Open the folder at a path, which may be a link unless ``follow`` is false."""
        with named(os.fspath(path)):
            return cls(os.open(path, _FOLDER | (0 if follow else _NO_FOLLOW)), os.fspath(path))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The one."""
        return (self.descriptor,)

    def stat(self, name: str) -> os.stat_result:
        """See `Folder`."""
        with self._named(name):
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)

    def open(self, name: str, flags: int) -> int:
        """See `Folder`."""
        with self._named(name):
            return os.open(name, flags | _NO_FOLLOW, 0o666, dir_fd=self.descriptor)

    def enter(self, name: str) -> ByDescriptor:
        """See `Folder`."""
        with self._named(name):
            opened = os.open(name, _FOLDER | _NO_FOLLOW, dir_fd=self.descriptor)
        return ByDescriptor(opened, f"{self.path}/{name}")

    def make(self, name: str) -> None:
        """See `Folder`."""
        with self._named(name):
            os.mkdir(name, dir_fd=self.descriptor)

    def names(self) -> list[str]:
        """See `Folder`."""
        with named(self.path):
            return sorted(os.listdir(self.descriptor))  # noqa: PTH208  (a descriptor is no path)

    def entries(self) -> list[os.DirEntry[str]]:
        """See `Folder`."""
        with named(self.path):
            return _entries(self.descriptor)

    def unlink(self, name: str) -> None:
        """See `Folder`."""
        with self._named(name):
            os.unlink(name, dir_fd=self.descriptor)

    def remove_tree(self, name: str, *, ignore_errors: bool) -> None:
        """See `Folder`; it is emptied by what was opened, after it was seen to be the one that has the name."""
        with suppress(OSError):  # most are empty; it is no link's folder that is removed so
            os.rmdir(name, dir_fd=self.descriptor)
            return
        with self._named(name):
            shutil.rmtree(name, ignore_errors=ignore_errors, dir_fd=self.descriptor)

    def rename(self, name: str, to: Folder, new: str) -> None:
        """See `Folder`."""
        assert isinstance(to, ByDescriptor)
        with to._named(new):
            os.replace(name, new, src_dir_fd=self.descriptor, dst_dir_fd=to.descriptor)

    def flush(self) -> None:
        """See `Folder`."""
        with named(self.path):
            os.fsync(self.descriptor)

    def lock(self, *, shared: bool = False, wait: bool = False) -> None:
        """See `Folder`; the lock is the folder's own, and the kernel's."""
        import fcntl

        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(self.descriptor, how if wait else how | fcntl.LOCK_NB)

    def close(self) -> None:
        """See `Folder`."""
        os.close(self.descriptor)


class ByPath:
    """A folder that is known by its path."""

    def __init__(self, path: Path) -> None:
        if not stat.S_ISDIR(path.stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        self.path = path
        self._locked: int | None = None

    @classmethod
    def at(cls, path: str | os.PathLike[str], *, follow: bool = True) -> ByPath:
        """See `ByDescriptor`."""
        where = Path(path)
        with named(os.fspath(path)):
            if not follow:
                _refuse_link(where)
            return cls(where)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """None: Windows hands none on this way."""
        return ()

    def stat(self, name: str) -> os.stat_result:
        """See `Folder`."""
        return (self.path / name).lstat()

    def open(self, name: str, flags: int) -> int:
        """See `Folder`."""
        _refuse_link(self.path / name)
        return os.open(self.path / name, flags, 0o666)

    def enter(self, name: str) -> ByPath:
        """See `Folder`."""
        _refuse_link(self.path / name)
        return ByPath(self.path / name)

    def make(self, name: str) -> None:
        """See `Folder`."""
        (self.path / name).mkdir()

    def names(self) -> list[str]:
        """See `Folder`."""
        return sorted(path.name for path in self.path.iterdir())

    def entries(self) -> list[os.DirEntry[str]]:
        """See `Folder`."""
        return _entries(self.path)

    def unlink(self, name: str) -> None:
        """See `Folder`."""
        (self.path / name).unlink()

    def remove_tree(self, name: str, *, ignore_errors: bool) -> None:
        """See `Folder`."""
        shutil.rmtree(self.path / name, ignore_errors=ignore_errors)

    def rename(self, name: str, to: Folder, new: str) -> None:
        """See `Folder`."""
        assert isinstance(to, ByPath)
        (self.path / name).replace(to.path / new)

    def flush(self) -> None:
        """Nothing: only what can be opened can be flushed."""

    def lock(self, *, shared: bool = False, wait: bool = False) -> None:
        """See `Folder`; the lock is on a file in it, which is made unless the lock is shared."""
        try:
            msvcrt: Any = importlib.import_module("msvcrt")
        except ImportError:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)) from None
        descriptor = os.open(self.path / _LOCK_FILE, os.O_RDWR if shared else os.O_RDWR | os.O_CREAT, 0o666)
        try:
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError as error:
            os.close(descriptor)
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
        self._locked = descriptor

    def close(self) -> None:
        """See `Folder`."""
        if self._locked is not None:
            os.close(self._locked)
            self._locked = None


Kind = ByDescriptor if os.open in os.supports_dir_fd else ByPath


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Folder]:
    """Open the folder at a path, which may be a link."""
    folder = Kind.at(path)
    try:
        yield folder
    finally:
        folder.close()


def take(folder: Folder, where: object, way_on: str, *, shared: bool = False, wait: bool = False) -> None:
    """Lock an open folder.

    Parameters
    ----------
    folder : Folder
    where : object
        The folder, for messages.
    way_on : str
        What to do where its file system offers no locks.
    shared, wait : bool
        See `Folder.lock`.

    Raises
    ------
    BlockingIOError
        Where somebody else holds it, and ``wait`` is false.
    EngineError
        Where the file system offers no locks.
    """
    try:
        folder.lock(shared=shared, wait=wait)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
        raise EngineError(
            f"{where}: the file system offers no locks on folders ({os.strerror(error.errno)}), by which processes "
            f"keep out of each other's way: {way_on}"
        ) from None


def _entries(where: int | Path) -> list[os.DirEntry[str]]:
    with os.scandir(where) as found:
        return sorted(found, key=lambda entry: entry.name)


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
