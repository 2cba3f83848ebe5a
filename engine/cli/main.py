"""What is common to all commands: which there are, errors and exit codes."""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from engine.chunked import memory
from engine.chunked.errors import (
    LEAST_WITH_ANY_THREADS,
    EngineError,
    Interrupted,
    UsageError,
    describe,
    is_of_disk,
    refuse_few_open_files,
    refuse_little_address_space,
)
from engine.cli import (
    compare,
    completion,
    configuration,
    data,
    doctor,
    exchange,
    recommend,
    report,
    run,
    serve,
    similar,
    tune,
    workdirs,
)
from engine.cli.parsing import Parser, nearest_option
from engine.cli.showing import complain
from engine.cli.streams import STANDARD_OUTPUT, named_output

_COMMANDS = (
    run, workdirs, report, recommend, similar, compare, tune, exchange, serve, data, configuration, doctor, completion,
)  # fmt: skip
_JSON = re.compile(r"(^| )--(json|(log-)?format[ =]json)( |$)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code.

    0 done; 1 failed; 2 bad usage, configuration or input; 3 does not fit the budget; 4 work directory in
    use; 5 damaged work directory; 130 interrupted. Where JSON was asked for, an error is a line of JSON, too.
    """
    _prepare_streams()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    given = list(sys.argv[1:] if arguments is None else arguments)
    code = _answered(given, as_json=bool(_JSON.search(" ".join(given))))
    _let_go()
    return code


def _answered(given: Sequence[str], *, as_json: bool) -> int:
    """Run a command; return its exit code, whatever went wrong being told."""
    try:
        options = _parsed(given)
        if options.loads:
            refuse_few_open_files()
            refuse_little_address_space(LEAST_WITH_ANY_THREADS)
        with memory.process_claimed():
            code: int = options.command(options)
        sys.stdout.flush()
    except EngineError as error:
        _tell(error.told("--memory {}"), type(error).__name__, error.exit_code, as_json=as_json)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        return 0
    except OSError as error:
        _tell(_of_system(error), as_json=as_json)
        return EngineError.exit_code
    except SystemExit:
        raise
    except KeyboardInterrupt:
        _tell("interrupted; run again to go on", "Interrupted", Interrupted.exit_code, as_json=as_json)
        return Interrupted.exit_code
    except BaseException as error:  # what a library in Rust panics with is no Exception
        failed = describe(error)
        if not failed.kind:
            raise
        _tell(failed.message, as_json=as_json)
        return EngineError.exit_code
    return code


def _prepare_streams() -> None:
    """See that there are streams, and that a sign which one does not know loses nothing of what is done.

    Errors of standard output have its name: without, nobody could tell them from those of files.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed by whoever called
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  (it lasts as long as the process)
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")
    sys.stdout = named_output(sys.stdout)


def _tell(*words: Any, as_json: bool) -> None:
    """Tell what went wrong, where somebody can be told."""
    with suppress(OSError):
        complain(*words, as_json=as_json)


def _let_go() -> None:
    """Give up what could not be written: the interpreter would try again as it ends, and complain in its own words."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _of_system(error: OSError) -> str:
    """What to say of an error of the system's."""
    if told := _no_folder_here():
        return f"{told}: mend that, then run again"
    if error.filename == STANDARD_OUTPUT and is_of_disk(error):
        way_on = "free some space where it leads, or let it lead elsewhere, then run again"
        return f"standard output is full ({error.strerror}): {way_on}"
    failed = describe(error)
    if failed.kind:
        return failed.message
    return f"{error}: mend that, then run again"


def _no_folder_here() -> str:
    """Say so where the folder in which this was called is gone: what the system says names nothing then."""
    try:
        os.getcwd()  # noqa: PTH109  (its error says no more)
    except OSError as error:
        return f"the current folder cannot be found ({error.strerror}), so that nothing can be named from it"
    return ""


def _parsed(given: Sequence[str]) -> argparse.Namespace:
    try:
        options, unknown = parser().parse_known_args(given)
    except SystemExit:
        sys.stdout.flush()  # help that nobody gets is told, too
        raise
    if unknown:
        raise UsageError(nearest_option(unknown[0], options.parser))
    return options


def parser() -> Parser:
    """The parser of all commands."""
    top = Parser(
        prog="engine",
        description="Recommendations from a ratings file, inside a memory budget, resumable.",
        epilog="example:\n  engine run --memory 512MiB",
    )
    top.set_defaults(command=_without_command, loads=False, verbose=False, parser=top)
    top.add_argument("--version", action="store_true", help="say which version this is")
    top.add_argument("--verbose", action="store_true", help="with --version: how it was built, and what it runs on")
    commands = top.add_subparsers(metavar="COMMAND")
    for module in _COMMANDS:
        module.add(commands)
    return top


def _without_command(options: argparse.Namespace) -> int:
    """What is done without a command: the version, or the help."""
    if options.version:
        doctor.print_version(verbose=options.verbose)
    else:
        parser().print_help()
    return 0
