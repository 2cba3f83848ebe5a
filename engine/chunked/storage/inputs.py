"""Texts that a user names, which may be anything: also a pipe, or a device without end."""

from __future__ import annotations

from pathlib import Path

from engine.chunked.errors import UsageError

_PIECE = 2**20


def read_named_text(path: Path, most: int) -> str:
    """The content of a text in UTF-8, from a file or a pipe; no more of it is read than is needed to refuse it.

    Raises
    ------
    UsageError
        Where it is more than ``most`` bytes, or holds NUL bytes, as no text does.
    OSError, UnicodeDecodeError
        Where it cannot be read.
    """
    pieces, size = [], 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if b"\0" in piece:
                raise UsageError(f"{path}: is not text: give a text file in UTF-8")
            if size > most:
                raise UsageError(f"{path}: more than {most >> 20} MiB, which is too much: give a smaller file")
    return b"".join(pieces).decode("utf-8-sig")
