"""How commands print: tables for people, in which text of others does nothing; JSON, CSV or Parquet for programs."""

from __future__ import annotations

import argparse
import io
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.chunked.errors import EngineError, ProgramError, UsageError, without_credentials
from engine.chunked.printable import dumps, printable
from engine.chunked.progress import EventLines, Progress
from engine.chunked.storage import Location
from engine.chunked.terminal import fitted

Rows = Sequence[Mapping[str, Any]]


def say(text: object, *, whole: bool = False) -> None:
    """Print text for people, in which names, ids and titles of others do nothing to the terminal.

    Lines are kept: what others may have put ends of lines into is escaped before it is put into the text. On a terminal
    those that are too long are broken between words, unless they are ``whole``, as commands are, to be copied.
    """
    shown = printable(text, keep="\n")
    print(shown if whole else fitted(shown, sys.stdout), flush=True)  # who serves says where, and goes on


def note(text: str) -> None:
    """Tell people something beside the result."""
    print(fitted(f"note: {printable(text)}", sys.stderr, hang="  "), file=sys.stderr)


def complain(
    text: str, kind: str = "EngineError", exit_code: int = EngineError.exit_code, *, as_json: bool = False
) -> None:
    """Tell what went wrong, and nothing secret that a mistaken argument may hold.

    It is one line, but for a terminal's width. Of a fault of the program it is more, none of which looks like the
    first: others' text is in them.
    """
    shown = printable(without_credentials(text), keep="\n" if kind == ProgramError.__name__ else "")
    if as_json:
        print(json.dumps({"error": kind, "message": shown, "exit_code": exit_code}), file=sys.stderr)
    else:
        print(fitted("engine: " + shown.replace("\n", "\n  "), sys.stderr, hang="  "), file=sys.stderr)


def progress(options: argparse.Namespace) -> Progress | EventLines:
    """What shows the events of a run, as the options say."""
    if options.log_format == "json":
        return EventLines(quiet=options.quiet)
    return Progress(options.quiet or options.format == "json", options.explain)


def show(options: argparse.Namespace, text: Callable[[], str], mapping: Any, rows: Rows | None = None) -> None:
    """Print what was found in the format that was asked for.

    Parameters
    ----------
    options : Namespace
        With the format.
    text : callable
        Gives it for people.
    mapping : object
        For programs, as JSON values.
    rows : sequence of mappings
        The same for CSV and Parquet.
    """
    if options.format == "json":
        print(dumps(mapping))
    elif options.format == "csv":
        _write_csv(rows or [])
    elif options.format == "parquet":
        _write_parquet(rows or [])
    else:
        say(text())


def _write_csv(rows: Rows) -> None:
    """Rows as CSV, exact unless a terminal would act on them; a list in one is JSON."""
    import csv

    if sys.stdout.isatty():
        rows = [{name: printable(v) if isinstance(v, str) else v for name, v in row.items()} for row in rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: json.dumps(v) if isinstance(v, list | dict) else v for name, v in row.items()})


def _write_parquet(rows: Rows) -> None:
    import polars as pl  # which most commands do without

    if sys.stdout.isatty():
        raise UsageError("Parquet is no text: redirect it to a file, such as > rows.parquet")
    content = io.BytesIO()  # a stream would be written to by its descriptor, and errors would not have its name
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(content)
    sys.stdout.buffer.write(content.getbuffer())


def from_here(where: Location) -> str:
    """A place as somebody would write it who stands here."""
    below = isinstance(where, Path) and where.is_relative_to(Path.cwd())
    return os.path.relpath(str(where)) if below else str(where)


def called() -> str:
    """How this program was called."""
    if Path(sys.argv[0]).name == "__main__.py":
        return f"{shlex.quote(Path(sys.executable).name)} -m engine"
    return "engine" if shutil.which("engine") else shlex.quote(os.path.relpath(sys.argv[0]))
