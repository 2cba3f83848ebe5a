"""``engine similar``."""

from __future__ import annotations

import argparse
from typing import Any

from engine.cli.parsing import add_format, add_on_workdir, whole
from engine.cli.recommend import ask, named
from engine.cli.showing import note, show

_EXAMPLES = """examples:
  engine similar runs/ml-latest-small --user 42
  engine similar runs/ml-latest-small --item "Toy Story"
"""


def add(commands: Any) -> None:
    """Declare it."""
    does = "list the users nearest to a user, and what they share, or the items nearest to an item"
    parser = add_on_workdir(commands, "similar", does, _EXAMPLES)
    parser.set_defaults(command=_similar, loads=True)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--user", metavar="ID", help="a user of the data")
    which.add_argument("--item", metavar="ITEM", help="an item of the data: its id, or its title")
    parser.add_argument("-k", type=whole, default=10, metavar="N", help="users or items (default: 10)")
    add_format(parser)


def _similar(options: argparse.Namespace) -> int:
    answers, recommender = ask(options.workdir)
    if options.item is not None:
        (options.item,) = map(str, named(recommender, [options.item]))
        found = recommender.similar_items(options.item, options.k)
        as_mapping, describe = answers.near_as_mapping, answers.describe_near
    else:
        found = recommender.similar_users(options.user, options.k)
        as_mapping, describe = answers.users_as_mapping, answers.describe_users
    if recommender.no_titles:
        note(recommender.no_titles)
    whose = options.user if options.item is None else options.item
    show(options, lambda: describe(whose, found), as_mapping(whose, found), found.to_dicts())
    return 0
