"""Ratings predicted: the bias model's, plus what the user's ratings of the nearest items say of this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine.model.biases import Biases, expected, remove_bias
from engine.model.item_neighbors import predict_residuals, residual_table
from engine.model.scoring import row_numbers
from engine.model.sizes import PREDICT_PAIRS, PREDICT_USERS


class RatingModel(NamedTuple):
    """What ratings are predicted from.

    Attributes
    ----------
    biases : Biases
    ids, similarities : int32 and float32 arrays, shape (items, k)
        Nearest items; see `engine.model.item_neighbors.nearest_items`.
    shrink : float
        Added to the sum of the similarities that a mean is divided by.
    items : integer array, optional
        The items that ``ids`` and ``similarities`` have rows of, ascending; none for all items.
    """

    biases: Biases
    ids: NDArray[np.int32]
    similarities: NDArray[np.float32]
    shrink: float
    items: NDArray[np.integer[Any]] | None = None


class Predicted(NamedTuple):
    """Predictions, and whether the user rated an item near each; float32 and bool, shape (pairs,)."""

    values: NDArray[np.float32]
    covered: NDArray[np.bool_]

    def part(self, some: slice) -> Predicted:
        """Those of some pairs, sharing memory."""
        return Predicted(self.values[some], self.covered[some])


def predict_ratings(
    model: RatingModel,
    ratings_of: Callable[[int, int], csr_matrix],
    n_items: int,
    first_user: int,
    indptr: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
) -> Predicted:
    """Predict ratings of consecutive users, within the range of the ratings; some users at a time.

    Where the user rated no item near, the bias model stands alone.

    Parameters
    ----------
    model : RatingModel
    ratings_of : callable
        Gives the train ratings of the users from one up to another, counted from the first of all, as a csr_matrix of
        float32, shape (users, n_items), which is written over.
    n_items : int
        Of train.
    first_user : int
        Code of the first of the users, as ``model.biases`` has them.
    indptr, items : integer arrays, shapes (users + 1,) and (pairs,)
        The items asked for, each user's after the other's.

    Returns
    -------
    Predicted
        In the order of ``items``.
    """
    n_users = len(indptr) - 1
    table = residual_table(min(PREDICT_USERS, n_users), n_items)
    found = Predicted(np.empty(len(items), dtype=np.float32), np.empty(len(items), dtype=bool))
    for first in range(0, n_users, PREDICT_USERS):
        last = min(first + PREDICT_USERS, n_users)
        some = slice(indptr[first], indptr[last])
        rows = row_numbers(indptr[first : last + 1])
        into = found.part(some)
        into.values[:], into.covered[:] = _predict(
            model, ratings_of(first, last), first_user + first, rows, items[some], table
        )
    return found


def _predict(
    model: RatingModel,
    ratings: csr_matrix,
    first_user: int,
    rows: NDArray[np.int64],
    items: NDArray[np.integer[Any]],
    table: NDArray[np.complex64],
) -> Predicted:
    """Predict pairs of ``rows`` of ``ratings``, which become residuals, and items."""
    remove_bias(ratings.data, ratings.indptr, ratings.indices, model.biases, first_user)
    places = items if model.items is None else np.searchsorted(model.items, items)
    predicted, covered = np.empty(len(rows), dtype=np.float32), np.empty(len(rows), dtype=bool)
    for at in range(0, len(rows), PREDICT_PAIRS):
        some = slice(at, at + PREDICT_PAIRS)
        near, covered[some] = predict_residuals(
            ratings, rows[some], places[some], model.ids, model.similarities, model.shrink, table
        )
        values = expected(model.biases, first_user + rows[some], items[some]) + near
        predicted[some] = np.clip(values, model.biases.low, model.biases.high)
    return Predicted(predicted, covered)
