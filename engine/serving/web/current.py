"""The recommender that answers requests: bounded in memory, and reloaded when a run is published."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from engine.artifacts.records import Profile
from engine.chunked import memory
from engine.chunked.budget import MIB, format_size, parse_budget
from engine.chunked.errors import BudgetError, EngineError
from engine.chunked.printable import printable
from engine.chunked.storage import Place
from engine.serving.finished import open_finished
from engine.serving.opened import OpenedRun
from engine.serving.recommender import Recommender
from engine.serving.web.limits import working_bytes

T = TypeVar("T")

# Seconds after which it is looked whether another run has been published.
_LOOK_EVERY = 2.0
# What one start takes more than another.
_SPARE = 8 * MIB
_log = logging.getLogger(__name__)


class Current:
    """A recommender shared by requests. Nothing is held beside what each answer needs: the rest is unpacked.

    Parameters
    ----------
    where : path or URL
        The work directory.
    allowed : str or int
        Bytes that the whole process may take.
    threads : int
        Requests that are answered at a time.

    Raises
    ------
    UsageError, DamagedError
        As `Recommender.open`.
    BudgetError
        Where the process would take more than that, or the disk has no room for what is unpacked.
    """

    def __init__(self, where: Place, allowed: str | int, threads: int = 2) -> None:
        self._where = where
        self._allowed, self._threads = parse_budget(allowed), threads
        self.counts: Counter[str] = Counter()
        self.seconds = 0.0
        self._looking = threading.Lock()
        self.recommender = Recommender.open(where, memory=None, unpack=True)
        _warm(self.recommender)
        self._tell_of_titles()
        memory.give_back()
        self._base = memory.resident_bytes()
        self._beside = _tried(self.recommender)
        self._refuse_more(self._beside, len(self.recommender.items))
        self._looked = time.monotonic()

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
                self._reload()
        except EngineError as error:
            self.counts["failed reloads"] += 1  # what there is answers, and it is tried again
            _log.warning("the newer run is not served: %s", error)
        finally:
            self._looked = time.monotonic()
            self._looking.release()

    def _reload(self) -> None:
        """Go on with the newest run, beside which the one before stays until it has answered what it was asked."""
        coming, going = (Profile.of(run.stages["ingest"]) for run in (open_finished(self._where), self.recommender.run))
        beside = self._beside * (coming.n_users + coming.n_items) // (going.n_users + going.n_items)
        self._refuse_more(beside, coming.n_items)
        self.recommender.reload()
        self._tell_of_titles()
        memory.give_back()
        # What is in use now is no measure: others are being answered.
        self._base, self._beside = self._base + beside - self._beside, beside
        self.counts["reloads"] += 1

    def _tell_of_titles(self) -> None:
        """Say what is wrong with titles; they are read once, when a run is opened."""
        if told := self.recommender.no_titles:
            _log.warning("%s", printable(told))

    def _refuse_more(self, beside: int, n_items: int) -> None:
        """Refuse where requests, and a newer run beside this one, would take more than is allowed."""
        needed = self._base + working_bytes(self._threads, n_items) + beside
        if needed > self._allowed:
            problem = f"serving this run takes {format_size(needed)}, {format_size(self._allowed)} are allowed"
            raise BudgetError(problem, needed + _SPARE)

    def told(self, error: Exception) -> str:
        """What is wrong, for somebody who need not know where on this machine the run is."""
        where = str(self.recommender.run.workdir)
        return str(error).replace(f" in {where}", "").replace(where, "the run")

    def figures(self) -> dict[str, Any]:
        """What it has done, for monitoring."""
        return {
            "requests": dict(self.counts),
            "seconds": round(self.seconds, 3),
            "bytes_in_use": memory.resident_bytes(),
            "bytes_allowed": self._allowed,
            "run": self.recommender.run.fingerprint,
        }


def _tried(recommender: Recommender) -> int:
    """What it takes to open a run like this beside it."""
    before = memory.resident_bytes()
    memory.reset_peak()
    beside = OpenedRun(recommender.run)
    beside.titles.hold()
    del beside
    peak = memory.peak_bytes()
    memory.give_back()
    return peak - before


def _warm(recommender: Recommender) -> None:
    """Let whatever is made at the first request be made."""
    user, item = recommender.users[0], recommender.items[0]
    recommender.recommend([user])
    recommender.recommend(recommender.likes([item]))
    recommender.similar_users(user)
    recommender.find_items("a")
