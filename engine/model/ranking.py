"""How items are ranked for a user: what a rating votes, what a neighbour weighs, what is taken off popular items.

The one place of the formula: the evaluate stage measures it, recommendations follow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine.chunked.csr import NarrowRows
from engine.model.parameters import RankingParameters
from engine.model.scoring import ask_neighbors, distance_weights, row_numbers, vote_weights, weighted_sums
from engine.model.topk import top_per_row

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
    """

    parameters: RankingParameters
    factor: NDArray[np.float32]

    @classmethod
    def of(cls, parameters: RankingParameters, counts: NDArray[np.integer[Any]]) -> Ranking:
        """The model for items with so many train ratings; integer array, shape (items,)."""
        return cls(parameters, (np.maximum(counts, 1) ** -parameters.popularity_penalty).astype(np.float32))

    @property
    def votes(self) -> bool:
        """Whether neighbours vote; else the notebook's one score stands for the rating, too."""
        return self.parameters.votes

    def vote(self, ratings: NDArray[np.float32]) -> NDArray[np.float32]:
        """What each rating counts."""
        return np.where(ratings >= self.parameters.liked_from, np.float32(1), np.float32(self.parameters.disliked_vote))

    def voters(self, ratings: NarrowRows, near: NarrowRows | None) -> Voters | NarrowRows:
        """What users ask: ``ratings``, and where there are votes similar items, too (`item_neighbors.near_rows`)."""
        return ratings if near is None else Voters(self, ratings, near)

    def ask(
        self, ids: NDArray[np.int32], similarities: NDArray[np.float32], own: csr_matrix, n_users: int
    ) -> csr_matrix:
        """What each of a batch of users asks of all users, and of all items.

        Parameters
        ----------
        ids, similarities : int32 and float32 arrays, shape (n, k)
            Neighbours, and their cosines; -1 and NaN where there is none.
        own : csr_matrix of float32, shape (n, items)
            The users' train ratings.
        n_users : int

        Returns
        -------
        csr_matrix, float32, shape (n, users + items)
            Of the notebook's model, shape (n, users).
        """
        if not self.votes:
            return ask_neighbors(ids, distance_weights(similarities), n_users)
        weights = vote_weights(similarities, self.parameters.amplification)
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), _LEAST)
        liked = self._mean_of_liked(own)
        return csr_matrix(scipy.sparse.hstack([ask_neighbors(ids, weights, n_users), liked], format="csr"))

    def _mean_of_liked(self, own: csr_matrix) -> csr_matrix:
        """What each of some users asks of the items: those it liked in equal parts, as much as their share is."""
        liked = own.data >= self.parameters.liked_from
        indptr = np.concatenate([[0], np.cumsum(liked)])[own.indptr].astype(np.int32)
        counts = np.diff(indptr)
        parts = np.repeat((self.parameters.liked_share / np.maximum(counts, 1)).astype(np.float32), counts)
        return csr_matrix((parts, own.indices[liked], indptr), shape=own.shape, copy=False)


class Voters:
    """What is asked: a row of votes for items from every user, then a row of similar items from every item.

    Parameters
    ----------
    ranking : Ranking
    ratings : NarrowRows
        The train matrix.
    near : NarrowRows
        Items x items: similarities.
    """

    def __init__(self, ranking: Ranking, ratings: NarrowRows, near: NarrowRows) -> None:
        self._ranking = ranking
        self._ratings = ratings
        self._near = near
        self.indptr = np.concatenate([ratings.indptr, ratings.indptr[-1] + near.indptr[1:]])

    def take(self, rows: NDArray[np.integer[Any]]) -> csr_matrix:
        """Some rows, in ascending order."""
        n_users = len(self._ratings.indptr) - 1
        split = int(np.searchsorted(rows, n_users))
        votes = self._ratings.take(rows[:split])
        weigh_votes(self._ranking, votes.indices, votes.data)
        return csr_matrix(scipy.sparse.vstack([votes, self._near.take(rows[split:] - n_users)], format="csr"))


def weigh_votes(ranking: Ranking, items: NDArray[np.int32], ratings: NDArray[np.float32]) -> None:
    """Replace ratings of some items by what they count in those items' scores, in place."""
    ratings[:] = ranking.vote(ratings)
    ratings *= ranking.factor[items]


class Ranked(NamedTuple):
    """The best items of some users, one user after the other, best first.

    Attributes
    ----------
    indptr : int64 array, shape (n + 1,)
        Where each user's items start in the others.
    items, scores : int32 and float32 arrays, shape (items,)
    n_raters, mean_ratings : int64 and float32 arrays, shape (items,)
        How many of the user's neighbours rated the item, and the mean of their ratings.
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    n_raters: NDArray[np.int64]
    mean_ratings: NDArray[np.float32]


def best_candidates(
    scores: csr_matrix, taken: NDArray[np.bool_], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ``k`` best items of each user; candidates are those with a score other than 0.

    Parameters
    ----------
    scores : csr_matrix, float32, shape (n, items)
    taken : bool array, shape (stored scores,)
        The scores of items that are no candidates.
    k : int

    Returns
    -------
    rows, places : int64 arrays
        As `engine.model.topk.top_per_row` gives them.
    """
    candidates = np.where(taken | (scores.data == 0), np.float32(-np.inf), scores.data)
    return top_per_row(scores.indptr, scores.indices, candidates, k)


def rank(
    voters: Voters | NarrowRows,
    asking: csr_matrix,
    ratings: NarrowRows,
    ids: NDArray[np.int32],
    taken: Sequence[csr_matrix],
    k: int,
) -> Ranked:
    """The ``k`` best items of each of a batch of users, and what their neighbours say of them.

    Parameters
    ----------
    voters, asking
        What is asked, and what each user asks (`Ranking.ask`).
    ratings : NarrowRows
        The train matrix.
    ids : int32 array, shape (n, k)
        Neighbours, as rows of ``ratings``; -1 where there is none.
    taken : sequence of csr_matrix, each of shape (n, items)
        The items stored in a user's row are not recommended.
    k : int
    """
    scores = weighted_sums(voters, asking)
    n, n_items = scores.shape
    flags = np.zeros(n * n_items, dtype=bool)
    for rows in taken:
        flags[_places(rows)] = True
    best_rows, best = best_candidates(scores, flags[_places(scores)], k)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(best_rows, minlength=n))])
    items = scores.indices[best]
    return Ranked(indptr, items, scores.data[best], *opinions(ratings, ids, indptr, items))


def _places(rows: csr_matrix) -> NDArray[np.int64]:
    """The place of each stored value in the matrix laid out row by row."""
    places: NDArray[np.int64] = row_numbers(rows.indptr) * rows.shape[1] + rows.indices
    return places


def opinions(
    ratings: NarrowRows, ids: NDArray[np.int32], indptr: NDArray[np.int64], items: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """How many of each user's neighbours rated some items, and the mean of their ratings.

    Parameters
    ----------
    ratings : NarrowRows
        The train matrix.
    ids : int32 array, shape (n, k)
        Neighbours, as its rows; -1 where there is none.
    indptr, items : arrays, shapes (n + 1,) and (items,)
        The items asked for, each user's after the other's.

    Returns
    -------
    int64 and float32 arrays, shape (items,)
        An item nobody rated has 0 and NaN.
    """
    counts, sums = np.zeros(len(items), dtype=np.int64), np.zeros(len(items))
    place = np.full(ratings.n_columns, -1, dtype=np.int64)
    for user, neighbors in enumerate(ids):
        wanted = slice(indptr[user], indptr[user + 1])
        theirs = ratings.take(neighbors[neighbors >= 0])
        place[items[wanted]] = np.arange(wanted.stop - wanted.start)
        at = place[theirs.indices]
        place[items[wanted]] = -1
        n = wanted.stop - wanted.start
        counts[wanted] = np.bincount(at[at >= 0], minlength=n)
        sums[wanted] = np.bincount(at[at >= 0], theirs.data[at >= 0], minlength=n)
    means = np.divide(sums, counts, out=np.full(len(items), np.nan), where=counts > 0)
    return counts, means.astype(np.float32)
