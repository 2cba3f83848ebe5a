"""How users are cut into partitions, and what their ratings add up to: plain functions on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def first_users(counts: NDArray[np.int64], ratings_per_partition: int) -> NDArray[np.int64]:
    """Cut users into partitions of about the same number of ratings.

    Parameters
    ----------
    counts : int64 array, shape (users,)
        Ratings of each user.
    ratings_per_partition : int
        Users whose first rating falls into the same stretch of this many ratings share a partition.

    Returns
    -------
    int64 array, shape (partitions,)
        Code of the first user of each partition, ascending from 0.
    """
    starts = np.cumsum(counts) - counts
    _, first = np.unique(starts // ratings_per_partition, return_index=True)
    return np.asarray(first, dtype=np.int64)


def most_of_users(counts: NDArray[np.int64]) -> list[int]:
    """The most ratings that 1, 2, 4, 8 and so on consecutive users have together, up to all of them.

    Parameters
    ----------
    counts : int64 array, shape (users,)
        Ratings of each user.

    Examples
    --------
    >>> most_of_users(np.array([3, 1, 1, 7, 2]))
    [7, 9, 12, 14]
    """
    ends = np.concatenate([[0], np.cumsum(counts)])
    most, n = [], 1
    while n < len(counts):
        most.append(int((ends[n:] - ends[:-n]).max()))
        n *= 2
    return [*most, int(ends[-1])]


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
