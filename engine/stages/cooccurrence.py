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
from engine.chunked.csr import NarrowRows
from engine.chunked.journal import Committed
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.model.calibration import sample_users
from engine.model.cooccurrence import Float32, Ids, together, together_rows
from engine.model.sizes import READ_RATINGS
from engine.stages.by_item import ByItem


class _Shared(NamedTuple):
    """Train ratings of the users looked at, as rows of all users; and how many each item has of all."""

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
            ids, similarities = (np.load(self._own.path(path)) for path in paths)
            yield ids, similarities


class CooccurrenceStage:
    """Sort by item; a task for each share of the items, with as many popular ones in each; then put together."""

    def __init__(self, inputs: Inputs[config.Cooccurrence]) -> None:
        self._own = inputs.own
        self._section = inputs.params
        self._plan = inputs.plan()
        self._train = Matrix(inputs.upstream["matrix"]).train
        n_parts, self._n_shares = self._plan["transpose"].n_tasks, self._plan["search"].n_tasks
        self._by_item = ByItem(self._train, inputs.own, n_parts, self._n_shares)
        assert self._section.liked_from is not None  # the pipeline has put evaluate's in its place
        self._liked_from = settled_liked_from(self._section.liked_from, inputs.upstream["matrix"])

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._plan
        yield Round("transpose", plan["transpose"], self._transpose, until="collect")
        yield Round("search", plan["search"], self._search, self._load, until="collect")
        yield Round("collect", plan["collect"], self._collect)

    def _transpose(self, index: int, context: TaskContext) -> None:
        self._by_item.write(index, context.scratch)

    def _load(self) -> _Shared:
        section, lengths = self._section, np.diff(self._train.indptr)
        asked = np.where(lengths <= section.most_ratings, lengths, 0)
        users = sample_users(asked, section.ratings, len(asked), section.seed)
        rows = self._train.read_some(users)
        there = np.zeros_like(lengths)
        there[users] = lengths[users]
        indptr = np.concatenate([[0], np.cumsum(there)])  # of who was not drawn there is nothing
        ratings = NarrowRows(indptr, rows.indices, rows.data, rows.n_columns, rows.value_step)
        return _Shared(ratings, self._train.count_columns(READ_RATINGS))

    def _search(self, share: int, context: TaskContext) -> None:
        shared: _Shared = context.shared
        found = [
            together(self._section, self._liked_from, shared.ratings, shared.counts, items.astype(np.int32), rows)
            for _, items, rows in self._by_item.pieces(share)
        ]
        for path, arrays in zip((_ids_path(share), _similarities_path(share)), zip(*found, strict=True), strict=True):
            np.save(context.scratch / path, np.concatenate(arrays))

    def _collect(self, index: int, context: TaskContext) -> None:
        found = together_rows(self._train.shape[1], _Shares(self._own, self._n_shares), self._n_shares)
        rows = found.similarities
        path = context.scratch / TOGETHER
        np.savez(path, indptr=rows.indptr, indices=rows.indices, data=rows.data, scales=found.scales)


def _ids_path(share: int) -> str:
    return f"ids-{share:05d}.npy"


def _similarities_path(share: int) -> str:
    return f"similarities-{share:05d}.npy"
