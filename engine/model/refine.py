"""Vectors refined: preferences that products of vectors are fitted to, and where vectors start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.model.alternating import Ids, Wanted, padded
from engine.model.scoring import row_numbers

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def unseen_weight(total: float, most: float, n_items: int) -> float:
    """What an item weighs that a user has not rated: of all together ``total``, but not more than ``most``."""
    return min(total / max(1, n_items), most)


@dataclass(frozen=True)
class Preferences:
    """Implicit feedback: a rating is a preference, no rating one of 0 that weighs little (Hu, Koren and Volinsky 2008).

    Vectors minimise ``sum c_ui (p_ui - x_u y_i)^2 + unseen sum (x_u y_i)^2``, the first over ratings, the second over
    all pairs. The confidence ``c_ui`` is ``1 + alpha log(1 + count)``. Each vector's ridge is ``regularisation`` times
    the sum of its ratings' confidences and what the others weigh (Rendle, Krichene, Zhang and Koren 2021).

    Attributes
    ----------
    liked_from, disliked : float
        The preference is 1 for ratings from there on, else ``disliked``.
    unseen : float
        What a pair without a rating weighs, one with a rating weighing 1.
    regularisation : float
    unseen_items, unseen_users : float
        What all items of a user weigh that are not rated, and all users of an item.
    alpha : float
        0 where ratings are no counts: then all confidences are 1.
    """

    liked_from: float
    disliked: float
    unseen: float
    regularisation: float
    unseen_items: float
    unseen_users: float
    alpha: float

    def of_users(self, rows: NarrowRows, users: Ids) -> Wanted:
        """See `engine.model.alternating.Objective`."""
        weights = self.weights(rows)
        seen = np.diff(rows.indptr).astype(np.float32) if weights is None else sums_of_rows(rows, weights)
        return Wanted(self._targets(rows), self._ridges(seen, self.unseen_items), weights)

    def weights(self, rows: NarrowRows) -> Float32 | None:
        """See `engine.model.alternating.Objective`."""
        return confidences_of(rows.values(), self.alpha) if self.alpha else None

    def item_ridges(self, totals: Float64) -> Float32:
        """See `engine.model.alternating.Objective`."""
        return self._ridges(totals, self.unseen_users)

    def _targets(self, rows: NarrowRows) -> Float32:
        liked = rows.values() >= np.float32(self.liked_from)
        return np.where(liked, np.float32(1), np.float32(self.disliked))

    def _ridges(self, seen: NDArray[np.floating[Any]], unseen: float) -> Float32:
        """Of vectors whose ratings weigh so much together."""
        ridges: Float32 = np.float32(self.regularisation) * (seen.astype(np.float32) + np.float32(unseen))
        return ridges


def confidences_of(counts: Float32, alpha: float) -> Float32:
    """``1 + alpha log(1 + count)`` (Hu, Koren and Volinsky 2008, equation 6); what is negative counts as 0.

    Examples
    --------
    >>> confidences_of(np.array([0, 1, 99], dtype=np.float32), 10.0).round(2)
    array([ 1.  ,  7.93, 47.05], dtype=float32)
    """
    found = np.log1p(np.maximum(counts, np.float32(0)))
    found *= np.float32(alpha)
    found += np.float32(1)
    return found


def sums_of_rows(rows: NarrowRows, values: Float32) -> Float32:
    """The sum of the values of each row, shape (rows,)."""
    return np.bincount(row_numbers(rows.indptr), values, minlength=len(rows.indptr) - 1).astype(np.float32)


class Weights(Protocol):
    """What a configuration says of preferences; `engine.config.Refine` has the meanings."""

    @property
    def disliked_preference(self) -> float: ...  # noqa: D102
    @property
    def unseen_weight(self) -> float: ...  # noqa: D102
    @property
    def most_unseen(self) -> float: ...  # noqa: D102
    @property
    def regularisation(self) -> float: ...  # noqa: D102
    @property
    def regularised_users(self) -> float: ...  # noqa: D102
    @property
    def alpha(self) -> float: ...  # noqa: D102


def preferences(weights: Weights, liked_from: float, implicit: bool, n_users: int, n_items: int) -> Preferences:
    """The objective of a configuration, for so many users and items; confidences are of implicit feedback only."""
    unseen = unseen_weight(weights.unseen_weight, weights.most_unseen, n_items)
    of_users = min(unseen * n_users, weights.regularised_users)
    disliked = weights.disliked_preference
    alpha = weights.alpha if implicit else 0.0
    return Preferences(liked_from, disliked, unseen, weights.regularisation, unseen * n_items, of_users, alpha)


def starting_vectors(loadings: Float32, singular_values: NDArray[np.float64], mean: float) -> Float32:
    """Item vectors of the SVD, as those of preferences; shape (items, dims), padded with zeros.

    Parameters
    ----------
    loadings : float32 array, shape (items, k)
    singular_values : float64 array, shape (at least k,)
        Of a matrix of ratings.
    mean : float
        Of the ratings' magnitudes: by so much they are larger than preferences.
    """
    n_items, k = loadings.shape
    vectors = np.zeros((n_items, padded(k)), dtype=np.float32)
    vectors[:, :k] = loadings * np.sqrt(singular_values[:k] / max(mean, 1e-12)).astype(np.float32)
    return vectors
