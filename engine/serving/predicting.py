"""Ratings to be expected."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.artifacts.readers import read_biases
from engine.kernels.rows import Lists, no_lists
from engine.model.prediction import Near, Predicted, RatingModel, predict_ratings
from engine.model.sizes import SCORE_USERS
from engine.serving.opened import OpenedRun
from engine.serving.people import People


def predict_known(opened: OpenedRun, codes: NDArray[np.int64], items: NDArray[np.int64]) -> Predicted:
    """Predictions for pairs of known users and items, some users at a time."""
    found = Predicted(np.empty(len(codes), dtype=np.float32), np.empty(len(codes), dtype=bool))
    order = np.argsort(codes, kind="stable")
    distinct, starts = np.unique(codes[order], return_index=True)
    starts = np.append(starts, len(codes))
    for first in range(0, len(distinct), SCORE_USERS):
        some = distinct[first : first + SCORE_USERS]
        pairs = order[starts[first] : starts[first + len(some)]]
        rows = np.searchsorted(some, codes[pairs])
        found.values[pairs], found.covered[pairs] = predict(opened, opened.known(some), rows, items[pairs])
    return found


def predict_any(
    opened: OpenedRun, users: NDArray[np.int64], items: NDArray[np.int64], known: NDArray[np.bool_]
) -> Predicted:
    """Predictions for pairs of codes, -1 where the run does not have it: such a user or item is as the mean one.

    ``known`` says of which pairs the run has both.
    """
    biases = opened.biases if opened.biases is not None else read_biases(opened.run.stages["biases"])
    of_users = np.where(users < 0, np.float32(0), biases.users[users])
    of_items = np.where(items < 0, np.float32(0), biases.items[items])
    values = np.clip(biases.mean + of_users + of_items, biases.low, biases.high).astype(np.float32)
    covered = np.zeros(len(users), dtype=np.bool_)
    values[known], covered[known] = predict_known(opened, users[known], items[known])
    return Predicted(values, covered)


def predict(
    opened: OpenedRun, people: People, rows: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
) -> Predicted:
    """Predictions for pairs of rows of ``people``, ascending, and items."""
    if opened.biases is None or opened.near_items is None:
        return _scores(opened, people, rows, items)
    distinct = np.unique(items).astype(np.int64)
    ids, similarities = opened.near_items.take(distinct)
    biases = opened.biases._replace(users=people.biases)
    near = Near(ids, similarities, opened.settings.predict.shrink, distinct)
    model = RatingModel(biases, opened.latent, near, opened.rating_weights)
    indptr = np.searchsorted(rows, np.arange(len(people.neighbors) + 1))
    return predict_ratings(model, people.rated, 0, indptr, items)


def _scores(
    opened: OpenedRun, people: People, rows: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]
) -> Predicted:
    """The notebook's scores of pairs."""
    ratings, neighbors = opened.ratings_of_neighbors(people)
    asked = Lists(np.searchsorted(rows, np.arange(len(neighbors) + 1)), items.astype(np.int32))
    nobody = no_lists(len(neighbors))
    scores = opened.ranking.rank(ratings, neighbors, people.similarities, people.rated, nobody, 1, asked).wanted
    return Predicted(scores, scores != 0)
