"""Where files are: on a disk of this machine, or in a store that fsspec knows, such as ``s3://bucket/folder``.

A place on disk is a `pathlib.Path`. `Remote` is a place in a store, with those of its methods that are used here; what
differs more is a function below. In a store there are no folders to make and nothing is renamed: an object is there
whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from engine.chunked.errors import EngineError, UsageError, unreachable

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
            "the same command again"
        )
    return None


@dataclass(frozen=True, order=True)
class Remote:
    """A place in a store: an object, or the folder of all whose names begin with its name.

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

    def __truediv__(self, name: str | PurePosixPath) -> Remote:
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

    def iterdir(self) -> Iterator[Remote]:
        """What is directly below; nothing where there is no such folder."""
        yield from (self / name for name in sorted(self._kinds()))

    def _kinds(self) -> dict[str, str]:
        """What is directly below: names, and whether each is a file or a directory."""
        key = self.key
        try:
            with _asking(self.url):
                found = self.store.ls(key, detail=True)
        except FileNotFoundError:
            return {}
        kinds = {each["name"].rstrip("/").rpartition("/")[2]: each["type"] for each in found if each["name"] != key}
        return {name: kind for name, kind in kinds.items() if name}

    def read_bytes(self) -> bytes:
        """The content of a small object."""
        with _asking(self.url):
            return bytes(self.store.cat_file(self.key))

    def read_text(self) -> str:
        """The same as text."""
        return self.read_bytes().decode()

    def write_bytes(self, content: bytes) -> None:
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

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove an object."""
        try:
            with _asking(self.url):
                self.store.rm_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove(self) -> None:
        """Remove all objects below."""
        with suppress(FileNotFoundError), _asking(self.url):
            self.store.rm(self.key, recursive=True)

    def sizes(self) -> dict[str, int]:
        """All objects below by their names relative to this, with their bytes; one listing."""
        key = self.key
        with _asking(self.url):
            found = self.store.find(key, detail=True)
        prefix = key.rstrip("/") + "/"
        return {name.removeprefix(prefix): int(each["size"]) for name, each in found.items() if name.startswith(prefix)}

    def state(self) -> tuple[int, str]:
        """Bytes of an object, and a digest of all the store tells of it, which is another once it is written again."""
        with _asking(self.url):
            told = self.store.info(self.key)
        return int(told["size"]), hashlib.sha256(str(sorted(told.items(), key=str)).encode()).hexdigest()

    def blocks(self, size: int | None = None) -> Iterator[bytes]:
        """The content of an object, some MiB at a time; ``size`` where it is known."""
        size = self.state()[0] if size is None else size
        for start in range(0, size, _BLOCK):
            with _asking(self.url):
                yield self.store.cat_file(self.key, start=start, end=min(size, start + _BLOCK))

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


Location = Path | Remote
"""Where a file or a folder is."""


def locate(where: str | os.PathLike[str] | Remote) -> Location:
    """Turn what a user wrote into a location: a path, or a URL; ``file://`` is a path, too."""
    if isinstance(where, Remote):
        return where
    text = os.fspath(where)
    if text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    return Remote(text.rstrip("/")) if "://" in text else Path(text)


def absolute(where: Location) -> Location:
    """The same for whoever stands in another folder."""
    return where if isinstance(where, Remote) else where.absolute()


def warm(where: Location) -> None:
    """Load all that reading and writing there takes, so that it is counted as what a process holds before data."""
    if isinstance(where, Remote):
        where.exists()


def sizes_below(folder: Location) -> dict[str, int]:
    """All files below a folder by their names relative to it, with their bytes; without files that vanish meanwhile."""
    if isinstance(folder, Remote):
        return folder.sizes()
    found = {}
    for path in folder.rglob("*"):
        with suppress(OSError):
            if not path.is_dir():
                found[path.relative_to(folder).as_posix()] = path.lstat().st_size
    return found


def names_in(folder: Location) -> list[str]:
    """Names of what is directly in a folder, sorted; none where there is no such folder."""
    if isinstance(folder, Remote):
        return [each.name for each in folder.iterdir()]
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
