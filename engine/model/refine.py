"""Vectors refined: preferences that products of vectors are fitted to, and where vectors start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.model.alternating import Ids, padded
from engine.model.factors import gram

Float32 = NDArray[np.float32]


def unseen_weight(total: float, most: float, n_items: int) -> float:
    """What an item weighs that a user has not rated: of all together ``total``, but not more than ``most``."""
    return min(total / max(1, n_items), most)


@dataclass(frozen=True)
class Preferences:
    """Implicit feedback: a rating is a preference, no rating one of 0 that weighs little (Hu, Koren and Volinsky 2008).

    Vectors minimise ``sum (p_ui - x_u y_i)^2 + unseen sum (x_u y_i)^2``, the first over ratings, the second over all
    pairs. Each vector's ridge is ``regularisation`` times the number of its ratings and what the others weigh (Rendle,
    Krichene, Zhang and Koren 2021).

    Attributes
    ----------
    liked_from, disliked : float
        The preference is 1 for ratings from there on, else ``disliked``.
    unseen : float
        What a pair without a rating weighs, one with a rating weighing 1.
    regularisation : float
    unseen_items, unseen_users : float
        What all items of a user weigh that are not rated, and all users of an item.
    """

    liked_from: float
    disliked: float
    unseen: float
    regularisation: float
    unseen_items: float
    unseen_users: float

    def of_users(self, rows: NarrowRows, users: Ids) -> tuple[Float32, Float32]:
        """See `engine.model.alternating.Objective`."""
        return self._targets(rows), self._ridges(rows, self.unseen_items)

    def of_items(self, rows: NarrowRows, items: Ids) -> tuple[Float32, Float32]:
        """See `engine.model.alternating.Objective`."""
        return self._targets(rows), self._ridges(rows, self.unseen_users)

    def gram(self, vectors: Float32) -> Float32:
        """See `engine.model.alternating.Objective`."""
        return (self.unseen * gram(vectors)).astype(np.float32)

    def _targets(self, rows: NarrowRows) -> Float32:
        liked = rows.values() >= np.float32(self.liked_from)
        return np.where(liked, np.float32(1), np.float32(self.disliked))

    def _ridges(self, rows: NarrowRows, unseen: float) -> Float32:
        lengths = np.diff(rows.indptr).astype(np.float32)
        ridges: Float32 = np.float32(self.regularisation) * (lengths + np.float32(unseen))
        return ridges


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


def preferences(weights: Weights, liked_from: float, n_users: int, n_items: int) -> Preferences:
    """The objective of a configuration, for so many users and items."""
    unseen = unseen_weight(weights.unseen_weight, weights.most_unseen, n_items)
    of_users = min(unseen * n_users, weights.regularised_users)
    disliked = weights.disliked_preference
    return Preferences(liked_from, disliked, unseen, weights.regularisation, unseen * n_items, of_users)


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
