"""Errors a user can act on, each with the exit code the command line gives it.

Every message says what is wrong, where, and what to do about it.
"""

from __future__ import annotations

import errno
import re
import traceback
from typing import Any


class EngineError(Exception):
    """Base class: anything else that went wrong in a way worth a sentence."""

    exit_code = 1


class UsageError(EngineError):
    """Bad usage, configuration or input."""

    exit_code = 2


class BudgetError(EngineError):
    """The work does not fit the memory budget, or the disk."""

    exit_code = 3


class LockedError(EngineError):
    """Another run holds the work directory."""

    exit_code = 4


class DamagedError(EngineError):
    """A file of the work directory is not what its record says."""

    exit_code = 5


class Interrupted(EngineError):  # noqa: N818  (a state, not a fault)
    """The user stopped the run; it can go on later."""

    exit_code = 130


# Rust libraries name the system's error only in their text; NumPy says how much of a write it got rid of.
_NUMBER = re.compile(r"\(os error (\d+)\)")
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NETWORK = ("botocore", "aiobotocore", "aiohttp")
_USERS_TO_MEND = (errno.EACCES, errno.EROFS, errno.EIO, errno.EPERM)


def describe(error: BaseException) -> dict[str, Any]:
    """Turn an exception into an event the parent can raise again or print."""
    if isinstance(error, EngineError):
        return {"event": "error", "kind": type(error).__name__, "message": str(error)}
    if unreachable(error):
        message = f"the store does not answer ({error}): run the same command again"
        return {"event": "error", "kind": "EngineError", "message": message}
    number = system_error(error)
    if number in _FULL:
        where = getattr(error, "filename", None) or "work directory"
        message = f"no space left on the disk ({where}): free some, then run again"
        return {"event": "error", "kind": "EngineError", "message": message}
    if number in _USERS_TO_MEND:
        return {"event": "error", "kind": "EngineError", "message": f"{error}: mend that, then run again"}
    return {"event": "error", "kind": "crash", "message": "".join(traceback.format_exception(error))}


def unreachable(error: BaseException) -> bool:
    """Whether a store did not answer, by the libraries that such an error is of: they need not be there."""
    return type(error).__module__.partition(".")[0] in _NETWORK or type(error).__name__ == "FSTimeoutError"


def system_error(error: BaseException) -> int | None:
    """The operating system's number of what went wrong, however a library wraps it; None where it is something else."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if _SHORT_WRITE.search(str(error)):
        return errno.ENOSPC
    found = _NUMBER.search(str(error))
    return int(found[1]) if found else None
