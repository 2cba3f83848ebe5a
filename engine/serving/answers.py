"""The recommender's answers for people, and for programs as JSON values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from engine.chunked.errors import UsageError
from engine.chunked.printable import printable
from engine.serving import ids as lookup
from engine.serving.ids import read_ids

__all__ = [
    "describe_items",
    "describe_near",
    "describe_users",
    "each_as_mapping",
    "items_as_mappings",
    "left_out",
    "near_as_mapping",
    "offered_of_file",
    "read_ids",
    "users_as_mapping",
    "why_nothing",
]

# Columns of 80.
_TITLE = 34


def items_as_mappings(items: pl.DataFrame, asked: Sequence[Any]) -> list[dict[str, Any]]:
    """What `Recommender.recommend` gives, a list for each of those asked about, in their order; None is a newcomer."""
    return list(each_as_mapping(items, asked))


def each_as_mapping(items: pl.DataFrame, asked: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The same, one list after the other."""
    for user, rows in _by_user(items, asked):
        yield {"user": user, "items": rows.drop("user").to_dicts()}


def describe_items(
    items: pl.DataFrame,
    asked: Sequence[Any],
    n_users: int,
    predicts_ratings: bool,
    implicit: bool = False,
    nothing: str = "nothing to recommend",
) -> str:
    """The same for people; ``n_users`` are those of the run, and ``nothing`` is said of an empty list."""
    lines = []
    rating = f"{'rating':>6}  " if predicts_ratings else ""
    for user, rows in _by_user(items, asked):
        head = "you" if user is None else f"user {printable(user)}"
        if rows.is_empty():
            lines += [head, f"      {nothing}", ""]
            continue
        lines.append(f"{head:<{_TITLE + 6}}{rating}{'score':>6}")
        for row in rows.iter_rows(named=True):
            predicted = f"{row['predicted']:>6.1f}  " if predicts_ratings else ""
            score = "" if row["score"] is None else f"{row['score']:.3f}"
            shown = f"{row['rank']:>4}  {_short(row['title'] or row['item']):<{_TITLE}}{predicted}{score:>6}"
            lines += [shown.rstrip(), f"      {_why(row, n_users, implicit)}"]
        lines.append("")
    if not predicts_ratings and not implicit:
        lines.append("This run has the notebook's model. Its score is not on the scale of the ratings.")
    return "\n".join(lines).rstrip()


def why_nothing(*, filtered: bool, popular: bool) -> str:
    """Say why a list is empty, by whether only items of a file were wanted, and whether popular ones fill lists."""
    what = "no item of --filter" if filtered else "no item"
    why = f"{what} is new to the user" if popular else f"the neighbours rated {what} that is new to the user"
    return f"nothing to recommend: {why}"


def offered_of_file(path: Path, run_items: pl.Series) -> tuple[list[str], list[str]]:
    """Ids of items in a file, and those of them that the run does not have.

    Raises
    ------
    UsageError
        As `read_ids`, and where it has none of them.
    """
    found = read_ids(path, "item")
    known = lookup.places(lookup.as_ids(found, "item"), run_items)[1]
    if not known.any():
        raise UsageError(f"{path}: none of its items is known: {lookup.describe(run_items, 'item')}")
    return found, [id_ for id_, there in zip(found, known.tolist(), strict=True) if not there]


def _why(row: Mapping[str, Any], n_users: int, implicit: bool) -> str:
    """What added most to the score, in words that are true of it."""
    did = "took" if implicit else "rated"
    neighbors = f"{row['n_raters']} of your {row['n_neighbors']} neighbours {did} it"
    match row["reason"]:
        case "neighbors":
            return neighbors if row["mean_rating"] is None else f"{neighbors}, {row['mean_rating']:.1f} on average"
        case "item":
            gave = "" if row["reason_rating"] is None else f", which you gave {row['reason_rating']:g}"
            return f"goes with {_short(row['reason_title'] or row['reason_item'])}{gave}"
        case "vectors":
            return f"fits your taste as a whole; {neighbors}"
        case _:
            return f"popular: {row['n_ratings']:,} of {n_users:,} users {did} it"


def users_as_mapping(user: str, users: pl.DataFrame) -> dict[str, Any]:
    """What `Recommender.similar_users` gives; the user is a number where the others are."""
    own = int(user) if users["user"].dtype.is_integer() else user
    return {"user": own, "similar": users.to_dicts()}


def describe_users(user: str, users: pl.DataFrame) -> str:
    """The same for people."""
    width = max([len("nearest"), *(len(printable(id_)) for id_ in users["user"])])
    lines = [f"user {printable(user)}", f"  {'nearest':<{width}}  cosine  both rated  both liked  such as"]
    for row in users.iter_rows(named=True):
        shared = ", ".join(printable(title or item) for title, item in zip(row["titles"], row["items"], strict=True))
        counts = f"{row['n_both']:>10,}  {row['n_both_liked']:>10,}"
        lines.append(f"  {printable(row['user']):<{width}}  {row['similarity']:>6.3f}  {counts}  {shared}".rstrip())
    return "\n".join(lines)


def near_as_mapping(item: str, items: pl.DataFrame) -> dict[str, Any]:
    """What `Recommender.similar_items` gives; the item is a number where the others are."""
    own = int(item) if items["item"].dtype.is_integer() else item
    return {"item": own, "similar": items.to_dicts()}


def describe_near(item: str, items: pl.DataFrame) -> str:
    """The same for people."""
    head = f"item {printable(item)}"
    if items.is_empty():
        return f"{head}\n      no item near: too few ratings in common; a list needs fewer"
    lines = [f"{head:<{_TITLE + 6}}cosine  ratings"]
    for rank, row in enumerate(items.iter_rows(named=True), 1):
        shown = _short(row["title"] or row["item"])
        lines.append(f"{rank:>4}  {shown:<{_TITLE}}{row['similarity']:>6.3f}  {row['n_ratings']:>7,}")
    return "\n".join(lines)


def left_out(ids: Sequence[Any]) -> str:
    """Say which items of a newcomer this run does not know."""
    first_ids = ", ".join(map(printable, ids[:5])) + (", ..." if len(ids) > 5 else "")
    return f"{len(ids)} of the items are not known to this run and left out: {first_ids}"


def _by_user(rows: pl.DataFrame, asked: Sequence[Any]) -> Iterator[tuple[Any, pl.DataFrame]]:
    """The list of each of those asked about, in their order; who has none has no rows."""
    users, starts = rows["user"].to_list(), (rows["rank"] == 1).arg_true().to_list()
    ends = [*starts[1:], len(users)]
    number = 0
    for user in asked:
        there = number < len(starts) and users[starts[number]] == user
        yield user, rows[starts[number] : ends[number]] if there else rows.clear()
        number += there


def _short(text: object) -> str:
    whole = printable(text)
    return whole if len(whole) < _TITLE else whole[: _TITLE - 5] + "..."
