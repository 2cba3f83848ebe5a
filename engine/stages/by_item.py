"""Train ratings sorted by item, out of core: a part of the users at a time, each a temporary file of its task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.chunked import arrays
from engine.chunked.csr import CsrReader, NarrowRows
from engine.chunked.journal import Committed
from engine.model.by_item import Ids, Part, Shares, StoredPart, by_place, cut_places, joined
from engine.model.sizes import JOINED_RATINGS


class ByItem:
    """What the tasks of a round leave, and pieces of it for tasks that have a share of the items each.

    Parameters
    ----------
    train : CsrReader
    own : Committed
        What the stage has committed.
    n_parts, n_shares : int
        Tasks that sort, and tasks that items are shared out among.
    """

    def __init__(self, train: CsrReader, own: Committed, n_parts: int, n_shares: int) -> None:
        self._train = train
        self._own = own
        self.ranges = train.split_rows(n_parts) if n_parts else []
        self.shares = Shares(train.shape[1], n_shares)

    def write(self, index: int, scratch: Path) -> None:
        """Sort a part by item, as the files of a task."""
        start, stop = self.ranges[index]
        rows = self._train.read(start, stop)
        part = by_place(rows, start, self.shares.places(), self.shares.each * self.shares.n_tasks)
        for name, array in vars(part).items():
            np.save(scratch / _part_path(name, index), array)

    def pieces(self, share: int) -> Iterator[tuple[slice, Ids, NarrowRows]]:
        """The items of a share, some at a time: which of them, their columns, and their ratings, items x users."""
        parts, items = self._parts(), self.shares.items(share)
        begin = share * self.shares.each
        for first, last in cut_places(parts, begin, begin + len(items), JOINED_RATINGS):
            rows = joined(parts, first, last, self._train.shape[0], self._train.value_step)
            some = slice(first - begin, last - begin)
            yield some, items[some], rows

    def _parts(self) -> list[StoredPart]:
        """What each task that sorted ratings has left; on the disk."""
        names = Part.__dataclass_fields__
        paths = ({name: self._own.path(_part_path(name, i)) for name in names} for i in range(len(self.ranges)))
        return [StoredPart(**{name: arrays.ArrayFile(path) for name, path in each.items()}) for each in paths]


def _part_path(name: str, part: int) -> str:
    return f"{name}-{part:05d}.npy"
