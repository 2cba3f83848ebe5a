"""Who runs a stage: what every executor offers.

An executor passes on what to do, never data: tasks read and write storage. To add one, write a module like
`engine.chunked.executors.local`, name it in `engine.chunked.executors.connect`, and let it pass
`engine.chunked.testing.ExecutorContract`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.chunked.events import OnEvent
from engine.chunked.pipeline import Job
from engine.chunked.references import Reference
from engine.chunked.storage import Location

# BLAS on one thread: tasks are the unit of parallelism, and a sum's order must not depend on a machine's cores.
# Polars reads its variables when it is loaded; its defaults would hold hundreds of MiB of a CSV at a time.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "4194304",
    "MALLOC_TRIM_THRESHOLD_": "8388608",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # its own keeps what is freed
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:100,muzzy_decay_ms:0",  # of Polars' own: give back soon, and for good
    "POLARS_CSV_CHUNK_SIZE": "1000000",
    "POLARS_CSV_CHUNK_PREFETCH_LIMIT": "1",
    "POLARS_ROW_GROUP_PREFETCH_SIZE": "1",
}
# Polars' buffers grow with its threads: no more of them than memory models are measured with.
_POLARS_THREADS = 2


def environment(workers: int) -> dict[str, str]:
    """Variables to set for a process that runs so many tasks at a time, before libraries are loaded."""
    return _ENVIRONMENT | {"POLARS_MAX_THREADS": str(min(workers, _POLARS_THREADS))}


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

    def reserved_bytes(self, stages: Sequence[Reference], where: Location) -> list[int]:
        """Bytes held in a process that has loaded a stage's module, before any data: tried out, for each stage.

        What it takes to reach ``where``, the work directory, is counted.
        """
        ...

    def reserved_together(self, stages: Sequence[Reference], where: Location) -> int | None:
        """Bytes held in a process that has loaded the modules of all these stages; None where that does not fit.

        The process may go on to run them: what this takes to find out is not lost.
        """
        ...

    def run(self, job: Job, on_event: OnEvent) -> None:
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
