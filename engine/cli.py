"""The command line: parses and prints, decides nothing."""

from __future__ import annotations

import argparse
import io
import os
import platform
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import __version__, config, driver
from engine.chunked import loop, memory, overview, planning, workdir
from engine.chunked.budget import format_size
from engine.chunked.errors import DamagedError, EngineError, Interrupted, UsageError, describe
from engine.chunked.executors.base import environment
from engine.chunked.printable import dumps, printable
from engine.chunked.progress import Progress
from engine.chunked.storage import Location, locate
from engine.config import Config
from engine.ratings import datasets
from engine.results import summary
from engine.serving import everybody

_RUN_EXAMPLES = """examples:
  engine run                                        the sample, or ml-25m where it is present
  engine run ratings.csv --memory 512MiB            your own ratings, in half a gigabyte
  engine run ml-25m --set neighbors.k=80            another number of neighbours; other stages are kept

Run the same command again after any interruption: it goes on where it was."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code.

    0 done; 1 failed; 2 bad usage, configuration or input; 3 does not fit the budget; 4 work directory in
    use; 5 damaged work directory; 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")  # a sign that it does not know shall not lose what is done
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        options = _parser().parse_args(arguments)
        with memory.process_claimed():
            code: int = options.command(options)
        sys.stdout.flush()
    except EngineError as error:
        _complain(error.told("--memory {}"))
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        return 0
    except OSError as error:
        _complain(f"{error}: mend that, then run again")
        return EngineError.exit_code
    except Exception as error:
        failed = describe(error)
        if not failed.kind:
            raise
        print(f"engine: {failed.message}", file=sys.stderr)
        return EngineError.exit_code
    except KeyboardInterrupt:
        print("engine: interrupted; run again to go on", file=sys.stderr)
        return Interrupted.exit_code
    return code


def _say(text: object) -> None:
    """Print text for people, in which names, ids and titles of others do nothing to the terminal."""
    print(printable(text, keep="\n"))


def _complain(text: str, what: str = "engine") -> None:
    print(f"{what}: {printable(text, keep=chr(10))}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="engine",
        description="Nearest-neighbour recommendations from a ratings file, inside a memory budget, resumable.",
        epilog="example:\n  engine run --memory 512MiB",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=_version, verbose=False)
    parser.add_argument("--version", action="store_true", help="say which version this is")
    parser.add_argument("--verbose", action="store_true", help="with --version: how it was built, and what it runs on")
    commands = parser.add_subparsers(metavar="COMMAND")
    _add_run(commands)
    _add_plan(commands)
    _add_status(commands)
    _add_verify(commands)
    _add_clean(commands)
    _add_report(commands)
    _add_recommend(commands)
    _add_similar(commands)
    _add_compare(commands)
    _add_data(commands)
    return parser


def _add(commands: Any, name: str, does: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=does,
        description=does[0].upper() + does[1:] + ".",
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _add_run(commands: Any) -> None:
    parser = _add(commands, "run", "run the pipeline, or what is left of it", _RUN_EXAMPLES)
    parser.set_defaults(command=_run)
    parser.add_argument(
        "--fresh", action="store_true", help="start over: remove the results of this configuration first"
    )
    _add_run_options(parser)


def _add_plan(commands: Any) -> None:
    example = "example:\n  engine plan ml-25m --memory 512MiB"
    parser = _add(commands, "plan", "count the ratings and project what a run will take", example)
    parser.set_defaults(command=_plan)
    parser.add_argument("--json", action="store_true", help="for programs, sizes in bytes")
    _add_run_options(parser)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", nargs="?", help="sample, ml-25m, a ratings file or its URL, or a folder with one")
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help="where the run is kept, a folder or s3://bucket/folder (default: runs/NAME, the name of the data set, of "
        "the file without .csv and the like, or of the folder; runs/NAME-2 and so on where that is of other data)",
    )
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="the budget, all processes counted, e.g. 512MiB (default: 1GiB, or half of what is free)",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="tasks at a time, at most (default: one per processor)"
    )
    _add_executor(parser)
    parser.add_argument("--preset", help=f"one of: {', '.join(config.PRESETS)}")
    parser.add_argument("--config", metavar="FILE.toml", type=Path, help="a file of configuration keys")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="one configuration key; repeatable"
    )
    parser.add_argument(
        "--columns", metavar="USER,ITEM,RATING[,TIMESTAMP]", help="names of the file's columns, where unusual"
    )
    parser.add_argument("--separator", metavar="SIGN", help="what separates them: ',' tab ';' '|' '::' or another sign")
    parser.add_argument("--titles", metavar="FILE", help="items and their titles (default: movies.csv or the like)")
    parser.add_argument("--data-dir", metavar="DIR", help="where the named data sets are (default: data)")
    parser.add_argument("--explain", action="store_true", help="say why each stage runs or is skipped")
    parser.add_argument("--quiet", action="store_true", help="no progress, only the result")


def _add_executor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--executor",
        choices=["local", "dask"],
        help="who runs tasks: a process here, or Dask workers, each with the budget of --memory (default: local)",
    )
    parser.add_argument(
        "--scheduler", metavar="URL", help="with dask: tcp://HOST:PORT of a running cluster (default: one here)"
    )


def _add_on_workdir(commands: Any, name: str, does: str, example: str) -> argparse.ArgumentParser:
    parser = _add(commands, name, does, example)
    parser.add_argument("workdir", metavar="WORKDIR", type=locate, help="a folder, or a URL such as s3://bucket/folder")
    return parser


def _add_status(commands: Any) -> None:
    example = "example:\n  engine status runs/ml-latest-small --json"
    parser = _add_on_workdir(commands, "status", "say what a work directory holds and how far its run is", example)
    parser.set_defaults(command=_status)
    parser.add_argument("--json", action="store_true", help="for programs")


def _add_verify(commands: Any) -> None:
    does = "compare every file of a work directory with its recorded size and digest"
    example = "example:\n  engine verify runs/ml-latest-small\n\nThe next run does again what is damaged."
    parser = _add_on_workdir(commands, "verify", does, example)
    parser.set_defaults(command=_verify)
    parser.add_argument("--json", action="store_true", help="for programs")


def _add_clean(commands: Any) -> None:
    does = "show, and with --yes remove, what the last run's configuration does not use"
    parser = _add_on_workdir(commands, "clean", does, "example:\n  engine clean runs/ml-latest-small --yes")
    parser.set_defaults(command=_clean)
    parser.add_argument("--yes", action="store_true", help="remove it")


def _add_report(commands: Any) -> None:
    does = "write the figures, memory and time of a finished run as one HTML page"
    example = "example:\n  engine report runs/ml-latest-small --out report.html"
    parser = _add_on_workdir(commands, "report", does, example)
    parser.set_defaults(command=_report)
    parser.add_argument(
        "--out", metavar="FILE.html", type=locate, help="where to write it (default: report.html in the work directory)"
    )


_RECOMMEND_EXAMPLES = """examples:
  engine recommend runs/ml-latest-small --user 42 --user 7
  engine recommend runs/ml-latest-small --ratings mine.csv      you are not in the data: columns movieId,rating
  engine recommend runs/ml-latest-small --like 260 1196         the same, with nothing but items that you like
  engine recommend runs/ml-latest-small --all --out lists.parquet --memory 512MiB

Items that the user has rated are left out. With --include-test only the train ratings count as rated."""


def _add_recommend(commands: Any) -> None:
    does = "recommend items to a user, with the ratings to expect and why"
    parser = _add_on_workdir(commands, "recommend", does, _RECOMMEND_EXAMPLES)
    parser.set_defaults(command=_recommend)
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--user", metavar="ID", action="append", help="a user of the data; repeatable, a list for each")
    whom.add_argument("--users", metavar="FILE", type=Path, help="a file of users, one id a line, a list for each line")
    whom.add_argument("--ratings", metavar="FILE", type=locate, help="ratings of a new user: columns movieId,rating")
    whom.add_argument("--like", metavar="ID", nargs="+", help="items that a new user likes")
    whom.add_argument("--all", action="store_true", help="everybody, written to the file of --out")
    parser.add_argument("-k", type=int, default=10, metavar="N", help="items for each user (default: 10)")
    parser.add_argument(
        "--include-test", action="store_true", help="items of held-out test ratings, too: the lists that a run measures"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--out", metavar="FILE", type=Path, help="with --all: the Parquet file to write")
    parser.add_argument("--memory", metavar="SIZE", help="with --all: the budget, all processes counted, e.g. 512MiB")
    parser.add_argument("--workers", type=int, metavar="N", help="with --all: tasks at a time, at most")
    _add_executor(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress, only the result")


def _add_similar(commands: Any) -> None:
    example = (
        "examples:\n  engine similar runs/ml-latest-small --user 42\n  engine similar runs/ml-latest-small --item 260"
    )
    does = "list the users nearest to a user, and what they share, or the items nearest to an item"
    parser = _add_on_workdir(commands, "similar", does, example)
    parser.set_defaults(command=_similar)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--user", metavar="ID", help="a user of the data")
    which.add_argument("--item", metavar="ID", help="an item of the data")
    parser.add_argument("-k", type=int, default=10, metavar="N", help="users or items (default: 10)")
    parser.add_argument("--json", action="store_true", help="for programs")


def _add_compare(commands: Any) -> None:
    does = "show the figures of finished runs side by side, and how sure their differences are"
    parser = _add(commands, "compare", does, "example:\n  engine compare runs/one runs/other")
    parser.set_defaults(command=_compare)
    parser.add_argument(
        "workdirs", metavar="WORKDIR", nargs="+", type=locate, help="work directories of the same split"
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def _add_data(commands: Any) -> None:
    parser = _add(commands, "data", "list, make or fetch data sets", "example:\n  engine data fetch ml-25m")
    parser.add_argument(
        "--data-dir", metavar="DIR", type=Path, default=Path("data"), help="where they are (default: data)"
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = _add(actions, "list", "list the data sets", "example:\n  engine data list")
    listing.set_defaults(command=_data_list)
    sample = _add(actions, "sample", "write the real ml-latest-small", "example:\n  engine data sample")
    sample.set_defaults(command=_data_sample)
    fetch = _add(actions, "fetch", "download a data set", "example:\n  engine data fetch ml-25m")
    fetch.add_argument("name", choices=["ml-25m"])
    fetch.set_defaults(command=_data_fetch)
    twin = _add(
        actions,
        "twin",
        "generate synthetic ratings that behave like ml-25m",
        "example:\n  engine data twin --out data/twin --scale 0.1",
    )
    twin.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="folder to write ratings.csv and movies.csv to"
    )
    twin.add_argument("--scale", type=float, default=1.0, help="times the users of ml-25m (default: 1)")
    twin.add_argument("--seed", type=int, default=0, help="other seed, other ratings (default: 0)")
    twin.set_defaults(command=_data_twin)


def _settings(options: argparse.Namespace) -> Config:
    named = (
        "dataset",
        "separator",
        "titles",
        "workdir",
        "memory",
        "workers",
        "executor",
        "scheduler",
        "preset",
        "data_dir",
    )
    given = {name: value for name in named if (value := getattr(options, name)) is not None}
    if options.columns is not None:
        given["columns"] = [name.strip() for name in options.columns.split(",")]
    file = [] if options.config is None else [config.read_toml(options.config)]
    return config.load(*file, *map(config.parse_assignment, options.set), given)


def _run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    with Progress(options.quiet, options.explain) as progress:
        result = driver.run(settings, progress, fresh=options.fresh)
    _say(summary.describe(result.metrics))
    _say(f"\n{loop.describe(result)}")
    _say(f"\nfigures  {_from_here(result.workdir / workdir.METRICS)}")
    _say(f"next     {_called()} status {shlex.quote(_from_here(result.workdir))}")
    return 0


def _from_here(where: Location) -> str:
    """A place as somebody would write it who stands here."""
    below = isinstance(where, Path) and where.is_relative_to(Path.cwd())
    return os.path.relpath(str(where)) if below else str(where)


def _called() -> str:
    """How this program was called."""
    if Path(sys.argv[0]).name == "__main__.py":
        return f"{shlex.quote(Path(sys.executable).name)} -m engine"
    return "engine" if shutil.which("engine") else shlex.quote(os.path.relpath(sys.argv[0]))


def _plan(options: argparse.Namespace) -> int:
    with Progress(options.quiet or options.json, options.explain) as progress:
        plan = driver.plan(_settings(options), progress)
    if options.json:
        print(dumps(planning.as_mapping(plan)))
    else:
        _say(planning.table(plan) if plan.stages else "nothing to do: every stage is done")
    planning.refuse_misfits(plan)
    planning.refuse_full_disk(plan, "the disk")
    return 0


def _status(options: argparse.Namespace) -> int:
    found = overview.status(options.workdir)
    _say(dumps(found) if options.json else overview.describe(found))
    if found["damaged"]:
        raise DamagedError(f"{len(found['damaged'])} damaged, the first is {found['damaged'][0]}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    faults = workdir.verify(options.workdir)
    if options.json:
        print(dumps({"workdir": str(options.workdir), "damaged": faults}))
    else:
        _say("\n".join(faults.values()) if faults else f"{options.workdir}: every file is what was recorded")
    if faults:
        raise DamagedError(
            f"{len(faults)} damaged: the next engine run mends what it uses, engine clean removes what it does not"
        )
    return 0


def _clean(options: argparse.Namespace) -> int:
    unused = workdir.clean(options.workdir, really=options.yes)
    for folder in unused:
        _say(f"{printable(folder.path.name):<28} {format_size(folder.bytes):>10}")
    total = format_size(sum(folder.bytes for folder in unused))
    print(f"{total} {'removed' if options.yes else 'not used by the last run; --yes removes it'}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from engine.results import report  # loads Polars and the plotting library, which no other command needs here

    _say(report.write(options.workdir, options.out))
    return 0


def _recommend(options: argparse.Namespace) -> int:
    if options.all:
        return _recommend_all(options)
    for name in ("out", "memory", "workers", "executor", "scheduler"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} goes with --all")
    answers, recommender = _ask(options.workdir)
    is_new = options.ratings is not None or options.like is not None
    if is_new:
        whom = recommender.likes(options.like) if options.like else recommender.read_newcomer(options.ratings)
        if whom.left_out:
            _complain(answers.left_out(whom.left_out), "note")
    else:
        whom = options.user or answers.read_ids(options.users)
    items = recommender.recommend(whom, options.k, include_test=options.include_test)
    asked = [None] if is_new else recommender.known_users(whom).to_list()
    if recommender.no_titles:
        _complain(recommender.no_titles, "note")
    if options.json:
        print(dumps(answers.items_as_mappings(items, asked)))
    else:
        _say(answers.describe_items(items, asked, recommender.predicts_ratings))
    return 0


def _recommend_all(options: argparse.Namespace) -> int:
    if options.out is None or options.json:
        raise UsageError("--all goes with --out FILE.parquet, and without --json")
    with Progress(options.quiet) as progress:
        made = everybody.recommend_all(
            options.workdir,
            options.out,
            k=options.k,
            include_test=options.include_test,
            memory=options.memory,
            workers=options.workers,
            executor=options.executor or "local",
            scheduler=options.scheduler,
            on_event=progress,
        )
    if not made.run.stages[0].skipped:
        print(f"\n{loop.describe(made.run)}")
    _say(f"\n{made.out}: {made.n_items:,} items for {made.n_users:,} users")
    return 0


def _similar(options: argparse.Namespace) -> int:
    answers, recommender = _ask(options.workdir)
    if options.item is not None:
        found = recommender.similar_items(options.item, options.k)
        as_mapping, describe_found = answers.near_as_mapping, answers.describe_near
    else:
        found = recommender.similar_users(options.user, options.k)
        as_mapping, describe_found = answers.users_as_mapping, answers.describe_users
    if recommender.no_titles:
        _complain(recommender.no_titles, "note")
    whose = options.user if options.item is None else options.item
    if options.json:
        print(dumps(as_mapping(whose, found)))
    else:
        _say(describe_found(whose, found))
    return 0


def _compare(options: argparse.Namespace) -> int:
    from engine.serving import compare  # loads Polars, which no other command needs here

    found = compare.compare(options.workdirs)
    _say(dumps(compare.as_mapping(found)) if options.json else compare.describe(found))
    return 0


def _ask(where: Location) -> tuple[Any, Any]:
    """How answers are shown, and who gives them; both load numerical libraries, which no other command needs here."""
    os.environ.update(environment(workers=1))
    from engine.serving import answers, recommender

    return answers, recommender.Recommender.open(where)


def _version(options: argparse.Namespace) -> int:
    """What is done without a command: the version, or the help."""
    if not options.version:
        _parser().print_help()
        return 0
    print(f"engine {__version__}")
    if options.verbose:
        from engine.kernels import BUILT

        print(f"kernels: {BUILT}")
        for package in ("numpy", "polars", "pyarrow", "scipy", "zarr", "hnswlib"):
            print(f"{package}: {_installed(package)}")
        print(f"python: {platform.python_version()} on {platform.platform()}")
    return 0


def _installed(package: str) -> str:
    from importlib import metadata  # takes as long to load as half of this program

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _data_list(options: argparse.Namespace) -> int:
    for dataset in datasets.list_datasets(options.data_dir):
        name, path = printable(dataset.name), printable(dataset.path)
        print(f"{name:<10} {'present' if dataset.present else 'absent':<8} {path}")
        print(f"           {dataset.what}\n           {dataset.licence}")
    return 0


def _data_sample(options: argparse.Namespace) -> int:
    _say(datasets.make_sample(options.data_dir))
    return 0


def _data_fetch(options: argparse.Namespace) -> int:
    _say(datasets.fetch_ml25m(options.data_dir))
    return 0


def _data_twin(options: argparse.Namespace) -> int:
    from engine.ratings.twin import write_twin  # loads numpy and Polars, which no other command needs in this process

    if not options.scale > 0:
        raise UsageError(f"--scale {options.scale}: must be more than 0")
    summary = write_twin(options.out, scale=options.scale, seed=options.seed)
    counts = f"{summary.n_ratings:,} synthetic ratings by {summary.n_users:,} users of {summary.n_items:,} items"
    _say(f"{options.out}: {counts}")
    return 0
