"""The most popular items as everybody's recommendations: the baseline of a ranking."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine.model.scoring import row_numbers


class Popularity(NamedTuple):
    """Items by number of train ratings, the most first; equal ones by ascending column.

    Attributes
    ----------
    columns : int32 array, shape (items,)
        The item at each place.
    places : int32 array, shape (items,)
        The place of each item.
    """

    columns: NDArray[np.int32]
    places: NDArray[np.int32]

    @classmethod
    def of(cls, counts: NDArray[np.integer[Any]]) -> Popularity:
        """Of items with these numbers of ratings, shape (items,)."""
        columns = np.argsort(-counts, kind="stable").astype(np.int32)
        places = np.empty_like(columns)
        places[columns] = np.arange(len(columns), dtype=np.int32)
        return cls(columns, places)


def popular_lists(popularity: Popularity, watched: csr_matrix, k: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Recommend to each user the most popular items without the user's own.

    A list goes down the order of popularity and passes over the user's items, so it ends within the first
    ``k + items of the user``.

    Parameters
    ----------
    popularity : Popularity
    watched : csr_matrix, shape (users, items)
        Stored are the items of each user; columns in any order.
    k : int
        Items recommended to each user.

    Returns
    -------
    rows, columns : int64 and int32 arrays, shape (m,)
        Users, ascending, and the items recommended to them, best first. Fewer than ``k`` where fewer are left.

    Examples
    --------
    >>> watched = csr_matrix(np.array([[0, 1, 0, 1], [0, 0, 0, 0]]))
    >>> popular_lists(Popularity.of(np.array([5, 9, 2, 7])), watched, 2)
    (array([0, 0, 1, 1]), array([0, 2, 1, 3], dtype=int32))
    """
    n, n_items = watched.shape
    rows = row_numbers(watched.indptr)
    keys = np.sort(rows * n_items + popularity.places[watched.indices])
    places = keys - rows * n_items
    # Of the places before a user's item, those whose items the user has not rated: the list is that long there.
    listed = places - (np.arange(len(places)) - watched.indptr[rows])
    passed = np.flatnonzero(listed < k)
    ends = np.minimum(k + np.bincount(rows[passed], minlength=n), n_items)
    starts = np.cumsum(ends) - ends
    in_list = np.ones(int(ends.sum()), dtype=bool)
    in_list[starts[rows[passed]] + places[passed]] = False
    found = np.flatnonzero(in_list)
    users = np.repeat(np.arange(n), ends)[found]
    return users, popularity.columns[found - starts[users]]
