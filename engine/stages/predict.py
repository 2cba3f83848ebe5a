"""Train, biases, nearest films -> a predicted rating for every test rating.

A prediction is the bias model's, plus what the user's ratings of the nearest films say of this one, within the range
of the ratings. Where the user rated none of them the bias model stands alone.

Files
-----
``predicted-00000.npy``, ...
    float32, for each test rating of a block of users, in the order of the test matrix.
``covered-00000.npy``, ...
    For each of them whether the user rated a film near it; 8 to a byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.chunked import arrays
from engine.chunked.csr import CsrReader
from engine.chunked.journal import Committed
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.costs import PREDICT_USERS
from engine.model.prediction import Predicted, RatingModel, predict_ratings
from engine.model.scoring import row_numbers
from engine.stages.biases import load_biases
from engine.stages.names import IDS, SIMILARITIES, TEST, TRAIN, covered_path, predicted_path


class PredictStage:
    """One task a block of users."""

    def __init__(self, inputs: Inputs[config.Predict]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        matrix = inputs.upstream["matrix"].root
        self._train, self._test = CsrReader(matrix, TRAIN), CsrReader(matrix, TEST)

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        yield Round("users", self._inputs.plan()["users"], self._predict, self._load)

    def _load(self) -> RatingModel:
        near = self._inputs.upstream["item_neighbors"].root
        found = (arrays.open_array(near, name) for name in (IDS, SIMILARITIES))
        ids, similarities = (arrays.read_rows(array, 0, self._train.shape[1]) for array in found)
        return RatingModel(load_biases(self._inputs.upstream["biases"]), ids, similarities, self._section.shrink)

    def _predict(self, index: int, context: TaskContext) -> dict[str, Any]:
        start = index * self._section.users_per_task
        stop = min(start + self._section.users_per_task, self._train.shape[0])
        train, test = self._train.read(start, stop), self._test.read(start, stop)
        known = np.zeros(PREDICT_USERS * self._train.shape[1] + 1, dtype=np.complex64)
        found = [Predicted(np.empty(0, dtype=np.float32), np.empty(0, dtype=bool))]
        for first in range(0, stop - start, PREDICT_USERS):
            last = min(first + PREDICT_USERS, stop - start)
            ratings, asked = train.part(first, last).widen(), test.part(first, last)
            rows = row_numbers(asked.indptr)
            found.append(predict_ratings(context.shared, ratings, start + first, rows, asked.indices, known))
        np.save(context.scratch / predicted_path(index), np.concatenate([each.values for each in found]))
        np.save(context.scratch / covered_path(index), np.packbits(np.concatenate([each.covered for each in found])))
        return {"first_user": start, "last_user": stop}


def read_predicted(stage: Committed, indptr: NDArray[np.integer[Any]], start: int, stop: int) -> Predicted:
    """Predictions for users ``start`` to ``stop``; ``indptr`` is that of the whole test matrix."""
    values, covered = [np.empty(0, dtype=np.float32)], [np.empty(0, dtype=bool)]
    for block, result in enumerate(stage.results("users")):
        first, last = max(start, result["first_user"]), min(stop, result["last_user"])
        if first < last:
            offset = indptr[result["first_user"]]
            some = slice(indptr[first] - offset, indptr[last] - offset)
            values.append(np.load(stage.path(predicted_path(block)))[some])
            covered.append(np.unpackbits(np.load(stage.path(covered_path(block))))[some].astype(bool))
    return Predicted(np.concatenate(values), np.concatenate(covered))
