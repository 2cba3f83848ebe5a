"""Ratings predicted for a block of users, whose own ratings are read some at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import CsrReader
from engine.model.prediction import Predicted, RatingModel, predict_ratings
from engine.model.scoring import cut_by_work
from engine.model.sizes import PREDICT_RATINGS


def predict_block(
    model: RatingModel,
    train: CsrReader,
    start: int,
    indptr: NDArray[np.integer[Any]],
    items: Callable[[int, int], NDArray[np.integer[Any]]],
) -> Predicted:
    """Predict pairs of users from ``start`` on.

    Parameters
    ----------
    model : RatingModel
    train : CsrReader
        Of all users.
    start : int
    indptr : integer array, shape (users + 1,)
        Where each user's pairs are, from 0 on.
    items : callable
        Gives the items of the pairs of users ``first`` to ``last``, codes of all users.
    """
    n_users = len(indptr) - 1
    found = Predicted.nothing(int(indptr[-1]))
    lengths = np.diff(train.indptr[start : start + n_users + 1]) + np.diff(indptr)
    for first, last in cut_by_work(lengths, 2 * PREDICT_RATINGS, n_users):
        own, asked = train.read(start + first, start + last), items(start + first, start + last)
        some = predict_ratings(model, own, start + first, indptr[first : last + 1] - indptr[first], asked)
        of_users = slice(int(indptr[first]), int(indptr[last]))
        found.values[of_users], found.covered[of_users] = some
    return found
