"""Somebody who is not in the data, placed among its users by their ratings."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix

from engine.artifacts.records import Scale
from engine.chunked import arrays
from engine.chunked.errors import UsageError
from engine.chunked.plain import plain
from engine.kernels.nearest import dot_products
from engine.model.alternating import fit_users
from engine.model.biases import damped
from engine.model.factors import unit_rows
from engine.model.scale import scaled_values
from engine.model.sizes import FOLD_STEPS
from engine.ratings.source import MOST_RATING
from engine.serving import ids as lookup
from engine.serving.opened import OpenedRun
from engine.serving.people import Newcomer, narrow
from engine.serving.tables import kind_of


def fold_in(opened: OpenedRun, items: ArrayLike, ratings: ArrayLike) -> Newcomer:
    """See `engine.serving.recommender.Recommender.fold_in`."""
    given = lookup.as_ids(items, "item")
    values = _as_ratings(ratings)
    if given.shape != values.shape:
        raise UsageError(f"{len(given)} items and {len(values)} ratings: give a rating for each item")
    in_range = _within_range(opened, given, values)
    columns, known = lookup.places(given, opened.items)
    if not known.any():
        raise UsageError(f"none of the {len(given)} items is known: {lookup.describe(opened.items, 'item')}")
    latest = dict(zip(columns[known].tolist(), in_range[known].tolist(), strict=True))
    own = np.array(sorted(latest), dtype=np.int32)
    data = np.array([latest[column] for column in own.tolist()], dtype=np.float32)
    rated = csr_matrix((data, own, [0, len(own)]), shape=(1, len(opened.items)))
    vector = _vector(opened, rated)
    left_out = given.filter(pl.Series(~known)).unique(maintain_order=True).to_list()
    nearest, bias = _nearest(opened, vector), _bias(opened, rated)
    return Newcomer(vector, *nearest, rated, bias, tuple(left_out), kind=kind_of(items))


def _as_ratings(given: ArrayLike) -> NDArray[np.float64]:
    lookup.refuse_masked(given, "ratings")
    try:
        values = np.atleast_1d(np.asarray(given))
        odd = values.dtype.kind not in "iuf" and [each for each in values.tolist() if not _is_number(each)]
        if odd:
            raise UsageError(f"rating {odd[0]!r}: give a number for each item")
        return values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"ratings: {error}: give a number for each item") from None


def _is_number(value: object) -> bool:
    return isinstance(plain(value), int | float) and not isinstance(plain(value), bool)


def _within_range(opened: OpenedRun, items: pl.Series, ratings: NDArray[np.float64]) -> NDArray[np.float32]:
    """Ratings as they are computed with; refuse those out of range."""
    low, high = opened.profile.rating_min, opened.profile.rating_max
    if opened.profile.values != "ratings":  # of a pair that repeats, counts are added up
        low, high = 0.0, MOST_RATING
    with np.errstate(over="ignore"):
        in_float32 = ratings.astype(np.float32)
    # All narrowed: the greatest rating of the run, 4.3 say, is less than what is nearest to it in float32.
    out = np.flatnonzero(~((in_float32 >= np.float32(low)) & (in_float32 <= np.float32(high))))
    for row in out.tolist():
        raise UsageError(
            f"rating {ratings[row]:.9g} of item {items[row]}: the ratings of this run go from {low:.9g} to {high:.9g}"
        )
    return in_float32


def _vector(opened: OpenedRun, rated: csr_matrix) -> NDArray[np.float32]:
    """The vector of someone's ratings, of unit length, as users of the data have theirs."""
    item_vectors = opened.ranking.item_vectors
    if item_vectors is None:
        folded: NDArray[np.float32] = unit_rows(_scaled(opened, rated) @ opened.factors.loadings(mmap_mode="r"))[0]
        return folded
    objective, items = opened.preferences
    found = np.zeros((1, item_vectors.shape[1]), dtype=np.float32)
    fit_users(objective, narrow(rated), np.arange(1), items, 2 * FOLD_STEPS, found)
    vector: NDArray[np.float32] = unit_rows(found)[0]
    return vector


def _scaled(opened: OpenedRun, rated: csr_matrix) -> csr_matrix:
    """Ratings as the SVD decomposed those of the data."""
    if opened.settings.factors.ratings == "raw":
        return rated
    scale = Scale.of(opened.run.stages["matrix"])
    values = scaled_values(rated.data, scale.low, scale.high)
    return csr_matrix((values, rated.indices, rated.indptr), shape=rated.shape)


def _nearest(opened: OpenedRun, vector: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The nearest users of a vector, as many as the run keeps; equal ones by code."""
    k = min(opened.settings.neighbors.k, len(opened.users))
    codes = None if opened.rough is None else opened.rough.likely(vector, k)
    if codes is None:
        found = np.concatenate([dot_products(block, vector[None])[:, 0] for block in opened.all_vectors()])
        codes = np.flatnonzero(found >= np.partition(found, len(found) - k)[len(found) - k])
        found = found[codes]
    else:
        found = dot_products(arrays.take_rows(opened.factors.rows, codes), vector[None])[:, 0]
    best = np.lexsort((codes, -found))[:k]
    return codes[best].astype(np.int32), found[best]


def _bias(opened: OpenedRun, rated: csr_matrix) -> float:
    if opened.biases is None:
        return 0.0
    left = rated.data.astype(np.float64) - opened.biases.mean - opened.biases.items[rated.indices]
    damping = opened.settings.biases.user_damping
    return float(damped(np.array([left.sum()]), np.array([len(left)]), damping)[0])
