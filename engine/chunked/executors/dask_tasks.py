"""What runs inside a Dask worker: one task at a time, of a stage that stays open from task to task.

Nothing but these calls and what they return passes between the workers and the run: a job's JSON, names, numbers.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from distributed import get_worker

from engine.chunked import memory
from engine.chunked.budget import MIB
from engine.chunked.errors import describe
from engine.chunked.events import TaskEnded, to_line
from engine.chunked.journal import Journal
from engine.chunked.pipeline import Job
from engine.chunked.references import Reference, load
from engine.chunked.runner import load_shared, run_task
from engine.chunked.storage import locate, staging
from engine.chunked.store import StageStore
from engine.chunked.task import Round

# A worker is ended by its nanny beyond this share of its memory limit, and takes no task beyond a lower one.
_ENDED = 0.95


class _OpenStage:
    """A stage and what the tasks of its present round share."""

    def __init__(self, job: Job) -> None:
        root, stage = job.opened()
        self._rounds = stage.rounds()
        self._known: dict[str, Round] = {}
        self._loaded: tuple[str, int] | None = None
        self._shared: Any = None
        self.store, self.journal = StageStore(root), Journal(root)

    def round(self, name: str) -> Round:
        """The round of a name; what it depends on has been committed when a task of it is asked for."""
        while name not in self._known:
            found = next(self._rounds)
            self._known[found.name] = found
        return self._known[name]

    def shared(self, round_: Round, cache: int) -> Any:
        """What its tasks share: loaded once, dropped for that of the next round."""
        if self._loaded != (round_.name, cache):
            self._loaded, self._shared = None, None
            memory.give_back()
            memory.reset_peak()
            self._shared = load_shared(round_, cache)
            self._loaded = (round_.name, cache)
        return self._shared


# What a worker's allocators keep from one stage to the next: it lives on, where a local stage has a fresh process.
_KEPT = 64 * MIB

_open: dict[str, _OpenStage] = {}
_fresh_bytes = 0
_lock = threading.Lock()


def release() -> None:
    """Drop the stage that is open, what it holds, and its local copies of what is in a store."""
    _open.clear()
    staging.clear()
    gc.collect()
    memory.give_back()


def do_task(token: str, job: bytes, round_name: str, index: int, batch_rows: int, cache: int) -> str:
    """Do a task unless it is done; tell that it ended, or what went wrong, as `engine.chunked.events.to_line` does.

    The seconds are all that passed here, with what had to be opened and loaded first.

    ``token`` names the job within a run, so that its stage is opened once.
    """
    with _lock:
        try:
            return to_line(_do_task(token, job, round_name, index, batch_rows, cache))
        except BaseException as error:  # what a library in Rust panics with is no Exception
            return to_line(describe(error))


def _do_task(token: str, job: bytes, round_name: str, index: int, batch_rows: int, cache: int) -> TaskEnded:
    begun = time.monotonic()
    if token not in _open:
        release()
        _open[token] = _OpenStage(msgspec.json.decode(job, type=Job))
    stage = _open[token]
    round_ = stage.round(round_name)
    task_id = round_.task_id(index)
    ended = TaskEnded(task_id, 0.0)
    if not stage.journal.done(task_id):  # a worker may be lost after its task is done, before it has said so
        ended = run_task(round_, index, batch_rows, stage.shared(round_, cache), stage.store, stage.journal)
    return msgspec.structs.replace(ended, seconds=time.monotonic() - begun, measured=memory.peak_bytes())


def reserved_bytes(stages: bytes, where: str) -> int:
    """Bytes this process holds between stages, with all these stages loaded and what it takes to reach ``where``.

    ``stages`` is a list of `engine.chunked.references.Reference`, as JSON.

    The same, nearly, in a fresh process and in one that has done tasks: a plan made in one must hold in the other.
    """
    global _fresh_bytes
    with _lock:
        release()
        before = memory.resident_bytes()
        for stage in msgspec.json.decode(stages, type=list[Reference]):
            load(stage)
        locate(where).warm()
        now = memory.resident_bytes()
        _fresh_bytes = (_fresh_bytes or before) + now - before
        return max(_fresh_bytes + _KEPT, now)


def look(environment: Mapping[str, str]) -> dict[str, Any]:
    """What this worker is like: threads, memory limit, the part of that it works in, variables that are not set."""
    worker: Any = get_worker()
    limit = worker.memory_manager.memory_limit or 0
    pause = worker.memory_manager.memory_pause_fraction or _ENDED
    return {
        "threads": worker.state.nthreads,
        "limit": limit,
        "usable": int(limit * min(pause, _ENDED)),
        "unset": {name: value for name, value in environment.items() if not _is_set(name, value)},
    }


def _is_set(name: str, value: str) -> bool:
    found = os.environ.get(name, "")
    # Once Polars is loaded, its own settings of the allocator stand before what was set, which goes.
    return found == value or found.endswith("," + value)
