"""Ratings predicted: the bias model's, plus what the user's ratings of the nearest items say of this one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.kernels.prediction import mean_near_residuals
from engine.kernels.rows import Lists, lists_of
from engine.model.biases import Biases, expected, remove_bias
from engine.model.scoring import row_numbers
from engine.model.sizes import PREDICT_USERS


class RatingModel(NamedTuple):
    """What ratings are predicted from.

    Attributes
    ----------
    biases : Biases
    ids, similarities : int32 and float32 arrays, shape (items, k)
        Nearest items by descending similarity; -1 and 0 where there are fewer.
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
    own: NarrowRows,
    first_user: int,
    indptr: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
) -> Predicted:
    """Predict ratings of consecutive users, within the range of the ratings; some users at a time.

    Where the user rated no item near, the bias model stands alone.

    Parameters
    ----------
    model : RatingModel
    own : NarrowRows
        The users' train ratings, users x items.
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
    found = Predicted(np.empty(len(items), dtype=np.float32), np.empty(len(items), dtype=bool))
    for first in range(0, n_users, PREDICT_USERS):
        last = min(first + PREDICT_USERS, n_users)
        some = slice(int(indptr[first]), int(indptr[last]))
        asked = indptr[first : last + 1] - indptr[first]
        found.values[some], found.covered[some] = _predict(
            model, own.part(first, last), first_user + first, asked, items[some]
        )
    return found


def _predict(
    model: RatingModel,
    own: NarrowRows,
    first_user: int,
    indptr: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
) -> Predicted:
    residuals = own.values()
    remove_bias(residuals, own.indptr, own.indices, model.biases, first_user)
    places = items if model.items is None else np.searchsorted(model.items, items)
    near, covered = mean_near_residuals(
        lists_of(own),
        residuals,
        own.n_columns,
        Lists(indptr.astype(np.int64), places.astype(np.int32)),
        model.ids,
        model.similarities,
        model.shrink,
    )
    values = expected(model.biases, first_user + row_numbers(indptr), items) + near
    return Predicted(np.clip(values, model.biases.low, model.biases.high), covered)
