"""``engine run`` and ``engine plan``."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import asdict
from typing import Any

import msgspec

from engine import driver
from engine.chunked import loop, planning, workdir
from engine.cli.parsing import add_command, add_format, add_json, add_progress, add_run_options, settings
from engine.cli.showing import called, from_here, progress, show
from engine.results import summary

_RUN_EXAMPLES = """examples:
  engine run                               the sample, or ml-25m if present
  engine run ratings.csv --memory 512MiB   your own, in half a gigabyte
  engine run ml-25m --set neighbors.k=80   more neighbours; the rest is kept

Run the same command again after any interruption: it goes on where it was."""
_BATCH = "batch: users that a task works on at a time; in evaluate, multiply-adds"


def add(commands: Any) -> None:
    """Declare them."""
    run = add_command(commands, "run", "run the pipeline, or what is left of it", _RUN_EXAMPLES)
    run.set_defaults(command=_run)
    run.add_argument("--fresh", action="store_true", help="start over: remove the results of this configuration first")
    add_run_options(run)
    run.add_argument("--explain", action="store_true", help="say why each stage runs or is skipped")
    add_json(run)
    add_progress(run)
    example = "example:\n  engine plan ml-25m --memory 512MiB"
    plan = add_command(commands, "plan", "count the ratings and project what a run will take", example)
    plan.set_defaults(command=_plan)
    plan.add_argument("--rounds", action="store_true", help="each round of each stage, too")
    add_run_options(plan)
    plan.add_argument("--explain", action="store_true", help="say why each stage runs or is skipped")
    add_format(plan)
    add_progress(plan)


def _run(options: argparse.Namespace) -> int:
    with progress(options) as on_event:
        result = driver.run(settings(options), on_event, fresh=options.fresh)
    stages = [msgspec.to_builtins(entry) for entry in result.stages]
    show(
        options,
        lambda: f"{summary.describe(result.metrics)}\n\n{loop.describe(result)}\n\n{_next(result)}",
        {"workdir": str(result.workdir), "metrics": result.metrics, "stages": stages},
    )
    return 0


def _next(result: driver.RunResult) -> str:
    """Where the figures are, and what to do next."""
    where = from_here(result.workdir)
    return f"figures  {from_here(result.workdir / workdir.METRICS)}\nnext     {called()} status {shlex.quote(where)}"


def _plan(options: argparse.Namespace) -> int:
    with progress(options) as on_event:
        plan = driver.plan(settings(options), on_event)
    rows = [asdict(stage) | {"tasks": stage.tasks} for stage in plan.stages]
    if options.rounds:
        rows = [{"stage": stage.stage, **asdict(each)} for stage in plan.stages for each in stage.each]
    else:
        rows = [{name: value for name, value in row.items() if name not in ("rounds", "each")} for row in rows]
    show(options, lambda: _table(plan, rounds=options.rounds), planning.as_mapping(plan), rows)
    planning.refuse_misfits(plan)
    planning.refuse_full_disk(plan, "the disk")
    return 0


def _table(plan: planning.RunPlan, *, rounds: bool) -> str:
    if not plan.stages:
        return "nothing to do: every stage is done"
    batches = [_BATCH] if any(stage.batch_rows > 1 for stage in plan.stages) else []
    return "\n".join([planning.table(plan), *batches, *(["", planning.rounds_table(plan)] if rounds else [])])
