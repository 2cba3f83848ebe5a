"""``engine data``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from engine.chunked.errors import UsageError
from engine.chunked.events import StageBegan, TaskEnded
from engine.chunked.executors.processes import processors
from engine.chunked.printable import printable
from engine.chunked.storage import on_this_machine
from engine.cli.parsing import add_command, add_format, add_json, decimal, whole
from engine.cli.showing import progress, show
from engine.ratings import datasets


def add(commands: Any) -> None:
    """Declare it."""
    parser = add_command(commands, "data", "list, make or fetch data sets", "example:\n  engine data fetch ml-25m")
    parser.add_argument(
        "--data-dir", metavar="DIR", type=on_this_machine, default=Path("data"), help="where they are (default: data)"
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = add_command(actions, "list", "list the data sets", "example:\n  engine data list")
    listing.set_defaults(command=_list)
    add_format(listing)
    sample = add_command(actions, "sample", "write the real ml-latest-small", "example:\n  engine data sample")
    sample.set_defaults(command=_sample)
    fetch = add_command(actions, "fetch", "download a data set", "example:\n  engine data fetch ml-25m")
    fetch.add_argument("name", choices=["ml-25m"], help="which: ml-25m")
    fetch.set_defaults(command=_fetch)
    does = "generate synthetic ratings that behave like ml-25m"
    twin = add_command(actions, "twin", does, "example:\n  engine data twin --out data/twin --scale 0.1")
    twin.add_argument(
        "--out",
        metavar="DIR",
        type=on_this_machine,
        required=True,
        help="folder to write ratings and movies.csv to",
    )
    twin.add_argument("--scale", type=decimal, default=1.0, metavar="X", help="times the users of ml-25m (default: 1)")
    for name, what in (("users", "times the scale"), ("items", "most of them rated"), ("ratings", "about")):
        twin.add_argument(f"--{name}", type=whole, metavar="N", help=f"so many, {what} (default: as ml-25m)")
    twin.add_argument("--seed", type=whole, default=0, metavar="N", help="other seed, other ratings (default: 0)")
    generators = "of the generator: 2 is as hard as real ratings, 1 is easier (default: 2)"
    twin.add_argument("--version", type=whole, choices=(1, 2), default=2, help=generators)
    written = "of the ratings: one file, or some of ten million ratings each (default: csv)"
    twin.add_argument("--file-format", choices=("csv", "parquet"), default="csv", help=written)
    twin.set_defaults(command=_twin, loads=True)
    for each in (sample, fetch, twin):
        add_json(each)


def _list(options: argparse.Namespace) -> int:
    found = datasets.list_datasets(options.data_dir)
    rows = [
        {"name": each.name, "present": each.present, "path": str(each.path), "what": each.what, "licence": each.licence}
        for each in found
    ]
    lines = []
    for each in found:
        name, path = printable(each.name), printable(each.path)
        lines += [f"{name:<10} {'present' if each.present else 'absent':<8} {path}", f"           {each.what}"]
        lines.append(f"           {each.licence}")
    show(options, lambda: "\n".join(lines), {"datasets": rows}, rows)
    return 0


def _sample(options: argparse.Namespace) -> int:
    return _written(options, datasets.make_sample(options.data_dir))


def _fetch(options: argparse.Namespace) -> int:
    return _written(options, datasets.fetch_ml25m(options.data_dir, progress=options.format == "table"))


def _written(options: argparse.Namespace, path: Path) -> int:
    show(options, lambda: str(path), {"ratings": str(path)})
    return 0


def _twin(options: argparse.Namespace) -> int:
    # Loads numpy and Polars, which no other command needs in this process.
    from engine.ratings.twin import n_parts, shape_of, write_twin

    if not options.scale > 0:
        raise UsageError(f"--scale {options.scale}: must be more than 0")
    if options.version == 1 and (options.users or options.items or options.ratings):
        raise UsageError("version 1 has ml-25m's shape alone: leave out --version 1, or --users, --items and --ratings")
    shape, processes = shape_of(options.users, options.items, options.ratings), processors()
    same = {"scale": options.scale, "seed": options.seed, "version": options.version}
    same["file_format"] = options.file_format
    with progress(options) as told:
        told(StageBegan("twin", "writes ratings", n_parts(options.scale, shape, options.file_format)))

        def written(*users: int) -> None:
            told(TaskEnded("ratings", 0.0))

        made = write_twin(options.out, shape=shape, processes=processes, progress=written, **same)
    counts = f"{made.n_ratings:,} synthetic ratings by {made.n_users:,} users of {made.n_items:,} items"
    mapping = {"out": str(options.out), "n_ratings": made.n_ratings, "n_users": made.n_users, "n_items": made.n_items}
    show(options, lambda: f"{options.out}: {counts}", mapping)
    return 0
