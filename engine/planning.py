"""What a run will take, before it is run: per stage tasks, workers, projected memory; and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.chunked.budget import MIB, allot, format_size
from engine.chunked.errors import BudgetError
from engine.costs import Plan

# What processes reserve differs a little from one start to the next; a remedy must hold all the same.
_MARGIN = 4 * MIB
_ROUND_UP = 8 * MIB


@dataclass(frozen=True)
class StagePlan:
    """One stage.

    Attributes
    ----------
    stage : str
    tasks : int
        Of all its rounds.
    workers, batch_rows : int
        Of the round that takes the most memory.
    reserved, projected, needed : int
        Bytes: what its processes hold before data; what it is projected to use in this budget; the least
        budget it could run in. ``projected`` is 0 where it does not fit.
    """

    stage: str
    tasks: int
    workers: int
    batch_rows: int
    reserved: int
    projected: int
    needed: int


def plan_stage(stage: str, rounds: Plan, *, allowed: int, reserved: int, max_workers: int) -> StagePlan:
    """Share the budget in every round of a stage, and keep the round that takes the most."""
    needed = reserved + max(planned.cost.least() for planned in rounds.values())
    tasks = sum(planned.n_tasks for planned in rounds.values())
    if needed > allowed:
        return StagePlan(stage, tasks, 0, 0, reserved, 0, needed)
    allotments = [
        allot(cost, allowed=allowed, reserved=reserved, n_tasks=max(1, n), max_workers=max_workers)
        for n, cost in rounds.values()
    ]
    most = max(allotments, key=lambda each: each.projected)
    return StagePlan(stage, tasks, most.workers, most.batch_rows, reserved, most.projected, needed)


def floor(plans: Sequence[StagePlan]) -> int:
    """The least budget, in bytes, in which every stage runs: rounded up to 8 MiB, with a margin."""
    needed = max((plan.needed for plan in plans), default=0) + _MARGIN
    return -(-needed // _ROUND_UP) * _ROUND_UP


def refuse_misfits(plans: Sequence[StagePlan], allowed: int) -> None:
    """Refuse a budget that some stage does not fit into.

    Raises
    ------
    BudgetError
        Naming the stage that needs the most, the numbers, and a budget that all stages fit into.
    """
    misfits = [plan for plan in plans if plan.needed > allowed]
    if misfits:
        worst = max(misfits, key=lambda plan: plan.needed)
        raise BudgetError(
            f"{worst.stage} needs {format_size(worst.needed)} ({format_size(worst.reserved)} of it before any data), "
            f"but {format_size(allowed)} are allowed: give the run --memory {floor(plans) // MIB}MiB"
        )


def refuse_full_disk(needed: Mapping[str, int], free: int, where: str) -> None:
    """Refuse to start what the disk has no room for.

    Raises
    ------
    BudgetError
        Naming both numbers and the stage that writes the most.
    """
    total = sum(needed.values())
    if total > free:
        most = max(needed, key=lambda stage: needed[stage])
        raise BudgetError(
            f"{where}: the run may write {format_size(total)} ({format_size(needed[most])} of it in {most}), but "
            f"{format_size(free)} are free: free some, or put --workdir on a larger disk"
        )


def table(plans: Sequence[StagePlan], allowed: int) -> str:
    """The plan for people."""
    lines = [f"{'stage':<12}{'tasks':>7}{'workers':>9}{'projected':>12}{'at least':>12}"]
    for plan in plans:
        projected = format_size(plan.projected) if plan.projected else "too much"
        row = f"{plan.stage:<12}{plan.tasks:>7}{plan.workers:>9}{projected:>12}{format_size(plan.needed):>12}"
        lines.append(row)
    lines.append(f"{format_size(allowed)} allowed; the least that works is {format_size(floor(plans))}")
    return "\n".join(lines)


def as_mapping(plans: Sequence[StagePlan], allowed: int) -> Mapping[str, object]:
    """The plan for programs; sizes in bytes."""
    return {"allowed": allowed, "floor": floor(plans), "stages": [vars(plan) for plan in plans]}
