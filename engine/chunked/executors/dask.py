"""Runs a stage's tasks on the workers of a Dask cluster; this process goes through the rounds and waits.

Tasks go to the scheduler as a job's JSON and numbers, and come back as a few numbers. A worker that is lost costs its
task, which the scheduler gives to another; a scheduler that is lost ends the run, and what is done stays done.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from multiprocessing import spawn
from typing import Any

import dask
import msgspec
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed

from engine.chunked import memory
from engine.chunked.budget import GIB, Allotment, format_size
from engine.chunked.errors import EngineError, Interrupted, UsageError, describe, rebuilt, refuse_little_address_space
from engine.chunked.events import (
    Failed,
    OnEvent,
    RoundBegan,
    WorkerEnded,
    WorkerEvent,
    WorkerReady,
    from_line,
)
from engine.chunked.executors import dask_tasks
from engine.chunked.executors.base import WorkerLimit, environment
from engine.chunked.executors.processes import interrupts_held, processors
from engine.chunked.executors.seen import Seen
from engine.chunked.journal import Journal
from engine.chunked.pipeline import Job
from engine.chunked.references import Reference
from engine.chunked.runner import Limits, StageRunner
from engine.chunked.storage import Location
from engine.chunked.store import StageStore
from engine.chunked.task import Round

# A worker takes no task while it holds more than this share of its memory limit.
_PAUSE = 0.8
# Workers a task may take down before it is given up: more than bad luck, fewer than a task that never fits needs.
_ALLOWED_FAILURES = 5
# Seconds: between two looks, until a scheduler answers, until a worker does, that a run goes on without any worker.
_LOOK, _CONNECT, _ANSWER, _ALONE = 0.005, 10, 60, 60.0
# What Dask calls the processes of workers; how Python prepares a process; blocks in which that is changed.
_WORKER_PROCESS = "Dask Worker process"
_preparation: Callable[[str], dict[str, Any]] = spawn.get_preparation_data
_starting, _start_lock = 0, threading.Lock()
# Seconds until the record of a task elsewhere is seen here: some shared file systems show new files late.
_SEEN = 10.0


@contextmanager
def connect(allowed: int | None, workers: int | None, scheduler: str | None) -> Iterator[DaskExecutor]:
    """Connect to a cluster, or start one on this machine for as long; parameters as `connect.connect`.

    Raises
    ------
    UsageError
        Where the workers are not as they must be.
    EngineError
        Where nobody answers.
    """
    _silence()
    variables = environment(1)
    if scheduler is not None:
        if workers is not None:
            raise UsageError(f"workers {workers}: goes with a cluster started here, not with a scheduler that runs")
        os.environ.update(variables)  # stages are opened in this process, too
        with _client(scheduler) as client:
            executor = DaskExecutor(client, scheduler, allowed, variables)
            yield executor
            executor.release()
        return
    workers = workers or processors()
    allowed = allowed or min(GIB, memory.free_bytes() // 2 // workers)
    with _environment(variables), _local_cluster(workers, allowed) as cluster, _client(cluster) as client:
        yield DaskExecutor(client, cluster.scheduler_address, allowed, variables)


def _silence() -> None:
    """Keep Dask from telling of lost workers and schedulers: what matters is told as an error."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _client(scheduler: str | LocalCluster) -> Iterator[Client]:
    try:
        client = Client(scheduler, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise EngineError(f"scheduler {scheduler}: no Dask scheduler answers there ({error})") from None
    try:
        yield client
    finally:
        client.close(timeout=1)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for as long: the workers' processes take them over, those started later included."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _local_cluster(workers: int, allowed: int) -> Iterator[LocalCluster]:
    refuse_little_address_space()
    settings = {
        "distributed.scheduler.allowed-failures": _ALLOWED_FAILURES,
        "distributed.scheduler.worker-saturation": 1.0,  # a task waits with the scheduler, not with a busy worker
        "distributed.worker.memory.pause": _PAUSE,
        "distributed.deploy.lost-worker-timeout": "1h",  # one that takes long to come back is not given up
    }
    # For as long, since much of it is asked for when something happens, and lost workers are started again.
    with dask.config.set(settings), _callers_script_left_alone():
        with interrupts_held():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                memory_limit=-int(-allowed // _PAUSE),
                host="127.0.0.1",
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                silence_logs=logging.CRITICAL,
            )
        try:
            yield cluster
        finally:
            for nanny in cluster.workers.values():  # what counts is in storage: nobody has to say goodbye
                nanny.close_gracefully()  # that is, start no other
                if nanny.pid:
                    with suppress(ProcessLookupError):
                        os.kill(nanny.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
            cluster.close(timeout=2)


@contextmanager
def _callers_script_left_alone() -> Iterator[None]:
    """Start workers that do not load the script of this process, as Python's own processes do: it may begin a run."""
    global _starting
    with _start_lock:
        _starting += 1
        vars(spawn)["get_preparation_data"] = _preparation_without_main
    try:
        yield
    finally:
        with _start_lock:
            _starting -= 1
            if not _starting:
                vars(spawn)["get_preparation_data"] = _preparation


def _preparation_without_main(name: str) -> dict[str, Any]:
    """What a process is told that is started: of a worker, without the script."""
    told = _preparation(name)
    if name.startswith(_WORKER_PROCESS):
        told.pop("init_main_from_name", None)
        told.pop("init_main_from_path", None)
    return told


class DaskExecutor:
    """Tasks on Dask workers of one thread each; see `engine.chunked.executors.base` for attributes and methods.

    Parameters
    ----------
    client : Client
        Connected.
    address : str
        Of the scheduler, for messages.
    allowed : int or None
        Bytes of each worker; none: what the smallest works in, at most 1 GiB.
    environment : mapping of str
        Variables every worker must have.
    """

    max_workers = 1

    def __init__(self, client: Client, address: str, allowed: int | None, environment: Mapping[str, str]) -> None:
        self._client = client
        self._address = address
        self._reserved = 0
        self._in_use = 0
        found = self._everywhere(dask_tasks.look, dict(environment))
        if not found:
            raise EngineError(f"the Dask scheduler at {address} has no workers: start some, {_how(environment)}")
        _refuse_unfit(found, environment)
        limits = [WorkerLimit(name, each["limit"], each["usable"]) for name, each in found.items() if each["limit"]]
        self.limit = min(limits, key=lambda each: each.usable, default=None)
        self.processes = len(found)
        self.allowed = allowed or min(GIB, self.limit.usable if self.limit else GIB)

    def _everywhere(self, ask: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Call something in every worker; return what each says, by its address."""
        names = list(self._client.scheduler_info(n_workers=-1)["workers"])
        asked = {self._client.submit(ask, *arguments, workers=[name], pure=False): name for name in names}
        try:
            return {
                asked[future]: future.result()
                for future in as_completed(asked, loop=self._client.loop, timeout=_ANSWER)
            }
        except TimeoutError:
            raise EngineError(self._silent(names)) from None
        except ImportError as error:
            raise EngineError(
                f"the workers at {self._address} cannot load this program ({error}): install the same version of it, "
                "and of its libraries, there"
            ) from None
        except UsageError as error:
            raise UsageError(f"a worker at {self._address}: {error}") from None

    def _silent(self, names: Sequence[str]) -> str:
        """What is said where one of these workers has given no answer."""
        gone = sorted(set(names).difference(self._client.scheduler_info(n_workers=-1)["workers"]))
        if gone:
            return f"the Dask worker {gone[0]} ended while it loaded this program: its log says why"
        return f"a worker of the Dask scheduler at {self._address} does not answer"

    def reserved_bytes(self, stages: Sequence[Reference], where: Location) -> list[int]:
        """See `base.Executor`: the same for all, since a worker has them all loaded in the end."""
        held = self._everywhere(dask_tasks.reserved_bytes, msgspec.json.encode(list(stages)), str(where))
        self._reserved = max(held.values(), default=0)
        return [self._reserved] * len(stages)

    def reserved_together(self, stages: Sequence[Reference], where: Location) -> int | None:
        """See `base.Executor`."""
        return self.reserved_bytes(stages, where)[0] if stages else 0

    def bytes_in_use(self) -> int:
        """See `engine.chunked.executors.base.Executor`."""
        return self._in_use

    def release(self) -> None:
        """Let the workers drop what they hold."""
        with suppress(EngineError, OSError, CancelledError):
            self._everywhere(dask_tasks.release)

    def run(self, job: Job, on_event: OnEvent) -> None:
        """See `engine.chunked.executors.base.Executor`."""
        seen = Seen()

        def emit(event: WorkerEvent) -> None:
            if isinstance(event, WorkerReady | RoundBegan):
                self._in_use = 0
            self._in_use = max(self._in_use, event.measured)
            seen.take(event)
            on_event(msgspec.structs.replace(event, measured=self._in_use))

        try:
            self._run(job, emit)
        except KeyboardInterrupt:
            raise Interrupted(f"stopped in {seen.where(job.step)}; run again to go on") from None
        except _SchedulerLost as lost:
            raise EngineError(
                f"the Dask scheduler at {self._address} {lost} in {seen.where(job.step)}: what is done is kept; start "
                "it and run again, or go on with the executor local"
            ) from None
        except EngineError:
            raise
        except Exception as error:
            raise rebuilt(describe(error), f"stage {job.step}") from error

    def _run(self, job: Job, emit: Callable[[WorkerEvent], None]) -> None:
        root, stage = job.opened()
        journal = Journal(root)
        token, told = uuid.uuid4().hex, msgspec.json.encode(job)

        def perform(round_: Round, missing: Sequence[int], allotment: Allotment) -> None:
            # The key names the task in Dask's own displays; it is this run's alone.
            futures = [
                self._client.submit(
                    dask_tasks.do_task,
                    token,
                    told,
                    round_.name,
                    index,
                    allotment.batch_rows,
                    allotment.cache,
                    key=f"{job.step}-{round_.task_id(index)}-{token}",
                    pure=False,
                )
                for index in missing
            ]
            try:
                for event in self._results(futures):
                    if isinstance(event, Failed):
                        raise rebuilt(event, f"stage {job.step}")
                    emit(event)
            except BaseException:
                with suppress(OSError, CancelledError):
                    self._client.cancel(futures)
                raise
            _wait_for_records(journal, [round_.task_id(index) for index in missing])

        emit(WorkerReady(self._reserved))
        limits = Limits(self.allowed, self._reserved, self.max_workers)
        store = StageStore(root)
        StageRunner(job.step, stage, store, journal, limits, emit, threading.Event(), perform).run(job.upto)
        emit(WorkerEnded())

    def _results(self, futures: Sequence[Future[Any]]) -> Iterator[WorkerEvent]:
        """What tasks tell, as they end."""
        running = as_completed(futures, loop=self._client.loop)
        last_seen = last_look = time.monotonic()
        while not running.is_empty():
            for future in running.next_batch(block=False):
                yield self._result(future)
            if self._client.status != "running":
                raise _SchedulerLost("is gone")
            time.sleep(_LOOK)
            if time.monotonic() - last_look > _ALONE / 10:
                last_look = time.monotonic()
                if self._client.scheduler_info(n_workers=-1)["workers"]:
                    last_seen = last_look
                elif last_look - last_seen > _ALONE:
                    raise _SchedulerLost("has no workers left")

    def _result(self, future: Future[Any]) -> WorkerEvent:
        try:
            told = from_line(future.result())
        except KilledWorker as error:
            task, times = str(error.task).rpartition("-")[0], error.allowed_failures + 1
            raise EngineError(
                f"task {task} has taken {times} workers down, the last at "
                f"{error.last_worker.address}, probably for want of memory: {format_size(self.allowed)} are allowed, "
                "see that workers have more; what is done is kept, run again"
            ) from None
        except (CancelledError, OSError):
            raise _SchedulerLost("is gone") from None
        return told


class _SchedulerLost(Exception):  # noqa: N818  (a state, made an error where it is told)
    """The scheduler, or all its workers, cannot be reached."""


def _how(environment: Mapping[str, str]) -> str:
    """How a worker is started."""
    variables = " ".join(f"{name}={value}" for name, value in environment.items())
    return f"each with --nthreads 1, a --memory-limit, and these variables set before: {variables}"


def _refuse_unfit(found: Mapping[str, Mapping[str, Any]], environment: Mapping[str, str]) -> None:
    for name, each in found.items():
        if each["threads"] != 1:
            raise UsageError(f"the Dask worker {name} has {each['threads']} threads: start them {_how(environment)}")
        # Dask sets this one itself, lower: that costs time, no memory.
        missing = [variable for variable in each["unset"] if variable != "MALLOC_TRIM_THRESHOLD_"]
        if missing:
            raise UsageError(f"the Dask worker {name} lacks {', '.join(missing)}: start them {_how(environment)}")


def _wait_for_records(journal: Journal, tasks: Sequence[str]) -> None:
    """See that what workers have recorded is here, too."""
    deadline = time.monotonic() + _SEEN
    while missing := sorted(set(tasks).difference(journal.task_ids())):
        if time.monotonic() > deadline:
            raise EngineError(
                f"workers have done {', '.join(missing[:3])}, but no record of it is seen here: the work directory "
                "must be one that all workers and this process share, on a common file system or in object storage"
            )
        time.sleep(0.1)
