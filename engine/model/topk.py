"""Selecting the best-scored columns of every row of a sparse batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def top_per_row(
    indptr: NDArray[np.integer[Any]], columns: NDArray[np.integer[Any]], scores: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the ``k`` best-scored candidates of each row.

    Parameters
    ----------
    indptr : integer array, shape (rows + 1,)
        Where each row starts in the others.
    columns, scores : arrays, shape (n,)
        Of each candidate; minus infinity takes it out.
    k : int
        Wanted of each row.

    Returns
    -------
    rows, places : int64 arrays, shape (m,)
        The rows of the chosen, ascending, and their places in ``columns``: best first, equal scores by ascending
        column. Fewer than ``k`` where a row has fewer candidates.
    """
    lengths = np.diff(indptr)
    threshold = np.full(len(lengths), np.finfo(np.float32).min)
    for row in np.flatnonzero(lengths > k).tolist():
        of_row = scores[indptr[row] : indptr[row + 1]]
        threshold[row] = max(threshold[row], np.partition(of_row, len(of_row) - k)[len(of_row) - k])
    chosen = np.flatnonzero(scores >= np.repeat(threshold, lengths))
    rows = np.searchsorted(indptr, chosen, side="right") - 1
    order = np.lexsort((columns[chosen], -scores[chosen], rows))
    chosen = chosen[order]
    counts = np.bincount(rows, minlength=len(lengths))
    rank = np.arange(len(chosen)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows[rank < k], chosen[rank < k]
