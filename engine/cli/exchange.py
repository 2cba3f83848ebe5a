"""``engine export`` and ``engine evaluate``: the split and lists for other programs, and theirs measured."""

from __future__ import annotations

import argparse
import os
from typing import Any

from engine.chunked.executors.base import environment
from engine.chunked.storage import on_this_machine
from engine.cli.parsing import add_format, add_on_workdir, add_progress
from engine.cli.showing import progress, say, show


def add(commands: Any) -> None:
    """Declare them."""
    example = "example:\n  engine export runs/ml-latest-small --out exported"
    does = "write train, test and lists of a run as Parquet, with the ids of the ratings file"
    parser = add_on_workdir(commands, "export", does, example)
    parser.set_defaults(command=_export, loads=True)
    parser.add_argument("--out", metavar="DIR", type=on_this_machine, required=True, help="the folder to write to")
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="the budget of the lists, all processes counted, e.g. 512MiB (default: 1GiB, or half of what is free)",
    )
    add_progress(parser)
    example = "example:\n  engine evaluate runs/ml-latest-small --lists others.csv"
    does = "measure lists that another program made for the users of a run, as the run's own are measured"
    parser = add_on_workdir(commands, "evaluate", does, example)
    parser.set_defaults(command=_evaluate, loads=True)
    parser.add_argument(
        "--lists",
        metavar="FILE",
        type=on_this_machine,
        required=True,
        help="CSV or Parquet, a row an item: user, item, and rank or score, or rows in order",
    )
    add_format(parser)


def _export(options: argparse.Namespace) -> int:
    from engine.serving.export import export  # loads Polars, which no other command needs here

    with progress(options) as shown:
        made = export(options.workdir, options.out, memory=options.memory, on_event=shown)
    counts = f"{made.n_train:,} train and {made.n_test:,} test ratings, {made.n_listed:,} items in lists"
    say(f"{made.out}: {counts}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    os.environ.update(environment(workers=1))
    from engine.serving import lists  # loads numerical libraries

    measured = lists.measure_lists(options.workdir, options.lists)
    rows = [
        {"figure": key, "of": name, **figure}
        for name, figures in measured.figures.items()
        for key, figure in figures.items()
    ]
    show(options, lambda: lists.describe(measured), lists.as_mapping(measured), rows)
    return 0
