"""``engine report``."""

from __future__ import annotations

import argparse
from typing import Any

from engine.chunked.events import Preparing
from engine.chunked.progress import Progress
from engine.chunked.storage import locate
from engine.cli.parsing import add_json, add_on_workdir
from engine.cli.showing import from_here, show


def add(commands: Any) -> None:
    """Declare it."""
    does = "write the figures, memory and time of a finished run as one HTML page"
    example = "example:\n  engine report runs/ml-latest-small --out report.html"
    parser = add_on_workdir(commands, "report", does, example)
    parser.set_defaults(command=_report, loads=True)
    parser.add_argument(
        "--out", metavar="FILE.html", type=locate, help="where to write it (default: report.html in the work directory)"
    )
    add_json(parser)


def _report(options: argparse.Namespace) -> int:
    from engine.results import report  # loads Polars and the plotting library, which no other command needs here

    with Progress() as on_event:
        on_event(Preparing("writing the report"))
        written = report.write(options.workdir, options.out)
    show(options, lambda: from_here(written), {"report": str(written)})
    return 0
