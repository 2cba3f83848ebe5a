"""How items are ranked for a user: what a rating votes, what a neighbour weighs, what is taken off popular items.

The one place of the formula: the evaluate stage measures it, recommendations follow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.kernels.rows import Lists
from engine.kernels.scoring import NOT_BLENDED, Blended, Near, Scored, Votes, rank_items
from engine.model.parameters import RankingParameters
from engine.model.scoring import distance_weights, vote_weights

# Guards divisions by a sum of nothing.
_LEAST = np.float32(1e-12)


@dataclass(frozen=True)
class Ranking:
    """The ranking model of a configuration, with what it knows of the items.

    An item's score is the mean vote of the user's neighbours, by a power of their similarity, over a power of the
    item's number of ratings; plus a share of the item's mean similarity to the items that the user liked.

    Attributes
    ----------
    parameters : RankingParameters
    factor : float32 array, shape (items,)
        What neighbours' votes for an item are multiplied by.
    near : NarrowRows, optional
        Items x items: of each item those that it is among the nearest of (`engine.model.item_neighbors.near_rows`).
        None with the notebook's model, where the one score stands for the rating, too.
    item_vectors : float32 array, shape (items, dims), optional
        Refined ones: an item's score is then the product of the user's vector and its own, plus a share of the above,
        both standardised over the user's candidates.
    """

    parameters: RankingParameters
    factor: NDArray[np.float32]
    near: NarrowRows | None
    item_vectors: NDArray[np.float32] | None

    @classmethod
    def of(
        cls,
        parameters: RankingParameters,
        counts: NDArray[np.integer[Any]],
        near: NarrowRows | None = None,
        item_vectors: NDArray[np.float32] | None = None,
    ) -> Ranking:
        """The model for items with so many train ratings; integer array, shape (items,)."""
        penalty = parameters.popularity_penalty if parameters.votes else 0.0
        return cls(parameters, (np.maximum(counts, 1) ** -penalty).astype(np.float32), near, item_vectors)

    @property
    def votes(self) -> bool:
        """Whether neighbours vote; else the notebook's one score stands for the rating, too."""
        return self.parameters.votes

    def weights(self, similarities: NDArray[np.float32]) -> NDArray[np.float32]:
        """What each neighbour's ratings are multiplied by, shape (users, k); of each user they add up to 1, or to 0."""
        if not self.votes:
            return distance_weights(similarities)
        weights = vote_weights(similarities, self.parameters.amplification)
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), _LEAST)
        return weights

    def rank(
        self,
        ratings: NarrowRows,
        neighbors: NDArray[np.int32],
        similarities: NDArray[np.float32],
        own: NarrowRows,
        taken: Lists,
        k: int,
        wanted: Lists | None = None,
        vectors: NDArray[np.float32] | None = None,
        offered: NDArray[np.bool_] | None = None,
    ) -> Scored:
        """The ``k`` best items of each of some users.

        Parameters
        ----------
        ratings : NarrowRows
            Train ratings of all who are neighbours.
        neighbors, similarities : int32 and float32 arrays, shape (n, neighbours)
            Neighbours, as rows of ``ratings``, and their cosines; -1 and NaN where there is none.
        own : NarrowRows
            The users' train ratings.
        taken : Lists
            Items of each user that are not recommended.
        k : int
        wanted : Lists, optional
            Items of each user whose score is wanted beside.
        vectors : float32 array, shape (n, dims), optional
            The users' refined vectors.
        offered : bool array, shape (items,), optional
            Which items may be in a list; scores do not depend on it.
        """
        near = None if self.near is None else Near(self.near, *self._liked(own))
        votes = Votes(not self.votes, self.parameters.liked_from, self.parameters.disliked_vote)
        blended = NOT_BLENDED
        if self.item_vectors is not None and vectors is not None:
            blended = Blended(vectors, self.item_vectors, self.parameters.votes_weight)
        return rank_items(
            ratings,
            neighbors,
            self.weights(similarities),
            self.factor,
            votes,
            near,
            taken,
            k,
            wanted,
            blended,
            offered,
        )

    def _liked(self, own: NarrowRows) -> tuple[Lists, NDArray[np.float32]]:
        """The items each user liked, and the share of each: in equal parts, together as much as their share is."""
        liked = own.values() >= self.parameters.liked_from
        indptr = np.concatenate([[0], np.cumsum(liked)])[own.indptr]
        counts = np.diff(indptr)
        shares = np.repeat((self.parameters.liked_share / np.maximum(counts, 1)).astype(np.float32), counts)
        return Lists(indptr, own.indices[liked].astype(np.int32)), shares
