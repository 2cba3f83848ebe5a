"""Ratings sorted by item, some users at a time; and how items are shared out among tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.chunked.ranges import consecutive

Ids = NDArray[np.int64]


class Slices(Protocol):
    """An array of one dimension, or what reads parts of one."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array."""

    def __getitem__(self, some: slice, /) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Shares:
    """Items shared out among tasks, one to each in turn, so that each has as many popular ones.

    Attributes
    ----------
    n_items, n_tasks : int
    """

    n_items: int
    n_tasks: int

    @property
    def each(self) -> int:
        """Places of a task; the last of some are empty."""
        return -(-self.n_items // self.n_tasks)

    def places(self) -> NDArray[np.int32]:
        """The place of each item: those of a task follow each other; shape (items,)."""
        items = np.arange(self.n_items, dtype=np.int32)
        return items % self.n_tasks * self.each + items // self.n_tasks

    def items(self, task: int) -> Ids:
        """The items of a task, in order of their places."""
        return np.arange(task, self.n_items, self.n_tasks)


@dataclass(frozen=True)
class Part:
    """Ratings of some users, by place of the item.

    Attributes
    ----------
    indptr : int32 array, shape (places + 1,)
    users : uint32 array, shape (ratings,)
        Ascending within a place.
    data : array, shape (ratings,)
        As stored.
    """

    indptr: NDArray[np.int32]
    users: NDArray[np.uint32]
    data: NDArray[np.generic]


@dataclass(frozen=True)
class StoredPart:
    """A `Part` that is on the disk, of which slices are read."""

    indptr: Slices
    users: Slices
    data: Slices


def by_place(rows: NarrowRows, first_user: int, places: NDArray[np.int32], n_places: int) -> Part:
    """Sort the ratings of consecutive users by the places of their items.

    Parameters
    ----------
    rows : NarrowRows
    first_user : int
        Code of the first of the users.
    places : int32 array, shape (items,)
    n_places : int
    """
    of_ratings = places[rows.indices]
    order = np.argsort(of_ratings, kind="stable")
    indptr = np.zeros(n_places + 1, dtype=np.int32)
    np.cumsum(np.bincount(of_ratings, minlength=n_places), out=indptr[1:])
    users = np.repeat(np.arange(first_user, first_user + len(rows.indptr) - 1, dtype=np.uint32), np.diff(rows.indptr))
    return Part(indptr, users[order], rows.data[order])


def cut_places(parts: Sequence[Part | StoredPart], start: int, stop: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut a range of places into pieces of at most ``most`` ratings, one place at least."""
    counts = np.zeros(stop - start, dtype=np.int64)
    for part in parts:
        counts += np.diff(part.indptr[start : stop + 1])
    ends = np.concatenate([[0], np.cumsum(counts)])
    first = 0
    while first < len(counts):
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + most, side="right")) - 1)
        yield start + first, start + last
        first = last


def joined(parts: Sequence[Part | StoredPart], start: int, stop: int, n_users: int, step: float) -> NarrowRows:
    """Ratings of the items at some places, users ascending, as rows of a matrix items x users."""
    bounds = [part.indptr[start : stop + 1] for part in parts]
    lengths = [np.diff(of_part).astype(np.int64) for of_part in bounds]
    indptr = np.concatenate([[0], np.cumsum(np.sum(lengths, axis=0))])
    users = np.empty(indptr[-1], dtype=np.uint32)
    data = np.empty(indptr[-1], dtype=parts[0].data.dtype)
    filled = indptr[:-1].copy()
    for part, ends, of_part in zip(parts, bounds, lengths, strict=True):
        to, stored = consecutive(filled, of_part), slice(int(ends[0]), int(ends[-1]))
        users[to], data[to] = part.users[stored], part.data[stored]
        filled += of_part
    return NarrowRows(indptr, users, data, n_users, step)
