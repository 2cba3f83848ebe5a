"""Ratings of some users sorted by item, out of core: a part of the users at a time, in temporary files of its task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.chunked.array_files import ArrayFile
from engine.chunked.csr import NarrowRows
from engine.chunked.journal import Committed
from engine.model.by_item import Ids, Part, Shares, StoredPart, by_place, cut_places, joined
from engine.model.sizes import JOINED_RATINGS


class ByItem:
    """What the tasks of a round leave, and pieces of it for tasks that have a share of the items each.

    Parameters
    ----------
    own : Committed
        What the stage has committed.
    shares : Shares
        Items, and the tasks that they are shared out among.
    n_parts : int
        Tasks that sort.
    """

    def __init__(self, own: Committed, shares: Shares, n_parts: int) -> None:
        self._own = own
        self._shares = shares
        self._n_parts = n_parts

    def write(self, index: int, rows: NarrowRows, first_user: int, scratch: Path) -> None:
        """Sort a part by item, as the files of a task; its users have consecutive numbers."""
        part = by_place(rows, first_user, self._shares.places(), self._shares.each * self._shares.n_tasks)
        for name, array in vars(part).items():
            np.save(scratch / _part_path(name, index), array)

    def pieces(self, share: int, n_users: int, step: float) -> Iterator[tuple[Ids, NarrowRows]]:
        """The items of a share, some at a time: their columns, and their ratings, items x users."""
        parts, items = self._parts(), self._shares.items(share)
        begin = share * self._shares.each
        for first, last in cut_places(parts, begin, begin + len(items), JOINED_RATINGS):
            yield items[first - begin : last - begin], joined(parts, first, last, n_users, step)

    def _parts(self) -> list[StoredPart]:
        """What each task that sorted ratings has left; on the disk."""
        names = Part.__dataclass_fields__
        paths = ({name: self._own.path(_part_path(name, i)) for name in names} for i in range(self._n_parts))
        return [StoredPart(**{name: ArrayFile(path) for name, path in each.items()}) for each in paths]


def _part_path(name: str, part: int) -> str:
    return f"{name}-{part:05d}.npy"
