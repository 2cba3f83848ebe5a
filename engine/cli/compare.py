"""``engine compare``."""

from __future__ import annotations

import argparse
from typing import Any

from engine.chunked.storage import locate
from engine.chunked.storage.outputs import refuse_output, write_output
from engine.cli.parsing import add_command, add_format
from engine.cli.showing import note, show


def add(commands: Any) -> None:
    """Declare it."""
    does = "show the figures of finished runs side by side, and how sure their differences are"
    parser = add_command(commands, "compare", does, "example:\n  engine compare runs/one runs/other")
    parser.set_defaults(command=_compare, loads=True)
    parser.add_argument(
        "workdirs", metavar="WORKDIR", nargs="+", type=locate, help="work directories of the same split"
    )
    parser.add_argument("--html", metavar="PAGE", type=locate, help="write it as a page, too (default: none)")
    add_format(parser)


def _compare(options: argparse.Namespace) -> int:
    from engine.results import report
    from engine.serving import compare  # loads Polars, which no other command needs here

    if options.html is not None:
        report.refuse_missing("jinja2")
        refuse_output(options.html)
    found = compare.compare(options.workdirs)
    rows = [
        {
            "figure": each.name,
            "run": name,
            "value": value,
            "difference": difference,
            "standard_error": error,
            "verdict": verdict,
        }
        for each in found.figures
        for name, value, difference, error, verdict in zip(
            found.names,
            each.values,
            [None, *each.differences],
            [None, *each.standard_errors],
            [None, *each.verdicts],
            strict=True,
        )
    ]
    if options.html is not None:
        from engine.serving import comparison_page

        write_output(options.html, comparison_page.render(found).encode())
        note(f"page written: {options.html}")
    for told in found.notes:
        note(told)
    show(options, lambda: compare.describe(found), compare.as_mapping(found), rows)
    return 0
