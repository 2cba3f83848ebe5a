"""The recommender that answers requests: bounded in memory, and reloaded when a run is published."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from engine.chunked import memory
from engine.chunked.budget import MIB, format_size, parse_size
from engine.chunked.errors import BudgetError, EngineError
from engine.chunked.storage import Place
from engine.serving.recommender import Recommender

T = TypeVar("T")

# What requests take beside what is held: arrays of items, the neighbours of those asked about, JSON.
_WORKING = 48 * MIB
# Seconds after which it is looked whether another run has been published.
_LOOK_EVERY = 2.0


class Current:
    """A recommender shared by requests.

    Parameters
    ----------
    where : path or URL
        The work directory.
    allowed : str or int
        Bytes that the whole process may take.

    Raises
    ------
    UsageError, DamagedError
        As `Recommender.open`.
    BudgetError
        Where the process takes more than that before anything is held.
    """

    def __init__(self, where: Place, allowed: str | int) -> None:
        recommender = Recommender.open(where, memory=None)
        needed = memory.resident_bytes() + _WORKING
        left = parse_size(allowed) - needed
        if left < 0:
            enough = -(-needed // MIB) * MIB
            raise BudgetError(f"serving takes {format_size(needed)} of this run, {allowed} are allowed", enough)
        recommender.close()
        self.recommender = Recommender.open(where, memory=max(1, left))
        self.counts: Counter[str] = Counter()
        self.seconds = 0.0
        self._looked = time.monotonic()
        self._looking = threading.Lock()

    def answer(self, name: str, ask: Callable[[Recommender], T]) -> T:
        """Answer a request, and count it."""
        self._follow()
        start = time.monotonic()
        try:
            return ask(self.recommender)
        finally:
            self.counts[name] += 1
            self.seconds += time.monotonic() - start

    def _follow(self) -> None:
        """Take up a newer run, one request at a time looking for it; the others are answered by what there is."""
        if time.monotonic() - self._looked < _LOOK_EVERY or not self._looking.acquire(blocking=False):
            return
        try:
            if self.recommender.newer:
                self.recommender.reload()
                self.counts["reloads"] += 1
        except EngineError:
            self.counts["failed reloads"] += 1  # what there is answers, and it is tried again
        finally:
            self._looked = time.monotonic()
            self._looking.release()

    def figures(self) -> dict[str, Any]:
        """What it has done, for monitoring."""
        opened = self.recommender._opened
        return {
            "requests": dict(self.counts),
            "seconds": round(self.seconds, 3),
            "bytes_in_use": memory.resident_bytes(),
            "bytes_held": opened.held,
            "run": opened.run.fingerprint,
        }
