"""How commands are declared: help that fits 80 columns, mistakes answered with the nearest word, common options."""

from __future__ import annotations

import argparse
import re
import textwrap
from functools import partial
from typing import Any, NoReturn

from engine import config
from engine.chunked.errors import UsageError
from engine.chunked.storage import locate, on_this_machine
from engine.config import Config, nearest

FORMATS = ("table", "json", "csv", "parquet")
_CHOICE = re.compile(r"argument (.+?): invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)

_WORD = re.compile(r"[\w-]+")
_OPTION = re.compile(r"(?<![\w-])--[\w-]+")


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are told as all others of a user are."""

    def __init__(self, **options: Any) -> None:
        form = partial(argparse.RawDescriptionHelpFormatter, width=80)
        super().__init__(formatter_class=form, **options)

    def error(self, message: str) -> NoReturn:
        """Tell it.

        Raises
        ------
        UsageError
            Always.
        """
        if found := _CHOICE.fullmatch(message):
            what, given, choices = found.groups()
            kind = what.lower() if what.isupper() else what
            raise UsageError(f"no {kind} '{given}'{nearest(given, _WORD.findall(choices))}")
        raise UsageError(f"{message}; see {self.prog} --help")


def nearest_option(given: str, parser: argparse.ArgumentParser) -> str:
    """What to say of an argument that a command does not take."""
    name = given.partition("=")[0]
    if not name.startswith("-"):
        return f"{given!r} is too much for {parser.prog}; see {parser.prog} --help"
    known = dict.fromkeys(_OPTION.findall(parser.format_help()))
    if name in known:
        return f"{given} is behind --, where nothing is an option: put it before that; see {parser.prog} --help"
    del known["--help"]  # what is like it, such as --html, is meant for something else
    return f"{parser.prog} has no option {name}{nearest(name, known) if known else ''}"


def whole(text: str) -> int:
    """A whole number as people write it: `int` takes ``1_0`` and digits of any script."""
    return int(_bare(text, "int"))


def decimal(text: str) -> float:
    """A number as people write it, likewise."""
    return float(_bare(text, "float"))


def _bare(text: str, what: str) -> str:
    if not text.isascii() or "_" in text:
        raise argparse.ArgumentTypeError(f"invalid {what} value: {text!r}")
    return text


# What argparse calls them where they take no text.
whole.__name__, decimal.__name__ = "int", "float"


def add_command(commands: Any, name: str, does: str, example: str) -> Parser:
    """Declare a command."""
    description = textwrap.fill(f"{does[0].upper()}{does[1:]}.", 80)
    parser: Parser = commands.add_parser(name, help=does, description=description, epilog=example)
    parser.set_defaults(parser=parser, format="table", log_format="text", quiet=False, explain=False)
    return parser


def add_on_workdir(commands: Any, name: str, does: str, example: str) -> Parser:
    """Declare a command on a work directory."""
    parser = add_command(commands, name, does, example)
    parser.add_argument("workdir", metavar="WORKDIR", type=locate, help="a folder, or a URL such as s3://bucket/folder")
    return parser


def add_json(parser: Parser) -> None:
    """Let a command print JSON."""
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="for programs, errors too")


def add_format(parser: Parser) -> None:
    """Let a command that prints rows print them in any format."""
    parser.add_argument(
        "--format", choices=FORMATS, metavar="FORMAT", help=f"one of {', '.join(FORMATS)} (default: table)"
    )
    parser.add_argument(
        "--json", dest="format", action="store_const", const="json", help="the same as --format json; errors too"
    )


def add_progress(parser: Parser) -> None:
    """Let a command say how it shows what it does."""
    parser.add_argument("--quiet", action="store_true", help="no progress, only the result")
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        help="progress on standard error as text, or as a line of JSON for each event (default: text)",
    )


def add_executor(parser: Parser) -> None:
    """Let a command say who runs its tasks."""
    parser.add_argument(
        "--executor",
        choices=["local", "dask"],
        help="who runs tasks: a process here, or Dask workers, each with the budget of --memory (default: local)",
    )
    parser.add_argument(
        "--scheduler", metavar="URL", help="with dask: tcp://HOST:PORT of a running cluster (default: one here)"
    )


def add_run_options(parser: Parser) -> None:
    """Declare what says which run is meant."""
    parser.add_argument(
        "dataset",
        nargs="?",
        help="sample, ml-25m, a ratings file or its URL, or a folder with one (default: ml-25m where it is present, "
        "else the sample)",
    )
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help="where the run is kept, a folder or s3://bucket/folder (default: runs/NAME, the name of the data set, of "
        "the file without .csv and the like, or of the folder; runs/NAME-2 and so on where that is of other data)",
    )
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="the budget, all processes counted, e.g. 512MiB or 512M (default: 1GiB, or half of what is free)",
    )
    parser.add_argument(
        "--workers", type=whole, metavar="N", help="tasks at a time, at most (default: one per processor)"
    )
    add_executor(parser)
    parser.add_argument("--preset", help=f"one of: {', '.join(config.PRESETS)} (default: default)")
    parser.add_argument(
        "--config", metavar="FILE.toml", type=on_this_machine, help="a file of configuration keys (default: none)"
    )
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="one configuration key; repeatable"
    )
    parser.add_argument(
        "--columns",
        metavar="USER,ITEM,RATING[,TIMESTAMP]",
        help="names of the file's columns, where unusual (default: found by their usual names)",
    )
    parser.add_argument(
        "--separator",
        metavar="SIGN",
        help="what separates them: ',' tab ';' '|' '::' or another sign (default: found)",
    )
    parser.add_argument("--titles", metavar="FILE", help="items and their titles (default: movies.csv or the like)")
    parser.add_argument(
        "--test", metavar="FILE", help="a test part made elsewhere; all other ratings are train's (default: none)"
    )
    parser.add_argument(
        "--feedback",
        choices=["auto", "explicit", "implicit"],
        help="whether users rated items, or took them only (default: auto, by the file)",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="where the named data sets are (default: data)")


_NAMED = (
    "dataset",
    "test",
    "separator",
    "titles",
    "workdir",
    "memory",
    "workers",
    "executor",
    "scheduler",
    "preset",
    "data_dir",
    "keep",
)


def layers(options: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    """Where values of the configuration come from, in this order, and what they are."""
    given = {name: value for name in _NAMED if (value := getattr(options, name, None)) is not None}
    if options.columns is not None:
        given["columns"] = [name.strip() for name in options.columns.split(",")]
    of_feedback = {"matrix": {"feedback": options.feedback}}
    feedback = [] if options.feedback is None else [("--feedback", of_feedback)]
    file = [] if options.config is None else [(str(options.config), config.read_toml(options.config))]
    assigned = [("--set", config.parse_assignment(each)) for each in options.set]
    named = [(name if name == "dataset" else f"--{name.replace('_', '-')}", {name: given[name]}) for name in given]
    return [*file, *assigned, *feedback, *named]


def settings(options: argparse.Namespace) -> Config:
    """The configuration that was asked for."""
    return config.load(*(layer for _, layer in layers(options)))
