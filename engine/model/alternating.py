"""Alternating least squares: what vectors are fitted to, and one side's vectors fitted to the other's.

Users are fitted one after the other, each to the items it has rated. Items are fitted all together while users go by,
by steps of conjugate gradients: a step needs a sum over all users, and no two users' vectors at a time.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.kernels.refinement import LANES, Descents, add_left, begin, solve_rows, step
from engine.kernels.rows import AS_THEY_ARE
from engine.model.factors import gram

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Ids = NDArray[np.int64]
Int32 = NDArray[np.int32]


def padded(dims: int) -> int:
    """Dimensions that kernels take: the next multiple of so many at once."""
    return -(-dims // LANES) * LANES


class Wanted(NamedTuple):
    """What the vectors of some users are fitted to.

    Attributes
    ----------
    targets : float32 array, shape (ratings,)
    ridges : float32 array, shape (users,)
    weights : float32 array, shape (ratings,), or None
        None: all weigh 1.
    """

    targets: Float32
    ridges: Float32
    weights: Float32 | None = None


class Objective(Protocol):
    """What products of users' and items' vectors are fitted to."""

    @property
    def unseen(self) -> float:
        """What a pair without a rating weighs, whose product is to be 0; 0 for nothing."""
        ...

    def of_users(self, rows: NarrowRows, users: Ids) -> Wanted:
        """What some users' vectors are fitted to."""
        ...

    def weights(self, rows: NarrowRows) -> Float32 | None:
        """What each rating weighs; None: all weigh 1."""
        ...

    def item_ridges(self, totals: Float64) -> Float32:
        """The ridges of items whose ratings weigh so much together, shape (items,)."""
        ...


class Side(NamedTuple):
    """Vectors of one side, to fit the other's to.

    Attributes
    ----------
    vectors : float32 array, shape (n, dims)
    gram : float32 array, shape (dims, dims), or None
        What all of them add to each problem.
    order : int32 array, shape (n,)
        The row of each; empty where that is its number.
    """

    vectors: Float32
    gram: Float32 | None
    order: Int32 = AS_THEY_ARE


def side(objective: Objective, vectors: Float32, order: Int32 = AS_THEY_ARE) -> Side:
    """One side's vectors, and which row each has; the order makes no difference to what is fitted."""
    if not objective.unseen:
        return Side(vectors, None, order)
    return Side(vectors, of_all(objective, gram(vectors, order if len(order) else None)), order)


def of_all(objective: Objective, products: Float64) -> Float32 | None:
    """What all vectors of a side, of which the Gram matrix is given, add to each problem of the other; or None."""
    return (objective.unseen * products).astype(np.float32) if objective.unseen else None


def fit_users(
    objective: Objective,
    rows: NarrowRows,
    users: Ids,
    items: Side,
    steps: int,
    into: Float32,
    sums: Float32 | None = None,
) -> None:
    """Fit users' vectors to those of the items, in place.

    Parameters
    ----------
    objective : Objective
    rows : NarrowRows
        Ratings of some users.
    users : int64 array, shape (users,)
        Their codes.
    items : Side
    steps : int
        Of conjugate gradients.
    into : float32 array, shape (users, dims)
        Where to start; the vectors afterwards.
    sums : float32 array, shape (items, dims), optional
        What `begin_items` needs of these users is added to it, in the order of the items' rows.
    """
    wanted, (vectors, of_all_items, order) = objective.of_users(rows, users), items
    solve_rows(rows, wanted.targets, wanted.ridges, vectors, of_all_items, steps, into, wanted.weights, order)
    if sums is not None:
        add_left(rows, into, vectors, sums, wanted.targets, wanted.weights, order)


def add_more(
    objective: Objective,
    rows: NarrowRows,
    vectors: Float32,
    directions: Float32,
    into: Float32,
    order: Int32 = AS_THEY_ARE,
) -> None:
    """Add to the sums of items, in place, what `step_items` needs of some users with their vectors.

    Parameters
    ----------
    objective : Objective
    rows : NarrowRows
        Ratings of the users.
    vectors : float32 array, shape (users, dims)
    directions, into : float32 array, shape (items, dims)
        The directions of all items, and the sums.
    order : int32 array, shape (items,), optional
        The row of each item in both.
    """
    add_left(rows, vectors, directions, into, weights=objective.weights(rows), order=order)


class OfSome(NamedTuple):
    """Ratings of some consecutive items, numbered from 0, by the users who gave them; see `of_some`."""

    rows: NarrowRows
    targets: Float32
    weights: Float32 | None


def of_some(objective: Objective, rows: NarrowRows, users: Ids, some: slice) -> OfSome:
    """Take the ratings of some consecutive items, once for all that is added up of them.

    Parameters
    ----------
    objective : Objective
    rows : NarrowRows
        Ratings of some users.
    users : int64 array, shape (users,)
        Their codes.
    some : slice
        The items.
    """
    wanted = objective.of_users(rows, users)
    there = (rows.indices >= some.start) & (rows.indices < some.stop)
    weights = None if wanted.weights is None else wanted.weights[there]
    return OfSome(rows.columns(some, there), wanted.targets[there], weights)


def add_some(ratings: OfSome, vectors: Float32, items: Float32, into: Float32, *, first: bool) -> None:
    """Add to the sums of some items, in place, what these need of some users with their vectors.

    Parameters
    ----------
    ratings : OfSome
    vectors : float32 array, shape (users, dims)
        Of the users.
    items, into : float32 array, shape (items, dims)
        Vectors or directions of the items, and the sums.
    first : bool
        Whether the sums are for `begin_items`, and not for `step_items`.
    """
    add_left(ratings.rows, vectors, items, into, ratings.targets if first else None, ratings.weights)


def begin_items(
    objective: Objective, sums: Float32, totals: Float64, products: Float64, solutions: Float32
) -> Descents:
    """Begin to fit items' vectors, which change in place; those of items without ratings are zeros.

    Parameters
    ----------
    objective : Objective
    sums : float32 array, shape (items, dims)
        Of `fit_users`, over all users.
    totals : float64 array, shape (items,)
        What each item's ratings weigh together.
    products : float64 array, shape (dims, dims)
        Gram matrix of the users' vectors.
    solutions : float32 array, shape (items, dims)
    """
    solutions[totals == 0] = 0
    found = begin(sums, objective.item_ridges(totals), of_all(objective, products), solutions)
    found.lengths[totals == 0] = 0
    return found


def step_items(objective: Objective, sums: Float32, totals: Float64, products: Float64, descents: Descents) -> None:
    """Take a step, in place; ``sums`` are of `add_more` and of all users, the others as in `begin_items`."""
    step(sums, objective.item_ridges(totals), of_all(objective, products), descents)


def weights_of_items(rows: NarrowRows, weights: Float32 | None) -> Float64:
    """What the ratings of each item weigh together, shape (items,); 1 each where there are no ``weights``."""
    return np.bincount(rows.indices, weights, minlength=rows.n_columns).astype(np.float64)
