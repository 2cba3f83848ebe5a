"""Those who are asked about: users of the data, and newcomers placed among them."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine.chunked.csr import NarrowRows

Kind = Literal["polars", "pandas", "numpy"]
"""Whose tables are asked with, and answered in."""


@dataclasses.dataclass(frozen=True, eq=False)
class Newcomer:
    """Someone who is not in the data, placed among those who are; made by `Recommender.fold_in`.

    Attributes
    ----------
    vector : float32 array, shape (dims,)
        Of unit length, or zeros where no dimension reaches the items rated.
    neighbors, similarities : int32 and float32 arrays, shape (k,)
        Codes and cosines of the nearest users, nearest first; -1 and NaN where there are fewer.
    rated : csr_matrix of float32, shape (1, items)
        The ratings taken in.
    bias : float
        How far these are from what is expected of their items, damped.
    left_out : tuple
        Ids of items rated that the run knows no rating of.
    rates : bool
        Whether the ratings are this person's own; else they stand for likes.
    kind : {"polars", "pandas", "numpy"}, optional
        Whose the items were given in, and answers are, therefore. None: lists.
    """

    vector: NDArray[np.float32]
    neighbors: NDArray[np.int32]
    similarities: NDArray[np.float32]
    rated: csr_matrix
    bias: float
    left_out: tuple[Any, ...]
    rates: bool = True
    kind: Kind | None = None

    def __repr__(self) -> str:
        left_out = f", {len(self.left_out)} left out" if self.left_out else ""
        return f"Newcomer({self.rated.nnz} items rated{left_out})"


class People(NamedTuple):
    """Some of those asked about.

    Attributes
    ----------
    ids : Series
        To show; null of a newcomer.
    rated : NarrowRows
        Their train ratings.
    neighbors, similarities : int32 and float32 arrays, shape (n, k)
        Codes and cosines of the nearest users; -1 and NaN where there are fewer.
    biases : float32 array, shape (n,)
        How far they are from the mean; zeros where the run has no bias model.
    vectors : float32 array, shape (n, dims), optional
        Refined ones.
    rate : bool
        Whether ``rated`` are ratings that they gave.
    """

    ids: pl.Series
    rated: NarrowRows
    neighbors: NDArray[np.int32]
    similarities: NDArray[np.float32]
    biases: NDArray[np.float32]
    vectors: NDArray[np.float32] | None
    rate: bool = True


def narrow(rows: csr_matrix) -> NarrowRows:
    """Rows of SciPy's as those of a run are."""
    return NarrowRows(rows.indptr.astype(np.int64), rows.indices, rows.data, rows.shape[1], 1.0)
