"""``engine recommend``."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Sequence
from typing import Any

from engine.chunked import outcome
from engine.chunked.errors import UsageError
from engine.chunked.executors.base import environment
from engine.chunked.storage import Location, locate, on_this_machine
from engine.cli.parsing import Parser, add_executor, add_format, add_on_workdir, add_progress, whole
from engine.cli.showing import note, progress, show
from engine.serving import everybody

_EXAMPLES = """examples:
  engine recommend runs/ml-latest-small --user 42 --user 7
  engine recommend runs/ml-latest-small --ratings mine.csv   you are not in it
  engine recommend runs/ml-latest-small --like 260 "Alien"   or you like these
  engine recommend runs/ml-latest-small --all --out lists.parquet

The file of --ratings has columns of items and ratings, called as in the
ratings file. Items that the user has rated are left out. With --include-test
only the train ratings count as rated."""


def add(commands: Any) -> None:
    """Declare it."""
    does = "recommend items to a user, with the ratings to expect and why"
    parser = add_on_workdir(commands, "recommend", does, _EXAMPLES)
    whom_usage = "--user ID | --users FILE | --ratings FILE | --like ITEM ... | --all"
    parser.usage = f"engine recommend [OPTIONS] WORKDIR\n       ({whom_usage})"
    parser.set_defaults(command=_recommend, loads=True)
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--user", metavar="ID", action="append", help="a user of the data; repeatable, a list for each")
    whom.add_argument(
        "--users", metavar="FILE", type=on_this_machine, help="a file of users, one id a line, a list for each line"
    )
    whom.add_argument("--ratings", metavar="FILE", type=locate, help="items and ratings of a new user, one a line")
    whom.add_argument("--like", metavar="ITEM", nargs="+", help="items that a new user likes: ids, or titles")
    whom.add_argument("--all", action="store_true", help="everybody, written to the file of --out")
    parser.add_argument("-k", type=whole, default=10, metavar="N", help="items for each user (default: 10)")
    parser.add_argument(
        "--include-test", action="store_true", help="items of held-out test ratings, too: the lists that a run measures"
    )
    parser.add_argument(
        "--filter", metavar="FILE", type=on_this_machine, help="only items of this file, one id a line (default: all)"
    )
    parser.add_argument(
        "--on-unknown",
        choices=["error", "skip", "popular"],
        default="error",
        help="users that the run does not have get: an error, no list, or the most popular items (default: error)",
    )
    parser.add_argument(
        "--on-empty",
        choices=["popular", "skip"],
        default="popular",
        help="lists for which there are too few candidates go on with the most popular items, or are shorter "
        "(default: popular)",
    )
    add_format(parser)
    _add_for_all(parser)


def _add_for_all(parser: Parser) -> None:
    parser.add_argument("--out", metavar="FILE.parquet", type=locate, help="with --all: the file to write, or its URL")
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="with --all: the budget, all processes counted, e.g. 512MiB (default: 1GiB, or half of what is free)",
    )
    parser.add_argument(
        "--workers", type=whole, metavar="N", help="with --all: tasks at a time, at most (default: one per processor)"
    )
    add_executor(parser)
    add_progress(parser)


def _recommend(options: argparse.Namespace) -> int:
    if options.all:
        return _recommend_all(options)
    for name in ("out", "memory", "workers", "executor", "scheduler"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} goes with --all")
    answers, recommender = ask(options.workdir)
    is_new = options.ratings is not None or options.like is not None
    if is_new:
        whom = (
            recommender.likes(named(recommender, options.like))
            if options.like
            else recommender.read_newcomer(options.ratings)
        )
        if whom.left_out:
            note(answers.left_out(whom.left_out))
    else:
        whom = options.user or answers.read_ids(options.users)
    candidates = None
    if options.filter is not None:
        candidates, unknown = answers.offered_of_file(options.filter, recommender.items)
        if unknown:
            note(answers.left_out(unknown))
    items = recommender.recommend(
        whom,
        options.k,
        include_test=options.include_test,
        candidates=candidates,
        on_unknown=options.on_unknown,
        on_empty=options.on_empty,
    )
    asked = [None] if is_new else recommender.known_users(whom, options.on_unknown).to_list()
    if recommender.no_titles:
        note(recommender.no_titles)
    show(
        options,
        lambda: answers.describe_items(
            items,
            asked,
            len(recommender.users),
            recommender.predicts_ratings,
            recommender.implicit,
            answers.why_nothing(filtered=candidates is not None, popular=options.on_empty == "popular"),
        ),
        answers.items_as_mappings(items, asked),
        items.to_dicts(),
    )
    return 0


def _recommend_all(options: argparse.Namespace) -> int:
    if options.out is None or options.format in ("csv", "parquet") or options.filter:
        raise UsageError("--all goes with --out FILE.parquet, and without --filter and --format csv or parquet")
    with progress(options) as on_event:
        made = everybody.recommend_all(
            options.workdir,
            options.out,
            k=options.k,
            include_test=options.include_test,
            on_empty=options.on_empty,
            memory=options.memory,
            workers=options.workers,
            executor=options.executor or "local",
            scheduler=options.scheduler,
            on_event=on_event,
        )
    took = "" if made.run.stages[0].skipped else f"\n{outcome.describe(made.run)}\n"
    text = f"{took}\n{made.out}: {made.n_items:,} items for {made.n_users:,} users"
    text += f", of whom {made.n_popular:,} get the most popular" if made.n_popular else ""
    show(options, lambda: text, {"out": str(made.out), "n_items": made.n_items, "n_users": made.n_users})
    return 0


def named(recommender: Any, items: Sequence[str]) -> list[Any]:
    """Ids of items that are named by ids or titles; what is taken for a title is noted."""
    from engine.serving.titled import items_named  # loads Polars

    found, taken = items_named(recommender, items)
    for each in taken:
        note(each)
    return found


def ask(where: Location) -> tuple[Any, Any]:
    """How answers are shown, and who gives them; both load numerical libraries, which no other command needs here."""
    os.environ.update(environment(workers=1))
    from engine.serving import answers, recommender, titles

    warnings.simplefilter("ignore", titles.TitlesWarning)  # a note says it
    return answers, recommender.Recommender.open(where, memory=None)
