"""The kernel's lock on an open folder."""

from __future__ import annotations

import errno
import fcntl
import os

from engine.chunked.errors import EngineError

# What file systems say that have no such locks; EBADF: some on a network lock only what is open for writing.
_NOT_OFFERED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF, errno.EINVAL, errno.ENOSYS}


def take(descriptor: int, operation: int, where: object, way_on: str) -> None:
    """Lock an open folder as `fcntl.flock` does.

    Parameters
    ----------
    descriptor, operation : int
    where : object
        The folder, for messages.
    way_on : str
        What to do where its file system offers no locks.

    Raises
    ------
    BlockingIOError
        Where somebody else holds it, and the operation does not wait.
    EngineError
        Where the file system offers no locks.
    """
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
        raise EngineError(
            f"{where}: the file system offers no locks on folders ({os.strerror(error.errno)}), by which processes "
            f"keep out of each other's way: {way_on}"
        ) from None
