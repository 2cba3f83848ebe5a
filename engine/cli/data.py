"""``engine data``."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.chunked.errors import UsageError
from engine.chunked.printable import printable
from engine.chunked.storage import on_this_machine
from engine.cli.parsing import add_command, add_format, add_json
from engine.cli.showing import show
from engine.ratings import datasets

if TYPE_CHECKING:
    from engine.ratings.twin import Shape


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
        help="folder to write ratings.csv and movies.csv to",
    )
    twin.add_argument("--scale", type=float, default=1.0, metavar="X", help="times the users of ml-25m (default: 1)")
    for name, what in (("users", "times the scale"), ("items", "most of them rated"), ("ratings", "about")):
        twin.add_argument(f"--{name}", type=int, metavar="N", help=f"so many, {what} (default: as ml-25m)")
    twin.add_argument("--seed", type=int, default=0, metavar="N", help="other seed, other ratings (default: 0)")
    generators = "of the generator: 2 is as hard as real ratings, 1 is easier (default: 2)"
    twin.add_argument("--version", type=int, choices=(1, 2), default=2, help=generators)
    twin.set_defaults(command=_twin)
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
    from engine.ratings.twin import write_twin

    if not options.scale > 0:
        raise UsageError(f"--scale {options.scale}: must be more than 0")
    shape, processes = _shape(options), len(os.sched_getaffinity(0))
    same = {"scale": options.scale, "seed": options.seed, "version": options.version}
    made = write_twin(options.out, shape=shape, processes=processes, **same)
    counts = f"{made.n_ratings:,} synthetic ratings by {made.n_users:,} users of {made.n_items:,} items"
    mapping = {"out": str(options.out), "n_ratings": made.n_ratings, "n_users": made.n_users, "n_items": made.n_items}
    show(options, lambda: f"{options.out}: {counts}", mapping)
    return 0


def _shape(options: argparse.Namespace) -> Shape:
    """How many users, items and ratings are asked for."""
    from engine.ratings.twin import ML25M

    asked = [name for name in ("users", "items", "ratings") if getattr(options, name) is not None]
    for name in asked:
        if getattr(options, name) < 1:
            raise UsageError(f"--{name} {getattr(options, name)}: must be at least 1")
    if asked and options.version == 1:
        raise UsageError(f"--{asked[0]}: version 1 has ml-25m's shape alone; leave out --version 1")
    users = options.users or ML25M.users
    shape = replace(ML25M, users=users, items=options.items or ML25M.items, most_rated=options.items is not None)
    if options.ratings:
        shape = replace(shape, ratings_per_user=options.ratings / users)
    if shape.ratings_per_user > shape.items / 4:
        raise UsageError(
            f"{shape.ratings_per_user:,.0f} ratings of each user are too many of {shape.items:,} items: "
            "at most a quarter of them; ask for fewer ratings, or more users or items"
        )
    return shape
