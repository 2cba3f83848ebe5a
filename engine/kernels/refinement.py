"""Alternating least squares: one side's vectors from the other's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.kernels import _native
from engine.kernels.rows import AS_THEY_ARE, native_rows

Float32 = NDArray[np.float32]

LANES = 16
"""Dimensions of vectors are a multiple of that."""
_NO_TARGETS = np.empty(0, dtype=np.float32)
_NO_GRAM = np.empty((0, 0), dtype=np.float32)
_NO_WEIGHTS = np.empty(0, dtype=np.float32)


def solve_rows(
    rows: NarrowRows,
    targets: Float32,
    ridges: Float32,
    others: Float32,
    gram: Float32 | None,
    steps: int,
    solutions: Float32,
    weights: Float32 | None = None,
    order: NDArray[np.int32] = AS_THEY_ARE,
) -> None:
    """Improve each row's vector by some steps of conjugate gradients, in place; rows without values get zeros.

    The vector x of row r minimises ``sum_i w_i (t_i - x y_i)^2 + x G x + ridge_r |x|^2`` over the row's columns i,
    with y_i their vectors, t_i the targets and w_i the weights of its values (with a gram matrix: Hu, Koren and
    Volinsky 2008).

    Parameters
    ----------
    rows : NarrowRows
        Shape (n, m); which columns each row has.
    targets : float32 array, shape (values of rows,)
    ridges : float32 array, shape (n,)
    others : float32 array, shape (m, dims)
        Vectors of the columns; ``dims`` is a multiple of 16.
    gram : float32 array, shape (dims, dims), optional
        G, above: the gram matrix of all vectors times the weight of what is not there.
    steps : int
        Of conjugate gradients.
    solutions : float32 array, shape (n, dims)
        Where to start; the vectors afterwards.
    weights : float32 array, shape (values of rows,), optional
        None: all weigh 1.
    order : int32 array, shape (m,), optional
        The row of ``others`` that each column has.

    Raises
    ------
    ValueError, IndexError
        Where arrays do not fit together, or a number leads out of one.
    """
    gram = _NO_GRAM if gram is None else gram
    weights = _NO_WEIGHTS if weights is None else weights
    _native.solve_rows(native_rows(rows), targets, weights, ridges, others, gram, steps, order, solutions)


def add_left(
    rows: NarrowRows,
    row_vectors: Float32,
    column_vectors: Float32,
    into: Float32,
    targets: Float32 | None = None,
    weights: Float32 | None = None,
    order: NDArray[np.int32] = AS_THEY_ARE,
) -> None:
    """Add what products of vectors leave of each value's target, times its row's vector, to a sum for its column.

    For column i that is ``sum_r w_ri (t_ri - x_r y_i) x_r`` over the rows r that have a value there, ascending; so all
    vectors of the columns can be fitted (`begin`, `step`) while rows go by.

    Parameters
    ----------
    rows : NarrowRows
        Shape (n, m); which columns each row has.
    row_vectors, column_vectors : float32 array, shape (n, dims) and (m, dims)
        ``dims`` is a multiple of 16.
    into : float32 array, shape (m, dims)
        The sums; added to in place.
    targets : float32 array, shape (values of rows,), optional
        None: all are 0.
    weights : float32 array, shape (values of rows,), optional
        None: all weigh 1.
    order : int32 array, shape (m,), optional
        The row of ``column_vectors`` and ``into`` that each column has.

    Raises
    ------
    ValueError, IndexError
        Where arrays do not fit together, or a number leads out of one.
    """
    targets = _NO_TARGETS if targets is None else targets
    weights = _NO_WEIGHTS if weights is None else weights
    _native.add_left(native_rows(rows), targets, weights, row_vectors, column_vectors, order, into)


class Descents(NamedTuple):
    """Vectors on their way to the least squares that `solve_rows` finds, between two steps.

    Attributes
    ----------
    solutions, residuals, directions : float32 array, shape (n, dims)
    lengths : float32 array, shape (n,)
        Squared lengths of the residuals; 0 where there is no way on.
    """

    solutions: Float32
    residuals: Float32
    directions: Float32
    lengths: Float32


def begin(sums: Float32, ridges: Float32, gram: Float32 | None, solutions: Float32) -> Descents:
    """Begin to fit vectors, to what `add_left` has added with targets and with these vectors.

    Parameters
    ----------
    sums : float32 array, shape (n, dims)
    ridges : float32 array, shape (n,)
    gram : float32 array, shape (dims, dims), optional
        As in `solve_rows`.
    solutions : float32 array, shape (n, dims)
        Where to start; becomes part of what is returned.

    Raises
    ------
    ValueError
        Where arrays do not fit together.
    """
    found = Descents(
        solutions, np.empty_like(solutions), np.empty_like(solutions), np.empty(len(solutions), dtype=np.float32)
    )
    _native.begin_rows(sums, _NO_GRAM if gram is None else gram, ridges, *found)
    return found


def step(sums: Float32, ridges: Float32, gram: Float32 | None, descents: Descents) -> None:
    """Take a step of conjugate gradients, in place.

    Parameters
    ----------
    sums : float32 array, shape (n, dims)
        What `add_left` has added without targets and with the directions.
    ridges, gram
        As in `begin`.
    descents : Descents

    Raises
    ------
    ValueError
        Where arrays do not fit together.
    """
    _native.step_rows(sums, _NO_GRAM if gram is None else gram, ridges, *descents)
