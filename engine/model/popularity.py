"""The most popular items as everybody's recommendations: the baseline of a ranking."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.kernels.rows import Lists
from engine.kernels.scoring import Scored, rank_popular


def by_popularity(counts: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """Items by number of train ratings, the most first; equal ones by ascending column.

    Examples
    --------
    >>> by_popularity(np.array([5, 9, 2, 9]))
    array([1, 3, 0, 2], dtype=int32)
    """
    return np.argsort(-counts, kind="stable").astype(np.int32)


def fill_lists(found: Scored, taken: Lists, order: NDArray[np.int32], n_items: int) -> None:
    """Let lists that are shorter than they may be go on with the most popular items, in place; their score is NaN.

    Parameters
    ----------
    found : Scored
        As many lists for each user, one after the other.
    taken : Lists
        Items of each user that are not listed.
    order : int32 array
        Items that may be listed, the most popular first.
    n_items : int
        All items.
    """
    k, n_users = found.items.shape[1], len(taken.indptr) - 1
    short = np.flatnonzero(found.items[:, -1] < 0)
    if not len(short):
        return
    user, items = short // (len(found.items) // n_users), found.items[short]
    popular = rank_popular(order, n_items, _with(taken, user, items), k)
    place = np.arange(k) - (items >= 0).sum(axis=1)[:, None]
    further = np.take_along_axis(popular, np.maximum(place, 0), axis=1)
    found.items[short] = np.where(place >= 0, further, items)
    found.scores[short] = np.where(place >= 0, np.float32(np.nan), found.scores[short])


def _with(taken: Lists, users: NDArray[np.intp], items: NDArray[np.int32]) -> Lists:
    """What some users have taken, and a list for each of them beside."""
    rows = [
        np.concatenate([taken.columns[taken.indptr[user] : taken.indptr[user + 1]], listed[listed >= 0]])
        for user, listed in zip(users, items, strict=True)
    ]
    return Lists(np.concatenate([[0], np.cumsum([len(row) for row in rows])]), np.concatenate(rows))
