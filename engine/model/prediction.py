"""Ratings predicted: the bias model's, and what products of vectors and the user's ratings of near items add to it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.chunked.ranges import consecutive
from engine.kernels.prediction import mean_near_residuals, products_of_pairs
from engine.kernels.refinement import solve_rows
from engine.kernels.rows import Lists, lists_of
from engine.model.biases import Biases, expected, remove_bias
from engine.model.parameters import RatingWeights
from engine.model.residuals import ridges
from engine.model.scoring import cut_by_work, row_numbers
from engine.model.sizes import FOLD_STEPS, PREDICT_RATINGS, PREDICT_USERS


class Near(NamedTuple):
    """The nearest items of each.

    Attributes
    ----------
    ids, similarities : int32 and float32 arrays, shape (items, k)
        By descending similarity; -1 and 0 where there are fewer.
    shrink : float
        Added to the sum of the similarities that a mean is divided by.
    items : integer array, optional
        The items that ``ids`` and ``similarities`` have rows of, ascending; none for all items.
    """

    ids: NDArray[np.int32]
    similarities: NDArray[np.float32]
    shrink: float
    items: NDArray[np.integer[Any]] | None = None


class Latent(NamedTuple):
    """Items' vectors of what the bias model leaves; a user's is fitted to them.

    Attributes
    ----------
    items : float32 array, shape (items, dims)
    unit : float
        That they are fitted in, in units of ratings.
    strength : float
        Of the regularisation (`engine.model.residuals.ridges`).
    """

    items: NDArray[np.float32]
    unit: float
    strength: float


class RatingModel(NamedTuple):
    """What ratings are predicted from: ``b_ui + w_latent unit x_u y_i + w_near n_ui``.

    Attributes
    ----------
    biases : Biases
    latent : Latent or None
        None where it weighs nothing.
    near : Near
    weights : RatingWeights
    """

    biases: Biases
    latent: Latent | None
    near: Near
    weights: RatingWeights


class Predicted(NamedTuple):
    """Predictions, and whether the user rated an item near each; float32 and bool, shape (pairs,)."""

    values: NDArray[np.float32]
    covered: NDArray[np.bool_]

    @classmethod
    def nothing(cls, n: int) -> Predicted:
        """Room for so many pairs."""
        return cls(np.empty(n, dtype=np.float32), np.empty(n, dtype=bool))

    def part(self, some: slice) -> Predicted:
        """Those of some pairs, sharing memory."""
        return Predicted(self.values[some], self.covered[some])

    def of_rows(self, indptr: NDArray[np.int64], rows: NDArray[np.int64]) -> Predicted:
        """Those of some rows of pairs."""
        places = consecutive(indptr[rows], indptr[rows + 1] - indptr[rows])
        return Predicted(self.values[places], self.covered[places])


class Parts(NamedTuple):
    """What a prediction is put together from, for some pairs; float32, shape (pairs,), and ``covered`` as above."""

    bias: NDArray[np.float32]
    latent: NDArray[np.float32]
    near: NDArray[np.float32]
    covered: NDArray[np.bool_]


def predict_ratings(
    model: RatingModel,
    own: NarrowRows,
    first_user: int,
    indptr: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
) -> Predicted:
    """Predict ratings of consecutive users, within the range of the ratings; some users at a time.

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
    found = Predicted.nothing(len(items))
    latent, near = (np.float32(weight) for weight in (model.weights.latent, model.weights.near))
    for first, last in cut_by_work(np.diff(own.indptr) + np.diff(indptr), PREDICT_RATINGS, PREDICT_USERS):
        some = slice(int(indptr[first]), int(indptr[last]))
        asked = indptr[first : last + 1] - indptr[first]
        parts = rating_parts(model, own.part(first, last), first_user + first, asked, items[some])
        values = parts.bias + latent * parts.latent + near * parts.near
        found.values[some] = np.clip(values, model.biases.low, model.biases.high)
        found.covered[some] = parts.covered
    return found


def rating_parts(
    model: RatingModel,
    own: NarrowRows,
    first_user: int,
    indptr: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
) -> Parts:
    """What predictions are put together from; all at once. Parameters as those of `predict_ratings`."""
    residuals = own.values()
    remove_bias(residuals, own.indptr, own.indices, model.biases, first_user)
    asked = Lists(indptr.astype(np.int64), items.astype(np.int32))
    latent = (
        np.zeros(len(items), dtype=np.float32) if model.latent is None else _latent(model.latent, own, residuals, asked)
    )
    of = model.near
    places = items if of.items is None else np.searchsorted(of.items, items)
    near, covered = mean_near_residuals(
        lists_of(own),
        residuals,
        own.n_columns,
        Lists(asked.indptr, places.astype(np.int32)),
        of.ids,
        of.similarities,
        of.shrink,
    )
    bias = expected(model.biases, first_user + row_numbers(indptr), items)
    return Parts(bias, latent, near, covered)


def _latent(latent: Latent, own: NarrowRows, residuals: NDArray[np.float32], asked: Lists) -> NDArray[np.float32]:
    """What products say of pairs, once users' vectors are fitted to what the bias model leaves."""
    vectors = np.zeros((len(asked.indptr) - 1, latent.items.shape[1]), dtype=np.float32)
    unit = np.float32(latent.unit)
    solve_rows(own, residuals / unit, ridges(own, latent.strength), latent.items, None, FOLD_STEPS, vectors)
    found: NDArray[np.float32] = unit * products_of_pairs(vectors, latent.items, asked)
    return found
