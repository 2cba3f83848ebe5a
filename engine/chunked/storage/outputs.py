"""What a user names as output may be there already: a file is replaced, and nothing else is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from engine.chunked.errors import UsageError, write_named
from engine.chunked.storage.base import Location
from engine.chunked.storage.local import Local

# Where a system keeps what stands for its devices, and for open files of processes.
_OF_THE_SYSTEM = ("/dev", "/proc")
_OF_USERS = "/dev/shm"  # a disk in memory


def is_stream(path: Path, *, text: bool = True) -> bool:
    """Whether an output is a pipe or a character device, such as a terminal: that is written into, never replaced.

    Parameters
    ----------
    path : Path
        What the user named, links on the way to it being followed.
    text : bool
        Whether what is written is made for that. Parquet is not.

    Raises
    ------
    UsageError
        Where it is a folder, another thing that is no file, or a name of the system's; or a stream, and what is
        written is no text.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # nothing is there, or it is told by whoever writes
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        raise UsageError(
            f"{path}: cannot be written: it is a folder, which is not replaced; name a file, such as one in it"
        )
    stream = stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)
    if stream and text:
        return True
    if not stat.S_ISREG(mode) or _is_of_the_system(path):
        raise UsageError(
            f"{path}: cannot be written: it is no regular file, and is not replaced; name a file, or a new one"
        )
    return False


def _is_of_the_system(path: Path) -> bool:
    """Whether a name is in a folder of the system's, such as that of standard output."""
    folder = os.path.realpath(os.path.dirname(path) or ".")  # noqa: PTH120  (a Path need not be of this system's kind)
    within = any(folder == known or folder.startswith(f"{known}/") for known in _OF_THE_SYSTEM)
    return within and not f"{folder}/".startswith(f"{_OF_USERS}/")


def refuse_output(where: Location, *, text: bool = True) -> None:
    """See that something can be written where a user wants it, before it is made.

    Raises
    ------
    UsageError
        As `is_stream`.
    """
    if isinstance(where, Local):
        is_stream(where, text=text)


def write_output(where: Location, content: bytes) -> None:
    """Write text where a user wants it: into a stream, or as a file, whole or not at all.

    Raises
    ------
    UsageError
        As `is_stream`.
    """
    if not (isinstance(where, Local) and is_stream(where)):
        where.put(content)
        return
    with write_named(where), where.open("wb") as stream:
        stream.write(content)
