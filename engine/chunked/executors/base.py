"""Who runs a stage: what every executor offers.

An executor passes on what to do, never data: tasks read and write storage. To add one, write a module like
`engine.chunked.executors.local` and name it in `engine.chunked.executors.connect`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.chunked import errors
from engine.chunked.errors import EngineError
from engine.chunked.runner import Event
from engine.chunked.storage.location import Location
from engine.chunked.task import Job

# BLAS on one thread: tasks are the unit of parallelism, and a sum's order must not depend on a machine's cores.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
    "MALLOC_TRIM_THRESHOLD_": "8388608",
}


@dataclass(frozen=True)
class WorkerLimit:
    """The memory limit of the worker process that has the least: its name, the limit, how much of it is of use."""

    worker: str
    bytes: int
    usable: int


class Executor(Protocol):
    """Runs stages.

    Attributes
    ----------
    allowed : int
        Bytes each of its processes may use.
    processes : int
        Processes that run tasks, each within ``allowed`` by itself.
    max_workers : int
        Tasks at a time in each, at most.
    limit : WorkerLimit or None
        Where something else ends processes that use too much.
    """

    allowed: int
    processes: int
    max_workers: int
    limit: WorkerLimit | None

    def reserved_bytes(self, modules: Sequence[str], where: Location) -> list[int]:
        """Bytes held in a process that has loaded a stage's module, before any data: tried out, for each module.

        What it takes to reach ``where``, the work directory, is counted.
        """
        ...

    def run(self, job: Job, on_event: Callable[[Event], None]) -> None:
        """Run a stage and tell what happens; sizes are those of the process that uses most.

        Raises
        ------
        EngineError
            Of the kind that says what went wrong.
        Interrupted
            After Ctrl-C.
        """
        ...

    def bytes_in_use(self) -> int:
        """Memory of the process that uses most, now or when it was last heard of."""
        ...


def as_error(stage: str, event: Event) -> EngineError:
    """What `engine.chunked.errors.describe` told, as the same kind of error again."""
    kind: type[EngineError] | None = getattr(errors, event["kind"], None)
    if kind is None:
        return EngineError(f"stage {stage} failed; this is a fault of the program:\n{event['message']}")
    return kind(event["message"])
