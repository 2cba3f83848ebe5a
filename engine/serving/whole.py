"""Files for the user, which are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from engine.chunked.errors import write_named


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Open what takes the place of a file once it is written, and goes where that fails.

    It is a new file beside it, of a name that nobody can know before: a link that somebody has put there would lead out
    of the folder.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    file = temporary.open("xb")
    try:
        with write_named(target), file:
            yield file
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
