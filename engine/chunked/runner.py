"""Run one stage in this process: skip what is done, fit the rest into the budget, execute, record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from engine.chunked import checked, memory
from engine.chunked.budget import Allotment, allot
from engine.chunked.errors import BudgetError, Interrupted, UsageError, write_named
from engine.chunked.events import RoundBegan, RoundEnded, TaskBegan, TaskEnded, WorkerEvent
from engine.chunked.journal import Journal, Record
from engine.chunked.store import StageStore
from engine.chunked.task import Round, Stage, TaskContext

Emit = Callable[[WorkerEvent], Any]


@dataclass(frozen=True)
class Limits:
    """What a stage may use: bytes allowed and already reserved, and workers at most.

    ``fresh`` is whether the process holds nothing of other stages; another one runs a round only where all that is of
    use to it fits, and raises `Crowded` otherwise.
    """

    allowed: int
    reserved: int
    max_workers: int
    fresh: bool = True


class Crowded(Exception):  # noqa: N818  (a state, not a fault)
    """A round would get less in this process than in a fresh one, which can go on with the stage."""


Perform = Callable[[Round, Sequence[int], Allotment], None]
"""Does the tasks of a round that are missing, with what they have been allotted."""


def rounds_needed(rounds: Sequence[Round], missing: Container[str]) -> set[str]:
    """Which of some rounds have tasks to do: temporary ones, and a last one that stays.

    A temporary round serves those after it, up to and with the one that it is needed until. It has nothing to do where
    all of these that have something missing are not needed themselves.

    Parameters
    ----------
    rounds : sequence of Round
        In order.
    missing : container of str
        Names of those that are not complete.

    Returns
    -------
    set of str
        Their names.
    """
    needed: set[str] = set()
    names = [each.name for each in rounds]
    for number, each in reversed(list(enumerate(rounds))):
        end = names.index(each.until, number) if each.until in names[number:] else len(names) - 1
        last = number == len(names) - 1
        if each.name in missing and (last or not needed.isdisjoint(names[number + 1 : end + 1])):
            needed.add(each.name)
    return needed


class StageRunner:
    """Runs a stage's rounds in order, and each round's tasks on threads, unless told otherwise.

    Threads, not processes: what a worker process holds before any data (80 MiB and more) would be paid
    for each. The heavy libraries release the interpreter lock.

    Parameters
    ----------
    name : str
        The stage's name, for messages.
    stage : Stage
        What to run.
    store, journal : StageStore, Journal
        Where its files and its records are.
    limits : Limits
        What it may use.
    emit : callable
        Told of every round that starts and every task that ends.
    stop : threading.Event
        Set from outside to end early: tasks in flight finish, no other starts.
    perform : callable or None
        Does a round's tasks in the place of threads of this process.
    """

    def __init__(
        self,
        name: str,
        stage: Stage,
        store: StageStore,
        journal: Journal,
        limits: Limits,
        emit: Emit,
        stop: threading.Event,
        perform: Perform | None = None,
    ) -> None:
        self._name = name
        self._stage = stage
        self._store = store
        self._journal = journal
        self._limits = limits
        self._emit = emit
        self._stop = stop
        self._perform = perform or self._on_threads
        self._owners: dict[str, str] = {}

    def run(self, upto: str | None = None) -> None:
        """Run whatever of the stage is not done.

        Parameters
        ----------
        upto : str or None
            Leave after the round of this name, with the stage unfinished.

        Raises
        ------
        BudgetError
            Where a round does not fit.
        Crowded
            Where a round is to be run by a fresh process.
        Interrupted
            Where ``stop`` was set.
        """
        self._store.sweep()
        rounds: list[Round] = []
        kept: list[str] = []
        for each in self._stage.rounds():
            rounds.append(each)
            if each.until is not None:
                continue
            self._run_needed(rounds)
            passed = {old.name for old in rounds}
            self._drop([old for old in rounds if old.until in passed])
            kept += each.task_ids()
            # A stage that was complete, but for what has just been mended, is gone through to the end.
            if each.name == upto and not self._journal.finished():
                return
        passed = {each.name for each in rounds}
        if temporary := [each for each in rounds if each.until is not None and each.until not in passed]:
            told = ", ".join(f"{each.name} until {each.until}" for each in temporary)
            raise UsageError(
                f"{self._name}: rounds are temporary ({told}), but no later round that stays has that name"
            )
        self._store.sweep()
        records = self._journal.records()
        self._refuse_shared_files(records)
        files = [entry for record in records for entry in record.files]
        self._store.keep_only(entry.path for entry in files)
        self._store.flush(kept, files)
        self._journal.finish(kept)

    def _run_needed(self, rounds: Sequence[Round]) -> None:
        """Run what is missing of the last of some rounds, and of temporary ones before it that it takes to do so.

        Those before may have been dropped at an earlier round that stays: one that outlives it may need them again.
        """
        done = set(self._journal.task_ids())
        missing = {each.name for each in rounds if not done.issuperset(each.task_ids())}
        needed = rounds_needed(rounds, missing)
        for number, each in enumerate(rounds):
            if each.name in needed:
                self._run_round(each)
                self._drop([old for old in rounds[:number] if old.until == each.name])

    def _missing(self, round_: Round) -> list[int]:
        done = set(self._journal.task_ids())  # one listing, where asking for each would take a store long
        return [i for i in range(round_.n_tasks) if round_.task_id(i) not in done]

    def _drop(self, rounds: Sequence[Round]) -> None:
        done = set(self._journal.task_ids()) if rounds else set()
        for task_id in (task_id for each in rounds for task_id in each.task_ids()):
            if task_id in done:
                files = self._journal.read(task_id).files
                self._journal.forget(task_id, durable=False)
                self._store.remove(files)
                for entry in files:
                    self._owners.pop(entry.path, None)

    def _refuse_shared_files(self, records: Sequence[Record]) -> None:
        """Where two tasks have left a file of one name, one has replaced the other's: neither is done."""
        for record in records:
            for entry in record.files:
                owner = self._owners.setdefault(entry.path, record.task)
                if owner != record.task:
                    self._journal.forget(owner)
                    self._journal.forget(record.task)
                    raise UsageError(
                        f"{self._name}: tasks {owner} and {record.task} have both left a file {entry.path}: let each "
                        "task write names of its own, and raise the step's version, since what is done stays done"
                    )

    def _run_round(self, round_: Round) -> None:
        missing = self._missing(round_)
        allotment = self._allot(round_, len(missing))
        memory.give_back()
        memory.reset_peak()
        self._emit(
            RoundBegan(
                round=round_.name,
                tasks=round_.n_tasks,
                done=round_.n_tasks - len(missing),
                workers=allotment.workers,
                batch_rows=allotment.batch_rows,
                cache=allotment.cache,
                projected=allotment.projected,
            )
        )
        if missing:
            self._perform(round_, missing, allotment)
            self._refuse_shared_files([self._journal.read(task_id) for task_id in round_.task_ids()])
        self._emit(RoundEnded(round_.name))

    def _allot(self, round_: Round, n_tasks: int) -> Allotment:
        limits = self._limits
        useful = round_.cost.most(max(1, min(n_tasks, limits.max_workers)))
        if not limits.fresh and limits.reserved + useful > limits.allowed:
            raise Crowded
        try:
            return allot(
                round_.cost,
                allowed=limits.allowed,
                reserved=limits.reserved,
                n_tasks=n_tasks,
                max_workers=limits.max_workers,
            )
        except BudgetError as error:
            raise BudgetError(f"{self._name} ({round_.name}) {error.problem}", error.enough) from None

    def _on_threads(self, round_: Round, missing: Sequence[int], allotment: Allotment) -> None:
        shared = load_shared(round_, allotment.cache)
        with ThreadPoolExecutor(allotment.workers, thread_name_prefix=round_.name) as pool:
            futures = [pool.submit(self._run_task, round_, i, allotment.batch_rows, shared) for i in missing]
            finished, waiting = wait(futures, return_when=FIRST_EXCEPTION)
            for future in waiting:
                future.cancel()
        for future in finished:
            future.result()

    def _run_task(self, round_: Round, index: int, batch_rows: int, shared: object) -> None:
        if self._stop.is_set():
            raise Interrupted("stopped")
        task_id = round_.task_id(index)
        self._emit(TaskBegan(task_id))
        self._emit(run_task(round_, index, batch_rows, shared, self._store, self._journal))


def load_shared(round_: Round, cache: int) -> Any:
    """What all tasks of a round share, with a cache of so many bytes."""
    return round_.load_cached(cache) if cache and round_.load_cached else round_.load()


def run_task(
    round_: Round, index: int, batch_rows: int, shared: object, store: StageStore, journal: Journal
) -> TaskEnded:
    """Do one task: run it, commit its files, write its record; tell what it took."""
    start = time.monotonic()
    task_id = round_.task_id(index)
    scratch = store.new_scratch(task_id)
    try:
        context = TaskContext(scratch, batch_rows, shared)
        with write_named(store.root.disk):
            result = checked.result(task_id, round_.run(index, context))
    except FileNotFoundError as error:
        if str(store.root) in str(error):
            raise  # the stage's own
        raise UsageError(f"task {task_id} does not find what it reads ({error}): put it back and run again") from error
    # Until the stage is complete, what a power cut damages is found by its digest, and made again.
    files = store.commit(scratch)
    seconds = time.monotonic() - start
    record = Record(task_id, files, result, round(seconds, 4), memory.peak_bytes())
    journal.write(record)
    return TaskEnded(task_id, seconds, context.reads.stored, context.reads.kept)
