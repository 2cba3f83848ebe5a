"""``engine run`` and ``engine plan``."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from engine import driver
from engine.chunked import outcome, planning, workdir
from engine.chunked.errors import LEAST_WITH_ANY_THREADS, refuse_few_open_files, refuse_little_address_space
from engine.chunked.events import Preparing
from engine.chunked.executors.base import environment
from engine.chunked.printable import printable
from engine.chunked.storage import Location
from engine.cli.parsing import add_command, add_format, add_json, add_progress, add_run_options, settings, whole
from engine.cli.showing import called, from_here, note, progress, say, show
from engine.results import report, summary, verdict

_RUN_EXAMPLES = """examples:
  engine run                               the sample, or ml-25m if present
  engine run ratings.csv --memory 512MiB   your own, in half a gigabyte
  engine run ml-25m --set neighbors.k=80   more neighbours; the rest is kept

Run the same command again after any interruption: it goes on where it was."""
_BATCH = "batch: ratings that a task works on at a time; in evaluate, those of neighbours"


def add(commands: Any) -> None:
    """Declare them."""
    run = add_command(commands, "run", "run the pipeline, or what is left of it", _RUN_EXAMPLES)
    run.set_defaults(command=_run)
    run.add_argument(
        "--refit",
        action="store_true",
        help="learn from all ratings, with the parameters of the last run of the work directory that was evaluated; "
        "answers are then of this model, and the figures of that run stay for engine compare",
    )
    run.add_argument(
        "--keep",
        type=whole,
        metavar="N",
        help="finished runs that stay, this one included (default: those of the same ratings, and the last of others)",
    )
    run.add_argument("--fresh", action="store_true", help="start over: remove the results of this configuration first")
    add_run_options(run)
    run.add_argument("--report", action="store_true", help="write the page of engine report at the end")
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
    if options.report:
        refuse_few_open_files()
        refuse_little_address_space(LEAST_WITH_ANY_THREADS)
        report.refuse_missing()
    with progress(options) as on_event:
        result = driver.run(settings(options), on_event, fresh=options.fresh, refit=options.refit)
        if options.report:
            on_event(Preparing("writing the report"))
    if options.refit:
        note("answers come from the refitted model now; figures, and engine compare, are of the run evaluated before")
    written = report.write(result.workdir) if options.report else None
    mapping: dict[str, Any] = {"workdir": str(result.workdir), "metrics": result.metrics}
    mapping |= {"stages": [msgspec.to_builtins(entry) for entry in result.stages]}
    mapping |= {"report": None if written is None else str(written)}
    show(options, lambda: _told(result, written), mapping)
    if options.format == "table":
        say(_next(result, written), whole=True)
    return 0


def _told(result: driver.RunResult, written: Location | None) -> str:
    """The figures, what they took, and what they mean."""
    lines = [summary.describe(result.metrics), "", outcome.describe(result), ""]
    if words := verdict.in_words(result.metrics):
        lines += [f"This model {words[0]}", *(f"       and {each}" for each in words[1:]), ""]
    none = [] if words or "evaluated" in result.metrics else _why_none(result.metrics)
    lines += [*(f"no figures: {why}" for why in none), *([""] if none else [])]
    lines.append(f"{'counts' if none else 'figures':<9}{from_here(result.workdir / workdir.METRICS)}")
    if written is not None:
        lines.append(f"report   {from_here(written)}")
    return "\n".join(lines)


def _why_none(metrics: Mapping[str, Any]) -> list[str]:
    """Why a run has no figures: said at the end, too, since that is what is read."""
    found = (metrics.get(name) for name in ("why_no_rmse", "why_no_recall"))
    return list(dict.fromkeys(printable(why) for why in found if why))


def _next(result: driver.RunResult, written: Location | None) -> str:
    """What to do next."""
    where = shlex.quote(from_here(result.workdir))
    lines = [f"next     {called()} recommend {where} --user {printable(shlex.quote(_somebody(result)))}"]
    lines.append(f"         {called()} status {where}" if written else f"         {called()} report {where}")
    return "\n".join(lines)


def _somebody(result: driver.RunResult) -> str:
    """The id of a user, for an example."""
    os.environ.update(environment(workers=1))
    from engine.artifacts.tables import first_user  # loads Polars, which runs do without

    return first_user(result.committed("ingest"))


def _plan(options: argparse.Namespace) -> int:
    with progress(options) as on_event:
        plan = driver.plan(settings(options), on_event)
    rows = _rounds(plan) if options.rounds else _stages(plan)
    show(options, lambda: _table(plan, rounds=options.rounds), planning.as_mapping(plan), rows)
    planning.refuse_misfits(plan)
    planning.refuse_full_disk(plan, "the disk")
    return 0


def _rounds(plan: planning.RunPlan) -> list[dict[str, Any]]:
    return [{"stage": stage.stage, **asdict(each)} for stage in plan.stages for each in stage.each]


def _stages(plan: planning.RunPlan) -> list[dict[str, Any]]:
    """A row a stage, of those that are done, too."""
    planned = {stage.stage: asdict(stage) | {"tasks": stage.tasks} for stage in plan.stages}
    rows = [{"state": why or "to do", "stage": name, **planned.get(name, {})} for name, why in plan.steps.items()]
    rows = rows or [{"state": "to do", **row} for row in planned.values()]
    return [{name: value for name, value in row.items() if name not in ("rounds", "each")} for row in rows]


def _table(plan: planning.RunPlan, *, rounds: bool) -> str:
    batches = [_BATCH] if any(stage.batch_rows > 1 for stage in plan.stages) else []
    each = ["", planning.rounds_table(plan)] if rounds and plan.stages else []
    return "\n".join([planning.table(plan), *batches, *each])
