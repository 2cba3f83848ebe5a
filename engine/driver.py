"""How a run goes through the pipeline: find the ratings, mend what is damaged, plan, run what is left, collect."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from engine import config, estimates
from engine.chunked import memory, workdir
from engine.chunked.budget import parse_size
from engine.chunked.errors import UsageError
from engine.chunked.executors.base import Executor
from engine.chunked.executors.connect import connect
from engine.chunked.explain import explain
from engine.chunked.journal import Journal
from engine.chunked.planning import RunPlan, StagePlan, plan_stage, refuse_full_disk, refuse_misfits
from engine.chunked.runner import Event
from engine.chunked.storage import lock, staging
from engine.chunked.storage.files import sweep_unfinished
from engine.chunked.storage.location import Location, Remote, absolute, locate
from engine.chunked.store import StageStore
from engine.chunked.task import Job
from engine.chunked.workdir import LastRun, StageEntry
from engine.config import Config
from engine.costs import COSTS, Plan, disk
from engine.pipeline import Step, fingerprints, identify, known_shapes, stage_folders, steps
from engine.ratings.resolve import resolve
from engine.ratings.source import Source
from engine.results import figures
from engine.stages.names import PROFILE

# Polars reads these when it is loaded. Its defaults would hold hundreds of MiB of a CSV at a time.
_POLARS = {
    "POLARS_CSV_CHUNK_SIZE": "1000000",
    "POLARS_CSV_CHUNK_PREFETCH_LIMIT": "1",
    "POLARS_ROW_GROUP_PREFETCH_SIZE": "1",
}
# Points kept of each stage's memory over time.
_SAMPLES = 200

OnEvent = Callable[[Event], None]


def _ignore(event: Event) -> None:
    pass


@dataclass(frozen=True)
class RunResult:
    """What a run left.

    Attributes
    ----------
    metrics : dict
        The content of ``metrics.json``.
    workdir : Path or Remote
        The work directory.
    artifacts : dict of str to Path or Remote
        The folder of each step.
    stages : list of StageEntry
        What each step took.
    allowed, processes : int, int
        Bytes each of so many processes was allowed.
    """

    metrics: dict[str, Any]
    workdir: Location
    artifacts: dict[str, Location]
    stages: list[StageEntry]
    allowed: int
    processes: int


@dataclass(frozen=True)
class _Run:
    """Everything settled before the first step starts."""

    settings: Config
    source: Source
    source_bytes: int
    source_state: list[int]
    identity: list[str]
    workdir: Location
    folders: dict[str, Location]
    earlier: LastRun | None
    executor: Executor

    @property
    def steps(self) -> tuple[Step, ...]:
        return steps(self.settings)

    def finished(self, step: Step) -> bool:
        return Journal(self.folders[step.name]).finished()


def plan(settings: Config, on_event: OnEvent = _ignore) -> RunPlan:
    """Project what a run will take; of the run itself only the counting of ratings is done.

    Raises
    ------
    UsageError, LockedError, DamagedError, Interrupted
        As `run`. A stage that does not fit is told by its plan.
    """
    with _prepare(settings, on_event) as setup:
        _mend(setup, on_event)
        reserved = _reserved(setup)
        counting = _plan_counting(setup, reserved)
        if counting is not None and counting.misfits:
            return counting
        _count(setup, on_event, counting)
        return _plan(setup, reserved)


def run(settings: Config, on_event: OnEvent = _ignore, *, fresh: bool = False) -> RunResult:
    """Run the pipeline, or what is left of it.

    Parameters
    ----------
    settings : Config
        What to run.
    on_event : callable
        Told what happens, for progress: see `engine.chunked.progress`.
    fresh : bool
        Remove what earlier runs of this configuration left, and start over.

    Raises
    ------
    UsageError, BudgetError, LockedError, DamagedError, Interrupted
        See `engine.chunked.errors`.
    """
    with _prepare(settings, on_event) as setup:
        if fresh:
            workdir.withdraw_figures(setup.workdir)
            mine = set(setup.folders.values())
            workdir.remove([folder for folder in workdir.folders(setup.workdir) if folder.path in mine])
        _mend(setup, on_event)
        reserved = _reserved(setup)
        counting = _count(setup, on_event, _plan_counting(setup, reserved))
        planned = _plan(setup, reserved)
        refuse_misfits(planned)
        refuse_full_disk(planned, str(staging.disk_of(setup.workdir)))
        last = _begin(setup, planned)
        for i, step in enumerate(setup.steps):
            entry = _run_step(setup, step, last.stages[i], on_event)
            if step.name == "ingest" and counting is not None:
                entry = _with_counting(entry, counting)
            last = msgspec.structs.replace(last, stages=[*last.stages[:i], entry, *last.stages[i + 1 :]])
            workdir.write_last_run(setup.workdir, last)
        metrics = figures.collect(setup.settings, setup.source, setup.folders)
        workdir.write_figures(setup.workdir, last, metrics)
    return RunResult(
        metrics, setup.workdir, setup.folders, last.stages, setup.executor.allowed, setup.executor.processes
    )


@contextmanager
def _prepare(settings: Config, on_event: OnEvent) -> Iterator[_Run]:
    """Find the ratings, make the work directory and hold it."""
    settings = config.validated(settings)
    source, content, state = resolve(settings)
    where = locate(settings.workdir or f"runs/{source.name}")
    if isinstance(where, Remote) and where.protocol == "memory":
        raise UsageError(f"{where}: in the memory of one process, and a run has several: name another --workdir")
    workdir.make(where)
    allowed = None if settings.memory is None else parse_size(settings.memory)
    identity = identify(source, content)
    folders = stage_folders(where, fingerprints(settings, identity))
    with lock.hold(where / workdir.LOCK) as descriptor:
        sweep_unfinished(where)
        earlier = workdir.last_run(where)
        with connect(
            settings.executor,
            allowed=allowed,
            workers=settings.workers,
            scheduler=settings.scheduler,
            environment=environment,
            keep_open=(descriptor,),
        ) as executor:
            on_event(
                {
                    "event": "run",
                    "source": source.name,
                    "notes": [*source.notes, *_of_other_ratings(earlier, source, where)],
                    "workdir": str(where),
                    "allowed": executor.allowed,
                    "processes": executor.processes,
                }
            )
            yield _Run(settings, source, content[0], state, identity, where, folders, earlier, executor)


def _of_other_ratings(earlier: LastRun | None, source: Source, where: Location) -> list[str]:
    """Say so where the run before this one was of other ratings: its results look unused from now on."""
    before = earlier.source.get("path") if earlier else None
    if before in (None, source.located().to_json()["path"]):
        return []
    return [f"{where} was of {before}; what is of those ratings alone stays until engine clean removes it"]


def _mend(setup: _Run, on_event: OnEvent) -> None:
    """Take back every task whose files are not what was recorded, before anything reads them; say why steps run."""
    journals = {step.name: Journal(setup.folders[step.name]) for step in setup.steps}
    with ThreadPoolExecutor() as pool:
        faults = dict(zip(journals, pool.map(Journal.damaged, journals.values()), strict=True))
    for name, found in faults.items():
        for task_id, fault in found.items():
            journals[name].forget(task_id)
            on_event({"event": "note", "text": f"{fault}; task {task_id} of {name} is done again"})
    if any(faults.values()):
        workdir.withdraw_figures(setup.workdir)
    for step in filter(setup.finished, setup.steps):
        entries = (entry for record in journals[step.name].records() for entry in record.files)
        StageStore(setup.folders[step.name]).keep_only(entry.path for entry in entries)
    damaged = {name: len(found) for name, found in faults.items()}
    why = explain(setup.settings, setup.identity, setup.folders, setup.earlier, damaged)
    on_event({"event": "explain", "why": why})


def _reserved(setup: _Run) -> dict[str, int]:
    """What each step that is left has reserved: asked once, before anything runs, so that all projections agree."""
    left = [step.name for step in setup.steps if not setup.finished(step)]
    found = setup.executor.reserved_bytes([f"engine.stages.{name}" for name in left], setup.workdir) if left else []
    return dict(zip(left, found, strict=True))


def _plan_counting(setup: _Run, reserved: Mapping[str, int]) -> RunPlan | None:
    """Project the counting of the ratings, which every other projection starts from; None where it is done."""
    ingest = setup.steps[0]
    if Journal(setup.folders[ingest.name]).done(PROFILE):
        return None
    shapes = known_shapes(setup.source, setup.source_bytes, setup.folders[ingest.name])
    rounds = COSTS[ingest.name](setup.settings, shapes)
    counting = {name: planned for name, planned in rounds.items() if name != "partition"}
    planned = _plan_step(setup, ingest.name, counting, reserved[ingest.name], 0, 0.0)
    return _run_plan(setup, [planned], counted=False)


def _count(setup: _Run, on_event: OnEvent, planned: RunPlan | None) -> StageEntry | None:
    """Count the ratings, unless that is done; return what it took."""
    if planned is None:
        return None
    refuse_misfits(planned)
    on_event({"event": "note", "text": "counting the ratings"})
    return _run_rounds(setup, setup.steps[0], _entry(setup, setup.steps[0]), _ignore, upto="profile")


def _plan(setup: _Run, reserved: Mapping[str, int]) -> RunPlan:
    """Project every stage that is left; the ratings have been counted."""
    if not reserved:
        return _run_plan(setup, [])
    shapes = known_shapes(setup.source, setup.source_bytes, setup.folders["ingest"])
    needed = disk(setup.settings, shapes)
    if isinstance(setup.source.path, Remote):
        needed["ingest"] += setup.source_bytes  # the copy that it reads
    seconds = estimates.seconds(setup.settings, shapes)
    stages = []
    for name, bytes_ in reserved.items():
        rounds = COSTS[name](setup.settings, shapes)
        stages.append(_plan_step(setup, name, rounds, bytes_, needed[name], seconds[name]))
    return _run_plan(setup, stages)


def _run_plan(setup: _Run, stages: list[StagePlan], *, counted: bool = True) -> RunPlan:
    executor, free = setup.executor, staging.free_bytes(setup.workdir)
    return RunPlan(stages, executor.allowed, free, counted, executor.processes, executor.limit)


def _plan_step(setup: _Run, name: str, rounds: Plan, reserved: int, disk: int, seconds: float) -> StagePlan:
    return plan_stage(
        name,
        rounds,
        allowed=setup.executor.allowed,
        reserved=reserved,
        max_workers=setup.executor.max_workers,
        processes=setup.executor.processes,
        disk=disk,
        worker_seconds=seconds,
    )


def _entry(setup: _Run, step: Step, planned: StagePlan | None = None) -> StageEntry:
    """What is known of a step before it runs: its plan, or what it took when it was done before."""
    folder = setup.folders[step.name].name
    if planned is not None:
        rounds = list(planned.rounds.items())
        return StageEntry(stage=step.name, folder=folder, rounds=rounds, estimated_seconds=planned.seconds)
    earlier = setup.earlier.stages if setup.earlier else []
    known = next((entry for entry in earlier if entry.folder == folder), None)
    return msgspec.structs.replace(known or StageEntry(stage=step.name, folder=folder), skipped=True)


def _begin(setup: _Run, planned: RunPlan) -> LastRun:
    """Say in the work directory what this run is; take the figures back until all is done."""
    plans = {each.stage: each for each in planned.stages}
    last = LastRun(
        allowed=setup.executor.allowed,
        workers=setup.executor.max_workers * setup.executor.processes,
        processes=setup.executor.processes,
        settings=msgspec.to_builtins(setup.settings),
        identity=setup.identity,
        stages=[_entry(setup, step, plans.get(step.name)) for step in setup.steps],
        source=setup.source.located().to_json(),
    )
    workdir.write_last_run(setup.workdir, last)
    (setup.workdir / workdir.METRICS).unlink(missing_ok=True)
    return last


def _run_step(setup: _Run, step: Step, entry: StageEntry, on_event: OnEvent) -> StageEntry:
    """Run a step unless it is complete; return what it took."""
    on_event({"event": "stage", "stage": step.name, "does": step.does, "tasks": sum(n for _, n in entry.rounds)})
    if setup.finished(step):
        on_event({"event": "skip", "stage": step.name})
        return entry
    took = _run_rounds(setup, step, entry, on_event)
    on_event({"event": "stage_end", "stage": step.name, "seconds": took.seconds, "measured": took.measured})
    return took


def _run_rounds(setup: _Run, step: Step, entry: StageEntry, on_event: OnEvent, upto: str | None = None) -> StageEntry:
    """Run what is left of a step, or of it up to a round; return what it took."""
    return run_job(setup.executor, _job(setup, step, upto), entry, on_event)


def run_job(executor: Executor, job: Job, entry: StageEntry, on_event: OnEvent) -> StageEntry:
    """Run a stage and return what it took."""
    peaks = {"projected": 0, "measured": 0}

    def note(event: Event) -> None:
        peaks.update({name: max(peaks[name], event.get(name, 0)) for name in peaks})
        on_event(event)

    start = time.monotonic()
    with memory.Sampler(executor.bytes_in_use, 0.1) as sampler:
        executor.run(job, note)
    return msgspec.structs.replace(
        entry,
        skipped=False,
        seconds=round(time.monotonic() - start, 3),
        samples=memory.thin(sampler.samples, _SAMPLES),
        **peaks,
    )


def _with_counting(took: StageEntry, counting: StageEntry) -> StageEntry:
    """What a step took, the part of it that was run for the plan included."""
    later = [(round(second + counting.seconds, 3), size) for second, size in took.samples]
    return msgspec.structs.replace(
        took,
        projected=max(took.projected, counting.projected),
        measured=max(took.measured, counting.measured),
        seconds=round(took.seconds + counting.seconds, 3),
        samples=[*counting.samples, *later],
    )


def environment(workers: int) -> dict[str, str]:
    """Variables to set for a stage's process before Polars is loaded."""
    # Its buffers grow with its threads: no more than the memory models were measured with.
    return {**_POLARS, "POLARS_MAX_THREADS": str(min(workers, 2))}


def _job(setup: _Run, step: Step, upto: str | None = None) -> Job:
    spec: Mapping[str, Any] = {
        "step": step.name,
        "settings": msgspec.to_builtins(setup.settings),
        "source": setup.source.located().to_json(),
        "source_state": setup.source_state,
        "shapes": asdict(known_shapes(setup.source, setup.source_bytes, setup.folders["ingest"])),
        "folders": {name: str(absolute(setup.folders[name])) for name in (step.name, *step.needs)},
    }
    return Job(step.name, "engine.pipeline:open_stage", spec, upto)
