"""A place in a store that fsspec knows, such as ``s3://bucket/folder``.

In a store there are no folders to make and nothing is renamed: an object is there whole or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from engine.chunked.errors import EngineError, UsageError, unreachable
from engine.chunked.storage import lock, staging

# Bytes of an object in memory at a time. S3 takes no smaller parts, and of one object no more than 10 000.
_BLOCK = 5 * 2**20
_MAX_PARTS = 9_000
# By protocol. Listings that are remembered would hide what another process does; downloads in parallel hold 50 MB each.
_S3: dict[str, Any] = {"use_listings_cache": False, "max_concurrency": 1}
_OPTIONS = {"s3": _S3, "s3a": _S3}
_INSTALL = "pip install 'recsys-engine[s3]'"


@cache
def _open_store(protocol: str, url: str) -> Any:
    import fsspec.core

    return fsspec.core.url_to_fs(url, **_OPTIONS.get(protocol, {}))[0]


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Turn what a store's library raises into an error the user can act on, where it is one."""
    try:
        yield
    except Exception as error:
        fault = _fault(error, url)
        if fault is None:
            raise
        raise fault from None


def _fault(error: Exception, url: str) -> EngineError | None:
    if isinstance(error, ImportError):
        return UsageError(f"{url}: a library for it is missing ({error}): {_INSTALL} has that for s3://")
    if isinstance(error, ValueError) and "rotocol not known" in str(error):
        return UsageError(f"{url}: no such kind of store: give a path, or a URL such as s3://bucket/folder")
    if isinstance(error, FileNotFoundError) and "bucket does not exist" in str(error):
        return UsageError(f"{url}: there is no such bucket: make it, or name another")
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
        return UsageError(
            f"{url}: access denied ({error}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, to who "
            "may read and write there"
        )
    if unreachable(error):
        return EngineError(
            f"{url}: the store does not answer ({error}): see that it is up and AWS_ENDPOINT_URL is right, then run "
            "again"
        )
    return None


@dataclass(frozen=True, order=True)
class Remote:
    """An object, or the folder of all whose names begin with its name; see `engine.chunked.storage.base.Location`.

    Parameters
    ----------
    url : str
        Such as ``s3://bucket/folder/name``.

    Raises
    ------
    UsageError
        From every method, where the library for the store, its bucket or the permission is missing.
    EngineError
        Where the store does not answer.
    """

    url: str

    @property
    def _pure(self) -> PurePosixPath:
        return PurePosixPath(self.url.partition("://")[2])

    @property
    def protocol(self) -> str:
        """What the URL begins with."""
        return self.url.partition("://")[0]

    @property
    def name(self) -> str:
        """The last part."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return self._pure.stem

    @property
    def suffixes(self) -> list[str]:
        """Suffixes of the last part."""
        return self._pure.suffixes

    @property
    def parent(self) -> Remote:
        """The folder this is in."""
        return Remote(self.url.rstrip("/").rpartition("/")[0])

    def __truediv__(self, name: str | PurePath) -> Remote:
        return Remote(f"{self.url.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.url

    @property
    def store(self) -> Any:
        """The fsspec file system."""
        with _asking(self.url):
            return _open_store(self.protocol, f"{self.protocol}://{self.url.partition('://')[2].partition('/')[0]}")

    @property
    def key(self) -> str:
        """Its name in the store."""
        return str(self.store._strip_protocol(self.url))

    @property
    def shared(self) -> bool:
        """Not where the store is in the memory of one process."""
        return self.protocol != "memory"

    @property
    def copied_bytes(self) -> int:
        """The size of the object."""
        return self.state()[0]

    @property
    def disk(self) -> Path:
        """The disk of temporary files: scratch and copies are there."""
        return Path(tempfile.gettempdir())

    def absolute(self) -> Remote:
        """The same."""
        return self

    def resolve(self) -> Remote:
        """The same."""
        return self

    def exists(self) -> bool:
        """Whether there is such an object or folder."""
        with _asking(self.url):
            return bool(self.store.exists(self.key))

    def is_file(self) -> bool:
        """Whether there is such an object."""
        with _asking(self.url):
            return bool(self.store.isfile(self.key))

    def is_dir(self) -> bool:
        """Whether there are objects below."""
        with _asking(self.url):
            return bool(self.store.isdir(self.key))

    def names(self) -> list[str]:
        """Names of what is directly below."""
        key = self.key
        try:
            with _asking(self.url):
                listed = self.store.ls(key, detail=False)
        except FileNotFoundError:
            return []
        names = {name.rstrip("/").rpartition("/")[2] for name in listed if name != key}
        return sorted(name for name in names if name)

    def read_bytes(self) -> bytes:
        """The content of a small object."""
        with _asking(self.url):
            return bytes(self.store.cat_file(self.key))

    def read_text(self) -> str:
        """The same as text."""
        return self.read_bytes().decode()

    def put(self, content: bytes) -> None:
        """Put a small object, or replace it."""
        with _asking(self.url):
            self.store.pipe_file(self.key, content)

    def create(self, content: bytes) -> bool:
        """Put a small object unless it is there; whether that was so. Exclusive where the store can tell."""
        try:
            with _asking(self.url):
                self.store.pipe_file(self.key, content, mode="create")
        except FileExistsError:
            return False
        return self.read_bytes() == content  # in a store that cannot tell, the last one to write has it

    def remove(self) -> None:
        """Remove an object, and all objects below."""
        with suppress(FileNotFoundError), _asking(self.url):
            self.store.rm(self.key, recursive=True)

    def make(self) -> None:
        """Nothing to do: a store has no folders."""

    def flush(self) -> None:
        """Nothing to do: an object that is put is durable."""

    def sweep(self) -> None:
        """Nothing to do: an object that was put in part is not there."""

    def sizes(self) -> dict[str, int]:
        """All objects below by their names relative to this, with their bytes; one listing."""
        key = self.key
        with _asking(self.url):
            found = self.store.find(key, detail=True)
        prefix = key.rstrip("/") + "/"
        return {name.removeprefix(prefix): int(each["size"]) for name, each in found.items() if name.startswith(prefix)}

    def sizer(self) -> Callable[[str], int]:
        """One listing, made now."""
        sizes = self.sizes()

        def listed(name: str) -> int:
            if name not in sizes:
                raise FileNotFoundError(errno.ENOENT, "No such object")
            return sizes[name]

        return listed

    def state(self) -> list[int]:
        """The size, and a number made of all that the store tells of the object."""
        with _asking(self.url):
            told = self.store.info(self.key)
        version = hashlib.sha256(str(sorted(told.items(), key=str)).encode()).hexdigest()
        return [int(told["size"]), int(version[:15], 16)]

    def digest(self, size: int | None = None) -> str:
        """SHA-256 of the content, which is read some MiB at a time."""
        digest = hashlib.sha256()
        size = self.state()[0] if size is None else size
        for start in range(0, size, _BLOCK):
            with _asking(self.url):
                digest.update(self.store.cat_file(self.key, start=start, end=min(size, start + _BLOCK)))
        return digest.hexdigest()

    def local(self) -> Path:
        """A copy in this process's folder in ``TMPDIR``, made once."""
        return staging.copy_of(self)

    def scratch(self) -> Path:
        """A folder in ``TMPDIR``, of this process."""
        return staging.folder() / self.name / ".scratch"

    def clear_scratch(self) -> None:
        """Nothing to do: each process clears its own."""

    def adopt(self, sources: Mapping[str, Path]) -> None:
        """Upload each file."""
        for name, source in sources.items():
            (self / name).upload(source)

    def warm(self) -> None:
        """Load the library of the store, and connect."""
        self.exists()

    def hold(self) -> AbstractContextManager[int]:
        """Put this object unless it is there."""
        return lock.hold_object(self)

    def holder(self) -> dict[str, object] | None:
        """Whoever has put this object and is not known to be gone."""
        return lock.holder_of_object(self)

    def download(self, target: Path) -> None:
        """Copy an object into a file."""
        with _asking(self.url):
            self.store.get_file(self.key, str(target))

    def upload(self, source: Path) -> None:
        """Put an object that has the content of a file, or replace it; some MiB are in memory at a time."""
        block = max(_BLOCK, source.stat().st_size // _MAX_PARTS)
        with (
            _asking(self.url),
            source.open("rb") as file,
            self.store.open(self.key, "wb", block_size=block) as target,
        ):
            shutil.copyfileobj(file, target, 1 << 20)

    def zarr_store(self) -> Any:
        """A Zarr store of what is below, by the same connection."""
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
        from zarr.storage import FsspecStore

        return FsspecStore(AsyncFileSystemWrapper(self.store, asynchronous=True), path=self.key)
