"""How users are cut into partitions, and what their ratings add up to: plain functions on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.model.sizes import SUMMED_USERS

Counts = NDArray[np.integer[Any]]


def range_bounds(sample: NDArray[Any], n: int) -> NDArray[Any]:
    """Cut ids into ranges with about as many in each.

    Parameters
    ----------
    sample : array
        Some of the ids, as evenly taken as ranges are to be.
    n : int
        Ranges.

    Returns
    -------
    array, shape (n - 1,)
        The first id of each range but the first one; of small samples some may be the same.

    Examples
    --------
    >>> range_bounds(np.array([8, 2, 6, 4]), 2)
    array([6])
    """
    if not len(sample):
        return np.zeros(n - 1, dtype=sample.dtype)
    return np.sort(sample)[np.arange(1, n) * len(sample) // n]


def first_users(counts: Counts, ratings_per_partition: int) -> NDArray[np.int64]:
    """Cut users into partitions of about the same number of ratings.

    Parameters
    ----------
    counts : integer array, shape (users,)
        Ratings of each user.
    ratings_per_partition : int
        Users whose first rating falls into the same stretch of this many ratings share a partition.

    Returns
    -------
    int64 array, shape (partitions,)
        Code of the first user of each partition, ascending from 0.
    """
    before, stretch = 0, -1
    found = []
    for begin in range(0, len(counts), SUMMED_USERS):
        ends = before + np.cumsum(counts[begin : begin + SUMMED_USERS], dtype=np.int64)
        stretches = (ends - counts[begin : begin + SUMMED_USERS]) // ratings_per_partition
        found.append(begin + np.flatnonzero(np.diff(stretches, prepend=stretch)))
        before, stretch = int(ends[-1]), int(stretches[-1])
    return np.concatenate(found).astype(np.int64, copy=False)


def most_of_users(counts: Counts) -> list[int]:
    """The most ratings that 1, 2, 4, 8 and so on consecutive users have together, up to all of them.

    Parameters
    ----------
    counts : integer array, shape (users,)
        Ratings of each user.

    Examples
    --------
    >>> most_of_users(np.array([3, 1, 1, 7, 2]))
    [7, 9, 12, 14]
    """
    most, n = [], 1
    while n < len(counts):
        most.append(_most_of(counts, n))
        n *= 2
    return [*most, int(counts.sum(dtype=np.int64))]


def _most_of(counts: Counts, n: int) -> int:
    """The same of ``n`` users: from one user to the next one leaves them, and another one joins them."""
    most = now = int(counts[:n].sum(dtype=np.int64))
    for begin in range(n, len(counts), SUMMED_USERS):
        joining = counts[begin : begin + SUMMED_USERS].astype(np.int64)
        leaving = counts[begin - n : begin - n + len(joining)]
        sums = now + np.cumsum(joining - leaving)
        most, now = max(most, int(sums.max())), int(sums[-1])
    return most


def latest_by_user(users: NDArray[np.uint32], items: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Rows grouped by ascending user, in their order within each; of a pair that repeats, only its last row.

    Parameters
    ----------
    users, items : uint32 arrays, shape (rows,)

    Returns
    -------
    intp array, shape (distinct pairs,)
        Row numbers.
    """
    pairs = users.astype(np.uint64) << np.uint64(32) | items
    if (pairs[1:] > pairs[:-1]).all():
        return np.arange(len(pairs))
    by_pair = np.argsort(pairs, kind="stable")
    pairs = pairs[by_pair]
    last = np.append(pairs[1:] != pairs[:-1], True)
    rows = np.sort(by_pair[last])
    return rows[np.argsort(users[rows], kind="stable")]


def summed_by_pair(
    users: NDArray[np.uint32], items: NDArray[np.uint32], values: NDArray[np.float64], rows: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The sum of the values of all rows of a pair, for each of some rows.

    Parameters
    ----------
    users, items, values : arrays, shape (all rows,)
    rows : intp array, shape (rows,)
        One row of each pair, as `latest_by_user` gives them.
    """
    if len(rows) == len(users):
        return values[rows]
    pairs = users.astype(np.uint64) << np.uint64(32) | items
    order = np.argsort(pairs, kind="stable")
    ordered = pairs[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    sums = np.add.reduceat(values[order], starts)
    return np.asarray(sums[np.searchsorted(ordered[starts], pairs[rows])])
