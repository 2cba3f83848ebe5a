"""The best items for some people, with what is known of each item and why it is among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.kernels.rows import Lists, joined, lists_of
from engine.kernels.scoring import count_opinions
from engine.model.reasons import REASONS, explain
from engine.model.scoring import cut_by_work
from engine.model.sizes import ASK_RATINGS, SCORE_USERS
from engine.serving.ids import take
from engine.serving.opened import OpenedRun
from engine.serving.people import Newcomer, People
from engine.serving.predicting import predict

_REASONS = pl.Series(REASONS)


class Wanted(NamedTuple):
    """What lists are wanted.

    Attributes
    ----------
    k : int
        Items for each of those asked about, at most.
    offered : bool array, shape (items,), or None
        Which items may be in a list; None: all.
    """

    k: int
    offered: NDArray[np.bool_] | None


class Asked(NamedTuple):
    """Some of those asked about: their places among all of them, and the items that each is not recommended."""

    places: NDArray[np.int64]
    people: People
    taken: Lists


def users_asked(opened: OpenedRun, places: NDArray[np.int64], codes: NDArray[np.int64], test: bool) -> Iterator[Asked]:
    """Users of the data, some at a time; ``test``: whether they may be recommended items of held-out ratings."""
    for first, last in _bounds(opened, codes):
        people = opened.known(codes[first:last])
        held_out = None if test else opened.rows(opened.test, codes[first:last])
        taken = lists_of(people.rated) if held_out is None else joined(people.rated, held_out)
        yield Asked(places[first:last], people, taken)


def newcomer_asked(opened: OpenedRun, person: Newcomer) -> Iterator[Asked]:
    """One newcomer."""
    people = opened.newcomer(person)
    yield Asked(np.zeros(1, dtype=np.int64), people, lists_of(people.rated))


def strangers_asked(opened: OpenedRun, places: NDArray[np.int64], ids: pl.Series) -> Iterator[Asked]:
    """Users of whom nothing is known."""
    people = opened.strangers(ids)
    yield Asked(places, people, lists_of(people.rated))


def _bounds(opened: OpenedRun, codes: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Batches of users: of so many that what is read for them is little."""
    if opened.train.held is not None:
        return [(first, min(first + SCORE_USERS, len(codes))) for first in range(0, len(codes), SCORE_USERS)]
    neighbors = [opened.near(codes[i : i + 1024])[0] for i in range(0, len(codes), 1024)]
    work = [np.where(each >= 0, np.diff(opened.train.indptr)[each], 0).sum(axis=1) for each in neighbors]
    return cut_by_work(np.concatenate(work), ASK_RATINGS, SCORE_USERS) if work else []


def recommend(opened: OpenedRun, wanted: Wanted, asked: Iterable[Asked], popular: bool) -> Iterator[pl.DataFrame]:
    """The best items of some people, and after them, if ``popular``, the most popular ones where they are too few.

    Columns are those that `Recommender.recommend` has, and ``place``.
    """
    for each in asked:
        yield _recommend(opened, wanted, each, popular)


def together(lists: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The lists of all who were asked about, in their order."""
    found = pl.concat(lists)
    if not found["place"].is_sorted():
        found = found.sort("place", "rank")
    found.drop_in_place("place")
    return found


def _recommend(opened: OpenedRun, wanted: Wanted, asked: Asked, popular: bool) -> pl.DataFrame:
    """A row an item."""
    people = asked.people
    ratings, neighbors = opened.ratings_of_neighbors(people)
    found = opened.ranking.rank(
        ratings,
        neighbors,
        people.similarities,
        people.rated,
        asked.taken,
        wanted.k,
        vectors=people.vectors,
        offered=wanted.offered,
        fill=popular,
        explain=True,
    )
    rows, ranks = np.nonzero(found.items >= 0)
    columns, scores = found.items[rows, ranks], found.scores[rows, ranks]
    n_raters, means = (each[rows, ranks] for each in count_opinions(ratings, neighbors, found.items))
    if opened.implicit:
        means = np.full(len(rows), np.nan, dtype=np.float32)
    reasons = explain(opened.ranking, people.rated, found)
    own, given = reasons.items[rows, ranks], reasons.ratings[rows, ranks]
    if opened.implicit or not people.rate:
        given = np.full(len(rows), np.nan, dtype=np.float32)
    liked = np.maximum(own, 0)
    titles = opened.titles.at(np.concatenate([columns, liked]))  # of both at once: they may be read for it
    absent = pl.Series(own < 0)
    return pl.DataFrame(
        {
            "place": asked.places[rows],
            "user": take(people.ids, rows),
            "rank": (ranks + 1).astype(np.uint32),
            "item": take(opened.items, columns),
            "title": titles[: len(rows)],
            "predicted": pl.Series(_predicted(opened, people, rows, columns, scores), nan_to_null=True),
            "score": pl.Series(scores, nan_to_null=True),
            "n_raters": n_raters,
            "n_neighbors": (people.neighbors >= 0).sum(axis=1).astype(np.uint32)[rows],
            "mean_rating": pl.Series(means, nan_to_null=True),
            "n_ratings": opened.counts[columns].astype(np.uint32),
            "popular": np.isnan(scores),
            "reason": take(_REASONS, reasons.kinds[rows, ranks]),
            "reason_item": opened.items[pl.Series(own).cast(pl.UInt32, strict=False)],  # null for -1
            "reason_title": titles[len(rows) :].set(absent, None),
            "reason_rating": pl.Series(given, nan_to_null=True),
        }
    )


def _predicted(
    opened: OpenedRun,
    people: People,
    rows: NDArray[np.intp],
    columns: NDArray[np.int32],
    scores: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Ratings to expect, not a number where none are predicted; the notebook's model has one score for both."""
    if opened.implicit:
        return np.full(len(rows), np.nan, dtype=np.float32)
    return predict(opened, people, rows, columns).values if opened.ranking.votes else scores
