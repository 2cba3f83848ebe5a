"""What users' ratings of near items say of an item, and what products of vectors do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels import _native
from engine.kernels.rows import Lists, native_lists


def mean_near_residuals(
    rated: Lists,
    residuals: NDArray[np.float32],
    n_items: int,
    asked: Lists,
    near: NDArray[np.int32],
    similarities: NDArray[np.float32],
    shrink: float,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Mean of the user's residuals of the items nearest to each asked for, by similarity, drawn towards 0.

    ``sum_j s_ij e_uj / (sum_j s_ij + shrink)``, over the items j near i that user u has rated (Koren 2010, equation 7,
    with similarities taken as they are); in float64.

    Parameters
    ----------
    rated : Lists
        Items that each user has rated.
    residuals : float32 array, shape (ratings,)
        What is left of these ratings.
    n_items : int
    asked : Lists
        Rows of ``near`` that are asked for, of each user.
    near, similarities : int32 and float32 arrays, shape (m, k)
        Items near to those asked for, -1 where there is none.
    shrink : float

    Returns
    -------
    float32 and bool arrays, shape (pairs,)
        The mean, 0 where no item near was rated, and whether any was.

    Raises
    ------
    ValueError, IndexError
        Where arrays do not fit together, or a number leads out of one.
    """
    means, covered = np.empty(len(asked.columns), dtype=np.float32), np.empty(len(asked.columns), dtype=bool)
    _native.mean_near_residuals(
        native_lists(rated),
        residuals,
        n_items,
        native_lists(asked),
        near,
        similarities,
        shrink,
        means,
        covered,
    )
    return means, covered


def products_of_pairs(users: NDArray[np.float32], items: NDArray[np.float32], asked: Lists) -> NDArray[np.float32]:
    """The product of each user's vector with those of some items.

    Parameters
    ----------
    users, items : float32 arrays, shapes (n, dims) and (m, dims)
        ``dims`` is a multiple of 16.
    asked : Lists
        Rows of ``items``, of each user.

    Returns
    -------
    float32 array, shape (pairs,)

    Raises
    ------
    ValueError, IndexError
        Where arrays do not fit together, or a number leads out of one.
    """
    products = np.empty(len(asked.columns), dtype=np.float32)
    _native.products_of_pairs(users, items, native_lists(asked), products)
    return products
