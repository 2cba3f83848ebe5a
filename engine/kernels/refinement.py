"""Alternating least squares: one side's vectors from the other's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.kernels import _native
from engine.kernels.rows import native_rows

Float32 = NDArray[np.float32]

LANES = 16
"""Dimensions of vectors are a multiple of that."""
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

    Raises
    ------
    ValueError, IndexError
        Where arrays do not fit together, or a number leads out of one.
    """
    gram = _NO_GRAM if gram is None else gram
    weights = _NO_WEIGHTS if weights is None else weights
    _native.solve_rows(native_rows(rows), targets, weights, ridges, others, gram, steps, solutions)
