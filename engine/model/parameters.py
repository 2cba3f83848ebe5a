"""The parameters of a model that are not arrays. A configuration makes them, so nothing here loads a library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RankingParameters:
    """How items are ranked for a user; see `engine.model.ranking.Ranking`.

    Attributes
    ----------
    votes : bool
        Whether the nearest users vote; else the notebook's one score stands for the rating, too, and the other
        parameters count for nothing.
    amplification : float
        Power of the similarity that a neighbour votes with.
    popularity_penalty : float
        An item's votes are divided by this power of its number of ratings.
    disliked_vote : float
        What a rating below ``liked_from`` counts, where one from there on counts 1.
    liked_from : float
        In units of ratings.
    liked_share : float
        Weight of the likeness to items the user liked, beside the neighbours' votes.
    votes_weight : float
        Weight of all that beside the products of refined vectors, where there are any.
    """

    votes: bool
    amplification: float
    popularity_penalty: float
    disliked_vote: float
    liked_from: float
    liked_share: float
    votes_weight: float
