"""Rounds of alternating least squares, out of core: what the stages refine and residuals have in common.

In a sweep users' vectors are fitted to those of the items, then items' to those of the users. For the items the matrix
is sorted by item first, a part of the users at a time. What users and items leave in one sweep is temporary; tasks of
users and of items own the files that they write.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Generic, Protocol, TypeVar

import numpy as np

from engine.artifacts.names import ITEM_FACTORS
from engine.artifacts.readers import Factors, Matrix
from engine.artifacts.records import FactorsLayout, Scale
from engine.chunked import arrays
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.model.alternating import Float32, Ids, Objective, Side, fit_items, fit_users, side
from engine.model.scale import scaled
from engine.model.sizes import GRAM_ROWS
from engine.stages.by_item import ByItem


class Sweeps(Protocol):
    """What a section says of the sweeps."""

    @property
    def sweeps(self) -> int: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def users_per_chunk(self) -> int: ...  # noqa: D102


Section = TypeVar("Section", bound=Sweeps)


class AlternatingStage(Generic[Section]):
    """Sort by item, then sweeps, then the item vectors; whoever derives says what is fitted, and from where."""

    def __init__(self, inputs: Inputs[Section]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._own = inputs.own
        matrix, factors = inputs.upstream["matrix"], inputs.upstream["factors"]
        self._train = Matrix(matrix).train
        self._scale = Scale.of(matrix) if FactorsLayout.of(factors).scaled else None
        self._factors = Factors(factors)
        self._n_users, self._n_items = self._train.shape
        plan = inputs.plan()
        self._by_item = ByItem(self._train, inputs.own, plan["transpose"].n_tasks, plan["items-0"].n_tasks)
        self._shares = self._by_item.shares

    def objective(self) -> Objective:
        """What products of vectors are fitted to; after the round ``transpose``."""
        raise NotImplementedError

    def starting_vectors(self) -> Float32:
        """Item vectors that the first sweep starts from, shape (items, dims); after the round ``transpose``."""
        raise NotImplementedError

    def sums(self) -> tuple[float, float]:
        """Of magnitudes of train ratings as they were decomposed, and of squares as they are; after ``transpose``."""
        found = [self._own.result(f"transpose.{task:05d}") for task in range(len(self._by_item.ranges))]
        return sum(each["magnitude"] for each in found), sum(each["squares"] for each in found)

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan, last_users = self._inputs.plan(), self.users_needed_until
        yield Round("transpose", plan["transpose"], self._transpose, until="collect")
        yield Round("start", plan["start"], self._start, until="collect")
        for sweep in range(self._section.sweeps):
            users, items = f"users-{sweep}", f"items-{sweep}"
            load = partial(self._load_items, sweep - 1)
            yield Round(users, plan[users], partial(self._fit_users, sweep), load, until=last_users)
            load = partial(self._load_users, sweep)
            yield Round(items, plan[items], partial(self._fit_items, sweep), load, until="collect")
        yield Round("collect", plan["collect"], self._collect)

    users_needed_until = "collect"
    """The round after which no users' vectors of sweeps are needed."""

    def _transpose(self, index: int, context: TaskContext) -> dict[str, float]:
        rows = self._by_item.write(index, context.scratch)
        squares = float(np.square(rows.values().astype(np.float64)).sum())
        decomposed = rows if self._scale is None else scaled(rows, self._scale.low, self._scale.high)
        return {"magnitude": float(np.abs(decomposed.values().astype(np.float64)).sum()), "squares": squares}

    def _start(self, index: int, context: TaskContext) -> None:
        np.save(context.scratch / _START, self.starting_vectors())

    def _items(self, sweep: int) -> Float32:
        """Item vectors after a sweep; those it starts from before the first."""
        vectors: Float32 = np.load(self._own.path(_START))
        for task in range(self._shares.n_tasks) if sweep >= 0 else ():
            vectors[self._shares.items(task)] = np.load(self._own.path(_items_path(sweep, task)))
        return vectors

    def _load_items(self, sweep: int) -> tuple[Objective, Side]:
        objective = self.objective()
        return objective, side(objective, self._items(sweep))

    def _load_users(self, sweep: int) -> tuple[Objective, Side]:
        vectors = np.empty((self._n_users, self.dims()), dtype=np.float32)
        size = self._section.users_per_chunk
        for block in range(-(-self._n_users // size)):
            vectors[block * size : (block + 1) * size] = self.users(sweep, block)
        objective = self.objective()
        return objective, side(objective, vectors)

    def dims(self) -> int:
        """Dimensions of the vectors; after the round ``start``."""
        return int(np.load(self._own.path(_START), mmap_mode="r").shape[1])

    def users(self, sweep: int, block: int) -> Float32:
        """Vectors of a block of users after a sweep."""
        found: Float32 = np.load(self._own.path(_users_path(sweep, block)))
        return found

    def bounds(self, block: int) -> tuple[int, int]:
        """First user of a block, and the end."""
        start = block * self._section.users_per_chunk
        return start, min(start + self._section.users_per_chunk, self._n_users)

    def _fit_users(self, sweep: int, block: int, context: TaskContext) -> None:
        start, stop = self.bounds(block)
        found = np.zeros((stop - start, self.dims()), dtype=np.float32)
        if sweep:
            found[:] = self.users(sweep - 1, block)
        objective, items = context.shared
        rows, users = self._train.read(start, stop), np.arange(start, stop)
        fit_users(objective, rows, users, items, self._section.steps, found)
        np.save(context.scratch / _users_path(sweep, block), found)

    def _fit_items(self, sweep: int, task: int, context: TaskContext) -> None:
        objective, users = context.shared
        if sweep:
            found = np.load(self._own.path(_items_path(sweep - 1, task)))
        else:
            found = self._starting(self._shares.items(task))
        for some, items, rows in self._by_item.pieces(task):
            fit_items(objective, rows, items, users, self._section.steps, found[some])
        np.save(context.scratch / _items_path(sweep, task), found)

    def _starting(self, own: Ids) -> Float32:
        """Vectors that some items start from, ascending; only so many of all are in memory at a time."""
        stored, found = arrays.ArrayFile(self._own.path(_START)), np.empty((len(own), self.dims()), dtype=np.float32)
        for start in range(0, self._n_items, GRAM_ROWS):
            some = slice(*np.searchsorted(own, [start, start + GRAM_ROWS]))
            found[some] = stored[start : start + GRAM_ROWS][own[some] - start]
        return found

    def _collect(self, index: int, context: TaskContext) -> dict[str, float]:
        np.save(context.scratch / ITEM_FACTORS, self._items(self._section.sweeps - 1))
        return self.told()

    def told(self) -> dict[str, float]:
        """What else a reader of the item vectors has to know."""
        return {}


_START = "start.npy"


def _users_path(sweep: int, block: int) -> str:
    return f"users-{sweep}-{block:05d}.npy"


def _items_path(sweep: int, task: int) -> str:
    return f"items-{sweep}-{task:05d}.npy"
