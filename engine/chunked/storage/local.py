"""A place on a disk of this machine: a path that writes whole and durably."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from engine.chunked.storage import lock

# Of the class that this system has for paths.
if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())

_SCRATCH = ".scratch"


class Local(_Path):
    """A path; see `engine.chunked.storage.base.Location` for what it can do beside that."""

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

    def names(self) -> list[str]:
        """Names of what is directly in the folder."""
        return sorted(path.name for path in self.iterdir()) if self.is_dir() else []

    def sizes(self) -> dict[str, int]:
        """All files below with their bytes."""
        found = {}
        for path in self.rglob("*"):
            with suppress(OSError):
                if not path.is_dir():
                    found[path.relative_to(self).as_posix()] = path.lstat().st_size
        return found

    def sizer(self) -> Callable[[str], int]:
        """What asks the disk for each file."""
        return lambda name: (self / name).stat().st_size

    def put(self, content: bytes) -> None:
        """Replace the content: a temporary file beside it is flushed and renamed."""
        self.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.with_name(f".{self.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self.parent.flush()

    def sweep(self) -> None:
        """Remove temporary files of `put`."""
        for path in self.glob(".*.tmp"):
            path.unlink()

    def remove(self) -> None:
        """Remove a file or a folder."""
        if self.is_dir() and not self.is_symlink():
            shutil.rmtree(self)
        else:
            self.unlink(missing_ok=True)

    def flush(self) -> None:
        """Flush a file, or a folder's list of names, to the disk; nothing where there is neither."""
        with suppress(FileNotFoundError):
            descriptor = os.open(self, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def make(self) -> None:
        """Make the folder."""
        self.mkdir(parents=True, exist_ok=True)

    def digest(self, size: int | None = None) -> str:
        """SHA-256 of the content."""
        with self.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def state(self) -> list[int]:
        """Size, inode, times of modification and of change (ns)."""
        found = self.stat()
        return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]

    def local(self) -> Path:
        """The file itself."""
        return self

    def scratch(self) -> Path:
        """A folder on the same disk, so that taking files over is renaming them."""
        return Path(self / _SCRATCH)

    def clear_scratch(self) -> None:
        """Remove the scratch folder."""
        shutil.rmtree(self.scratch(), ignore_errors=True)

    def adopt(self, sources: Mapping[str, Path]) -> None:
        """Flush and rename each file, then flush every folder whose list of names that changes."""
        folders: set[Local] = set()
        for name, source in sources.items():
            target = self / name
            target.parent.make()
            chain = [target.parent, *target.parent.parents]
            folders.update(chain[: chain.index(self) + 1])
            Local(source).flush()
            if target.is_dir():
                target.remove()  # something else's folder; a file is replaced in one step
            source.replace(target)
        for folder in sorted(folders, reverse=True):
            folder.flush()

    def zarr_store(self) -> str:
        """The path as text."""
        return str(self)

    def warm(self) -> None:
        """Nothing to load."""

    def hold(self) -> AbstractContextManager[int]:
        """Lock the folder, by the kernel."""
        return lock.hold_folder(self)

    def holder(self) -> dict[str, object] | None:
        """Whoever has locked the folder."""
        return lock.holder_of_folder(self)
