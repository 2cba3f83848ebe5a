"""Train CSR, weights -> items that are taken together.

Only where they weigh anything in how items are ranked: else there are no tasks, and no files.

Files
-----
``together.npz``
    The arrays of a CSR matrix items x items: an item's row has those that go best together with it
    (`engine.model.cooccurrence`), by descending similarity, in 255ths of the first of them (uint8). ``scales``, float32
    (items,), has what one of these is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.artifacts.names import TOGETHER
from engine.artifacts.readers import Matrix
from engine.artifacts.records import settled_liked_from
from engine.chunked.array_files import load_array
from engine.chunked.csr import NarrowRows
from engine.chunked.journal import Committed
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.model.by_item import Shares
from engine.model.calibration import sample_users
from engine.model.cooccurrence import Float32, Ids, together, together_rows
from engine.model.sizes import PART_USER, READ_RATINGS
from engine.stages.by_item import ByItem


class _Shared(NamedTuple):
    """Ratings of the users who were drawn, and how many each item has of all users."""

    ratings: NarrowRows
    counts: NDArray[np.int64]


class _Shares:
    """What the tasks found, one after the other."""

    def __init__(self, own: Committed, n: int) -> None:
        self._own = own
        self._n = n

    def __iter__(self) -> Iterator[tuple[Ids, Float32]]:
        for share in range(self._n):
            paths = _ids_path(share), _similarities_path(share)
            ids, similarities = (load_array(self._own.path(path)) for path in paths)
            yield ids, similarities


class CooccurrenceStage:
    """Draw users; sort their ratings by item; a task for each share of the items, as many popular ones in each."""

    def __init__(self, inputs: Inputs[config.Cooccurrence]) -> None:
        self._own = inputs.own
        self._section = inputs.params
        self._plan = inputs.plan()
        self._train = Matrix(inputs.upstream["matrix"]).train
        self._n_parts, self._n_shares = self._plan["transpose"].n_tasks, self._plan["search"].n_tasks
        self._by_item = ByItem(self._own, Shares(self._train.shape[1], max(1, self._n_shares)), self._n_parts)
        assert self._section.liked_from is not None  # the pipeline has put evaluate's in its place
        self._liked_from = settled_liked_from(self._section.liked_from, inputs.upstream["matrix"])

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._plan
        yield Round("draw", plan["draw"], self._draw, until="collect")
        yield Round("transpose", plan["transpose"], self._transpose, until="search")
        yield Round("search", plan["search"], self._search, self._load, until="collect")
        yield Round("collect", plan["collect"], self._collect)

    def _draw(self, index: int, context: TaskContext) -> None:
        section, lengths = self._section, np.diff(self._train.indptr)
        lengths[lengths > section.most_ratings] = 0
        most_users = section.ratings // PART_USER
        np.save(context.scratch / _USERS, sample_users(lengths, section.ratings, most_users, section.seed))
        np.save(context.scratch / _COUNTS, self._train.count_columns(READ_RATINGS))

    def _drawn(self) -> NDArray[np.int64]:
        drawn: NDArray[np.int64] = load_array(self._own.path(_USERS))
        return drawn

    def _transpose(self, index: int, context: TaskContext) -> None:
        drawn = self._drawn()
        first, last = self._bounds(drawn, index), self._bounds(drawn, index + 1)
        self._by_item.write(index, self._train.read_some(drawn[first:last]), first, context.scratch)

    def _bounds(self, drawn: NDArray[np.int64], part: int) -> int:
        """The first of the users who were drawn that is of a part, or of one after it; parts have as many ratings."""
        ends = np.cumsum(self._train.indptr[drawn + 1] - self._train.indptr[drawn])
        if part == self._n_parts or not len(ends):
            return len(drawn)
        return int(np.searchsorted(ends, int(ends[-1]) * part / self._n_parts, side="right"))

    def _load(self) -> _Shared:
        return _Shared(self._train.read_some(self._drawn()), load_array(self._own.path(_COUNTS)))

    def _search(self, share: int, context: TaskContext) -> None:
        ratings, counts = context.shared
        pieces = self._by_item.pieces(share, len(ratings.indptr) - 1, ratings.value_step)
        found = [
            together(self._section, self._liked_from, ratings, counts, items.astype(np.int32), rows)
            for items, rows in pieces
        ]
        for path, arrays in zip((_ids_path(share), _similarities_path(share)), zip(*found, strict=True), strict=True):
            np.save(context.scratch / path, np.concatenate(arrays))

    def _collect(self, index: int, context: TaskContext) -> None:
        found = together_rows(self._train.shape[1], _Shares(self._own, self._n_shares), self._n_shares)
        rows = found.similarities
        path = context.scratch / TOGETHER
        np.savez(path, indptr=rows.indptr, indices=rows.indices, data=rows.data, scales=found.scales)


_USERS = "users.npy"
_COUNTS = "counts.npy"


def _ids_path(share: int) -> str:
    return f"ids-{share:05d}.npy"


def _similarities_path(share: int) -> str:
    return f"similarities-{share:05d}.npy"
