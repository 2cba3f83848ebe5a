"""Train CSR, SVD -> user and item vectors whose products say what a user prefers.

Alternating least squares, from the item vectors of the SVD: in a sweep users' vectors are fitted to those of the items,
then items' to those of the users. For the items the matrix is sorted by item first, a part of the users at a time. What
users and items leave in one sweep is temporary; tasks of users and of items own the files that they write.

Files
-----
``vectors``
    Zarr float32 (users x dims), rows of unit length, or of zeros for a user without ratings.
``item-factors.npy``
    float32 (items x dims), in order of column.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.artifacts.names import ITEM_FACTORS, VECTORS
from engine.artifacts.readers import Factors, Matrix
from engine.artifacts.records import FactorsLayout, Scale, settled_liked_from
from engine.chunked import arrays
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.kernels.refinement import solve_rows
from engine.model.factors import gram, unit_rows
from engine.model.refine import Part, Shares, by_place, cut_places, joined, starting_vectors, unseen_weight
from engine.model.scale import scaled
from engine.model.sizes import FOLD_STEPS, REFINE_RATINGS

Float32 = NDArray[np.float32]


class _Side(NamedTuple):
    """Vectors of one side, to fit the other's to, and their gram matrix times the weight of what is not there."""

    vectors: Float32
    gram: Float32


class RefineStage:
    """Sort by item, then sweeps, then the vectors."""

    def __init__(self, inputs: Inputs[config.Refine]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._own = inputs.own
        self._train = Matrix(inputs.upstream["matrix"]).train
        self._factors = Factors(inputs.upstream["factors"])
        self._n_users, self._n_items = self._train.shape
        matrix = inputs.upstream["matrix"]
        self._scale = Scale.of(matrix) if FactorsLayout.of(inputs.upstream["factors"]).scaled else None
        self._liked_from = settled_liked_from(inputs.params.liked_from, matrix)
        plan = inputs.plan()
        self._ranges = self._train.split_rows(plan["transpose"].n_tasks)
        self._shares = Shares(self._n_items, plan["items-0"].n_tasks)
        self._unseen = unseen_weight(inputs.params.unseen_weight, inputs.params.most_unseen, self._n_items)

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        yield Round("transpose", plan["transpose"], self._transpose, until="collect")
        yield Round("start", plan["start"], self._start, until="collect")
        for sweep in range(self._section.sweeps):
            users, items = f"users-{sweep}", f"items-{sweep}"
            load = partial(self._load_items, sweep - 1)
            yield Round(users, plan[users], partial(self._fit_users, sweep), load, until="vectors")
            load = partial(self._load_users, sweep)
            yield Round(items, plan[items], partial(self._fit_items, sweep), load, until="collect")
        yield Round("collect", plan["collect"], self._collect)
        yield Round("layout", plan["layout"], self._layout)
        yield Round("vectors", plan["vectors"], self._vectors, self._load_collected)

    def _transpose(self, index: int, context: TaskContext) -> dict[str, float]:
        start, stop = self._ranges[index]
        rows = self._train.read(start, stop)
        part = by_place(rows, start, self._shares.places(), self._shares.each * self._shares.n_tasks)
        for name, array in vars(part).items():
            np.save(context.scratch / _part_path(name, index), array)
        decomposed = rows if self._scale is None else scaled(rows, self._scale.low, self._scale.high)
        return {"magnitude": float(np.abs(decomposed.values().astype(np.float64)).sum())}

    def _parts(self) -> list[Part]:
        """What each task that sorted ratings has left; on the disk."""
        names = Part.__dataclass_fields__
        paths = ({name: self._own.path(_part_path(name, i)) for name in names} for i in range(len(self._ranges)))
        return [Part(**{name: np.load(path, mmap_mode="r") for name, path in each.items()}) for each in paths]

    def _side(self, vectors: Float32) -> _Side:
        return _Side(vectors, (self._unseen * gram(vectors)).astype(np.float32))

    def _start(self, index: int, context: TaskContext) -> None:
        """Leave the item vectors that the first sweep starts from."""
        tasks = range(len(self._ranges))
        magnitude = sum(self._own.result(f"transpose.{task:05d}")["magnitude"] for task in tasks)
        mean = magnitude / max(1, self._train.nnz)
        vectors = starting_vectors(self._factors.loadings(), self._factors.singular_values(), mean)
        np.save(context.scratch / _START, vectors)

    def _items(self, sweep: int) -> Float32:
        """Item vectors after a sweep; those it starts from before the first."""
        vectors: Float32 = np.load(self._own.path(_START))
        for task in range(self._shares.n_tasks) if sweep >= 0 else ():
            vectors[self._shares.items(task)] = np.load(self._own.path(_items_path(sweep, task)))
        return vectors

    def _load_items(self, sweep: int) -> _Side:
        return self._side(self._items(sweep))

    def _load_users(self, sweep: int) -> _Side:
        vectors = np.empty((self._n_users, self._dims()), dtype=np.float32)
        size = self._section.users_per_chunk
        for block in range(-(-self._n_users // size)):
            vectors[block * size : (block + 1) * size] = np.load(self._own.path(_users_path(sweep, block)))
        return self._side(vectors)

    def _dims(self) -> int:
        return int(np.load(self._own.path(_users_path(0, 0)), mmap_mode="r").shape[1])

    def _bounds(self, block: int) -> tuple[int, int]:
        start = block * self._section.users_per_chunk
        return start, min(start + self._section.users_per_chunk, self._n_users)

    def _fit_users(self, sweep: int, block: int, context: TaskContext) -> None:
        items: _Side = context.shared
        start, stop = self._bounds(block)
        found = np.zeros((stop - start, items.vectors.shape[1]), dtype=np.float32)
        if sweep:
            found[:] = np.load(self._own.path(_users_path(sweep - 1, block)))
        self._solve_users(items, start, stop, self._section.steps, found)
        np.save(context.scratch / _users_path(sweep, block), found)

    def _solve_users(self, items: _Side, start: int, stop: int, steps: int, into: Float32) -> None:
        section = self._section
        unseen = self._unseen * self._n_items
        rows, preference = self._train.read(start, stop), section.disliked_preference
        solve_rows(rows, self._liked_from, preference, *items, section.regularisation, unseen, steps, into)

    def _fit_items(self, sweep: int, task: int, context: TaskContext) -> None:
        users: _Side = context.shared
        section, parts, step = self._section, self._parts(), self._train.value_step
        own = self._shares.items(task)
        if sweep:
            found = np.load(self._own.path(_items_path(sweep - 1, task)))
        else:
            found = np.load(self._own.path(_START), mmap_mode="r")[own]
        begin = task * self._shares.each
        unseen = min(self._unseen * self._n_users, section.regularised_users)
        for first, last in cut_places(parts, begin, begin + len(own), REFINE_RATINGS):
            rows = joined(parts, first, last, self._n_users, step)
            some = found[first - begin : last - begin]
            preference = section.disliked_preference
            solve_rows(rows, self._liked_from, preference, *users, section.regularisation, unseen, section.steps, some)
        np.save(context.scratch / _items_path(sweep, task), found)

    def _collect(self, index: int, context: TaskContext) -> None:
        np.save(context.scratch / ITEM_FACTORS, self._items(self._section.sweeps - 1))

    def _load_collected(self) -> _Side:
        return self._side(np.load(self._own.path(ITEM_FACTORS)))

    def _layout(self, index: int, context: TaskContext) -> dict[str, Any]:
        dims, size = self._dims(), self._section.users_per_chunk
        shape = (self._n_users, dims)
        arrays.create_array(context.scratch, VECTORS, shape=shape, chunks=(size, dims), dtype=np.float32, fill=np.nan)
        return {"dims": dims, "n_users": self._n_users}

    def _vectors(self, block: int, context: TaskContext) -> None:
        start, stop = self._bounds(block)
        found = np.load(self._own.path(_users_path(self._section.sweeps - 1, block)))
        self._solve_users(context.shared, start, stop, FOLD_STEPS, found)
        arrays.write_rows(self._own.root, context.scratch, VECTORS, start, unit_rows(found))


_START = "start.npy"


def _part_path(name: str, part: int) -> str:
    return f"{name}-{part:05d}.npy"


def _users_path(sweep: int, block: int) -> str:
    return f"users-{sweep}-{block:05d}.npy"


def _items_path(sweep: int, task: int) -> str:
    return f"items-{sweep}-{task:05d}.npy"
