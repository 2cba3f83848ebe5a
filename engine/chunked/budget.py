"""Bytes: parse them, print them, and share a budget among workers. Integer arithmetic only.

The four words: *allowed* is the budget of the whole run, *reserved* what the processes hold before any
data, *projected* what a round is computed to need in all, *measured* what it was seen to use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.chunked.errors import BudgetError, UsageError
from engine.chunked.plain import plain, whole_number

KIB = 1024
MIB = 1024**2
GIB = 1024**3

# What processes reserve differs a little from one start to the next, and more where they work on much: so much, or one
# part in so many of all. A remedy must hold all the same.
MARGIN, _OF_ALL = 4 * MIB, 50
_ROUND_UP = 8 * MIB
# Of a unit that was left out: fewer than this is no budget in it, but one in the next larger.
_FEW = 64

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": KIB,
    "mib": MIB,
    "gib": GIB,
    "tib": 1024**4,
    "k": KIB,
    "m": MIB,
    "g": GIB,
    "t": 1024**4,
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", re.ASCII)


def parse_size(text: str | int) -> int:
    """Turn ``"512MiB"``, ``"1.5 GB"`` or plain bytes into bytes; ``"512M"`` is MiB, as for Docker, Java and systemd.

    Raises
    ------
    UsageError
        Where it is no size, or its unit is not one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB, K, M, G, T.
    """
    found = plain(text)
    if isinstance(found, bool) or not isinstance(found, int | str):
        raise UsageError(f"{text!r} is not a size: write bytes, or a text such as '512MiB'")
    text = str(found)
    if text.strip().endswith("%"):
        raise UsageError(f"'{text}' is a share, of which it is not said of what: write a size, such as 512MiB or 1.5GB")
    match = _SIZE.fullmatch(text)
    unit = match and match[2].lower()
    if match is None or unit not in _UNITS:
        raise UsageError(f"'{text}' is not a size: write bytes, or a number with a unit, such as 512MiB or 1.5GB")
    size = int(float(match[1]) * _UNITS[unit])
    if size < 1:
        raise UsageError(f"'{text}' is no memory at all: write a size such as 512MiB")
    return size


def parse_budget(text: str | int) -> int:
    """`parse_size` of what processes are allowed: a number without a unit that no process fits into is a mistake.

    Raises
    ------
    UsageError
        As `parse_size`, and for such a number, with what was probably meant.
    """
    size, number = parse_size(text), str(plain(text)).strip()
    if size < MIB and not number[-1].isalpha():
        unit = "GiB" if size < _FEW else "MiB" if size < _FEW * KIB else "KiB"
        raise UsageError(f"'{number}' is {number} bytes, which nothing runs in: did you mean {number}{unit}?")
    return size


def enough_for(needed: int) -> int:
    """A budget in which what was projected to need so many bytes runs the next time, too: more, and a round number.

    Examples
    --------
    >>> format_size(enough_for(parse_size("200 MiB")))
    '208 MiB'
    """
    return -(-(needed + max(MARGIN, needed // _OF_ALL)) // _ROUND_UP) * _ROUND_UP


def format_size(n_bytes: int) -> str:
    """Bytes for people, always in binary units: ``'512 MiB'``, ``'1.4 GiB'``."""
    if 0 < n_bytes < KIB:
        return f"{n_bytes} bytes"
    if n_bytes < MIB:
        return f"{n_bytes / KIB:.0f} KiB"
    if n_bytes < GIB:
        return f"{n_bytes / MIB:.0f} MiB"
    return f"{n_bytes / GIB:.1f} GiB"


@dataclass(frozen=True)
class Cost:
    """Bytes a round needs beyond the reserved memory.

    Attributes
    ----------
    task : int
        One task, whatever the size of its batches.
    shared : int
        Held once, for all tasks of the round.
    row : int
        Each row of the batch a task works on at a time.
    max_rows : int
        The largest batch that is of any use.
    min_rows : int
        The smallest batch a task can work with.
    cache : int
        All that batches are read from: held once in their place, where it fits beside a task; else as much of it as
        batches leave room for. 0 for nothing.
    """

    task: int
    shared: int = 0
    row: int = 0
    max_rows: int = 1
    min_rows: int = 1
    cache: int = 0

    def __post_init__(self) -> None:
        for name in ("task", "shared", "row", "max_rows", "min_rows", "cache"):
            object.__setattr__(self, name, whole_number(getattr(self, name), f"Cost: {name}", 0))

    def total(self, workers: int, rows: int) -> int:
        """Bytes of ``workers`` tasks at once, each with batches of ``rows`` rows."""
        return self.shared + workers * (self.task + rows * self.row)

    @property
    def smallest(self) -> int:
        """Rows of the smallest batch."""
        return min(self.min_rows, self.max_rows)

    def least(self) -> int:
        """Bytes of one worker with the smallest batch, or with all that batches are read from."""
        batches = self.total(1, self.smallest)
        return min(batches, self.total(1, 0) + self.cache) if self.cache else batches

    def most(self, workers: int) -> int:
        """Bytes beyond which more are of no use to so many workers."""
        return self.total(workers, 0) + self.cache if self.cache else self.total(workers, self.max_rows)


@dataclass(frozen=True)
class Allotment:
    """What a round gets out of the budget: workers, rows a batch, bytes of its cache, and projected bytes in all."""

    workers: int
    batch_rows: int
    cache: int
    projected: int


def allot(cost: Cost, *, allowed: int, reserved: int, n_tasks: int, max_workers: int) -> Allotment:
    """Share the budget: all that batches are read from, where it fits; else workers, larger batches, a part of it.

    Parameters
    ----------
    cost : Cost
        What the round needs.
    allowed, reserved : int
        Bytes of the whole budget, and those already spoken for.
    n_tasks, max_workers : int
        More workers than either are of no use.

    Raises
    ------
    BudgetError
        Where not even one worker with the smallest batch fits.
    """
    free = allowed - reserved
    if cost.least() > free:
        needed = reserved + cost.least()
        raise BudgetError(
            f"needs {format_size(needed)} ({format_size(reserved)} reserved), but {format_size(allowed)} are allowed",
            enough_for(needed),
        )
    wanted = max(1, min(n_tasks, max_workers))
    if 0 < cost.cache <= free - cost.total(1, 0):
        workers = next(n for n in range(wanted, 0, -1) if cost.total(n, 0) + cost.cache <= free)
        return Allotment(workers, cost.max_rows, cost.cache, reserved + cost.total(workers, 0) + cost.cache)
    workers = next(n for n in range(wanted, 0, -1) if cost.total(n, cost.smallest) <= free)
    rows = cost.max_rows
    if cost.row:
        spare = free - cost.total(workers, 0)
        rows = max(cost.smallest, min(cost.max_rows, spare // (workers * cost.row)))
    cache = min(cost.cache, free - cost.total(workers, rows))
    return Allotment(workers, rows, cache, reserved + cache + cost.total(workers, rows))
