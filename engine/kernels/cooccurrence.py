"""Which items are taken together, by the users who took both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.kernels import _native
from engine.kernels.rows import native_rows

Ids = NDArray[np.int32]
Float32 = NDArray[np.float32]


def find_together(
    rows: NarrowRows,
    of_items: NarrowRows,
    items: Ids,
    user_weights: Float32,
    item_weights: Float32,
    liked_from: float,
    disliked: float,
    k: int,
) -> tuple[Ids, Float32]:
    """The ``k`` items that go best together with each of some.

    ``similarity[i, j] = item_weight[j] * sum_v user_weight[v] vote(r_vi) vote(r_vj)``, over the users v who took both,
    ascending; a vote is 1 for a rating from ``liked_from`` on, else ``disliked``.

    Parameters
    ----------
    rows : NarrowRows
        Ratings, users x items.
    of_items : NarrowRows
        Those of some items, these x users; columns are uint32, values stored as those of ``rows`` are.
    items : int32 array, shape (n,)
        The columns of ``rows`` that these are.
    user_weights, item_weights : float32 arrays, shapes (users,) and (items of rows,)
        Users without weight are passed over.
    liked_from, disliked : float
    k : int

    Returns
    -------
    int32 and float32 arrays, shape (n, k)
        By descending similarity, equal ones by ascending column; -1 and 0 where there are fewer.

    Raises
    ------
    ValueError, IndexError
        Where arrays do not fit together, or a number leads out of one.
    """
    ids, similarities = np.empty((len(items), k), dtype=np.int32), np.empty((len(items), k), dtype=np.float32)
    _native.find_together(
        native_rows(rows),
        native_rows(of_items),
        items,
        user_weights,
        item_weights,
        liked_from,
        disliked,
        ids,
        similarities,
    )
    return ids, similarities
