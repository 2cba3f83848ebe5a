"""Selecting the best of many, for whole batches of users at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_NEIGHBOR = -1
# Dot products held at a time by brute force; 16 bytes each.
_CELLS = 2**18

Nearest = tuple[NDArray[np.int32], NDArray[np.float32]]


def merge_nearest(users: NDArray[np.int32], best: Nearest, found: Nearest) -> Nearest:
    """Keep the most similar of two sets of candidates, never the user itself.

    Parameters
    ----------
    users : int32 array, shape (n,)
        Codes of the users the rows are about.
    best, found : pair of int32 and float32 arrays, shapes (n, k) and (n, j)
        Codes and similarities; code -1 and similarity NaN where there is none.

    Returns
    -------
    pair of arrays, shape (n, k)
        Most similar first; equal similarities by ascending code.
    """
    ids = np.concatenate([best[0], found[0]], axis=1)
    similarities = np.concatenate([best[1], found[1]], axis=1)
    itself = ids == users[:, None]
    ids[itself] = NO_NEIGHBOR
    similarities[itself] = np.nan
    order = np.lexsort((ids, -similarities), axis=1)[:, : best[0].shape[1]]  # NaN sorts last
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(similarities, order, axis=1)


def nearest_exact(queries: NDArray[np.float32], others: NDArray[np.float32], first: int, k: int) -> Nearest:
    """Brute force: the ``k`` rows of ``others`` with the largest dot product.

    Parameters
    ----------
    queries, others : float32 arrays, shapes (n, dims) and (m, dims)
        Unit rows.
    first : int
        Code of the first row of ``others``.
    k : int
        At most m.

    Returns
    -------
    pair of arrays, shape (n, k)
        Codes and similarities, in no order.
    """
    ids = np.empty((len(queries), k), dtype=np.int32)
    similarities = np.empty((len(queries), k), dtype=np.float32)
    block = max(1, _CELLS // len(others))
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        products = queries[rows] @ others.T
        order = np.argpartition(-products, k - 1, axis=1)[:, :k]
        ids[rows] = order + first
        similarities[rows] = np.take_along_axis(products, order, axis=1)
    return ids, similarities


def top_per_row(
    rows: NDArray[np.integer[Any]],
    columns: NDArray[np.integer[Any]],
    scores: NDArray[np.float32],
    n_rows: int,
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ``k`` best-scored columns of each row of a sparse batch.

    Parameters
    ----------
    rows, columns, scores : arrays, shape (n,)
        Scored candidates, rows ascending.
    n_rows, k : int
        Rows of the batch, candidates wanted of each.

    Returns
    -------
    rows, columns : int64 arrays, shape (m,)
        The chosen, rows ascending and best first; equal scores by ascending column. Fewer than ``k`` where
        a row has fewer candidates.
    """
    lengths = np.bincount(rows, minlength=n_rows)
    thresholds = np.full(n_rows, -np.inf, dtype=np.float32)
    starts = np.cumsum(lengths) - lengths
    # Rows of like length are cut to the same width and partitioned together: padding stays below a half.
    widths = 1 << np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64)
    for width in np.unique(widths[lengths > k]).tolist():
        group = np.flatnonzero((widths == width) & (lengths > k))
        padded = np.full((len(group), width), -np.inf, dtype=np.float32)
        inside = np.arange(width) < lengths[group, None]
        padded[inside] = scores[(starts[group, None] + np.arange(width))[inside]]
        thresholds[group] = np.partition(padded, width - k, axis=1)[:, width - k]
    chosen = np.flatnonzero(scores >= thresholds[rows])
    order = np.lexsort((columns[chosen], -scores[chosen], rows[chosen]))
    chosen = chosen[order]
    kept_rows = rows[chosen].astype(np.int64)
    counts = np.bincount(kept_rows, minlength=n_rows)
    rank = np.arange(len(chosen)) - np.repeat(np.cumsum(counts) - counts, counts)
    return kept_rows[rank < k], columns[chosen][rank < k].astype(np.int64)
