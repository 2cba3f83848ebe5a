"""What a run will take, before it is run: per stage tasks, workers, projected memory; and whether it fits."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from engine.chunked.budget import MARGIN, MIB, Allotment, allot, enough_for, format_size
from engine.chunked.errors import BudgetError
from engine.chunked.executors.base import WorkerLimit
from engine.chunked.storage import Location
from engine.chunked.task import Costs, Planned

# Why a step is not planned.
DONE = "done before"
IDLE = "nothing to do"


@dataclass(frozen=True)
class RoundPlan:
    """One round of a stage.

    Attributes
    ----------
    round : str
    tasks : int
    workers, batch_rows : int
        Tasks at a time, of one process, and the rows that each works on at a time; 0 where it does not fit.
    shared, cache, task, row : int
        Bytes beyond what is reserved: held once, held once where there is room, of a task, of a row of its batch.
    projected : int
        Bytes of a process in this budget, what is reserved included; 0 where it does not fit.
    """

    round: str
    tasks: int
    workers: int
    batch_rows: int
    shared: int
    cache: int
    task: int
    row: int
    projected: int


@dataclass(frozen=True)
class StagePlan:
    """One stage.

    Attributes
    ----------
    stage : str
    rounds : dict of str to int
        Tasks of each round.
    workers, batch_rows, cached : int, int, bool
        Of the round that takes the most memory; workers of one process.
    reserved, projected, needed, useful : int
        Bytes of a process: what it holds before data; what it is projected to use in this budget; the least
        budget it could run in; the budget beyond which more would be of no use. ``projected`` is 0 where it
        does not fit.
    disk, kept : int
        Bytes on the disk at a time, at most, temporary files included; those of them that stay.
    seconds : float
        Estimated, with these workers; 0 where the stage tells no time.
    each : tuple of RoundPlan
        Its rounds, one by one.
    """

    stage: str
    rounds: dict[str, int]
    workers: int
    batch_rows: int
    cached: bool
    reserved: int
    projected: int
    needed: int
    useful: int
    disk: int = 0
    kept: int = 0
    seconds: float = 0.0
    each: tuple[RoundPlan, ...] = ()

    @property
    def tasks(self) -> int:
        """Of all its rounds."""
        return sum(self.rounds.values())


@dataclass(frozen=True)
class RunPlan:
    """The stages that are not done.

    Attributes
    ----------
    stages : list of StagePlan
    allowed, disk_free : int
        Bytes; what is allowed, each of the processes is.
    survey : str
        Empty, or what has to be done before the rest can be planned; the one stage is then that.
    processes : int
        How many run tasks.
    limit : WorkerLimit or None
        What the smallest of them has, where something else than the run ends processes that use too much.
    steps : mapping of str to str
        Every step of the pipeline in order, and why it is not among the stages, such as `DONE`; empty of one that is.
        Nothing where a survey comes first.
    """

    stages: list[StagePlan]
    allowed: int
    disk_free: int
    survey: str = ""
    processes: int = 1
    limit: WorkerLimit | None = None
    steps: Mapping[str, str] = field(default_factory=dict)

    @property
    def misfits(self) -> list[StagePlan]:
        """The stages that do not fit."""
        return [stage for stage in self.stages if stage.needed > self.allowed]

    @property
    def disk(self) -> int:
        """Bytes on the disk at a time, at most."""
        kept = [0, *itertools.accumulate(stage.kept for stage in self.stages)]
        return max((before + stage.disk for before, stage in zip(kept, self.stages, strict=False)), default=0)

    @property
    def floor(self) -> int:
        """A budget, in bytes, in which every stage runs: the least and a margin, or the present one if that is less."""
        rounded = enough_for(max((stage.needed for stage in self.stages), default=0))
        return rounded if self.misfits else min(rounded, self.allowed)


def plan_stage(
    stage: str,
    expected: Costs,
    *,
    allowed: int,
    reserved: int,
    max_workers: int,
    processes: int = 1,
) -> StagePlan:
    """Share the budget in every round of a stage, and keep the round that takes the most.

    The budget is that of each of ``processes`` processes.
    """
    rounds, disk = expected.rounds, expected.disk
    kept = disk if expected.kept is None else expected.kept
    costs = [planned.cost for planned in rounds.values()]
    tasks = {name: planned.n_tasks for name, planned in rounds.items()}
    needed = reserved + max(cost.least() for cost in costs)
    useful = reserved + max(cost.most(max(1, min(n, max_workers))) for n, cost in rounds.values())
    allotments = [
        allot(cost, allowed=allowed, reserved=reserved, n_tasks=max(1, n), max_workers=max_workers)
        if reserved + cost.least() <= allowed
        else Allotment(0, 0, 0, 0)
        for n, cost in rounds.values()
    ]
    each = tuple(map(_round_plan, rounds, rounds.values(), allotments))
    if needed > allowed:
        return StagePlan(stage, tasks, 0, 0, False, reserved, 0, needed, useful, disk, kept, each=each)
    most = max(allotments, key=lambda each: each.projected)
    seconds = round(expected.seconds / (max(1, most.workers) * processes), 1)
    return StagePlan(
        stage,
        tasks,
        most.workers,
        most.batch_rows,
        most.cache > 0,
        reserved,
        most.projected,
        needed,
        useful,
        disk,
        kept,
        seconds,
        each,
    )


def _round_plan(name: str, planned: Planned, got: Allotment) -> RoundPlan:
    n, cost = planned
    return RoundPlan(name, n, got.workers, got.batch_rows, cost.shared, cost.cache, cost.task, cost.row, got.projected)


def refuse_misfits(plan: RunPlan) -> None:
    """Refuse a budget that some stage does not fit into, and one that a worker's memory limit is too small for.

    Raises
    ------
    BudgetError
        Naming the stage that needs the most, the numbers, and a budget or a limit that all stages fit into.
    """
    if plan.misfits:
        worst = max(plan.misfits, key=lambda stage: stage.needed)
        more = f" or more, which is enough to {plan.survey}; what the rest needs is told then" if plan.survey else ""
        raise BudgetError(
            f"{worst.stage} needs {format_size(worst.needed)} ({format_size(worst.reserved)} of it before any data), "
            f"but {format_size(plan.allowed)} are allowed",
            plan.floor,
            more=more,
        )
    most = max(plan.stages, key=lambda stage: stage.projected, default=None)
    if plan.limit is not None and most is not None and most.projected > plan.limit.usable:
        _refuse_limit(plan, plan.limit, most)


def _refuse_limit(plan: RunPlan, limit: WorkerLimit, most: StagePlan) -> None:
    enough = -(-(most.projected + MARGIN) * limit.bytes // limit.usable // MIB)
    less = limit.usable // MIB * MIB if not plan.survey and plan.floor <= limit.usable else None
    raise BudgetError(
        f"{most.stage} is projected to take {format_size(most.projected)} of a worker, but the Dask worker "
        f"{limit.worker} works in {format_size(limit.usable)}, its memory limit being {format_size(limit.bytes)}",
        less,
        f"start the workers with --memory-limit {enough}MiB",
    )


def free_bytes(workdir: Location) -> int:
    """Bytes free on the disk that a work directory takes."""
    return shutil.disk_usage(workdir.disk).free


def refuse_full_disk(plan: RunPlan, where: str) -> None:
    """Refuse to start what the disk has no room for.

    Raises
    ------
    BudgetError
        Naming both numbers and the stage that writes the most.
    """
    if plan.disk > plan.disk_free:
        most = max(plan.stages, key=lambda stage: stage.disk)
        raise BudgetError(
            f"{where}: the run may take {format_size(plan.disk)} ({format_size(most.disk)} of it in {most.stage}), but "
            f"{format_size(plan.disk_free)} are free: free some, or put the work directory (TMPDIR, where that is "
            "in a store) on a larger disk"
        )


def table(plan: RunPlan) -> str:
    """The plan for people."""
    lines = [
        f"{'stage':<15}{'tasks':>6}{'workers':>8}{'batch':>8}{'least':>9}{'projected':>10}{'useful':>9}"
        f"{'disk':>9}{'sec':>5}"
    ]
    planned = {stage.stage: _row(stage) for stage in plan.stages}
    why = {name: f"{name:<15}{reason:>22}" for name, reason in plan.steps.items() if reason}
    lines += [(planned | why)[name] for name in plan.steps or planned]
    if not plan.stages:
        return "\n".join([*lines, "nothing to do: every stage is done"])
    if any(stage.cached for stage in plan.stages):
        lines.append("* keeps what it reads in memory, since there is room")
    return "\n".join([*lines, *_totals(plan)])


def _row(stage: StagePlan) -> str:
    projected = format_size(stage.projected) if stage.projected else "too much"
    batch = str(stage.batch_rows) if stage.batch_rows > 1 else ""
    return (
        f"{stage.stage:<15}{stage.tasks:>6}{stage.workers:>8} {batch:>7}{format_size(stage.needed):>9}"
        f"{projected:>10}{format_size(stage.useful):>9}{format_size(stage.disk):>9}{stage.seconds:>5.0f}"
        + ("*" if stage.cached else "")
    )


def _totals(plan: RunPlan) -> list[str]:
    seconds = sum(stage.seconds for stage in plan.stages)
    whole = format_size(plan.processes * plan.allowed)
    each = f" to each of {plan.processes} worker processes, {whole} in all" if plan.processes > 1 else ""
    lines = [f"{format_size(plan.allowed)} allowed{each}; the least that works is {format_size(plan.floor)}"]
    if not plan.misfits:
        useful = format_size(max(stage.useful for stage in plan.stages))
        lines.append(f"what is spare goes to more workers, caches, larger batches, up to {useful}")
    lines.append(f"disk: about {format_size(plan.disk)} at a time, {format_size(plan.disk_free)} free")
    if seconds:
        lines.append(f"time: about {seconds:.0f} s on the 2-core virtual machine whose rates were measured")
    return lines


def rounds_table(plan: RunPlan) -> str:
    """The rounds of each stage, for whoever writes their memory models; 80 columns wide."""
    head = f"{'round':<24}{'tasks':>6}{'workers':>8}{'shared':>10}{'task':>10}{'row':>11}{'projected':>11}"
    lines = []
    for stage in plan.stages:
        reserved, allowed = format_size(stage.reserved), format_size(plan.allowed)
        lines += [f"{stage.stage}: {reserved} reserved, of {allowed} allowed", head]
        for each in stage.each:
            shared, task, row = map(format_size, (each.shared, each.task, each.row))
            projected = format_size(each.projected) if each.projected else "too much"
            lines.append(
                f"{each.round:<24}{each.tasks:>6}{each.workers:>8}{shared:>10}{task:>10}{row:>11}{projected:>11}"
            )
    return "\n".join(lines) or "nothing is left to do"


def as_mapping(plan: RunPlan) -> Mapping[str, object]:
    """The plan for programs; sizes in bytes."""
    stages = [asdict(stage) | {"tasks": stage.tasks} for stage in plan.stages]
    return {
        "allowed": plan.allowed,
        "processes": plan.processes,
        "counted": not plan.survey,
        "floor": plan.floor,
        "disk": plan.disk,
        "disk_free": plan.disk_free,
        "stages": stages,
        "done": [name for name, why in plan.steps.items() if why == DONE],
        "idle": [name for name, why in plan.steps.items() if why == IDLE],
    }
