"""What was really used: resident memory of processes, and the limits of machine and cgroup.

Reads Linux's /proc and cgroup files. Elsewhere the figures are 0 ("not measured"), what a process reserves is assumed,
and the limits are those of the machine.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from engine.chunked.budget import GIB, KIB, MIB

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")

# What a process is taken to hold with a stage's libraries, where that cannot be measured: more than on Linux.
ASSUMED_RESERVED = 192 * MIB
# And what a machine is taken to have that does not say.
_ASSUMED_MACHINE = 2 * GIB
UNMEASURED = (
    "memory cannot be measured on this system: what stages take is projected and not compared with what they took, and "
    f"{ASSUMED_RESERVED // MIB} MiB are assumed for what processes hold before any data; the budget is no promise here"
)

_claimed = False


@contextmanager
def process_claimed() -> Iterator[None]:
    """Say for as long that this process exists for its runs, as a program may: all that it holds counts."""
    global _claimed
    _claimed = True
    try:
        yield
    finally:
        _claimed = False


def callers_bytes() -> int:
    """Memory of this process that is not a run's which begins now: all of it, unless it is claimed."""
    return 0 if _claimed else resident_bytes()


def _status_bytes(pid: int | str, field: str) -> int:
    try:
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * KIB
    except OSError:
        pass  # the process is gone, or this is not Linux
    return 0


def resident_bytes(pid: int | str = "self") -> int:
    """Resident memory of a process now (VmRSS), in bytes; 0 where it cannot be read."""
    return _status_bytes(pid, "VmRSS")


def tree_bytes(pid: int) -> int:
    """Resident memory now of a process and all that descend from it, in bytes."""
    total = resident_bytes(pid)
    with suppress(OSError):  # the process is gone
        for children in (_PROC / str(pid) / "task").glob("*/children"):
            with suppress(OSError):  # the thread is gone
                total += sum(tree_bytes(int(child)) for child in children.read_text().split())
    return total


def peak_bytes(pid: int | str = "self") -> int:
    """Peak resident memory of a process (VmHWM), in bytes; 0 where it cannot be read.

    Not ``ru_maxrss``: that survives exec, so a child would report its parent's peak.
    """
    return _status_bytes(pid, "VmHWM")


def reserved_bytes() -> int:
    """What this process holds before data: its peak so far, or what is assumed."""
    return peak_bytes() or ASSUMED_RESERVED


def is_measured() -> bool:
    """Whether memory of processes can be measured here."""
    return resident_bytes() > 0


def reset_peak() -> None:
    """Let the peak of this process start again from what it holds now."""
    with suppress(OSError):  # not permitted: the peak then includes earlier work, never less than the truth
        (_PROC / "self" / "clear_refs").write_text("5")


# Parameters of glibc's mallopt, and what they are set to: what `engine.chunked.executors.base` has in the environment.
_KEEP_LITTLE = {"arenas": (-8, 2), "mmap threshold": (-3, 4 * MIB), "trim threshold": (-1, 8 * MIB)}


def keep_little() -> None:
    """Let this process's allocator keep little of what is freed, as it does in processes that run stages."""
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _KEEP_LITTLE.values():
            mallopt(parameter, value)


def give_back() -> None:
    """Return to the system what the allocator keeps of freed memory, so that what follows does not seem to hold it."""
    # Cycles are not collected first: that would take a tenth of a second and more, before every round.
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _read_int(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None  # absent, or "max"


def _cgroup_folders() -> list[tuple[Path, str, str]]:
    """The cgroups this process is in, innermost first: folder, name of the limit file, of the usage file."""
    folders = []
    try:
        lines = (_PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = _CGROUP, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            root, names = _CGROUP / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        inner = root / path.lstrip("/")
        folders += [(folder, *names) for folder in (inner, *inner.parents) if folder.is_relative_to(root)]
    return folders


def _file_cache_bytes(folder: Path) -> int:
    """Page cache that a cgroup's usage counts but that the kernel gives back on demand."""
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    stat = {key: int(value) for key, value in (line.split() for line in lines)}
    inactive, active = "inactive_file", "active_file"
    if "total_inactive_file" in stat:  # version 1 counts the children apart
        inactive, active = "total_inactive_file", "total_active_file"
    return stat.get(inactive, 0) + stat.get(active, 0)


def limits() -> list[tuple[int, str]]:
    """Memory that the machine and each cgroup around this process leave free to a new one: bytes, and which it is."""
    found = [_machine()]
    with suppress(OSError):
        lines = (_PROC / "meminfo").read_text().splitlines()
        available = [int(line.split()[1]) * KIB for line in lines if line.startswith("MemAvailable:")]
        found += [(size, "what other processes leave of the machine") for size in available]
    for folder, limit_name, usage_name in _cgroup_folders():
        limit, usage = _read_int(folder / limit_name), _read_int(folder / usage_name)
        if limit is not None and usage is not None:
            found.append((max(0, limit - usage + _file_cache_bytes(folder)), f"the limit of the cgroup {folder}"))
    return found


def _machine() -> tuple[int, str]:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "the size of the machine"
    except (AttributeError, ValueError, OSError):
        return _ASSUMED_MACHINE, "what is assumed of a machine that does not tell"


def free_bytes() -> int:
    """Memory a new process could use: what the machine and each cgroup around it leave free, the smallest."""
    return min(limits())[0]


def default_budget() -> int:
    """Bytes a run is allowed where the user names none: 1 GiB, or half of what is free if that is less."""
    return min(GIB, free_bytes() // 2)


def thin(samples: Sequence[tuple[float, int]], n: int) -> list[tuple[float, int]]:
    """At most ``n`` samples, each the largest of as many consecutive ones: a peak is never lost.

    Examples
    --------
    >>> thin([(0.1, 5), (0.2, 9), (0.3, 4), (0.4, 1)], 2)
    [(0.2, 9), (0.3, 4)]
    """
    each = max(1, -(-len(samples) // n))
    groups = [samples[i : i + each] for i in range(0, len(samples), each)]
    return [(round(second, 3), size) for second, size in (max(group, key=lambda s: s[1]) for group in groups)]


# An even number.
_MOST_SAMPLES = 2048


class Sampler:
    """Notes the memory in use again and again, in a thread.

    What is noted does not grow with time: where there are `_MOST_SAMPLES`, the larger of each two is kept, and there
    are half as many looks from then on.

    Parameters
    ----------
    look : callable
        Returns the bytes to note.
    interval : float
        Seconds between two looks, at first.

    Attributes
    ----------
    samples : list of (float, int)
        Seconds since the sampler was made, and bytes.
    """

    def __init__(self, look: Callable[[], int], interval: float = 0.05) -> None:
        self._look = look
        self._interval = interval
        self._start = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="memory-sampler", daemon=True)
        self.samples: list[tuple[float, int]] = []

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stop.wait(self._interval):
            self.samples.append((time.monotonic() - self._start, self._look()))
            if len(self.samples) == _MOST_SAMPLES:
                pairs = zip(self.samples[::2], self.samples[1::2], strict=True)
                self.samples = [max(pair, key=lambda sample: sample[1]) for pair in pairs]
                self._interval *= 2
