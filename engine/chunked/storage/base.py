"""What a place is: a file or a folder, on a disk of this machine or in a store.

`engine.chunked.storage.local` and `engine.chunked.storage.remote` have the two kinds. Nothing else asks which kind a
place is. To add another, write a class with these methods, name it in `locate`, and let it pass
`engine.chunked.testing.StorageContract`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Protocol

from engine.chunked.errors import DamagedError, EngineError

# Of files that are read at once, such as records: a task that leaves 100 000 files has a record of 15 MB, and a run's
# `run.json` has some 100 KB. What is larger is not read: somebody else has put it there.
SMALL = 64 * 2**20


def too_large(where: object, most: int = SMALL) -> OSError:
    """What is raised instead of reading a file of more than ``most`` bytes at once."""
    size = f"{most >> 20} MiB" if most >= 2**20 else f"{most} bytes"
    return OSError(errno.EFBIG, f"More than {size}, which no file of this kind has", str(where))


def refuse_large(where: object, content: bytes) -> None:
    """Write nothing that would not be read again.

    Raises
    ------
    EngineError
        Where it is more than `SMALL` bytes.
    """
    if len(content) > SMALL:
        raise EngineError(
            f"{where}: {len(content) >> 20} MiB, and a file of this kind has {SMALL >> 20} MiB at most: let tasks "
            "write into files what they return now"
        )


def inner_parts(where: object, name: str | PurePath) -> tuple[str, ...]:
    """The parts of a name that is to be within a folder.

    Raises
    ------
    DamagedError
        Where it leads out of it, or is none: names come from records, which somebody may have altered.
    """
    text = str(name)
    parts = tuple(part for part in text.split("/") if part not in ("", "."))
    if text.startswith("/") or ".." in parts or "\0" in text:
        raise DamagedError(f"{where}: {text[:200]!r} is no name of a file in there")
    return parts


def is_plain(name: str) -> bool:
    """Whether a name is that of a file within a folder, as it is: no part of it is left out or leads elsewhere."""
    return not {"", ".", ".."} & set(name.split("/")) and "\0" not in name


class Listed(NamedTuple):
    """What is known of a file without reading it.

    Attributes
    ----------
    size : int
        Bytes.
    version : str
        The store's own mark of the content (its ETag or checksum), which another content does not have; empty where
        there is none, as on a disk.
    """

    size: int
    version: str = ""


class Location(Protocol):
    """A file or a folder.

    A folder of the engine's own is `enclosed`: whatever is reached from it is in it. Methods raise FileNotFoundError
    where what is asked for is not there, another OSError where a file to be read is none, such as a named pipe, and
    `engine.chunked.errors.EngineError` where a store cannot be reached or refuses.
    """

    @property
    def name(self) -> str:
        """The last part."""
        ...

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        ...

    @property
    def suffixes(self) -> list[str]:
        """Suffixes of the last part."""
        ...

    @property
    def parent(self) -> Location:
        """The folder this is in."""
        ...

    def __truediv__(self, name: str | PurePath, /) -> Location:
        """What has this name in the folder; where that is `enclosed`, a name that leads out is a DamagedError."""
        ...

    def enclosed(self) -> Location:
        """The same folder, from which nothing leads out: neither a name such as ``../x`` nor a link.

        Links are followed on the way to the folder, and in its name. Where one is found below, methods raise
        `engine.chunked.errors.DamagedError` with its name. Whatever is reached by ``/`` is in the same enclosure.
        """
        ...

    def enclosure(self) -> tuple[str, str]:
        """The `enclosed` folder that this is in, as text, and the name of this in it; for another process."""
        ...

    def refuse_links(self) -> None:
        """Look for a link here and below, where there can be any.

        Raises
        ------
        DamagedError
            Names the first, in an `enclosed` folder.
        """
        ...

    def absolute(self) -> Location:
        """The same for whoever stands in another folder."""
        ...

    def resolve(self) -> Location:
        """The same without links and ``..``."""
        ...

    def exists(self) -> bool:
        """Whether there is such a file or folder."""
        ...

    def is_file(self) -> bool:
        """Whether there is such a file."""
        ...

    def is_dir(self) -> bool:
        """Whether there is such a folder."""
        ...

    def names(self) -> list[str]:
        """Names of what is directly in the folder, sorted; none where there is no such folder."""
        ...

    def sizes(self) -> dict[str, int]:
        """All files below by their names relative to the folder, with their bytes; none that vanish meanwhile."""
        ...

    def lister(self) -> Callable[[str], Listed]:
        """What tells of a file below by its name, for many files one after another."""
        ...

    def read_bytes(self, most: int = SMALL) -> bytes:
        """The content of a file of so many bytes at most: OSError where it is larger, or no regular file."""
        ...

    def read_text(self) -> str:
        """The same as text."""
        ...

    def read_range(self, start: int, stop: int) -> bytes:
        """The bytes from one place up to another; fewer where the file ends before."""
        ...

    def put(self, content: bytes, *, durable: bool = True) -> None:
        """Replace the content of a small file: readers see the old one or the new one, whole.

        Where it need not be ``durable``, a power cut may leave neither.
        """
        ...

    def remove(self) -> None:
        """Remove a file, or a folder and all below; nothing where there is neither."""
        ...

    def flush(self) -> None:
        """Make durable which names the folder has."""
        ...

    def make(self) -> None:
        """Make the folder and those above, where that takes doing.

        As where a file is put: what stands below an `enclosed` folder in the place of one, and is none, is removed.
        """
        ...

    def sweep(self) -> None:
        """Remove what `put` left in the folder when it was killed."""
        ...

    def digest(self, size: int | None = None) -> str:
        """SHA-256 of the content, in hexadecimal; ``size`` where it is known, which can save a question."""
        ...

    def state(self) -> list[int]:
        """The size in bytes, and numbers of which one changes whenever the file is written or replaced."""
        ...

    def local(self) -> Path:
        """A file on a local disk with this content: itself, or a copy that this process keeps."""
        ...

    @property
    def copied_bytes(self) -> int:
        """Bytes on a local disk that `local` takes; 0 where the file is there itself."""
        ...

    def scratch(self) -> Path:
        """A folder on a local disk in which tasks write what `adopt` takes over."""
        ...

    def new_scratch(self, name: str) -> Path:
        """Make an empty folder there."""
        ...

    def clear_scratch(self, name: str | None = None) -> None:
        """Remove a folder there; without a name, what killed tasks left there, where nobody else does."""
        ...

    def adopt(self, sources: Mapping[str, Path], *, durable: bool = True) -> None:
        """Take files of `scratch` over into this folder, under the names given, each whole or not at all.

        Where they need not be ``durable``, a power cut may leave anything of them.
        """
        ...

    def flush_below(self, names: Iterable[str]) -> None:
        """Make files in this folder durable, and the folders that they are in."""
        ...

    def zarr_store(self) -> Any:
        """What Zarr opens the array or group here by."""
        ...

    @property
    def settled(self) -> bool:
        """Whether this machine, or its settings, say who is asked for what is here: not the name alone."""
        ...

    def warm(self) -> None:
        """Load all that reading and writing here takes, so that it counts as held before any data."""
        ...

    @property
    def disk(self) -> Path:
        """A folder of the local disk that working here takes."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other processes see what is here."""
        ...

    def hold(self) -> AbstractContextManager[tuple[int, ...]]:
        """Hold the folder that this file is in, against other runs; the file says who does.

        Yields
        ------
        tuple of int
            Descriptors that child processes inherit: where it can be, the hold lasts until the last of them is gone.

        Raises
        ------
        LockedError
            Where another process holds it; names the holder.
        """
        ...

    def holder(self) -> dict[str, object] | None:
        """Who holds the folder that this file is in (``pid``, ``host``, ``since``), or None."""
        ...
