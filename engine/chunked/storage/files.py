"""Small files, written whole and durably; digests of large ones."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engine.chunked.errors import DamagedError
from engine.chunked.storage.location import Location, Remote

T = TypeVar("T", bound=msgspec.Struct)

# The field of a sealed file that has the digest of the others.
_SEAL = "sha256"


def sha256_file(path: Location, size: int | None = None) -> str:
    """SHA-256 of a file's content, in hexadecimal; ``size`` where it is known, which saves asking a store."""
    if isinstance(path, Remote):
        digest = hashlib.sha256()
        for block in path.blocks(size):
            digest.update(block)
        return digest.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync_path(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Location) -> None:
    """Remove a file, or a folder that is where a file should be; nothing where there is neither."""
    if isinstance(path, Remote):
        path.unlink(missing_ok=True)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_folder(folder: Location) -> None:
    """Remove a folder and all below; nothing where there is none."""
    if isinstance(folder, Remote):
        folder.remove()
    else:
        remove(folder)


def write_atomic(path: Location, content: bytes) -> None:
    """Replace a file's content durably: readers see the old one or the new one, whole."""
    if isinstance(path, Remote):
        path.write_bytes(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_path(path.parent)


def sweep_unfinished(folder: Location) -> None:
    """Remove what `write_atomic` left in a folder when it was killed; in a store that is nothing."""
    if isinstance(folder, Remote):
        return
    for path in folder.glob(".*.tmp"):
        path.unlink()


def write_sealed(path: Location, content: msgspec.Struct) -> None:
    """Write a small JSON file that carries a digest of itself, atomically."""
    write_atomic(path, _seal(msgspec.to_builtins(content)))


def read_sealed(path: Location, kind: type[T]) -> T:
    """Read what `write_sealed` wrote.

    Raises
    ------
    DamagedError
        Where the file is missing, or is in any byte not what was written.
    """
    try:
        content = path.read_bytes()
        fields = msgspec.json.decode(content, type=dict[str, Any])
        fields.pop(_SEAL, None)
        if _seal(fields) == content:
            return msgspec.convert(fields, kind)
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise DamagedError(f"{path}: cannot be read ({error}); engine run makes it again") from error
    raise DamagedError(f"{path}: altered since it was written; engine run makes it again")


def _seal(fields: dict[str, Any]) -> bytes:
    digest = hashlib.sha256(msgspec.json.encode(fields)).hexdigest()
    return msgspec.json.format(msgspec.json.encode({**fields, _SEAL: digest})) + b"\n"
