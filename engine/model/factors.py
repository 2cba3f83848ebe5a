"""Dense products of the SVD, as functions of arrays.

Nothing here depends on how rows are batched: sums run over rows in order, or over blocks of fixed size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.model.sizes import GRAM_ROWS

# Relative eigenvalue below which a direction is rounding noise: float32's epsilon squared, and a margin.
_NOISE = 1e-11

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def gram(tall: NDArray[Any], order: NDArray[np.int32] | None = None) -> Float64:
    """``tall.T @ tall`` in float64, shape (width, width); rows taken in blocks of fixed size, in the order given."""
    total = np.zeros((tall.shape[1], tall.shape[1]))
    for start in range(0, len(tall), GRAM_ROWS):
        some = slice(start, start + GRAM_ROWS)
        block = tall[some if order is None else order[some]].astype(np.float64)
        total += block.T @ block
    return total


def orthonormalise(tall: Float32) -> None:
    """Replace the columns by an orthonormal basis of their span, in place.

    Directions that are rounding noise become columns of zeros, so that a matrix of low rank is no special
    case. From the eigenvectors of the Gram matrix (the SVQB of Stathopoulos and Wu 2002,
    https://doi.org/10.1137/S1064827500370883), which needs no copy of ``tall``.

    Parameters
    ----------
    tall : float32 array, shape (rows, width)
    """
    values, vectors = np.linalg.eigh(gram(tall))
    real = values > _NOISE * max(values[-1], 0.0)
    scale = np.where(real, 1.0 / np.sqrt(np.where(real, values, 1.0)), 0.0)
    transform = vectors * scale
    for start in range(0, len(tall), GRAM_ROWS):
        tall[start : start + GRAM_ROWS] = tall[start : start + GRAM_ROWS].astype(np.float64) @ transform


def ritz(projected_gram: Float64) -> tuple[Float64, Float64]:
    """Singular values, and the rotation of the basis to singular vectors.

    Parameters
    ----------
    projected_gram : float64 array, shape (width, width)
        ``(A V)^T (A V)`` for an orthonormal V.

    Returns
    -------
    singular_values : float64 array, shape (width,)
        Descending.
    rotation : float64 array, shape (width, width)
        ``V @ rotation`` are the right singular vectors, in the same order.
    """
    values, vectors = np.linalg.eigh(projected_gram)
    return np.sqrt(np.maximum(values[::-1], 0.0)), np.ascontiguousarray(vectors[:, ::-1])


def unit_rows(rows: Float32) -> Float32:
    """Scale each row to length 1; rows of zeros stay."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    lengths[lengths == 0] = 1
    scaled: Float32 = rows / lengths[:, None]
    return scaled
