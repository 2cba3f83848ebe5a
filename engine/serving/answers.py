"""The recommender's answers for people, and for programs as JSON values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from engine.serving.ids import read_ids

__all__ = ["describe_films", "describe_users", "films_as_mappings", "left_out", "read_ids", "users_as_mapping"]

_TITLE = 45


def films_as_mappings(films: pl.DataFrame) -> list[dict[str, Any]]:
    """What `Recommender.recommend` gives, by user; ``user`` is None for a newcomer."""
    return [{"user": user, "films": rows.drop("user").to_dicts()} for user, rows in _by_user(films)]


def describe_films(films: pl.DataFrame, predicts_ratings: bool) -> str:
    """The same for people."""
    lines = []
    for user, rows in _by_user(films):
        head = "you" if user is None else f"user {user}"
        rating = f"{'rating':>6}  " if predicts_ratings else ""
        lines.append(f"{head:<{_TITLE + 6}}{rating}{'score':>6}  why")
        lines += [_film(row, predicts_ratings) for row in rows.iter_rows(named=True)]
        lines.append("")
    if not predicts_ratings:
        lines.append("This run has the notebook's model, whose one score is on no scale of ratings.")
    return "\n".join(lines).rstrip() or "no film that a neighbour rated is left"


def _film(row: Mapping[str, Any], predicts_ratings: bool) -> str:
    rating = f"{row['predicted']:>6.1f}  " if predicts_ratings else ""
    why = "near films rated high"
    if row["n_raters"]:
        why = f"{row['n_raters']} of the {row['n_neighbors']} neighbours rated it, {row['mean_rating']:.1f} on average"
    return f"{row['rank']:>4}  {_short(row['title'] or row['item']):<{_TITLE}}{rating}{row['score']:>6.3f}  {why}"


def users_as_mapping(user: str, users: pl.DataFrame) -> dict[str, Any]:
    """What `Recommender.similar_users` gives."""
    return {"user": user, "similar": users.to_dicts()}


def describe_users(user: str, users: pl.DataFrame) -> str:
    """The same for people."""
    width = max([len("nearest"), *(len(str(each)) for each in users["user"])])
    lines = [f"user {user}", f"  {'nearest':<{width}}  cosine  both rated  both liked  such as"]
    for row in users.iter_rows(named=True):
        films = ", ".join(str(title or item) for title, item in zip(row["titles"], row["items"], strict=True))
        counts = f"{row['n_both']:>10,}  {row['n_both_liked']:>10,}"
        lines.append(f"  {row['user']:<{width}}  {row['similarity']:>6.3f}  {counts}  {films}".rstrip())
    return "\n".join(lines)


def left_out(ids: Sequence[Any]) -> str:
    """Say which films of a newcomer are not known."""
    some = ", ".join(map(str, ids[:5])) + (", ..." if len(ids) > 5 else "")
    return f"{len(ids)} of the films are not known to this run and left out: {some}"


def _by_user(rows: pl.DataFrame) -> Iterator[tuple[Any, pl.DataFrame]]:
    for (user,), some in rows.group_by("user", maintain_order=True):
        yield user, some


def _short(text: object) -> str:
    whole = str(text)
    return whole if len(whole) < _TITLE else whole[: _TITLE - 5] + "..."
