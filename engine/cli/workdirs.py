"""``engine status``, ``verify`` and ``clean``: what a work directory holds."""

from __future__ import annotations

import argparse
from typing import Any

from engine import driver
from engine.chunked import overview, upkeep
from engine.chunked.budget import format_size
from engine.chunked.errors import DamagedError
from engine.chunked.printable import printable
from engine.cli.parsing import add_format, add_on_workdir
from engine.cli.showing import show


def add(commands: Any) -> None:
    """Declare them."""
    does = "say what a work directory holds and how far its run is, or list the runs in a folder"
    example = "examples:\n  engine status runs/ml-latest-small --json\n  engine status runs"
    status = add_on_workdir(commands, "status", does, example)
    status.set_defaults(command=_status)
    does = "compare every file of a work directory with its recorded size and digest"
    example = "example:\n  engine verify runs/ml-latest-small\n\nThe next run does again what is damaged."
    verify = add_on_workdir(commands, "verify", does, example)
    verify.set_defaults(command=_verify)
    does = "show, and with --yes remove, what neither the last run uses nor the last finished one"
    clean = add_on_workdir(commands, "clean", does, "example:\n  engine clean runs/ml-latest-small --yes")
    clean.set_defaults(command=_clean)
    clean.add_argument("--yes", action="store_true", help="remove it (default: only show it)")
    for parser in (status, verify, clean):
        add_format(parser)


def _status(options: argparse.Namespace) -> int:
    if runs := overview.runs_below(options.workdir):
        show(options, lambda: overview.describe_runs(runs), {"runs": runs}, runs)
        return 0
    found = overview.status(options.workdir)
    changed = driver.ratings_changed(options.workdir)
    lines = [f"  {printable(changed)}"] if changed else []
    text = "\n".join([overview.describe(found), *lines])
    show(options, lambda: text, {**found, "ratings_changed": changed}, found["stages"])
    if found["damaged"]:
        raise DamagedError(f"{len(found['damaged'])} damaged, the first is {found['damaged'][0]}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    faults = upkeep.verify(options.workdir)
    changed = driver.ratings_changed(options.workdir)
    lines = [*map(printable, faults.values())] or [f"{options.workdir}: every file is what was recorded"]
    mapping = {"workdir": str(options.workdir), "damaged": faults, "ratings_changed": changed}
    rows = [{"file": name, "fault": fault} for name, fault in faults.items()]
    show(options, lambda: "\n".join([*lines, *([printable(changed)] if changed else [])]), mapping, rows)
    if faults:
        raise DamagedError(
            f"{len(faults)} damaged: the next engine run mends what it uses, engine clean removes what it does not"
        )
    return 0


def _clean(options: argparse.Namespace) -> int:
    unused = upkeep.clean(options.workdir, really=options.yes)
    total = sum(folder.bytes for folder in unused)
    lines = [f"{printable(folder.path.name):<36} {format_size(folder.bytes):>10}" for folder in unused]
    what = "removed" if options.yes else "not used by the last run; --yes removes it"
    told = [*lines, f"{format_size(total)} {what}" if unused else "nothing to remove: the last run uses all there is"]
    rows = [{"folder": folder.path.name, "stage": folder.stage, "bytes": folder.bytes} for folder in unused]
    mapping = {"removed": options.yes, "bytes": total, "folders": rows}
    show(options, lambda: "\n".join(told), mapping, rows)
    return 0
