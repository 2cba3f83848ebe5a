"""Train CSR -> truncated SVD -> unit user vectors.

Randomised subspace iteration (Halko, Martinsson and Tropp 2011, https://doi.org/10.1137/090771806,
algorithm 4.4) on the smaller side: with A the matrix (users x items) and V an orthonormal basis
(items x width), a pass computes A^T (A V), reading A once. Each pass is a sum over users: tasks leave
partial sums, and one task adds them in order and makes the result orthonormal. Where ratings are few that task makes
the partial sums itself, item by item. At the end the small Gram matrix (A V)^T (A V) gives singular values and the
rotation to singular vectors (Rayleigh-Ritz).

A is the train matrix R with users and items scaled, D R C, so that those with many ratings count less. It is never
made: A^T (A V) = C (R^T D^2 R (C V)), the factors in parentheses being tall or thin. In R ratings are mapped to a fixed
range (`engine.model.scale`), unless they are to count as they are.

Most of the time goes into fetching rows of V. Its rows are the items by descending number of ratings: the rows of the
few items that have most ratings then lie together and stay in the processor's cache.

Files
-----
``order.npy``, ``counts.npy``
    int32 (items,): each column's row in the bases, and ratings by column.
``basis-N.npy``
    float32 (items x width), after pass N.
``singular_values.npy``
    float64 (width,), descending.
``loadings.npy``
    float32 (items x dims), in order of column: a row of ratings times this is the user's vector before scaling to
    unit length; a row, each column times its singular value, is the item's before that.
``vectors``
    Zarr float32 (users x dims), rows of unit length, or of zeros for a user no dimension reaches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.artifacts.names import LOADINGS, SINGULAR_VALUES, VECTORS
from engine.artifacts.readers import Factors, Matrix
from engine.artifacts.records import Scale
from engine.chunked import arrays
from engine.chunked.array_files import ArrayFile, array_file, load_array
from engine.chunked.csr import NarrowRows
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.kernels.products import add_gram_product, add_partial_sums, times_dense
from engine.model.alternating import padded
from engine.model.factors import gram, orthonormalise, ritz, unit_rows
from engine.model.scale import scaled
from engine.model.scoring import cut_by_work
from engine.model.sizes import PASS_ROWS, PROJECT_ROWS, READ_RATINGS, VECTOR_RATINGS


class _Basis(NamedTuple):
    """Where each column's row is, and the rows times their items' scale, filled up with zeros for the kernels."""

    order: NDArray[np.int32]
    rows: NDArray[np.float32]


class FactorsStage:
    """Passes, then the rotation, then the vectors."""

    def __init__(self, inputs: Inputs[config.Factors]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._own = inputs.own
        self._matrix = Matrix(inputs.upstream["matrix"]).train
        self._scale = Scale.of(inputs.upstream["matrix"]) if inputs.params.ratings == "scaled" else None
        smaller = min(self._matrix.shape)
        self._dims = min(inputs.params.dims, smaller)
        self._width = min(inputs.params.dims + inputs.params.oversamples, smaller)
        self._ranges = self._matrix.split_rows(inputs.params.partial_sums)

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        yield Round("order", plan["order"], self._order)
        for p in range(self._section.passes):
            load, basis = partial(self._load, p - 1), plan[f"basis-{p}"]
            if pass_ := plan.get(f"pass-{p}"):
                yield Round(f"pass-{p}", pass_, partial(self._pass, p), load, until=f"basis-{p}")
                yield Round(f"basis-{p}", basis, partial(self._reduce, p))
            else:
                yield Round(f"basis-{p}", basis, partial(self._pass_at_once, p), load)
        last = partial(self._load, self._section.passes - 1)
        yield Round("project", plan["project"], self._project, last, until="rotation")
        yield Round("rotation", plan["rotation"], self._rotate, last)
        yield Round("layout", plan["layout"], self._layout)
        yield Round("vectors", plan["vectors"], self._vectors, self._load_loadings)

    def _order(self, index: int, context: TaskContext) -> None:
        counts = self._matrix.count_columns(READ_RATINGS)
        by_count = np.argsort(-counts, kind="stable")
        order = np.empty(len(by_count), dtype=np.int32)
        order[by_count] = np.arange(len(by_count), dtype=np.int32)
        np.save(context.scratch / "order.npy", order)
        np.save(context.scratch / "counts.npy", counts.astype(np.int32))

    def _item_scale(self) -> NDArray[np.float32]:
        """What each item's ratings are multiplied by, in the order of the bases' rows; shape (items, 1)."""
        counts = load_array(self._own.path("counts.npy"))
        scale = np.empty((len(counts), 1), dtype=np.float32)
        scale[load_array(self._own.path("order.npy")), 0] = np.maximum(counts, 1.0) ** -self._section.item_scaling
        return scale

    def _user_weights(self, start: int, stop: int) -> NDArray[np.float32]:
        """Square of what each user's ratings are multiplied by; shape (users,)."""
        counts = np.maximum(np.diff(self._matrix.indptr[start : stop + 1]), 1.0)
        return np.asarray(counts ** (-2 * self._section.user_scaling), dtype=np.float32)

    def _load(self, p: int) -> _Basis:
        """Load the basis after pass ``p``; before the first pass it is random."""
        order = load_array(self._own.path("order.npy"))
        shape = self._matrix.shape[1], self._width
        rows = np.zeros((shape[0], padded(self._width)), dtype=np.float32)
        if p >= 0:
            stored = ArrayFile(self._own.path(f"basis-{p}.npy"))
            for first in range(0, shape[0], PROJECT_ROWS):
                rows[first : first + PROJECT_ROWS, : self._width] = stored[first : first + PROJECT_ROWS]
        else:
            rng = np.random.default_rng(self._section.seed)
            rows[order, : self._width] = rng.standard_normal(shape, dtype=np.float32)
        rows *= self._item_scale()
        return _Basis(order, rows)

    def _load_loadings(self) -> NDArray[np.float32]:
        return Factors(self._own).loadings()

    def _pieces(self, start: int, stop: int, ratings: int, users: int) -> list[tuple[int, int]]:
        """Cut a range of users into pieces of so many ratings and users at most, one user at least."""
        lengths = np.diff(self._matrix.indptr[start : stop + 1])
        return [(start + first, start + last) for first, last in cut_by_work(lengths, ratings, users)]

    def _read(self, pieces: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, NarrowRows]]:
        """Users' ratings, some after the others, as they are decomposed, but for what many ratings count less."""
        for piece, rows in zip(pieces, self._matrix.read_stretches(pieces), strict=True):
            yield *piece, rows if self._scale is None else scaled(rows, self._scale.low, self._scale.high)

    def _pass(self, p: int, index: int, context: TaskContext) -> None:
        start, stop = self._ranges[index]
        order, basis = context.shared
        total = np.zeros_like(basis)
        for first, last, rows in self._read(self._pieces(start, stop, context.batch_rows, PASS_ROWS)):
            add_gram_product(rows, order, self._user_weights(first, last), basis, total)
        # Rows that are cut off: NumPy would write them number by number.
        with array_file(context.scratch / f"partial-{p}.{index}.npy", np.float32, (len(total), self._width)) as write:
            for some in range(0, len(total), PROJECT_ROWS):
                write(total[some : some + PROJECT_ROWS, : self._width])

    def _reduce(self, p: int, index: int, context: TaskContext) -> None:
        total = load_array(self._own.path(f"partial-{p}.0.npy"))
        for i in range(1, len(self._ranges)):
            total += load_array(self._own.path(f"partial-{p}.{i}.npy"))
        self._finish(p, total, context)

    def _pass_at_once(self, p: int, index: int, context: TaskContext) -> None:
        """Add up all partial sums where ratings are few: passing on tables of items would take longer than all else."""
        order, basis = context.shared
        total = np.zeros((len(basis), self._width), dtype=np.float32)
        n_users, ends = self._matrix.shape[0], np.array([stop for _, stop in self._ranges])
        for _, _, rows in self._read([(0, n_users)]):
            add_partial_sums(rows, ends, order, self._user_weights(0, n_users), basis, total)
        self._finish(p, total, context)

    def _finish(self, p: int, total: NDArray[np.float32], context: TaskContext) -> None:
        total *= self._item_scale()
        orthonormalise(total)
        np.save(context.scratch / f"basis-{p}.npy", total)

    def _project(self, index: int, context: TaskContext) -> None:
        start, stop = self._ranges[index]
        order, basis = context.shared
        total = np.zeros((self._width, self._width))
        pieces = [(first, min(first + PROJECT_ROWS, stop)) for first in range(start, stop, PROJECT_ROWS)]
        for first, last, rows in self._read(pieces):
            scale = np.sqrt(self._user_weights(first, last))
            product = times_dense(rows, basis, order)[:, : self._width]
            total += gram(product * scale[:, None])
        np.save(context.scratch / f"gram.{index}.npy", total)

    def _rotate(self, index: int, context: TaskContext) -> None:
        total = np.zeros((self._width, self._width))
        for i in range(len(self._ranges)):
            total += load_array(self._own.path(f"gram.{i}.npy"))
        singular_values, rotation = ritz(total)
        np.save(context.scratch / SINGULAR_VALUES, singular_values)
        order, basis = context.shared
        rotation = rotation[:, : self._dims].astype(np.float32)
        loadings = np.empty((len(order), self._dims), dtype=np.float32)
        for first in range(0, len(order), PROJECT_ROWS):
            some = order[first : first + PROJECT_ROWS]
            loadings[first : first + PROJECT_ROWS] = basis[some, : self._width] @ rotation
        np.save(context.scratch / LOADINGS, loadings)

    def _layout(self, index: int, context: TaskContext) -> dict[str, Any]:
        arrays.create_array(
            context.scratch,
            VECTORS,
            shape=(self._matrix.shape[0], self._dims),
            chunks=(self._section.users_per_chunk, self._dims),
            dtype=np.float32,
            fill=np.nan,
        )
        of_scaled = {} if self._scale is None else {"scaled": True}
        return {"dims": self._dims, "n_users": self._matrix.shape[0], **of_scaled}

    def _vectors(self, index: int, context: TaskContext) -> None:
        n_users = self._matrix.shape[0]
        chunk = self._section.users_per_chunk
        start, stop = index * chunk, min((index + 1) * chunk, n_users)
        vectors = np.empty((stop - start, self._dims), dtype=np.float32)
        for first, last, rows in self._read(self._pieces(start, stop, VECTOR_RATINGS, chunk)):
            vectors[first - start : last - start] = unit_rows(times_dense(rows, context.shared))
        arrays.write_rows(self._own.root, context.scratch, VECTORS, start, vectors)
