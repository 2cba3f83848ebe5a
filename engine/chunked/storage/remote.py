"""A place in a store that fsspec knows, such as ``s3://bucket/folder``.

In a store there are no folders to make and nothing is renamed: an object is there whole or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from engine.chunked.errors import EngineError, UsageError, fault_of_store, without_credentials
from engine.chunked.extras import install
from engine.chunked.storage import lock, staging
from engine.chunked.storage.base import SMALL, Listed, inner_parts, is_plain, refuse_large, too_large

# Bytes of an object in memory at a time. S3 takes no smaller parts, and of one object no more than 10 000.
_BLOCK = 5 * 2**20
_MAX_PARTS = 9_000
# By protocol. Listings that are remembered would hide what another process does; downloads in parallel hold 50 MB each.
_S3: dict[str, Any] = {"use_listings_cache": False, "max_concurrency": 1}
_SCHEME = re.compile(r"([^/:]*)://")
# Signs by which fsspec knows a store within a store; an address of IPv6 may have them, too.
_CHAIN = re.compile(r"[^/]*::|[^/]*://[^/\[]*::")
_OPTIONS = {"s3": _S3, "s3a": _S3}
_AWS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
# What S3, Google Cloud Storage and Azure call the mark of a content.
_VERSIONS = ("ETag", "etag", "md5Hash")
# Where credentials belong, by protocol.
_INSTEAD = {"s3": _AWS, "s3a": _AWS, "http": "save the file first", "https": "save the file first"}
# Whatever is asked of a web server; elsewhere also a sign in a pattern or a name, where no value follows.
_WEB_QUERY = re.compile(r"[?#].")
_QUERY = re.compile(r"[?#][^/]*=")
# What has a meaning in a name that fsspec expands.
_SIGNS = re.compile(r"[*?\[]|/$")
# URLs of these name no server.
_BUCKETS = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory")


@cache
def _open_store(protocol: str, url: str) -> Any:
    if protocol in _OPTIONS:
        from engine.chunked.storage.s3 import LiteralS3

        return LiteralS3(**_OPTIONS[protocol])
    import fsspec.core

    return fsspec.core.url_to_fs(url)[0]


def _version(told: Mapping[str, Any]) -> str:
    """What a store calls this content; it is under another name in each."""
    return next((str(told[name]) for name in _VERSIONS if told.get(name)), "")


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


@contextmanager
def _putting(url: str) -> Iterator[None]:
    """The same while something is put; in most stores a name keeps no other out, but some have folders."""
    try:
        with _asking(url):
            yield
    except (FileExistsError, NotADirectoryError) as error:
        raise EngineError(
            f"{url}: what stands where its folder belongs is none ({error}): remove that, then run again"
        ) from None


def _fault(error: Exception, url: str) -> EngineError | None:
    if isinstance(error, ImportError):
        return UsageError(f"{url}: a library for it is missing ({error}): {install('s3')} has that for s3://")
    if isinstance(error, ValueError) and "rotocol not known" in str(error):
        return UsageError(f"{url}: no such kind of store: give a path, or a URL such as s3://bucket/folder")
    if isinstance(error, FileNotFoundError) and "bucket does not exist" in str(error):
        return UsageError(f"{url}: there is no such bucket: make it, or name another")
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
        return UsageError(
            f"{url}: access denied ({without_credentials(str(error))}): {_AWS}, to who may read and write there"
        )
    if type(error).__name__ == "ParamValidationError":  # of what was asked, not of an answer
        return UsageError(f"{url}: no store of this kind has such a name: name another")
    if isinstance(error, NotImplementedError):
        return UsageError(f"{url}: nothing can be written there: give a path, or a URL such as s3://bucket/folder")
    what = fault_of_store(error)
    if not what and isinstance(error, LookupError | ValueError | TypeError | AttributeError):
        # What its library makes of an answer that is not as the protocol has it.
        what = f"the store's answer cannot be read ({type(error).__name__}: {without_credentials(str(error))})"
    if what:
        where = "the URL" if url.startswith("http") else "AWS_ENDPOINT_URL"
        return EngineError(f"{url}: {what}: see that it is up and {where} is right, then run again")
    return None


def refuse_credentials(url: str) -> None:
    """Refuse a URL with a name, a password or a signature, which would be told in messages and written into files.

    Raises
    ------
    UsageError
        Says where they belong, and nothing of them.
    """
    for scheme, rest in zip(_SCHEME.findall(url), _SCHEME.split(url)[2::2], strict=True):
        web = scheme in ("http", "https")
        bare = _without_user(rest)
        query = (_WEB_QUERY if web else _QUERY).search(bare)
        shown = f"{scheme}://{bare[: query.start() + 1]}..." if query else f"{scheme}://{bare}"
        if bare != rest:
            instead = _INSTEAD.get(scheme, "give them by the environment or the settings of the store's library")
            raise UsageError(f"{shown}: credentials in a URL would be shown and written down: {instead}")
        if query:
            what = "what follows would be shown and written down, and is often a secret"
            instead = "take it away if the file is there without, or save the file first" if web else "take it away"
            raise UsageError(f"{shown}: {what}: {instead}")


def _without_user(rest: str) -> str:
    """What stands after ``://`` in a URL, without a user's name and password."""
    host, _, path = rest.partition("/")
    name, colon, port = host.partition(":")
    # A secret may have slashes: then all up to the first looks like a host, and a port that is no number.
    if "@" in host or (colon and "@" in path and name and not name.startswith("[") and not port.isdecimal()):
        return f"...@{rest.rpartition('@')[2]}"
    return rest


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
        Where there are credentials, ``..`` or a chain of stores in the URL; from every method, where the library for
        the store, its bucket or the permission is missing.
    EngineError
        Where the store does not answer.
    """

    url: str

    def __post_init__(self) -> None:
        refuse_credentials(self.url)
        if _CHAIN.match(self.url):
            raise UsageError(f"{self.url}: a store within a store: give a path, or a URL such as s3://bucket/folder")
        if ".." in self._pure.parts:
            raise UsageError(f"{self.url}: in a store there is no '..': write out what it stands for")

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
        return self._at(self.url.rstrip("/").rpartition("/")[0])

    def __truediv__(self, name: str | PurePath) -> Remote:
        return self._at("/".join([self.url.rstrip("/"), *inner_parts(self, name)]))

    def _at(self, url: str) -> Remote:
        """The place above or below that has this URL; what a listing names is no secret of whoever gave the URL."""
        made = object.__new__(Remote)
        object.__setattr__(made, "url", url)
        return made

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

    @property
    def settled(self) -> bool:
        """Where the URL names a bucket: the settings of the store's library say where that is."""
        return self.protocol in _BUCKETS

    def absolute(self) -> Remote:
        """The same."""
        return self

    def enclosed(self) -> Remote:
        """The same: in a store there are no links, and ``..`` is refused in all names."""
        return self

    def enclosure(self) -> tuple[str, str]:
        """The URL, and no name."""
        return self.url, ""

    def refuse_links(self) -> None:
        """Nothing to look for."""

    def resolve(self) -> Remote:
        """The same."""
        return self

    def exists(self) -> bool:
        """Whether there is such an object or folder."""
        return self._kind() != ""

    def is_file(self) -> bool:
        """Whether there is such an object."""
        return self._kind() == "file"

    def _kind(self) -> str:
        """What the store says it is; nothing where it is not there.

        Other questions of the library are answered with no where the store fails.
        """
        try:
            with _asking(self.url):
                return str(self.store.info(self.key)["type"])
        except FileNotFoundError:
            return ""

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
        prefix = key.rstrip("/") + "/"
        names = {name.removeprefix(prefix).rstrip("/") for name in listed if name.startswith(prefix)}
        return sorted(name for name in names if is_plain(name) and "/" not in name)

    def read_bytes(self, most: int = SMALL) -> bytes:
        """The content of an object of so many bytes at most."""
        try:
            with _asking(self.url):
                content = bytes(self.store.cat_file(self.key, start=0, end=most + 1))
        except OSError as error:
            if error.errno == errno.EINVAL and self.state()[0] == 0:
                return b""  # S3 has no part of an empty object
            raise
        if len(content) > most:
            raise too_large(self, most)
        return content

    def read_text(self) -> str:
        """The same as text."""
        return self.read_bytes().decode()

    def read_range(self, start: int, stop: int) -> bytes:
        """Some of the content; nothing else of it is copied."""
        stop = min(stop, self.state()[0])
        if start >= stop:
            return b""  # no store has such a part
        with _asking(self.url):
            return bytes(self.store.cat_file(self.key, start=start, end=stop))

    def put(self, content: bytes, *, durable: bool = True) -> None:
        """Put a small object, or replace it; it is durable in any case."""
        refuse_large(self, content)
        with _putting(self.url):
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
        """Remove an object, and all objects below, by names as they are listed: signs in them stand for no others."""
        store, key = self.store, self.key
        with suppress(FileNotFoundError), _asking(self.url):
            found = {key, *store.find(key)}
            if hasattr(store, "remove_each"):
                store.remove_each(sorted(found))
                return
            # Many at once, but for those that would be taken for patterns and what may not be there itself.
            alone = {name for name in found if name == key or _SIGNS.search(name)}
            if many := sorted(found - alone):
                store.rm(many)
            for name in alone:
                with suppress(FileNotFoundError):
                    store.rm_file(name)

    def make(self) -> None:
        """Nothing to do: a store has no folders."""

    def flush(self) -> None:
        """Nothing to do: an object that is put is durable."""

    def sweep(self) -> None:
        """Nothing to do: an object that was put in part is not there."""

    def sizes(self) -> dict[str, int]:
        """All objects below by their names relative to this, with their bytes; one listing."""
        return {name: each.size for name, each in self._listing().items()}

    def _listing(self) -> dict[str, Listed]:
        key = self.key
        with _asking(self.url):
            found = self.store.find(key, detail=True)
            prefix = key.rstrip("/") + "/"
            below = {name.removeprefix(prefix): each for name, each in found.items() if name.startswith(prefix)}
            # Marks of folders are no files, and what is called otherwise than a file on a disk can be is none of ours.
            return {name: Listed(int(each["size"]), _version(each)) for name, each in below.items() if is_plain(name)}

    def lister(self) -> Callable[[str], Listed]:
        """One listing, made now."""
        listing = self._listing()

        def listed(name: str) -> Listed:
            if name not in listing:
                raise FileNotFoundError(errno.ENOENT, "No such object")
            return listing[name]

        return listed

    def state(self) -> list[int]:
        """The size, and a number made of all that the store tells of the object."""
        with _asking(self.url):
            told = self.store.info(self.key)
            size = int(told["size"])
        version = hashlib.sha256(str(sorted(told.items(), key=str)).encode()).hexdigest()
        return [size, int(version[:15], 16)]

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

    def new_scratch(self, name: str) -> Path:
        """Make an empty folder there."""
        made = self.scratch() / name
        made.mkdir(parents=True)
        return made

    def clear_scratch(self, name: str | None = None) -> None:
        """Remove a folder there; each process clears the rest of its own."""
        if name is not None:
            shutil.rmtree(self.scratch() / name, ignore_errors=True)

    def adopt(self, sources: Mapping[str, Path], *, durable: bool = True) -> None:
        """Upload each file; it is durable in any case."""
        for name, source in sources.items():
            (self / name).upload(source)

    def flush_below(self, names: Iterable[str]) -> None:
        """Nothing to do: objects that are put are durable."""

    def warm(self) -> None:
        """Load the library of the store, and connect."""
        self.exists()

    def hold(self) -> AbstractContextManager[tuple[int, ...]]:
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
            _putting(self.url),
            source.open("rb") as file,
            self.store.open(self.key, "wb", block_size=block) as target,
        ):
            shutil.copyfileobj(file, target, 1 << 20)

    def zarr_store(self) -> Any:
        """A Zarr store of what is below, by the same connection."""
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
        from zarr.storage import FsspecStore

        return FsspecStore(AsyncFileSystemWrapper(self.store, asynchronous=True), path=self.key)
