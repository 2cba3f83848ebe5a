"""How a pipeline is run: hold the work directory, mend what is damaged, plan, refuse, run what is left, collect."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any, TypedDict, Unpack, get_args

import msgspec

from engine.chunked import checked, memory, publishing, references, workdir
from engine.chunked.budget import parse_budget
from engine.chunked.errors import DamagedError, UsageError
from engine.chunked.events import (
    Event,
    Explained,
    Note,
    OnEvent,
    Preparing,
    RoundBegan,
    RunBegan,
    StageBegan,
    StageEnded,
    StageSkipped,
    TaskEnded,
    WorkerEvent,
    ignore,
)
from engine.chunked.executors.base import Executor
from engine.chunked.executors.connect import Kind, connect
from engine.chunked.explain import explain
from engine.chunked.journal import Committed, Journal
from engine.chunked.outcome import RunResult
from engine.chunked.pipeline import Known, Pipeline, Step, job
from engine.chunked.plain import at_least_one, whole_number
from engine.chunked.planning import (
    DONE,
    IDLE,
    RunPlan,
    StagePlan,
    free_bytes,
    plan_stage,
    refuse_full_disk,
    refuse_misfits,
)
from engine.chunked.references import Reference
from engine.chunked.storage import Location, Place, locate
from engine.chunked.store import StageStore
from engine.chunked.task import Costs, task_id
from engine.chunked.workdir import LastRun, StageEntry

# What becomes of what is there when a run is of something else.
_STAYS = "a finished run stays beside this one, or with a keep of 1 until this one is finished"
# Points kept of each stage's memory over time.
_SAMPLES = 200


class Resources(TypedDict, total=False):
    """What a run may use, and who does its work. No result ever depends on it.

    Attributes
    ----------
    memory : str, int or None
        Bytes, or a size like ``512MiB``, that all processes together may use beside what this process held before; on
        a Dask cluster, each worker. None: the smaller of 1 GiB and half of what is free.
    workers : int or None
        Tasks at a time, at most; with Dask, worker processes to start. None: as many as processors.
    executor : str
        ``local``, the default: a process here; ``dask``: the workers of a Dask cluster.
    scheduler : str or None
        ``dask``: the scheduler's address, such as ``tcp://10.0.0.5:8786``; none: a cluster of processes here.
    """

    memory: str | int | None
    workers: int | None
    executor: Kind
    scheduler: str | None


@dataclass(frozen=True)
class _Run:
    """Everything settled before the first step starts."""

    pipeline: Pipeline
    workdir: Location
    folders: dict[str, Location]
    earlier: LastRun | None
    executor: Executor

    def finished(self, step: Step) -> bool:
        return Journal(self.folders[step.name]).finished()

    @property
    def left(self) -> list[Step]:
        """The steps that are not finished."""
        return [step for step in self.pipeline.steps if not self.finished(step)]

    def costs(self, step: Step) -> Costs:
        """What a step will take, by what is known now."""
        return checked.costs(step.name, step.planner(self._known.of(step.name, step.given_params())))

    @cached_property
    def _known(self) -> Known:
        return Known("", None, self.pipeline.json_details(), self.folders)

    def planned(self, step: Step, costs: Costs, reserved: int) -> StagePlan:
        """What a step gets of the budget."""
        executor = self.executor
        return plan_stage(
            step.name,
            costs,
            allowed=executor.allowed,
            reserved=reserved,
            max_workers=executor.max_workers,
            processes=executor.processes,
        )

    def plan(self, stages: list[StagePlan], survey: str = "", steps: Mapping[str, str] | None = None) -> RunPlan:
        """Plans of stages, together."""
        executor, free = self.executor, free_bytes(self.workdir)
        return RunPlan(stages, executor.allowed, free, survey, executor.processes, executor.limit, steps or {})


class _Reserved:
    """What the steps that are left have reserved: asked before anything runs, so that all projections agree.

    It is quick to learn for all of them together, in one process. Where a step does not fit with that, it is tried out
    for the step in a process of its own; where it is asked for ``exactly``, for each.
    """

    def __init__(self, setup: _Run, left: Sequence[Step], *, exactly: bool = False) -> None:
        self.left = list(left)
        self._setup = setup
        self._apart: dict[str, int] = {}
        self._together = None if exactly else self._executor.reserved_together(_references(left), setup.workdir)
        if exactly:
            self._try_out(self.left)

    @property
    def _executor(self) -> Executor:
        return self._setup.executor

    def planned(self, costs: Mapping[str, Costs]) -> list[StagePlan]:
        """What steps get of the budget, by what they cost."""
        steps = [step for step in self.left if step.name in costs]
        plans: dict[str, StagePlan] = {}
        if self._together is not None:
            plans = {step.name: self._setup.planned(step, costs[step.name], self._together) for step in steps}
        crowded = [each for each in steps if each.name not in plans or plans[each.name].needed > self._executor.allowed]
        self._try_out([step for step in crowded if step.name not in self._apart])
        plans |= {step.name: self._setup.planned(step, costs[step.name], self._apart[step.name]) for step in crowded}
        return [plans[step.name] for step in steps]

    def _try_out(self, steps: Sequence[Step]) -> None:
        if steps:
            held = self._executor.reserved_bytes(_references(steps), self._setup.workdir)
            self._apart |= {step.name: each for step, each in zip(steps, held, strict=True)}


def _references(steps: Sequence[Step]) -> list[Reference]:
    return [step.stage_reference for step in steps]


def plan(pipeline: Pipeline, where: Place, *, on_event: OnEvent = ignore, **resources: Unpack[Resources]) -> RunPlan:
    """Project what a run will take; parameters as those of `run`. Of the run itself only a survey is done.

    Raises
    ------
    UsageError, LockedError, DamagedError, Interrupted
        As `run`. A stage that does not fit is told by its plan.
    """
    with _prepare(pipeline, where, resources, on_event) as setup:
        _mend(setup, on_event)
        reserved = _Reserved(setup, setup.left, exactly=True)
        survey = _plan_survey(setup, reserved)
        if survey is not None and survey.misfits:
            return survey
        _survey(setup, on_event, survey)
        return _plan(setup, reserved)


def run(
    pipeline: Pipeline,
    where: Place,
    *,
    on_event: OnEvent = ignore,
    fresh: bool = False,
    keep: int | None = None,
    **resources: Unpack[Resources],
) -> RunResult:
    """Run a pipeline, or what is left of it.

    Parameters
    ----------
    pipeline : Pipeline
    where : path or URL
        The work directory: made, or one of an earlier run, whose results count where nothing they depend on has
        changed.
    on_event : callable
        Told what happens: `engine.chunked.progress.Progress` shows it.
    fresh : bool
        Remove what earlier runs of these steps left, and start over.
    keep : int or None
        Finished runs that stay in the work directory, this one included; what is of older ones alone is removed when
        this one is finished. None: those that read the same from outside, and the last one that did not.
    **resources
        ``memory``, ``workers``, ``executor`` and ``scheduler``: see `Resources`.

    Raises
    ------
    UsageError, BudgetError, LockedError, DamagedError, Interrupted
        See `engine.chunked.errors`.
    """
    keep = None if keep is None else at_least_one(keep, "runs to keep")
    with _prepare(pipeline, where, resources, on_event) as setup:
        if fresh:
            _start_over(setup)
        _mend(setup, on_event)
        reserved = _Reserved(setup, setup.left)
        surveyed = _survey(setup, on_event, _plan_survey(setup, reserved))
        planned = _plan(setup, reserved)
        refuse_misfits(planned)
        refuse_full_disk(planned, str(setup.workdir.disk))
        last = _begin(setup, planned)
        for number, step in enumerate(pipeline.steps):
            entry = _run_step(setup, step, last.stages[number], on_event)
            if number == 0 and surveyed is not None:
                entry = _together(surveyed, entry)
            last = msgspec.structs.replace(last, stages=[*last.stages[:number], entry, *last.stages[number + 1 :]])
            workdir.write_last_run(setup.workdir, last)
        metrics = _collect(setup)
        _publish(setup, last, metrics, keep)
    return _result(setup, metrics, last.stages)


def _start_over(setup: _Run) -> None:
    """Remove what earlier runs of the steps left."""
    names = {folder.name for folder in setup.folders.values()}

    def forget() -> None:
        workdir.withdraw_figures(setup.workdir)
        publishing.withdraw(setup.workdir, names)

    publishing.forget_and_remove(forget, [folder for folder in setup.folders.values() if folder.exists()])


def run_beside(
    pipeline: Pipeline, step: str, where: Place, *, on_event: OnEvent = ignore, **resources: Unpack[Resources]
) -> RunResult:
    """Run one step beside a finished run of the steps it needs; parameters as those of `run`.

    The run's figures and its record stay as they are; `upkeep.clean` removes what the step leaves.

    Raises
    ------
    UsageError, BudgetError, LockedError, Interrupted
        As `run`.
    DamagedError
        Where what the step reads is not finished, or damaged.
    """
    with _prepare(pipeline, where, resources, on_event) as setup:
        wanted = next(each for each in pipeline.steps if each.name == step)
        for name in wanted.needs:
            _refuse_unfit(name, Journal(setup.folders[name]))
        journal = Journal(setup.folders[step])
        for task in journal.damaged_since():
            journal.forget(task)
        entry = _entry(setup, wanted)
        if not journal.finished():
            reserved = _Reserved(setup, [wanted])
            planned = setup.plan(reserved.planned({step: setup.costs(wanted)}))
            refuse_misfits(planned)
            refuse_full_disk(planned, str(setup.workdir.disk))
            entry = _entry(setup, wanted, planned.stages[0])
        entry = _run_step(setup, wanted, entry, on_event)
    return _result(setup, {}, [entry])


def _publish(setup: _Run, last: LastRun, metrics: dict[str, Any], keep: int | None) -> None:
    """Write the figures, and say that the run is finished; where that cannot be said, there are no figures."""
    try:
        publishing.publish(setup.workdir, workdir.write_figures(setup.workdir, last, metrics), metrics, keep)
    except BaseException:
        (setup.workdir / workdir.METRICS).remove()
        raise


def _result(setup: _Run, metrics: dict[str, Any], stages: list[StageEntry]) -> RunResult:
    """What a run left, found from any folder."""
    folders = {name: folder.absolute() for name, folder in setup.folders.items()}
    allowed, processes = setup.executor.allowed, setup.executor.processes
    return RunResult(metrics, setup.workdir.absolute(), folders, stages, allowed, processes)


def _refuse_unfit(name: str, journal: Journal) -> None:
    if not journal.finished():
        raise DamagedError(f"step {name} is not finished: run the pipeline first")
    for fault in journal.damaged_since().values():
        raise DamagedError(f"{fault}; the next run does {name} again")


@contextmanager
def _prepare(pipeline: Pipeline, where: Place, resources: Resources, on_event: OnEvent) -> Iterator[_Run]:
    """Make the work directory, hold it, and make an executor ready."""
    references.refuse_unguarded()
    place = locate(where).enclosed()
    if not place.shared:
        raise UsageError(f"{place}: in the memory of one process, and a run has several: name another work directory")
    resources = _checked(resources)
    budget = resources.get("memory")
    allowed = None if budget is None else parse_budget(budget)
    folders = pipeline.folders(place)
    workdir.make(place)
    workdir.refuse_links(place)
    with (place / workdir.LOCK).hold() as descriptors:
        place.sweep()
        earlier = workdir.last_run(place)
        with connect(
            resources.get("executor", "local"),
            allowed=allowed,
            workers=resources.get("workers"),
            scheduler=resources.get("scheduler"),
            keep_open=descriptors,
        ) as chosen:
            notes = [*pipeline.notes, *_of_other_data(earlier, pipeline, place)]
            if not memory.is_measured():
                notes.append(memory.UNMEASURED)
            on_event(RunBegan(pipeline.name, str(place), chosen.allowed, chosen.processes, notes))
            yield _Run(pipeline, place, folders, earlier, chosen)


def _checked(given: Resources) -> Resources:
    """What a caller gave, in Python's own types.

    Raises
    ------
    UsageError
        Where something else is given than `Resources` has, or something of another type.
    """
    known = list(Resources.__annotations__)
    for name in given:
        if name not in known:
            raise UsageError(f"{name}: not known; known are {', '.join(known)}")
    if given.get("executor", "local") not in (kinds := get_args(Kind)):
        raise UsageError(f"executor is {given['executor']!r}: give one of {', '.join(kinds)}")
    workers, scheduler = given.get("workers"), given.get("scheduler")
    if scheduler is not None and not isinstance(scheduler, str):
        raise UsageError(f"scheduler is {scheduler!r}: give an address such as 'tcp://10.0.0.5:8786'")
    return {**given, "workers": None if workers is None else whole_number(workers, "workers")}


def _of_other_data(earlier: LastRun | None, pipeline: Pipeline, where: Location) -> list[str]:
    """Say so where the run before this one was of something else: its results look unused from now on."""
    if earlier is None or not earlier.origin:
        return []
    if earlier.origin != pipeline.origin:
        return [f"{where} was of {earlier.origin}: {_STAYS}"]
    if earlier.stages and earlier.stages[0].reads != list(pipeline.steps[0].reads):
        changed = "has changed since the last run here, or other columns of it are read"
        return [f"{pipeline.origin} {changed}, so that all is done anew: {_STAYS}"]
    return []


def _mend(setup: _Run, on_event: OnEvent) -> None:
    """Take back every task whose files are not what was recorded, before anything reads them; say why steps run."""
    if setup.earlier is not None:
        on_event(Preparing("comparing the files of the run with their records"))
    journals = {step.name: Journal(setup.folders[step.name]) for step in setup.pipeline.steps}
    with ThreadPoolExecutor() as pool:
        faults = dict(zip(journals, pool.map(Journal.damaged_since, journals.values()), strict=True))
    for name, of_step in faults.items():
        for task, fault in of_step.items():
            journals[name].forget(task)
            on_event(Note(f"{fault}; task {task} of {name} is done again"))
    if any(faults.values()):
        workdir.withdraw_figures(setup.workdir)
    for step in filter(setup.finished, setup.pipeline.steps):
        entries = (entry for record in journals[step.name].records() for entry in record.files)
        StageStore(setup.folders[step.name]).keep_only(entry.path for entry in entries)
    damaged = {name: len(of_step) for name, of_step in faults.items()}
    on_event(Explained(explain(setup.pipeline, setup.folders, setup.earlier, damaged)))
    if setup.left:
        on_event(Preparing("measuring what its processes hold before any data"))


def _plan_survey(setup: _Run, reserved: _Reserved) -> RunPlan | None:
    """Project the survey that every other projection needs; None where there is none, or it is done."""
    step = setup.pipeline.steps[0]
    if step.survey is None or Journal(setup.folders[step.name]).done(task_id(step.survey.round)):
        return None
    costs = setup.costs(step)
    last = step.survey.round
    rounds = {name: costs.rounds[name] for name in takewhile(lambda name: name != last, costs.rounds)}
    rounds[last] = costs.rounds[last]
    return setup.plan(reserved.planned({step.name: Costs(rounds)}), step.survey.does)


def _survey(setup: _Run, on_event: OnEvent, planned: RunPlan | None) -> StageEntry | None:
    """Do the survey, unless that is done; return what it took."""
    step = setup.pipeline.steps[0]
    if planned is None or step.survey is None:
        return None
    refuse_misfits(planned)
    on_event(Note(f"before the rest can be planned: {step.survey.does}"))
    return _run_rounds(setup, step, _entry(setup, step), on_event, upto=step.survey.round)


def _plan(setup: _Run, reserved: _Reserved) -> RunPlan:
    """Project every stage that is left; a survey has been done."""
    costs = {step.name: each for step in reserved.left if (each := setup.costs(step)).n_tasks}
    why = {step.name: _why(setup, step, costs) for step in setup.pipeline.steps}
    return setup.plan(reserved.planned(costs), steps=why)


def _why(setup: _Run, step: Step, costs: Mapping[str, Costs]) -> str:
    """Why a step is not planned; empty of one that costs something."""
    if step.name in costs:
        return ""
    return DONE if setup.finished(step) and not _entry(setup, step).idle else IDLE


def _entry(setup: _Run, step: Step, planned: StagePlan | None = None) -> StageEntry:
    """What is known of a step before it runs: its plan, or what it took when it was done before."""
    folder = setup.folders[step.name].name
    entry = StageEntry(
        stage=step.name, folder=folder, params=step.json_params(), reads=list(step.reads), skipped=planned is None
    )
    if planned is not None:
        rounds = list(planned.rounds.items())
        return msgspec.structs.replace(entry, rounds=rounds, estimated_seconds=planned.seconds)
    earlier = setup.earlier.stages if setup.earlier else []
    known = next((each for each in earlier if each.folder == folder), entry)
    return msgspec.structs.replace(known, params=entry.params, reads=entry.reads, skipped=True)


def _begin(setup: _Run, planned: RunPlan) -> LastRun:
    """Say in the work directory what this run is; take the figures back until all is done."""
    plans = {each.stage: each for each in planned.stages}
    last = LastRun(
        allowed=setup.executor.allowed,
        workers=setup.executor.max_workers * setup.executor.processes,
        processes=setup.executor.processes,
        stages=[_entry(setup, step, plans.get(step.name)) for step in setup.pipeline.steps],
        details=setup.pipeline.json_details(),
        origin=setup.pipeline.origin,
    )
    workdir.write_last_run(setup.workdir, last)
    (setup.workdir / workdir.METRICS).remove()
    return last


def _run_step(setup: _Run, step: Step, entry: StageEntry, on_event: OnEvent) -> StageEntry:
    """Run a step unless it is complete; return what it took."""
    on_event(StageBegan(step.name, step.does, sum(n for _, n in entry.rounds)))
    if setup.finished(step):
        on_event(StageSkipped(step.name))
        return entry
    if not setup.costs(step).n_tasks:
        StageStore(setup.folders[step.name]).sweep()
        Journal(setup.folders[step.name]).finish([])
        on_event(StageSkipped(step.name, idle=True))
        return msgspec.structs.replace(entry, skipped=True, idle=True)
    took = _run_rounds(setup, step, entry, on_event)
    on_event(StageEnded(step.name, took.seconds, took.measured, took.stored, took.kept))
    return took


def _run_rounds(setup: _Run, step: Step, entry: StageEntry, on_event: OnEvent, upto: str | None = None) -> StageEntry:
    """Run what is left of a step, or of it up to a round; return what it took."""
    projected = measured = stored = kept = 0

    def note(event: Event) -> None:
        nonlocal projected, measured, stored, kept
        if isinstance(event, RoundBegan):
            projected = max(projected, event.projected)
        if isinstance(event, WorkerEvent):
            measured = max(measured, event.measured)
        if isinstance(event, TaskEnded):
            stored, kept = stored + event.stored, kept + event.kept
        on_event(event)

    start = time.monotonic()
    with memory.Sampler(setup.executor.bytes_in_use, 0.1) as sampler:
        setup.executor.run(job(setup.pipeline, step, setup.folders, upto), note)
    return msgspec.structs.replace(
        entry,
        skipped=False,
        seconds=round(time.monotonic() - start, 3),
        samples=memory.thin(sampler.samples, _SAMPLES),
        projected=projected,
        measured=measured,
        stored=stored,
        kept=kept,
    )


def _together(survey: StageEntry, rest: StageEntry) -> StageEntry:
    """What a step took, its survey included."""
    later = [(round(second + survey.seconds, 3), size) for second, size in rest.samples]
    return msgspec.structs.replace(
        rest,
        projected=max(rest.projected, survey.projected),
        measured=max(rest.measured, survey.measured),
        seconds=round(rest.seconds + survey.seconds, 3),
        samples=[*survey.samples, *later],
    )


def _collect(setup: _Run) -> dict[str, Any]:
    collect = setup.pipeline.collect
    return {} if collect is None else dict(collect({name: Committed(at) for name, at in setup.folders.items()}))
