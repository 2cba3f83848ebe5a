"""Ratings predicted: the bias model's, plus what the user's ratings of the nearest films say of this one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine.model.biases import Biases, expected, remove_bias
from engine.model.item_neighbors import predict_residuals
from engine.model.sizes import PREDICT_PAIRS


class RatingModel(NamedTuple):
    """What ratings are predicted from.

    Attributes
    ----------
    biases : Biases
    ids, similarities : int32 and float32 arrays, shape (films, k)
        Nearest films; see `engine.model.item_neighbors.nearest_items`.
    shrink : float
        Added to the sum of the similarities that a mean is divided by.
    films : integer array, optional
        The films that ``ids`` and ``similarities`` have rows of, ascending; none for all films.
    """

    biases: Biases
    ids: NDArray[np.int32]
    similarities: NDArray[np.float32]
    shrink: float
    films: NDArray[np.integer[Any]] | None = None


class Predicted(NamedTuple):
    """Predictions, and whether the user rated a film near each; float32 and bool, shape (pairs,)."""

    values: NDArray[np.float32]
    covered: NDArray[np.bool_]

    def part(self, some: slice) -> Predicted:
        """Those of some pairs, sharing memory."""
        return Predicted(self.values[some], self.covered[some])


def predict_ratings(
    model: RatingModel,
    ratings: csr_matrix,
    first_user: int,
    rows: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
    known: NDArray[np.complex64],
) -> Predicted:
    """Predict ratings of consecutive users, within the range of the ratings.

    Where the user rated no film near, the bias model stands alone.

    Parameters
    ----------
    model : RatingModel
    ratings : csr_matrix of float32, shape (n, films)
        The users' train ratings; residuals afterwards.
    first_user : int
        Code of the first of them.
    rows, items : integer arrays, shape (pairs,)
        The pairs asked for; ``rows`` are rows of ``ratings``.
    known : complex64 array, shape (at least n * films + 1,)
        Zeros; used as scratch and left as zeros.
    """
    remove_bias(ratings.data, ratings.indptr, ratings.indices, model.biases, first_user)
    places = items if model.films is None else np.searchsorted(model.films, items)
    predicted, covered = np.empty(len(rows), dtype=np.float32), np.empty(len(rows), dtype=bool)
    for at in range(0, len(rows), PREDICT_PAIRS):
        some = slice(at, at + PREDICT_PAIRS)
        near, covered[some] = predict_residuals(
            ratings, rows[some], places[some], model.ids, model.similarities, model.shrink, known
        )
        values = expected(model.biases, first_user + rows[some], items[some]) + near
        predicted[some] = np.clip(values, model.biases.low, model.biases.high)
    return Predicted(predicted, covered)
