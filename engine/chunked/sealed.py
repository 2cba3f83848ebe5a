"""Small JSON files that carry a digest of themselves, so that an altered one is noticed."""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

import msgspec

from engine.chunked.errors import DamagedError, is_short
from engine.chunked.storage import Location

T = TypeVar("T", bound=msgspec.Struct)

# The field that has the digest of the others.
_SEAL = "sha256"


def write_sealed(path: Location, content: msgspec.Struct, *, durable: bool = True) -> None:
    """Write a file, whole, and so that it outlives a power cut where it is to be ``durable``."""
    path.put(_seal(msgspec.to_builtins(content)), durable=durable)


def read_sealed(path: Location, kind: type[T]) -> T:
    """Read what `write_sealed` wrote.

    Raises
    ------
    DamagedError
        Where the file is missing, is no regular file or a large one, or is in any byte not what was written.
    """
    try:
        content = path.read_bytes()
        fields = msgspec.json.decode(content, type=dict[str, Any])
        fields.pop(_SEAL, None)
        if _seal(fields) == content:
            return msgspec.convert(fields, kind)
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError, RecursionError) as error:
        if is_short(error):
            raise  # which says nothing of the file
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DamagedError(f"{path}: cannot be read ({why}); the next run makes it again") from error
    raise DamagedError(f"{path}: altered since it was written; the next run makes it again")


def _seal(fields: dict[str, Any]) -> bytes:
    digest = hashlib.sha256(msgspec.json.encode(fields)).hexdigest()
    return msgspec.json.format(msgspec.json.encode({**fields, _SEAL: digest})) + b"\n"
