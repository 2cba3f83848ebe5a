"""A model of ratings that fit in memory: the arithmetic of the stages, one after the other, on whole arrays.

What it finds differs from what the stages find in the order of sums only.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.kernels.nearest import Best
from engine.kernels.products import add_gram_product, times_dense
from engine.model.alternating import (
    Float32,
    Objective,
    add_more,
    begin_items,
    fit_users,
    side,
    step_items,
    weights_of_items,
)
from engine.model.by_item import by_place
from engine.model.factors import gram, orthonormalise, ritz, unit_rows
from engine.model.index import nearest_kept
from engine.model.item_neighbors import significance
from engine.model.sizes import FOLD_STEPS, NOISE, PROJECT_ROWS, SMALL_ITEMS, TILE_ITEMS

Ids = NDArray[np.int32]


class Decomposition(Protocol):
    """What a configuration says of the SVD; `engine.config.Factors` has the meanings."""

    @property
    def dims(self) -> int: ...  # noqa: D102
    @property
    def oversamples(self) -> int: ...  # noqa: D102
    @property
    def passes(self) -> int: ...  # noqa: D102
    @property
    def user_scaling(self) -> float: ...  # noqa: D102
    @property
    def item_scaling(self) -> float: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


def decompose(rows: NarrowRows, section: Decomposition) -> tuple[Float32, NDArray[np.float64]]:
    """Loadings and singular values of the scaled matrix, as `engine.stages.factors` finds them.

    Returns
    -------
    float32 array, shape (items, dims)
    float64 array, shape (dims,)
        Descending.
    """
    n_users, n_items = len(rows.indptr) - 1, rows.n_columns
    dims, width = (min(each, n_users, n_items) for each in (section.dims, section.dims + section.oversamples))
    lengths, counts = np.maximum(np.diff(rows.indptr), 1.0), np.bincount(rows.indices, minlength=n_items)
    weights = (lengths ** (-2 * section.user_scaling)).astype(np.float32)
    scale = (np.maximum(counts, 1.0) ** -section.item_scaling).astype(np.float32)[:, None]
    order = np.arange(n_items, dtype=np.int32)
    basis = np.random.default_rng(section.seed).standard_normal((n_items, width), dtype=np.float32)
    for _ in range(section.passes):
        total = np.zeros_like(basis)
        add_gram_product(rows, order, weights, basis * scale, total)
        total *= scale
        orthonormalise(total)
        basis = total
    basis *= scale
    square = np.zeros((width, width))
    for first in range(0, n_users, PROJECT_ROWS):
        last = min(first + PROJECT_ROWS, n_users)
        square += gram(times_dense(rows.part(first, last), basis) * np.sqrt(weights[first:last])[:, None])
    singular_values, rotation = ritz(square)
    return basis @ rotation[:, :dims].astype(np.float32), singular_values[:dims]


def by_item(rows: NarrowRows) -> NarrowRows:
    """The matrix the other way round, users ascending."""
    part = by_place(rows, 0, np.arange(rows.n_columns, dtype=np.int32), rows.n_columns)
    return NarrowRows(part.indptr.astype(np.int64), part.users, part.data, len(rows.indptr) - 1, rows.value_step)


def alternate(objective: Objective, rows: NarrowRows, items: Float32, sweeps: int, steps: int) -> None:
    """Fit item vectors by some sweeps, in place; shape (items, dims)."""
    users = np.zeros((len(rows.indptr) - 1, items.shape[1]), dtype=np.float32)
    totals, numbers = weights_of_items(rows, objective.weights(rows)), np.arange(len(users))
    for _ in range(sweeps):
        sums = np.zeros_like(items)
        fit_users(objective, rows, numbers, side(objective, items), steps, users, sums)
        products = gram(users)
        descents = begin_items(objective, sums, totals, products, items)
        for _ in range(steps):
            sums[:] = 0
            add_more(objective, rows, users, descents.directions, sums)
            step_items(objective, sums, totals, products, descents)


def user_vectors(objective: Objective, rows: NarrowRows, items: Float32) -> Float32:
    """Users' vectors of unit length, shape (users, dims)."""
    users = np.zeros((len(rows.indptr) - 1, items.shape[1]), dtype=np.float32)
    fit_users(objective, rows, np.arange(len(users)), side(objective, items), FOLD_STEPS, users)
    return unit_rows(users)


def nearest(own: Ids, vectors: Float32, k: int) -> tuple[Ids, Float32]:
    """The nearest of all for some, by the product of their vectors; -1 and NaN where there are fewer."""
    k = nearest_kept(k, len(vectors))
    return _search(Best(own, vectors[own], k), np.arange(len(vectors), dtype=np.int32), vectors, None)


def nearest_items(
    vectors: Float32, counts: NDArray[np.integer[Any]], k: int, shrink: float, min_ratings: int
) -> tuple[Ids, Float32]:
    """The nearest items of each, as `engine.stages.item_neighbors` finds them; shape (items, k), -1 and 0 for none."""
    k, trust = nearest_kept(k, len(vectors)), significance(counts, shrink)
    by_trust = np.argsort(-trust, kind="stable").astype(np.int32)
    known = by_trust[counts[by_trust] >= min_ratings]
    ids, similarities = np.full((len(vectors), k), -1, dtype=np.int32), np.zeros((len(vectors), k), dtype=np.float32)
    others, of_others = vectors[known], trust[known]
    for first in range(0, len(known), SMALL_ITEMS):
        own = known[first : first + SMALL_ITEMS]
        ids[own], found = _search(Best(own, vectors[own], k, NOISE, trust[own]), known, others, of_others)
        similarities[own] = np.nan_to_num(found, nan=0.0)
    return ids, similarities


def _search(best: Best, codes: Ids, vectors: Float32, trust: Float32 | None) -> tuple[Ids, Float32]:
    everybody = np.arange(len(best.worst))
    for first in range(0, len(codes), TILE_ITEMS):
        some = slice(first, first + TILE_ITEMS)
        best.offer(everybody, codes[some], vectors[some], None if trust is None else trust[some])
    return best.result()
