"""Users and items alike."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine.artifacts.readers import NearItems
from engine.model.sizes import NOISE
from engine.serving.ids import take
from engine.serving.opened import OpenedRun
from engine.serving.people import People

# Items that two users are shown to share.
_SHARED_ITEMS = 3


def together(found: Iterable[pl.DataFrame], asked: pl.Series) -> pl.DataFrame:
    """Those alike of each of several who were asked about, whose ids go into the first column, ``of``."""
    named = [
        each.insert_column(0, pl.repeat(of, each.height, dtype=asked.dtype, eager=True).alias("of"))
        for each, of in zip(found, asked, strict=True)
    ]
    return pl.concat(named)


def near_users(opened: OpenedRun, people: People, k: int) -> pl.DataFrame:
    """The ``k`` users nearest to the one person asked about, and what they share."""
    there = people.neighbors[0] >= 0
    if opened.ranking.votes:
        there &= people.similarities[0] > NOISE
    codes, similarities = people.neighbors[0][there][:k], people.similarities[0][there][:k]
    shared = _shared(opened, people.rated.widen(), opened.rows(opened.train, codes).widen())
    return shared.select(pl.Series("user", take(opened.users, codes)), pl.Series("similarity", similarities), pl.all())


def near_items(opened: OpenedRun, nearest: NearItems, column: NDArray[np.int64], k: int) -> pl.DataFrame:
    """The ``k`` items nearest to that of one column."""
    ids, similarities = nearest.take(column)
    there = np.flatnonzero(ids[0] >= 0)[:k]
    columns = ids[0][there]
    return pl.DataFrame(
        {
            "item": take(opened.items, columns),
            "title": opened.titles.at(columns),
            "similarity": similarities[0][there],
            "n_ratings": opened.counts[columns].astype(np.uint32),
        }
    )


def named(opened: OpenedRun, text: str, k: int) -> pl.DataFrame:
    """The ``k`` items whose title has a text in it: those that begin with it, then those with more ratings."""
    wanted = text.strip().lower()
    titles = opened.names.str.to_lowercase()
    columns = titles.str.contains(wanted, literal=True).arg_true().to_numpy().astype(np.int64)
    begins = take(titles, columns).str.starts_with(wanted).to_numpy()
    best = columns[np.lexsort((columns, -opened.counts[columns], ~begins))][:k]
    items, found = take(opened.items, best), opened.titles.at(best)
    return pl.DataFrame({"item": items, "title": found, "n_ratings": opened.counts[best].astype(np.uint32)})


def _shared(opened: OpenedRun, own: csr_matrix, theirs: csr_matrix) -> pl.DataFrame:
    """What one user's ratings have in common with others'."""
    liked_from = opened.liked_from
    mine, my = set(own.indices.tolist()), set(own.indices[own.data >= liked_from].tolist())

    def rarity(column: int) -> tuple[int, int]:
        return int(opened.counts[column]), column

    counts, shared = [], []
    for at in range(theirs.shape[0]):
        row = theirs[at]
        both = mine.intersection(row.indices.tolist())
        liked = my.intersection(row.indices[row.data >= liked_from].tolist())
        counts.append((len(both), len(liked)))
        shared.append(sorted(liked, key=rarity)[:_SHARED_ITEMS])
    numbers = np.array(counts, dtype=np.uint32).reshape(-1, 2)
    columns = np.array([column for each in shared for column in each], dtype=np.int64)
    ends = np.cumsum([len(each) for each in shared])
    items, titles = take(opened.items, columns), opened.titles.at(columns)
    parts = [slice(end - len(each), end) for end, each in zip(ends.tolist(), shared, strict=True)]
    return pl.DataFrame(
        {
            "n_both": numbers[:, 0],
            "n_both_liked": numbers[:, 1],
            "items": pl.Series([items[part] for part in parts], dtype=pl.List(opened.items.dtype)),
            "titles": pl.Series([titles[part] for part in parts], dtype=pl.List(pl.String)),
        }
    )
