"""Train CSR -> mean, user and item biases.

Users' biases and items' are settled in turn (`engine.model.biases`), users by parts of whole rows. What a part adds up
to for the items is a file; one task adds these in the order of the parts.

Files
-----
``user-bias.npy``, ``item-bias.npy``
    float32 (users,) and (items,).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.artifacts.names import ITEM_BIAS, USER_BIAS
from engine.artifacts.readers import Matrix
from engine.chunked.array_files import load_array
from engine.chunked.csr import NarrowRows
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext, task_id
from engine.model.biases import damped, settle_users, start_from, sums_of, taken_off, within
from engine.model.sizes import PART_USER


class BiasesStage:
    """Sums of the ratings; then users by parts and items, as often as there are passes; then the users together."""

    def __init__(self, inputs: Inputs[config.Biases]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._own = inputs.own
        self._train = Matrix(inputs.upstream["matrix"]).train
        self._n_parts = inputs.plan()["sums"].n_tasks
        self._ranges = self._train.split_rows(self._n_parts, PART_USER) if self._n_parts else []

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan, last = self._inputs.plan(), self._section.passes - 1
        yield Round("sums", plan["sums"], self._add_up, until="fit")
        yield Round("start", plan["start"], self._start, until="fit")
        for p in range(last):
            users, items = f"users-{p}", f"items-{p + 1}"
            yield Round(users, plan[users], partial(self._settle_users, p), partial(self._load, p), until="fit")
            yield Round(items, plan[items], partial(self._settle_items, p + 1), until="fit")
        yield Round(f"users-{last}", plan[f"users-{last}"], self._settle_last, partial(self._load, last), until="fit")
        yield Round("fit", plan["fit"], self._fit)

    def _part(self, index: int) -> NarrowRows:
        return self._train.read(*self._ranges[index])

    def _add_up(self, index: int, context: TaskContext) -> dict[str, float] | None:
        sums = sums_of(self._part(index))
        np.save(context.scratch / _sums_path(index), sums.of_items)
        np.save(context.scratch / _counts_path(index), sums.counts)
        return {"low": sums.low, "high": sums.high} if sums.counts.any() else None

    def _start(self, index: int, context: TaskContext) -> dict[str, float]:
        start = start_from(self._added(_sums_path), self._added(_counts_path))
        np.save(context.scratch / _LEFT, start.left)
        np.save(context.scratch / _COUNTS, start.counts)
        np.save(context.scratch / _items_path(0), damped(start.left, start.counts, self._section.item_damping))
        return {"mean": start.mean}

    def _added(self, path: Callable[[int], str]) -> NDArray[Any]:
        """What the parts have left, added in their order; shape (items,)."""
        added: NDArray[Any] = load_array(self._own.path(path(0)))
        for part in range(1, self._n_parts):
            added += load_array(self._own.path(path(part)))
        return added

    def _load(self, p: int) -> tuple[float, NDArray[np.float64]]:
        """The mean, and the items' biases that the users' of pass ``p`` are settled by."""
        return self._own.result(task_id("start"))["mean"], load_array(self._own.path(_items_path(p)))

    def _settle_users(self, p: int, index: int, context: TaskContext) -> None:
        (mean, items), rows = context.shared, self._part(index)
        users = settle_users(rows, mean, items, self._section.user_damping)
        np.save(context.scratch / _taken_path(p, index), taken_off(rows, users))

    def _settle_items(self, p: int, index: int, context: TaskContext) -> None:
        left: NDArray[np.float64] = load_array(self._own.path(_LEFT))
        left -= self._added(partial(_taken_path, p - 1))
        items = damped(left, load_array(self._own.path(_COUNTS)), self._section.item_damping)
        np.save(context.scratch / _items_path(p), items)

    def _settle_last(self, index: int, context: TaskContext) -> None:
        mean, items = context.shared
        users = settle_users(self._part(index), mean, items, self._section.user_damping)
        np.save(context.scratch / _users_path(index), users.astype(np.float32))

    def _fit(self, index: int, context: TaskContext) -> dict[str, Any]:
        users = np.empty(self._train.shape[0], dtype=np.float32)
        for part, (start, stop) in enumerate(self._ranges):
            users[start:stop] = load_array(self._own.path(_users_path(part)))
        mean, items = self._load(self._section.passes - 1)
        np.save(context.scratch / USER_BIAS, users)
        np.save(context.scratch / ITEM_BIAS, items.astype(np.float32))
        seen = [each for each in self._own.results("sums") if each]
        low, high = within(
            min((each["low"] for each in seen), default=math.inf),
            max((each["high"] for each in seen), default=-math.inf),
        )
        return {"mean": mean, "low": low, "high": high}


_LEFT = "left.npy"
_COUNTS = "counts.npy"


def _sums_path(part: int) -> str:
    return f"sums-{part:05d}.npy"


def _counts_path(part: int) -> str:
    return f"counts-{part:05d}.npy"


def _items_path(p: int) -> str:
    return f"items-{p}.npy"


def _taken_path(p: int, part: int) -> str:
    return f"taken-{p}-{part:05d}.npy"


def _users_path(part: int) -> str:
    return f"users-{part:05d}.npy"
