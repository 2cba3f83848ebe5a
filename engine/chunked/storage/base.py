"""What a place is: a file or a folder, on a disk of this machine or in a store.

`engine.chunked.storage.local` and `engine.chunked.storage.remote` have the two kinds. Nothing else asks which kind a
place is. To add another, write a class with these methods, name it in `locate`, and let it pass
`engine.chunked.testing.StorageContract`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path, PurePath
from typing import Any, Protocol


class Location(Protocol):
    """A file or a folder.

    Its methods raise FileNotFoundError where what is asked for is not there, and `engine.chunked.errors.EngineError`
    where a store cannot be reached or refuses.
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
        """What has this name in the folder."""
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

    def sizer(self) -> Callable[[str], int]:
        """What tells the bytes of a file below by its name, for many files one after another."""
        ...

    def read_bytes(self) -> bytes:
        """The content of a small file."""
        ...

    def read_text(self) -> str:
        """The same as text."""
        ...

    def put(self, content: bytes) -> None:
        """Replace the content of a small file durably: readers see the old one or the new one, whole."""
        ...

    def remove(self) -> None:
        """Remove a file, or a folder and all below; nothing where there is neither."""
        ...

    def flush(self) -> None:
        """Make durable which names the folder has."""
        ...

    def make(self) -> None:
        """Make the folder and those above, where that takes doing."""
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

    def clear_scratch(self) -> None:
        """Remove what killed tasks left there, where nobody else does."""
        ...

    def adopt(self, sources: Mapping[str, Path]) -> None:
        """Take files of `scratch` over into this folder, under the names given: durably, each whole or not at all."""
        ...

    def zarr_store(self) -> Any:
        """What Zarr opens the array or group here by."""
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

    def hold(self) -> AbstractContextManager[int]:
        """Hold the folder that this file is in, against other runs; the file says who does.

        Yields
        ------
        int
            A descriptor that child processes inherit: where it can be, the hold lasts until the last of them is gone.

        Raises
        ------
        LockedError
            Where another process holds it; names the holder.
        """
        ...

    def holder(self) -> dict[str, object] | None:
        """Who holds the folder that this file is in (``pid``, ``host``, ``since``), or None."""
        ...
