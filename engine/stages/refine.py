"""Train CSR, SVD -> user and item vectors whose products say what a user prefers.

Alternating least squares for implicit feedback, from the item vectors of the SVD (`engine.stages.alternating`).

Files
-----
``vectors``
    Zarr float32 (users x dims), rows of unit length, or of zeros for a user without ratings.
``item-factors.npy``
    float32 (items x dims), in order of column.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from engine import config
from engine.artifacts.names import ITEM_FACTORS, VECTORS
from engine.artifacts.records import is_implicit, settled_liked_from
from engine.chunked import arrays
from engine.chunked.array_files import ArrayFile, load_array
from engine.chunked.csr import NarrowRows
from engine.chunked.task import Round, TaskContext
from engine.model.alternating import Float32, Objective, Side, fit_users, side
from engine.model.factors import unit_rows
from engine.model.refine import Preferences, preferences
from engine.model.sizes import FOLD_STEPS
from engine.stages.alternating import AlternatingStage


class RefineStage(AlternatingStage[config.Refine]):
    """Sweeps, then the users' vectors."""

    users_needed_until = "vectors"

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        yield from super().rounds()
        plan = self._inputs.plan()
        yield Round("layout", plan["layout"], self._layout)
        yield Round("vectors", plan["vectors"], self._vectors, self._load_collected)

    def objective(self) -> Preferences:
        """See `AlternatingStage`."""
        matrix = self._inputs.upstream["matrix"]
        liked_from = settled_liked_from(self._section.liked_from, matrix)
        return preferences(self._section, liked_from, is_implicit(matrix), self._n_users, self._n_items)

    def weights(self, rows: NarrowRows) -> Float32 | None:
        """See `AlternatingStage`."""
        return self.objective().weights(rows)

    def leading(self) -> int:
        """See `AlternatingStage`."""
        return self._n_items

    def _load_collected(self) -> tuple[Objective, Side]:
        objective, vectors = self.objective(), load_array(self._own.path(ITEM_FACTORS))
        by_row = np.empty_like(vectors)
        by_row[self.order] = vectors
        return objective, side(objective, by_row, self.order)

    def _layout(self, index: int, context: TaskContext) -> dict[str, Any]:
        dims, size = ArrayFile(self._own.path(ITEM_FACTORS)).shape[1], self._section.users_per_chunk
        shape = (self._n_users, dims)
        arrays.create_array(context.scratch, VECTORS, shape=shape, chunks=(size, dims), dtype=np.float32, fill=np.nan)
        return {"dims": dims, "n_users": self._n_users}

    def _vectors(self, block: int, context: TaskContext) -> None:
        objective, items = context.shared
        start = block * self._section.users_per_chunk
        stop = min(start + self._section.users_per_chunk, self._n_users)
        vectors = self.users(self._section.sweeps - 1, start, stop)
        for first, last, rows in self.pieces(start, stop):
            fit_users(objective, rows, np.arange(first, last), items, FOLD_STEPS, vectors[first - start : last - start])
        arrays.write_rows(self._own.root, context.scratch, VECTORS, start, unit_rows(vectors))
