"""Train, biases, residuals, nearest items -> a predicted rating for every test rating.

A prediction is the bias model's, plus what products of vectors and the user's ratings of the nearest items say of this
one, within the range of the ratings.

Files
-----
``predicted-00000.npy``, ...
    float32, for each test rating of a block of users, in the order of the test matrix.
``covered-00000.npy``, ...
    For each of them whether the user rated an item near it; 8 to a byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.artifacts.names import covered_path, predicted_path
from engine.artifacts.readers import Matrix, Nearest, read_biases, read_latent
from engine.artifacts.records import chosen_rating
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.model.prediction import Near, RatingModel
from engine.stages.predicting import predict_block


class PredictStage:
    """One task a block of users."""

    def __init__(self, inputs: Inputs[config.Predict]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        matrix = Matrix(inputs.upstream["matrix"])
        self._train, self._test = matrix.train, matrix.test

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        yield Round("users", self._inputs.plan()["users"], self._predict, self._load)

    def _load(self) -> RatingModel:
        upstream, section = self._inputs.upstream, self._section
        near = Near(*Nearest(upstream["item_neighbors"]).read(0, self._train.shape[1]), section.shrink)
        biases, weights = read_biases(upstream["biases"]), chosen_rating(section.weights, upstream)
        return RatingModel(biases, read_latent(upstream, weights.latent), near, weights)

    def _predict(self, index: int, context: TaskContext) -> dict[str, Any]:
        start = index * self._section.users_per_task
        stop = min(start + self._section.users_per_task, self._train.shape[0])
        pointers = self._test.indptr[start : stop + 1] - self._test.indptr[start]
        found = predict_block(context.shared, self._train, start, pointers, self._asked)
        np.save(context.scratch / predicted_path(index), found.values)
        np.save(context.scratch / covered_path(index), np.packbits(found.covered))
        return {"first_user": start, "last_user": stop}

    def _asked(self, first: int, last: int) -> NDArray[np.integer[Any]]:
        """Items of the test ratings of some users."""
        return self._test.read(first, last).indices
