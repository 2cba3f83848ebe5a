"""Errors a user can act on, each with the exit code a command line gives it.

Every message says what is wrong, where, and what to do about it. Errors cross from process to process as
`engine.chunked.events.Failed`: `describe` makes one, `rebuilt` the error again.
"""

from __future__ import annotations

import errno
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

from engine.chunked.events import Failed

# Bytes of address space below which NumPy, Polars and their threads are refused: in a process that is told how many
# threads to start, of which two take 0.8 GiB; and in one that starts as many as there are processors, and may draw.
LEAST_ADDRESS_SPACE = 2**30
LEAST_WITH_ANY_THREADS = 2 * LEAST_ADDRESS_SPACE

# Open files that a process may have at least: beside its own, libraries have some for their threads.
LEAST_OPEN_FILES = 32

# Before memory is short: where it is, a library cannot be loaded any more.
try:
    import resource
except ImportError:  # a system without limits of this kind
    resource = None  # type: ignore[assignment]


class EngineError(Exception):
    """Base class: anything else that went wrong in a way worth a sentence."""

    exit_code = 1

    def told(self, memory_option: str) -> str:
        """The message for an interface in which ``memory_option`` sets the budget, such as ``--memory {}``."""
        return str(self)


class UsageError(EngineError):
    """Bad usage, configuration or input."""

    exit_code = 2


class BudgetError(EngineError):
    """The work does not fit the memory budget, or the disk.

    Parameters
    ----------
    problem : str
        What does not fit, with the numbers.
    enough : int or None
        A budget in bytes that would be enough, in whole MiB; None where memory is not the matter.
    remedy : str
        What else may be done, if anything; it stands before the budget.
    more : str
        What is to be said of that budget.
    """

    exit_code = 3

    def __init__(self, problem: str, enough: int | None = None, remedy: str = "", more: str = "") -> None:
        super().__init__(problem, enough, remedy, more)
        self.problem, self.enough, self.remedy, self.more = problem, enough, remedy, more

    def __str__(self) -> str:
        return self.told('memory="{}"')

    def told(self, memory_option: str) -> str:
        """See `EngineError.told`."""
        remedies = [self.remedy] if self.remedy else []
        if self.enough is not None:
            remedies.append(f"give the run {memory_option.format(f'{-(-self.enough // 2**20)}MiB')}{self.more}")
        return ": ".join([self.problem, ", or ".join(remedies)] if remedies else [self.problem])


class LockedError(EngineError):
    """Another run holds the work directory."""

    exit_code = 4


class DamagedError(EngineError):
    """A file of the work directory is not what its record says.

    Attributes
    ----------
    unsound : bool
        Whether what was read contradicts itself, and was not compared with its record.
    """

    exit_code = 5
    unsound = False


class ProgramError(EngineError):
    """A fault of the program, unless what it read is at fault."""


class Interrupted(EngineError):  # noqa: N818  (a state, not a fault)
    """The user stopped the run; it can go on later."""

    exit_code = 130


# User information in a URL, which ends at the last @ before the first slash; and what a server is asked there.
_USER_INFO = re.compile(r"://[^/\s]*@")
_QUERY = re.compile(r"""((?:https?://|://(?=[^\s?#]*[?#][^\s/]*=))[^\s?#'"<>]*[?#])[^\s'"<>)]+""")


def without_credentials(text: str) -> str:
    """The same text, and nothing in it of what stands before ``@`` in a URL, or after ``?``: that may be a signature.

    Examples
    --------
    >>> without_credentials("no answer from http://somebody:secret@host/x?token=secret")
    'no answer from http://...@host/x?...'
    """
    return _QUERY.sub(r"\1...", _USER_INFO.sub("://...@", text))


def refuse_no_utf8(text: str, what: str) -> None:
    """Refuse a name of bytes that are not UTF-8: records of a run, which are JSON, cannot hold it."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise UsageError(f"{what} {text}: is not UTF-8: rename it, or give another")


_KINDS = (EngineError, UsageError, BudgetError, LockedError, DamagedError, ProgramError, Interrupted)
# Rust libraries name the system's error only in their text; NumPy says how much of a write it got rid of.
_NUMBER = re.compile(r"\(os error (\d+)\)|\bOs \{ code: (\d+),")
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SIZES = "lift the limit on sizes of files (ulimit -f unlimited), then run again"
_DESCRIPTORS = {
    errno.EMFILE: "this process may have no more open files: allow more (ulimit -n 4096), then run again",
    errno.ENFILE: "the system has no more open files to give: end what is not needed, then run again",
}
# How libraries that have no error of their own for it say that there is no more memory, or no more threads.
_SHORT = re.compile(
    r"can't start new thread|failed to map segment|cannot allocate memory|out of memory|bad_alloc|"
    r"memory allocation|allocation failed|resource temporarily unavailable",
    re.IGNORECASE,
)
_NETWORK = ("botocore", "aiobotocore", "aiohttp")
# What their libraries raise where a body is cut, too long or another than its checksum says.
_NOT_AS_SAID = (
    "FlexibleChecksumError",
    "ChecksumError",
    "IncompleteReadError",
    "ResponseStreamingError",
    "ClientPayloadError",
    "ContentLengthError",
)
_USERS_TO_MEND = (errno.EACCES, errno.EROFS, errno.EIO, errno.EPERM)


def describe(error: BaseException) -> Failed:
    """Say what an exception means, for whoever cannot be given the exception itself."""
    if isinstance(error, BudgetError):
        return Failed("BudgetError", error.problem, error.enough)
    if isinstance(error, EngineError):
        return Failed(type(error).__name__, str(error))
    if what := fault_of_store(error):
        return Failed("EngineError", f"{what}: run again")
    number = system_error(error)
    if number in _FULL:
        where = getattr(error, "filename", None) or "that of the work directory, of an output or of temporary files"
        return Failed("EngineError", f"no space left on the disk ({where}): free some space there, then run again")
    if way_on := _SIZES if _is_of_sizes(error) else _DESCRIPTORS.get(number or 0):
        return Failed("EngineError", f"{_first_line(error)}: {way_on}")
    if number in _USERS_TO_MEND:
        return Failed("EngineError", f"{error}: mend that, then run again")
    if is_of_memory(error):
        return Failed("EngineError", _short_of_memory(error))
    told = "".join(traceback.format_exception(error))
    if limited := address_space_limit():  # its cause may be that something was refused and not looked at
        told += f"\nIf that is for want of memory: {limited}"
    return Failed("", without_credentials(told))


def is_of_machine(error: BaseException) -> bool:
    """Whether an error says something of the machine or of who may do what there, and nothing of a file's content."""
    return is_short(error) or system_error(error) in _USERS_TO_MEND


def is_short(error: BaseException) -> bool:
    """Whether an error says that the machine has too little of something: memory, open files, room on a disk."""
    return is_of_memory(error) or is_of_disk(error) or _is_of_sizes(error) or system_error(error) in _DESCRIPTORS


def is_of_disk(error: BaseException) -> bool:
    """Whether an error says that there is no room on a disk."""
    return system_error(error) in _FULL


@contextmanager
def write_named(where: object) -> Iterator[None]:
    """Name what is being written in an error that says that there is no room for it, but not where.

    Raises
    ------
    OSError
        With the name, in the place of a library's error, too.
    """
    try:
        yield
    except Exception as error:
        number = system_error(error)
        full = number in _FULL or _is_of_sizes(error)
        if number is None or not full or isinstance(error, EngineError) or getattr(error, "filename", None):
            raise
        raise OSError(number, os.strerror(number), str(where)) from error


@contextmanager
def unless_full() -> Iterator[None]:
    """Go on after what is inside where it ends because there is no room on a disk."""
    try:
        yield
    except OSError as error:
        if not is_of_disk(error):
            raise


def _is_of_sizes(error: BaseException) -> bool:
    """Whether a limit of the system's on sizes of files was met: this program has others, with words of its own."""
    known = getattr(error, "strerror", None) in (None, os.strerror(errno.EFBIG))
    return known and system_error(error) == errno.EFBIG


def _sizes_are_limited() -> bool:
    return resource is not None and resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY


def is_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no more memory, or no more threads."""
    return isinstance(error, MemoryError) or system_error(error) == errno.ENOMEM or speaks_of_memory(str(error))


def speaks_of_memory(text: str) -> bool:
    """Whether what a library says is that there is no more memory, or no more threads."""
    return bool(_SHORT.search(text))


def _short_of_memory(error: BaseException) -> str:
    what = _first_line(error) or "no more memory"
    remedy = "the system gives this process no more memory or threads: free some, then run again"
    return f"{what}: {address_space_limit() or remedy}"


def _first_line(error: BaseException) -> str:
    return next(filter(str.strip, str(error).splitlines()), "")


def refuse_few_open_files() -> None:
    """Refuse to load libraries where these could not open what they need: some end in no words then.

    Raises
    ------
    EngineError
        Where a limit leaves less than that.
    """
    if resource is None:
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= limit < LEAST_OPEN_FILES:
        raise EngineError(f"processes may have {limit} open files here: allow more (ulimit -n 4096), then run again")


def refuse_little_address_space(least: int = LEAST_ADDRESS_SPACE) -> None:
    """Refuse to load libraries, here or in a process: a thread that never starts would hang it, or end it in no words.

    Raises
    ------
    EngineError
        Where a limit leaves less than that.
    """
    if (limit := _most_address_space()) is not None and limit < least:
        raise EngineError(address_space_limit())


def _most_address_space() -> int | None:
    """Bytes of address space that a process may have; None where it has no limit."""
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def refused_by_limit(error: MemoryError) -> bool:
    """Whether so much would be given where address space has no limit: no damaged file asks for so little."""
    limit, shape = _most_address_space(), getattr(error, "shape", ())  # NumPy's has one
    return limit is not None and prod(shape) * getattr(getattr(error, "dtype", None), "itemsize", 1) < limit


@contextmanager
def damage_named(where: object) -> Iterator[None]:
    """Tell what cannot be read, or has no room in any memory, as damage of ``where``.

    Raises
    ------
    DamagedError
        Instead of what comes of metadata that somebody has altered, record and all.
    """
    try:
        yield
    except (MemoryError, ValueError, TypeError, LookupError, OverflowError, RecursionError, EOFError) as error:
        if isinstance(error, OSError):
            raise  # Zarr's error of an array that is not there is several things
        if isinstance(error, MemoryError) and refused_by_limit(error):
            raise
        why = str(error) or type(error).__name__
        damaged = DamagedError(f"{where}: not what it says it is ({why}); begin afresh")
        damaged.unsound = True
        raise damaged from error


def address_space_limit() -> str:
    """Say what limits the address space of processes here, and what to do; nothing where it has no limit."""
    if (limit := _most_address_space()) is None:
        return ""
    return (
        f"processes may have {limit // 2**20} MiB of address space here, of which libraries take much more than of "
        "memory: lift that limit (ulimit -v unlimited), then run again"
    )


def rebuilt(failed: Failed, doing: str) -> EngineError:
    """The same kind of error again; ``doing`` names what failed, such as ``stage matrix``."""
    for kind in _KINDS:
        if kind.__name__ == failed.kind:
            return BudgetError(failed.message, failed.enough) if kind is BudgetError else kind(failed.message)
    return ProgramError(f"{doing} failed; this is a fault of the program:\n{failed.message}")


def fault_of_store(error: BaseException) -> str:
    """Say what went wrong with a store, by the libraries that such an error is of: they need not be there.

    Nothing where it is something else, such as that an object is not there.
    """
    said = getattr(error, "strerror", None) or error
    told, name = without_credentials(str(said)), type(error).__name__
    if type(error).__module__.partition(".")[0] in _NETWORK or name == "FSTimeoutError":
        if name in _NOT_AS_SAID:
            return f"what the store sent is not what it says it has ({told})"
        if name == "ResponseParserError":
            return f"the store's answer cannot be read ({told})"
        return f"the store does not answer ({told})"
    cause = error.__cause__  # a library that asks by HTTP says of everything that it is not there
    status = _status(cause) if isinstance(error, OSError) else 0
    if status >= 500 or (not status and cause is not None and isinstance(error, FileNotFoundError)):
        failed = fault_of_store(cause) if cause is not None and not status else ""
        return failed or (f"the store does not answer as it should ({told})" if status else "")
    return ""


def _status(error: BaseException | None) -> int:
    """The number by which a server says how it went; 0 where there is none."""
    response = getattr(error, "response", None)
    told = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    number = told.get("HTTPStatusCode", getattr(error, "status", 0))
    return number if isinstance(number, int) else 0


def system_error(error: BaseException) -> int | None:
    """The operating system's number of what went wrong, however a library wraps it; None where it is something else."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if _SHORT_WRITE.search(str(error)):
        return errno.EFBIG if _sizes_are_limited() else errno.ENOSPC
    found = _NUMBER.search(str(error))
    return int(found[1] or found[2]) if found else None
