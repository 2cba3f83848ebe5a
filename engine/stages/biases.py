"""Train CSR -> mean, user and item biases.

Files
-----
``user-bias.npy``, ``item-bias.npy``
    float32 (users,) and (items,).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from engine import config
from engine.artifacts.names import ITEM_BIAS, USER_BIAS
from engine.artifacts.readers import Matrix
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.model.biases import fit_biases


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
        ratings, section = self._train.read(0, self._train.shape[0]), self._section  # decoded once for all passes
        found = fit_biases(ratings, section.passes, section.user_damping, section.item_damping)
        np.save(context.scratch / USER_BIAS, found.users)
        np.save(context.scratch / ITEM_BIAS, found.items)
        return {"mean": found.mean, "low": found.low, "high": found.high}
