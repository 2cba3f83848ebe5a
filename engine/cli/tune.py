"""``engine tune``."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

import msgspec

from engine.chunked.printable import dumps
from engine.cli.parsing import add_executor, add_format, add_on_workdir, add_progress, decimal, whole
from engine.cli.showing import called, from_here, progress, say, show
from engine.results.report.reproduce import command

_EXAMPLES = """example:
  engine tune runs/ratings --minutes 30

Parameters that a run does not choose by itself are varied one after the other;
a value that is better is kept for those that follow. They are judged on ratings
held out of train; test is not looked at. What was tried is kept: the same
command goes on after an interruption, and with more minutes."""


def add(commands: Any) -> None:
    """Declare it."""
    does = "try other parameters than a finished run's, and say which are better"
    parser = add_on_workdir(commands, "tune", does, _EXAMPLES)
    parser.set_defaults(command=_tune, loads=True)
    parser.add_argument(
        "--minutes",
        type=decimal,
        required=True,
        metavar="N",
        help="no trial is begun later than that; the run's own parameters are tried in any case",
    )
    parser.add_argument(
        "--by", choices=["recall", "rmse"], default="recall", help="what they are judged by (default: recall)"
    )
    parser.add_argument(
        "--memory", metavar="SIZE", help="the budget, all processes counted (default: 1GiB, or half of what is free)"
    )
    parser.add_argument(
        "--workers", type=whole, metavar="N", help="tasks at a time, at most (default: one per processor)"
    )
    add_executor(parser)
    add_progress(parser)
    add_format(parser)


def _tune(options: argparse.Namespace) -> int:
    from engine.serving import tuning  # loads NumPy, which most commands do without

    with progress(options) as on_event:
        found = tuning.tune(
            options.workdir,
            minutes=options.minutes,
            by=options.by,
            memory=options.memory,
            workers=options.workers,
            executor=options.executor or "local",
            scheduler=options.scheduler,
            on_event=on_event,
        )
    rows = [
        {
            "trial": number,
            "set": dict(trial.changed),
            found.by: trial.value,
            "gain": trial.gain.gain,
            "gain_error": trial.gain.error,
            "best": trial is found.best,
            "why_not": trial.why_not or None,
        }
        for number, trial in enumerate(found.trials)
    ]
    written = [{**row, "set": dumps(row["set"])} for row in rows] if options.format == "parquet" else rows
    mapping = {
        "by": found.by,
        "complete": found.complete,
        "left": found.left,
        "best": dict(found.best.changed),
        "trials": rows,
    }
    show(options, lambda: _describe(found), mapping, written)
    if options.format == "table" and found.best.changed:
        say(_next(found), whole=True)
    return 0


def _describe(found: Any) -> str:
    """What was tried, and what to set."""
    name = "RMSE" if found.by == "rmse" else f"Recall@{found.k}"
    lines = ["", f"{name:>10}  {'better by':>17}  set, on ratings held out of train"]
    for trial in found.trials:
        mark = "  best" if trial is found.best else ""
        if trial.value is None:
            lines.append(f"{'':>10}  {'':>17}  {_set(trial.changed)}  does not fit")
            continue
        gain = f"{trial.gain.gain:+.4f} ±{trial.gain.error:.4f}" if trial.changed else ""
        lines.append(f"{trial.value:>10.4f}  {gain:>17}  {_set(trial.changed) or 'as the run'}{mark}")
    lines.append("")
    if any(trial.why_not for trial in found.trials):
        lines.append("what does not fit needs more --memory; --json says how much")
    left = f", {found.left} are left: more --minutes go on from here" if found.left else ", and none is left"
    lines.append(f"{len(found.trials) - 1} other configurations tried{left}")
    if found.best.changed:
        lines.append(
            f"The gain is one on validation, on ratings held out of train, and the best of {len(found.trials)} looks "
            "better than it is: it may be chance. Run it in another work directory, and compare the two on test:"
        )
    else:
        lines.append("nothing tried is better than the run's own by more than its error")
    return "\n".join(lines)


def _next(found: Any) -> str:
    """The commands that try the best on test, beside the run that it is compared with."""
    where = from_here(found.run.workdir)
    beside = f"{where.rstrip('/')}-tuned"
    again = command(msgspec.structs.replace(found.settings, workdir=beside), found.run.source.name)
    compared = shlex.join(["compare", where, beside])
    return f"{called()}{again.removeprefix('engine')}\n{called()} {compared}"


def _set(changed: Any, option: str = "") -> str:
    return " ".join(f"{option}{key}={value}" for key, value in changed.items())
