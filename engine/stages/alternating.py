"""Rounds of alternating least squares, out of core: what the stages refine and residuals have in common.

In a sweep users' vectors are fitted to those of the items, a part of the users a task. While it has them, a task adds
up what the items need of its users: a sum for each item. Then items' vectors are fitted, by steps of conjugate
gradients: tasks of items add up the parts' sums, in the order of the parts, and take a step; tasks of users add up what
the next step needs. Where users are one part, tasks of items do all steps, and go through the users at each of them.
So nothing is held of all users, and the ratings are read as they lie, by user. All but the item vectors at the end is
temporary.

What is held of all items while users go by is in order of popularity, where users are many parts: then what most
ratings need lies close together.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from engine.artifacts.names import ITEM_FACTORS
from engine.artifacts.readers import Factors, Matrix
from engine.artifacts.records import FactorsLayout, Scale
from engine.chunked.array_files import ArrayFile, array_file, load_array
from engine.chunked.csr import NarrowRows
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext, task_id
from engine.kernels.refinement import Descents
from engine.model.alternating import (
    Float32,
    Float64,
    Int32,
    Objective,
    Side,
    add_more,
    add_some,
    begin_items,
    fit_users,
    of_some,
    padded,
    side,
    step_items,
    weights_of_items,
)
from engine.model.factors import gram
from engine.model.refine import starting_vectors
from engine.model.scale import scaled
from engine.model.scoring import cut_by_work
from engine.model.sizes import PART_USER, PIECE_RATINGS, PIECE_USERS


class Sweeps(Protocol):
    """What a section says of the sweeps."""

    @property
    def sweeps(self) -> int: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def items_per_task(self) -> int: ...  # noqa: D102


Section = TypeVar("Section", bound=Sweeps)


class AlternatingStage(Generic[Section]):
    """Sums of the ratings, then sweeps, then the item vectors; whoever derives says what is fitted, and from where."""

    users_needed_until = "collect"
    """The round after which neither users' vectors of sweeps nor the order of the items are needed."""

    def __init__(self, inputs: Inputs[Section]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._own = inputs.own
        matrix, factors = inputs.upstream["matrix"], inputs.upstream["factors"]
        self._train = Matrix(matrix).train
        self._scale = Scale.of(matrix) if FactorsLayout.of(factors).scaled else None
        self._factors = Factors(factors)
        self._n_users, self._n_items = self._train.shape
        self._dims = padded(min(self.leading(), FactorsLayout.of(factors).dims))
        self._n_parts = inputs.plan()["sums"].n_tasks
        self._parts = self._train.split_rows(self._n_parts, PART_USER) if self._n_parts else []
        self._is_one_part = "items-0" in inputs.plan()
        self._users_files: dict[tuple[int, int], ArrayFile] = {}

    def objective(self) -> Objective:
        """What products of vectors are fitted to; after the round ``start``."""
        raise NotImplementedError

    def weights(self, rows: NarrowRows) -> Float32 | None:
        """What each rating weighs, as the objective will say; None: all weigh 1."""
        return None

    def leading(self) -> int:
        """Dimensions of the SVD that vectors start with, or as many as it has."""
        raise NotImplementedError

    @cached_property
    def order(self) -> Int32:
        """The row of each item in what is held of all; after the round ``start``, and as long as its files."""
        found: Int32 = load_array(self._own.path(_ORDER))
        return found

    def sums(self) -> tuple[float, float]:
        """Of magnitudes of train ratings as they were decomposed, and of squares as they are; after ``start``."""
        found = self._own.result(task_id("start"))
        return found["magnitude"], found["squares"]

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        yield Round("sums", plan["sums"], self._add_up, until="start")
        yield Round("start", plan["start"], self._start, until=self.users_needed_until)
        for sweep in range(self._section.sweeps):
            users, load = f"users-{sweep}", partial(self._load_items, sweep - 1)
            until = self._then(sweep, "users", self.users_needed_until)
            yield Round(users, plan[users], partial(self._fit_users, sweep), load, until=until)
            yield from self._at_once(sweep) if self._is_one_part else self._step_by_step(sweep)
        yield Round("collect", plan["collect"], self._collect)

    def _then(self, sweep: int, name: str, end: str) -> str:
        """The round of a name in the next sweep, or ``end`` after the last."""
        return f"{name}-{sweep + 1}" if sweep < self._section.sweeps - 1 else end

    def _at_once(self, sweep: int) -> Iterator[Round]:
        """Fit items where users are one part: going through it again takes less than passing sums on."""
        name = f"items-{sweep}"
        until, planned = self._then(sweep, "items", "collect"), self._inputs.plan()[name]
        yield Round(name, planned, partial(self._fit_items, sweep), self._load_ratings, until=until)

    def _step_by_step(self, sweep: int) -> Iterator[Round]:
        """Fit items by sums that the parts of the users leave."""
        plan, steps = self._inputs.plan(), [f"step-{sweep}-{number}" for number in range(self._section.steps)]
        untils = [*steps[1:], self._then(sweep, "begin", "collect")]
        begin = f"begin-{sweep}"
        yield Round(begin, plan[begin], partial(self._begin, sweep), self.objective, until=steps[0])
        for number, (step, until) in enumerate(zip(steps, untils, strict=True)):
            more, load = f"more-{sweep}-{number}", partial(self._load_directions, sweep, number)
            yield Round(more, plan[more], partial(self._add_more, sweep, number), load, until=step)
            yield Round(step, plan[step], partial(self._step, sweep, number), self.objective, until=until)

    # Users, by parts.

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, NarrowRows]]:
        """Ratings of a range of users, some at a time; which users these are."""
        stretches = list(itertools.pairwise(self._edges(start, stop)))
        for stretch, rows in zip(stretches, self._train.read_stretches(stretches), strict=True):
            yield *stretch, rows

    def _edges(self, start: int, stop: int) -> list[int]:
        """The first user of each piece of a range, and the end."""
        lengths = np.diff(self._train.indptr[start : stop + 1])
        return [start, *(start + last for _, last in cut_by_work(lengths, PIECE_RATINGS, PIECE_USERS))]

    def _add_up(self, part: int, context: TaskContext) -> dict[str, float]:
        totals = np.zeros(self._n_items)
        magnitude = squares = 0.0
        for _, _, rows in self.pieces(*self._parts[part]):
            totals += weights_of_items(rows, self.weights(rows))
            decomposed = rows if self._scale is None else scaled(rows, self._scale.low, self._scale.high)
            magnitude += float(np.abs(decomposed.values().astype(np.float64)).sum())
            squares += float(np.square(rows.values().astype(np.float64)).sum())
        np.save(context.scratch / _totals_path(part), totals)
        return {"magnitude": magnitude, "squares": squares}

    def _start(self, index: int, context: TaskContext) -> dict[str, float]:
        totals = np.zeros(self._n_items)
        for part in range(self._n_parts):
            totals += load_array(self._own.path(_totals_path(part)))
        by_count = np.argsort(np.zeros(self._n_items) if self._is_one_part else -totals, kind="stable")
        order = np.empty(self._n_items, dtype=np.int32)
        order[by_count] = np.arange(self._n_items, dtype=np.int32)
        np.save(context.scratch / _ORDER, order)
        np.save(context.scratch / _TOTALS, totals[by_count])
        found = self._own.results("sums")
        magnitude, squares = (sum(each[name] for each in found) for name in ("magnitude", "squares"))
        loadings, values = self._factors.loadings(mmap_mode="r"), self._factors.singular_values()
        start = starting_vectors(loadings[:, : self.leading()], values, magnitude / max(1, self._train.nnz))
        np.save(context.scratch / _START, start[by_count])
        return {"magnitude": magnitude, "squares": squares}

    def _load_items(self, sweep: int) -> tuple[Objective, Side]:
        objective = self.objective()
        return objective, side(objective, self._items(sweep), self.order)

    def _fit_users(self, sweep: int, part: int, context: TaskContext) -> None:
        objective, items = context.shared
        start, stop = self._parts[part]
        sums = None if self._is_one_part else np.zeros_like(items.vectors)
        products = np.zeros((self._dims, self._dims))
        path = context.scratch / _users_path(sweep, part)
        with array_file(path, np.float32, (stop - start, self._dims)) as write:
            for first, last, rows in self.pieces(start, stop):
                found = self.users(sweep - 1, first, last)
                fit_users(objective, rows, np.arange(first, last), items, self._section.steps, found, sums)
                products += gram(found)
                write(found)
        if sums is not None:
            np.save(context.scratch / _sums_path(sweep, 0, part), sums)
        np.save(context.scratch / _products_path(sweep, part), products)

    def _add_more(self, sweep: int, number: int, part: int, context: TaskContext) -> None:
        objective, directions = context.shared
        sums = np.zeros_like(directions)
        for first, last, rows in self.pieces(*self._parts[part]):
            add_more(objective, rows, self.users(sweep, first, last), directions, sums, self.order)
        np.save(context.scratch / _sums_path(sweep, number + 1, part), sums)

    def users(self, sweep: int, start: int, stop: int) -> Float32:
        """Vectors of some users after a sweep; zeros before the first."""
        found = np.zeros((stop - start, self._dims), dtype=np.float32)
        for part, (first, last) in enumerate(self._parts) if sweep >= 0 else ():
            if first < stop and last > start:
                stored = self._users_file(sweep, part)
                some = slice(max(first, start), min(last, stop))
                found[some.start - start : some.stop - start] = stored[some.start - first : some.stop - first]
        return found

    def _users_file(self, sweep: int, part: int) -> ArrayFile:
        """Vectors of a part after a sweep: a file that many pieces are read of."""
        found = self._users_files.get((sweep, part))
        if found is None:
            found = self._users_files[sweep, part] = ArrayFile(self._own.path(_users_path(sweep, part)))
        return found

    # Items, by ranges of their rows.

    def _ranges(self) -> list[slice]:
        """Items of each task, as many as are planned; items that only test knows are none of them."""
        n_tasks = self._inputs.plan()["items-0" if self._is_one_part else "begin-0"].n_tasks
        edges = [self._n_items * task // n_tasks for task in range(n_tasks + 1)]
        return [slice(*each) for each in itertools.pairwise(edges)]

    def _items(self, sweep: int) -> Float32:
        """Item vectors after a sweep; those it starts from before the first."""
        if sweep < 0:
            start: Float32 = load_array(self._own.path(_START))
            return start
        return self._joined(_SOLUTIONS, sweep, self._section.steps)

    def _load_directions(self, sweep: int, number: int) -> tuple[Objective, Float32]:
        return self.objective(), self._joined(_DIRECTIONS, sweep, number)

    def _joined(self, which: int, sweep: int, number: int) -> Float32:
        """One of the arrays of all items' descents, after so many steps."""
        found = np.empty((self._n_items, self._dims), dtype=np.float32)
        for index, some in enumerate(self._ranges()):
            found[some] = load_array(self._own.path(_descent_paths(sweep, number, index)[which]))
        return found

    def _gathered(self, sweep: int, number: int, some: slice) -> tuple[Float32, Float64, Float64]:
        """What fitting some items takes: sums of all parts, what the items' ratings weigh, the users' Gram matrix."""
        sums = np.zeros((some.stop - some.start, self._dims), dtype=np.float32)
        for part in range(self._n_parts):
            sums += ArrayFile(self._own.path(_sums_path(sweep, number, part)))[some]
        return sums, *self._weights_and_products(sweep, some)

    def _weights_and_products(self, sweep: int, some: slice) -> tuple[Float64, Float64]:
        products = np.zeros((self._dims, self._dims))
        for part in range(self._n_parts):
            products += load_array(self._own.path(_products_path(sweep, part)))
        return ArrayFile(self._own.path(_TOTALS))[some], products

    def _load_ratings(self) -> tuple[Objective, NarrowRows]:
        return self.objective(), self._train.read(0, self._n_users)

    def _fit_items(self, sweep: int, index: int, context: TaskContext) -> None:
        """Fit some items, to all users."""
        objective, rows = context.shared
        some = self._ranges()[index]
        totals, products = self._weights_and_products(sweep, some)
        solutions = self._before(sweep, index)
        pieces = list(itertools.pairwise(self._edges(0, self._n_users)))
        ratings = [of_some(objective, rows.part(*piece), np.arange(*piece), some) for piece in pieces]
        sums = np.empty_like(solutions)

        def add_up(vectors: Float32, *, first: bool) -> None:
            """Let all users add what beginning takes with these vectors, or a step."""
            sums[:] = 0
            for piece, of_piece in zip(pieces, ratings, strict=True):
                add_some(of_piece, self.users(sweep, *piece), vectors, sums, first=first)

        add_up(solutions, first=True)
        descents = begin_items(objective, sums, totals, products, solutions)
        for _ in range(self._section.steps):
            add_up(descents.directions, first=False)
            step_items(objective, sums, totals, products, descents)
        np.save(context.scratch / _descent_paths(sweep, self._section.steps, index)[_SOLUTIONS], descents.solutions)

    def _before(self, sweep: int, index: int) -> Float32:
        """Vectors of a task's items before a sweep."""
        if sweep:
            path = _descent_paths(sweep - 1, self._section.steps, index)[_SOLUTIONS]
            before: Float32 = load_array(self._own.path(path))
            return before
        return ArrayFile(self._own.path(_START))[self._ranges()[index]]

    def _begin(self, sweep: int, index: int, context: TaskContext) -> None:
        gathered = self._gathered(sweep, 0, self._ranges()[index])
        self._save(begin_items(context.shared, *gathered, self._before(sweep, index)), sweep, 0, index, context)

    def _step(self, sweep: int, number: int, index: int, context: TaskContext) -> None:
        paths = _descent_paths(sweep, number, index)
        descents = Descents(*(load_array(self._own.path(path)) for path in paths))
        gathered = self._gathered(sweep, number + 1, self._ranges()[index])
        step_items(context.shared, *gathered, descents)
        self._save(descents, sweep, number + 1, index, context)

    def _save(self, descents: Descents, sweep: int, number: int, index: int, context: TaskContext) -> None:
        for path, array in zip(_descent_paths(sweep, number, index), descents, strict=True):
            np.save(context.scratch / path, array)

    def _collect(self, index: int, context: TaskContext) -> dict[str, float]:
        np.save(context.scratch / ITEM_FACTORS, self._items(self._section.sweeps - 1)[self.order])
        return self.told()

    def told(self) -> dict[str, Any]:
        """What else a reader of the item vectors has to know."""
        return {}


_START = "start.npy"
_ORDER = "order.npy"
_TOTALS = "totals.npy"
_SOLUTIONS, _DIRECTIONS = Descents._fields.index("solutions"), Descents._fields.index("directions")


def _totals_path(part: int) -> str:
    return f"totals-{part:05d}.npy"


def _users_path(sweep: int, part: int) -> str:
    return f"users-{sweep}-{part:05d}.npy"


def _products_path(sweep: int, part: int) -> str:
    return f"products-{sweep}-{part:05d}.npy"


def _sums_path(sweep: int, number: int, part: int) -> str:
    return f"sums-{sweep}-{number}-{part:05d}.npy"


def _descent_paths(sweep: int, number: int, index: int) -> list[str]:
    """Files of the arrays of some items' descents, after so many steps."""
    return [f"{name}-{sweep}-{number}-{index:05d}.npy" for name in Descents._fields]
