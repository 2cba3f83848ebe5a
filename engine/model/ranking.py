"""How items are ranked for a user: what a rating votes, what a neighbour weighs, what is taken off popular items.

The one place of the formula: the evaluate stage measures it, recommendations follow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.kernels.rows import Lists, lists_of
from engine.kernels.scoring import NOT_BLENDED, Blended, Near, Scored, Together, Votes, rank_items
from engine.model.cooccurrence import Companions
from engine.model.parameters import RANKING_PARTS, RankingParameters, RankingWeights
from engine.model.popularity import by_popularity, fill_lists
from engine.model.scoring import distance_weights, vote_weights
from engine.model.sizes import POPULAR_ITEMS

# Guards divisions by a sum of nothing.
_LEAST = np.float32(1e-12)
_NO_VECTORS = np.empty((0, 0), dtype=np.float32)


@dataclass(frozen=True)
class Ranking:
    """The ranking model of a configuration, with what it knows of the items.

    An item's votes are the mean vote of the user's neighbours, by a power of their similarity, over a power of the
    item's number of ratings; plus a share of the item's mean similarity to the items that the user liked. Candidates
    are the items with votes, those that go together with some of the user's, and the most popular. They are ranked by a
    weighted sum of their votes, the products of refined vectors, the votes of the user's own items for those that go
    together with them, and the logarithm of their number of ratings, each standardised over the user's candidates.

    Attributes
    ----------
    parameters : RankingParameters
    factor : float32 array, shape (items,)
        What neighbours' votes for an item are multiplied by.
    near : NarrowRows, optional
        Items x items: of each item those that it is among the nearest of (`engine.model.item_neighbors.near_rows`).
        None with the notebook's model, where the one score stands for the rating, too.
    item_vectors : float32 array, shape (items, dims), optional
        Refined ones.
    together : Companions, optional
        Of each item those that go together with it. None where they weigh nothing.
    popularity : float32 array, shape (items,)
        Logarithm of the number of ratings.
    by_popularity : int32 array, shape (items,)
        Items, the most popular first.
    """

    parameters: RankingParameters
    factor: NDArray[np.float32]
    near: NarrowRows | None
    item_vectors: NDArray[np.float32] | None
    together: Companions | None
    popularity: NDArray[np.float32]
    by_popularity: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        parameters: RankingParameters,
        counts: NDArray[np.integer[Any]],
        near: NarrowRows | None = None,
        item_vectors: NDArray[np.float32] | None = None,
        together: Companions | None = None,
    ) -> Ranking:
        """The model for items with so many train ratings; integer array, shape (items,)."""
        penalty = parameters.popularity_penalty if parameters.votes else 0.0
        factor = (np.maximum(counts, 1) ** -penalty).astype(np.float32)
        popularity = np.log1p(counts.astype(np.float64)).astype(np.float32)
        return cls(parameters, factor, near, item_vectors, together, popularity, by_popularity(counts))

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
        blends: Sequence[RankingWeights] | None = None,
        fill: bool = True,
        explain: bool = False,
    ) -> Scored:
        """The ``k`` best items of each of some users; all items where there are fewer.

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
        blends : sequence of RankingWeights, optional
            As many lists of each user, one after the other; those of the parameters where none are given.
        fill : bool
            Where candidates are too few for a list, the most popular items that are new to the user come after them,
            with NaN for a score; else the list is shorter.
        explain : bool
            Whether to say what each part adds to a score; not with the notebook's model, which has one.
        """
        k = min(k, len(self.factor))
        votes = Votes(not self.votes, self.parameters.liked_from, self.parameters.disliked_vote)
        blended = self._blended(vectors, blends or [self.parameters.blend]) if self.votes else NOT_BLENDED
        found = rank_items(
            ratings,
            neighbors,
            self.weights(similarities),
            self.factor,
            votes,
            self.near_of(own),
            taken,
            k,
            wanted,
            blended,
            offered,
            self.together_of(own),
            explain and self.votes,
        )
        found.items[np.isnan(found.scores)] = -1  # of who has no candidates but what is popular
        if fill:
            order = self.by_popularity if offered is None else self.by_popularity[offered[self.by_popularity]]
            fill_lists(found, taken, order, len(self.by_popularity))
        return found

    def near_of(self, own: NarrowRows) -> Near | None:
        """What the items that users liked add to those near them: of each in equal parts, together their share."""
        if self.near is None:
            return None
        liked = own.values() >= self.parameters.liked_from
        indptr = np.concatenate([[0], np.cumsum(liked)])[own.indptr]
        counts = np.diff(indptr)
        shares = np.repeat((self.parameters.liked_share / np.maximum(counts, 1)).astype(np.float32), counts)
        return Near(self.near, Lists(indptr, own.indices[liked].astype(np.int32)), shares)

    def together_of(self, own: NarrowRows) -> Together | None:
        """What each of the users' items adds to those that go together with it: its vote, in the item's scale."""
        if self.together is None:
            return None
        liked = own.values() >= self.parameters.liked_from
        values = np.where(liked, np.float32(1), np.float32(self.parameters.disliked_vote))
        values *= self.together.scales[own.indices]
        return Together(self.together.similarities, lists_of(own), values)

    def _blended(self, vectors: NDArray[np.float32] | None, blends: Sequence[RankingWeights]) -> Blended:
        weights = np.array([[getattr(each, part) for part in RANKING_PARTS] for each in blends], dtype=np.float32)
        if self.item_vectors is None or vectors is None:
            return Blended(_NO_VECTORS, _NO_VECTORS, self.popularity, self.by_popularity, POPULAR_ITEMS, weights)
        return Blended(vectors, self.item_vectors, self.popularity, self.by_popularity, POPULAR_ITEMS, weights)
