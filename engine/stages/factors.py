"""Train CSR -> truncated SVD -> unit user vectors.

Randomised subspace iteration (Halko, Martinsson and Tropp 2011, https://doi.org/10.1137/090771806,
algorithm 4.4) on the smaller side: with A the train matrix (users x films) and V an orthonormal basis
(films x width), a pass computes A^T (A V), reading A once. Each pass is a sum over users: tasks leave
partial sums, and one task adds them in order and makes the result orthonormal. At the end the small
Gram matrix (A V)^T (A V) gives singular values and the rotation to singular vectors (Rayleigh-Ritz).

Files
-----
``basis-N.npy``
    float32 (films x width), after pass N.
``singular_values.npy``
    float64 (width,), descending.
``loadings.npy``
    float32 (films x dims): a row of ratings times this is the user's vector before scaling to unit length.
``vectors``
    Zarr float32 (users x dims), rows of unit length, or of zeros for a user no dimension reaches.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.chunked import arrays
from engine.chunked.csr import CsrReader
from engine.chunked.task import Round, TaskContext
from engine.costs import PROJECT_ROWS
from engine.linalg import add_gram_product, gram, orthonormalise, ritz, unit_rows
from engine.stages.inputs import StageInputs
from engine.stages.names import LOADINGS, SINGULAR_VALUES, TRAIN, VECTORS


class FactorsStage:
    """Passes, then the rotation, then the vectors."""

    def __init__(self, inputs: StageInputs[config.Factors]) -> None:
        self._inputs = inputs
        self._section = inputs.section
        self._own = inputs.own
        self._matrix = CsrReader(inputs.upstream["matrix"].root, TRAIN)
        smaller = min(self._matrix.shape)
        self._dims = min(inputs.section.dims, smaller)
        self._width = min(inputs.section.dims + inputs.section.oversamples, smaller)
        self._ranges = self._matrix.split_rows(inputs.section.partial_sums)

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        costs = self._inputs.plan(self._inputs.shapes)
        n = len(self._ranges)
        for p in range(self._section.passes):
            load = partial(self._basis, p - 1)
            yield Round(f"pass-{p}", n, partial(self._pass, p), costs[f"pass-{p}"].cost, load, until=f"basis-{p}")
            yield Round(f"basis-{p}", 1, partial(self._reduce, p), costs[f"basis-{p}"].cost)
        last = partial(self._basis, self._section.passes - 1)
        yield Round("project", n, self._project, costs["project"].cost, last, until="rotation")
        yield Round("rotation", 1, self._rotate, costs["rotation"].cost, last)
        n_chunks = -(-self._matrix.shape[0] // self._section.users_per_chunk)
        yield Round("vectors", n_chunks, self._vectors, costs["vectors"].cost, self._load_loadings)

    def _basis(self, p: int) -> NDArray[np.float32]:
        """Load the basis after pass ``p``; before the first pass it is random."""
        if p >= 0:
            return np.asarray(np.load(self._own.path(f"basis-{p}.npy")))
        rng = np.random.default_rng(self._section.seed)
        return rng.standard_normal((self._matrix.shape[1], self._width), dtype=np.float32)

    def _load_loadings(self) -> NDArray[np.float32]:
        return np.asarray(np.load(self._own.path(LOADINGS)))

    def _pass(self, p: int, index: int, context: TaskContext) -> None:
        start, stop = self._ranges[index]
        total = np.zeros_like(context.shared)
        for first in range(start, stop, context.batch_rows):
            rows = self._matrix.read(first, min(first + context.batch_rows, stop)).widen()
            add_gram_product(rows, context.shared, total)
        np.save(context.scratch / f"partial-{p}.{index}.npy", total)

    def _reduce(self, p: int, index: int, context: TaskContext) -> None:
        total = np.load(self._own.path(f"partial-{p}.0.npy"))
        for i in range(1, len(self._ranges)):
            total += np.load(self._own.path(f"partial-{p}.{i}.npy"))
        orthonormalise(total)
        np.save(context.scratch / f"basis-{p}.npy", total)

    def _project(self, index: int, context: TaskContext) -> None:
        start, stop = self._ranges[index]
        total = np.zeros((self._width, self._width))
        for first in range(start, stop, PROJECT_ROWS):
            rows = self._matrix.read(first, min(first + PROJECT_ROWS, stop)).widen()
            total += gram(rows @ context.shared)
        np.save(context.scratch / f"gram.{index}.npy", total)

    def _rotate(self, index: int, context: TaskContext) -> dict[str, Any]:
        total = np.zeros((self._width, self._width))
        for i in range(len(self._ranges)):
            total += np.load(self._own.path(f"gram.{i}.npy"))
        singular_values, rotation = ritz(total)
        np.save(context.scratch / SINGULAR_VALUES, singular_values)
        np.save(context.scratch / LOADINGS, context.shared @ rotation[:, : self._dims].astype(np.float32))
        arrays.create_array(
            context.scratch,
            VECTORS,
            shape=(self._matrix.shape[0], self._dims),
            chunks=(self._section.users_per_chunk, self._dims),
            dtype=np.float32,
            fill=np.nan,
        )
        return {"dims": self._dims, "n_users": self._matrix.shape[0]}

    def _vectors(self, index: int, context: TaskContext) -> None:
        n_users = self._matrix.shape[0]
        chunk = self._section.users_per_chunk
        start = index * chunk
        rows = self._matrix.read(start, min(start + chunk, n_users)).widen()
        arrays.write_rows(self._own.root, context.scratch, VECTORS, start, unit_rows(rows @ context.shared))
