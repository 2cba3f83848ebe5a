"""Train CSR -> mean, user and item biases.

b_u and b_i minimise the squared error of mu + b_u + b_i with damping, by settling items' and users' in turn
(Koren 2010, https://doi.org/10.1145/1644873.1644874, section 2.1): each is the sum of what the others leave of its
ratings, over their number plus the damping. Sums of ratings are taken once; what a pass subtracts from them are
products of biases with the matrix of ones where a rating is.

Files
-----
``user-bias.npy``, ``item-bias.npy``
    float32 (users,) and (items,).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine import config
from engine.artifacts.names import ITEM_BIAS, USER_BIAS
from engine.artifacts.readers import Matrix
from engine.chunked.csr import NarrowRows
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.model.biases import damped
from engine.model.scoring import cut_by_work
from engine.model.sizes import BIAS_RATINGS


class BiasesStage:
    """One task: it takes seconds."""

    def __init__(self, inputs: Inputs[config.Biases]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._train = Matrix(inputs.upstream["matrix"]).train

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        yield Round("fit", self._inputs.plan()["fit"], self._fit)

    def _fit(self, index: int, context: TaskContext) -> dict[str, Any]:
        n_users = self._train.shape[0]
        ratings = self._train.read(0, n_users)  # decoded once for all passes
        user_sums, item_sums, item_counts = _sums(ratings)
        mean = float(user_sums.sum()) / max(1, len(ratings.data))
        user_sums -= mean * np.diff(ratings.indptr)
        item_sums -= mean * item_counts
        users = np.zeros(n_users)
        items = damped(item_sums, item_counts, self._section.item_damping)
        for p in range(self._section.passes):
            left = item_sums.copy()
            for start, stop, rows in _pieces(ratings):
                rated = csr_matrix((np.ones(rows.nnz), rows.indices, rows.indptr), shape=rows.shape)
                of_users = user_sums[start:stop] - rated @ items
                users[start:stop] = damped(of_users, np.diff(rows.indptr), self._section.user_damping)
                left -= np.asarray(rated.T @ users[start:stop])
            if p < self._section.passes - 1:
                items = damped(left, item_counts, self._section.item_damping)
        np.save(context.scratch / USER_BIAS, users.astype(np.float32))
        np.save(context.scratch / ITEM_BIAS, items.astype(np.float32))
        step = ratings.value_step
        low, high = (float(f(ratings.data)) * step if len(ratings.data) else 0.0 for f in (np.min, np.max))
        return {"mean": mean, "low": low, "high": high}


def _sums(ratings: NarrowRows) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Sum of each user's ratings, and of each item's, and how many an item has."""
    users, items = np.zeros(len(ratings.indptr) - 1), np.zeros(ratings.n_columns)
    counts = np.zeros(ratings.n_columns, dtype=np.int64)
    for start, stop, rows in _pieces(ratings):
        users[start:stop] = rows @ np.ones(ratings.n_columns)
        items += rows.T @ np.ones(stop - start)
        counts += np.bincount(rows.indices, minlength=ratings.n_columns)
    return users, items, counts


def _pieces(ratings: NarrowRows) -> Iterator[tuple[int, int, csr_matrix]]:
    """Whole users, of about `BIAS_RATINGS` together: first and last, and their ratings."""
    lengths = np.diff(ratings.indptr)
    for start, stop in cut_by_work(lengths, BIAS_RATINGS, len(lengths)):
        yield start, stop, ratings.part(start, stop).widen()
