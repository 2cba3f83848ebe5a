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


def solve_rows(
    rows: NarrowRows,
    liked_from: float,
    disliked: float,
    others: Float32,
    gram: Float32,
    regularisation: float,
    unseen: float,
    steps: int,
    solutions: Float32,
) -> None:
    """Improve each row's vector by some steps of conjugate gradients, in place; rows without values get zeros.

    The vector x of a row minimises ``sum_i (p_i - x y_i)^2 + x G x + regularisation (n + unseen) |x|^2`` over the row's
    n columns i, with y_i their vectors, G the gram matrix of all vectors times the weight of what is not there, and p_i
    the preference (Hu, Koren and Volinsky 2008; weights and regularisation as in Rendle, Krichene, Zhang and Koren
    2021).

    Parameters
    ----------
    rows : NarrowRows
        Shape (n, m).
    liked_from, disliked : float
        The preference is 1 for values from there on, else ``disliked``.
    others : float32 array, shape (m, dims)
        Vectors of the columns; ``dims`` is a multiple of 16.
    gram : float32 array, shape (dims, dims)
        G, above.
    regularisation, unseen : float
    steps : int
        Of conjugate gradients.
    solutions : float32 array, shape (n, dims)
        Where to start; the vectors afterwards.
    """
    _native.solve_rows(native_rows(rows), liked_from, disliked, others, gram, regularisation, unseen, steps, solutions)
