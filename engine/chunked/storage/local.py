"""A place on a disk of this machine: a path that writes whole and durably."""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
import secrets
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from engine.chunked.errors import DamagedError
from engine.chunked.storage import beneath, lock
from engine.chunked.storage.base import SMALL, Listed, inner_parts, refuse_large, too_large
from engine.chunked.storage.folders import FLUSHED, READ, WRITE_NEW, Folder, named

# Of the class that this system has for paths.
if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())

_SCRATCH = ".scratch"
_FLUSHED_AT_ONCE = 8


class Local(_Path):
    """A path; see `engine.chunked.storage.base.Location` for what it can do beside that.

    What a user names is reached as paths are, through links. What is below an `enclosed` folder is not: where a link
    is met there, every method of `Location` raises DamagedError instead of following it, however late the link was
    made. Other methods of paths know nothing of that. Libraries that are given `local`, `zarr_store` or `scratch` go
    by the path; these three look that there is no link at that moment, the first two that there is no pipe either.
    """

    # How many of the last parts are below an enclosed folder: 0 is that folder itself, None somewhere else.
    _below: int | None = None

    def __truediv__(self, name: str | os.PathLike[str]) -> Local:
        if self._below is None:
            return super().__truediv__(name)
        parts = inner_parts(self, os.fspath(name))
        return super().__truediv__("/".join(parts))._at(self._below + len(parts))

    @property
    def parent(self) -> Local:
        """The folder this is in."""
        found = super().parent
        found = Local(found) if found is self else found  # of the topmost folder
        return found._at(self._below - 1 if self._below else None)

    def absolute(self) -> Local:
        """The same for whoever stands in another folder; without ``..``, links before it being followed."""
        whole = super().absolute()
        if os.pardir in whole.parts:
            up = len(whole.parts) - whole.parts[::-1].index(os.pardir)  # of what is enclosed no part is that
            try:
                start = os.path.realpath(Path(*whole.parts[:up]))
            except ValueError:  # with a NUL in it no link leads anywhere
                start = os.path.normpath(Path(*whole.parts[:up]))
            whole = Local(start, *whole.parts[up:])
        return Local(whole)._at(self._below)

    def _at(self, below: int | None) -> Local:
        self._below = below
        return self

    def enclosed(self) -> Local:
        """The same folder, below which no link is followed."""
        return self if self._below is not None else Local(self)._at(0)

    def enclosure(self) -> tuple[str, str]:
        """The enclosed folder this is in, and its name there."""
        root, parts = self._way()
        return root, "/".join(parts)

    def _way(self) -> tuple[str, tuple[str, ...]]:
        """The last folder that may be reached through links, and the parts below it."""
        parts = self.parts
        n = len(parts) - (self._below or 0)
        return os.path.join(*parts[:n]) if n else ".", parts[n:]  # noqa: PTH118  (many are made, and a Path takes long)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """What the system says of it; what can be no path is not there."""
        with named(str(self)):
            return super().stat(follow_symlinks=follow_symlinks)

    def opened(self, *, make: bool = False) -> AbstractContextManager[Folder]:
        """The folder, open."""
        return beneath.open_folder(*self._way(), make=make)

    def _beside(self) -> AbstractContextManager[Folder]:
        """The folder this is in, open, where that is enclosed."""
        root, parts = self._way()
        return beneath.open_folder(root, parts[:-1])

    def _look(self) -> os.stat_result:
        """What is here; a link in an enclosed folder is refused."""
        if not self._below:
            return self.stat()
        with self._beside() as folder:
            return self._look_in(folder)

    def _look_in(self, folder: Folder) -> os.stat_result:
        found = folder.stat(self.name)
        if stat.S_ISLNK(found.st_mode):
            raise beneath.refused_link(self)
        return found

    def _mode(self) -> int:
        """Kind and permissions; 0 where there is nothing."""
        try:
            return self._look().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return 0
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return 0

    @contextmanager
    def _reading(self) -> Iterator[BufferedReader]:
        """Open a regular file; nothing else is waited for or read."""
        with os.fdopen(self._open(READ, _refuse_irregular), "rb") as file:
            _refuse_irregular(os.fstat(file.fileno()), self)
            yield file

    def _open(self, flags: int, look: Callable[[os.stat_result, Path], object] = lambda found, path: None) -> int:
        """Open a file once ``look`` has seen what it is: opening a device can do something already."""
        if not self._below:
            look(self.stat(), self)
            return os.open(self, flags)
        with self._beside() as folder:
            look(self._look_in(folder), self)
            return folder.open(self.name, flags)

    @property
    def copied_bytes(self) -> int:
        """Nothing: the file is there itself."""
        return 0

    @property
    def disk(self) -> Path:
        """The folder itself, or the nearest above that is there."""
        return next((folder for folder in (self, *self.parents) if folder.is_dir()), Path())

    @property
    def shared(self) -> bool:
        """Always."""
        return True

    @property
    def settled(self) -> bool:
        """Always."""
        return True

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is such a file or folder."""
        return super().exists() if self._below is None else self._mode() != 0

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is such a file."""
        return super().is_file() if self._below is None else stat.S_ISREG(self._mode())

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is such a folder."""
        return super().is_dir() if self._below is None else stat.S_ISDIR(self._mode())

    def refuse_links(self) -> None:
        """Go through all that is here and below."""
        if self.is_dir():
            with self.opened() as folder:
                for _ in beneath.walk(folder, str(self)):
                    pass

    def names(self) -> list[str]:
        """Names of what is directly in the folder."""
        try:
            with self.opened() as folder:
                return folder.names()
        except (FileNotFoundError, NotADirectoryError):
            return []

    def sizes(self) -> dict[str, int]:
        """All files below with their bytes."""
        if not self.is_dir():
            return {}
        found = {}
        if self._below is None:
            for path in self.rglob("*"):
                with suppress(OSError):
                    if not path.is_dir():
                        found[path.relative_to(self).as_posix()] = path.lstat().st_size
            return found
        with self.opened() as folder:
            for name, entry in beneath.walk(folder, str(self)):
                with suppress(FileNotFoundError), named(f"{self}/{name}"):
                    found[name] = entry.stat(follow_symlinks=False).st_size
        return found

    def lister(self) -> Callable[[str], Listed]:
        """What asks the disk for each file."""

        def listed(name: str) -> Listed:
            place = self / name
            return Listed(_refuse_irregular(place._look(), place).st_size)

        return listed

    def read_bytes(self, most: int = SMALL) -> bytes:
        """The content of a file of so many bytes at most."""
        with self._reading() as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise too_large(self, most)
            return file.read(size)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """The same as text."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def read_range(self, start: int, stop: int) -> bytes:
        """Some of the content."""
        with self._reading() as file:
            file.seek(start)
            return file.read(max(0, stop - start))

    def put(self, content: bytes, *, durable: bool = True) -> None:
        """Replace the content: a temporary file beside it is flushed and renamed."""
        refuse_large(self, content)
        temporary = f".{self.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
        with self.parent.opened(make=True) as folder:
            try:
                with named(str(self)), os.fdopen(folder.open(temporary, WRITE_NEW), "wb") as file:
                    file.write(content)
                    file.flush()
                    if durable:
                        os.fsync(file.fileno())
                self._take_name(temporary, folder, folder)
            except BaseException:
                with suppress(FileNotFoundError):
                    folder.unlink(temporary)
                raise
            if durable:
                folder.flush()

    def _take_name(self, source: str, at: Folder, folder: Folder) -> None:
        """Rename a file of the folder ``at`` to this in ``folder``: in one step, unless a folder is in its place."""
        if self._below and stat.S_ISDIR(self._mode()):  # which refuses a link, too
            beneath.remove(folder, self.name, self)
        at.rename(source, folder, self.name)

    def sweep(self) -> None:
        """Remove temporary files of `put`."""
        for name in fnmatch.filter(self.names(), ".*.tmp"):
            (self / name).remove()

    def remove(self) -> None:
        """Remove a file or a folder."""
        if self._below:
            self._mode()  # refuses a link
        with suppress(FileNotFoundError, NotADirectoryError), self.parent.opened() as folder:
            beneath.remove(folder, self.name, self)

    def flush(self) -> None:
        """Flush a file, or a folder's list of names, to the disk; nothing where there is neither."""
        with suppress(FileNotFoundError):
            if self.is_dir():
                with self.opened() as folder:
                    folder.flush()
                return
            descriptor = self._open(FLUSHED)
            try:
                with named(str(self)):
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def make(self) -> None:
        """Make the folder."""
        with self.opened(make=True):
            pass

    def digest(self, size: int | None = None) -> str:
        """SHA-256 of the content."""
        with self._reading() as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def state(self) -> list[int]:
        """Size, inode, times of modification and of change (ns)."""
        found = self._look()
        return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]

    def local(self) -> Path:
        """The file itself, or the folder."""
        if self._below and self._mode() and not self.is_dir():
            _refuse_irregular(self._look(), self)
        return Path(self)

    def scratch(self) -> Path:
        """A folder on the same disk, so that taking files over is renaming them."""
        return Path(self, _SCRATCH)

    def new_scratch(self, name: str) -> Path:
        """Make an empty folder in scratch."""
        with (self.enclosed() / _SCRATCH).opened(make=True) as folder:
            folder.make(name)
        return self.scratch() / name

    def clear_scratch(self, name: str | None = None) -> None:
        """Remove a folder of scratch, or all of it; what a task that is just ending writes there may stay."""
        with suppress(FileNotFoundError, NotADirectoryError):
            where = self.enclosed() if name is None else self.enclosed() / _SCRATCH
            with where.opened() as folder:
                beneath.remove(folder, name or _SCRATCH, where / (name or _SCRATCH), ignore_errors=True)

    def adopt(self, sources: Mapping[str, Path], *, durable: bool = True) -> None:
        """Flush and rename each file, then flush every folder whose list of names that changes."""
        here = self.enclosed()
        folders: dict[str, Local] = {}
        for name, path in sources.items():
            source, target = here / path.relative_to(self), here / name
            if durable:
                source.flush()
            with source.parent.opened() as at, target.parent.opened(make=True) as folder:
                target._take_name(source.name, at, folder)
            while target != here:
                target = target.parent
                folders[str(target)] = target
        for where in sorted(folders, reverse=True) if durable else ():
            folders[where].flush()

    def flush_below(self, names: Iterable[str]) -> None:
        """Flush files, several at a time, since file systems write together what is asked of them; then folders."""
        here = self.enclosed()
        places = [here / name for name in names]
        folders = {str(folder): folder for place in places for folder in _up_to(place.parent, here)}
        with ThreadPoolExecutor(_FLUSHED_AT_ONCE) as pool:
            for flushed in (places, [folders[name] for name in sorted(folders, reverse=True)]):
                deque(pool.map(Local.flush, flushed), maxlen=0)

    def zarr_store(self) -> str:
        """The path as text; in an enclosed folder, once it was seen that all below is files that can be read."""
        if self._below is not None and stat.S_ISDIR(self._mode()):  # which refuses a link
            with self.opened() as folder:
                for name, entry in beneath.walk(folder, str(self)):
                    if not entry.is_file(follow_symlinks=False):
                        raise _irregular(self / name)
        return str(self)

    def warm(self) -> None:
        """Nothing to load."""

    def hold(self) -> AbstractContextManager[tuple[int, ...]]:
        """Lock the folder, by the kernel."""
        return lock.hold_folder(self)

    def holder(self) -> dict[str, object] | None:
        """Whoever has locked the folder."""
        return lock.holder_of_folder(self)


def _up_to(folder: Local, top: Local) -> Iterator[Local]:
    """A folder and those above, as far as ``top``."""
    yield folder
    while folder != top:
        folder = folder.parent
        yield folder


def _irregular(path: Path) -> DamagedError:
    """What is raised where a library would wait for a pipe's other end, or read a device without end."""
    return DamagedError(f"{path}: no regular file, but a pipe, a socket or a device: remove it, then run again")


def _refuse_irregular(found: os.stat_result, path: Path) -> os.stat_result:
    if stat.S_ISREG(found.st_mode):
        return found
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "A folder, where a file is expected", str(path))
    raise OSError(errno.EINVAL, "No regular file", str(path))
