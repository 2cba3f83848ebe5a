"""The parameters of a model that are not arrays. A configuration makes them, so nothing here loads a library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class RatingWeights:
    """What the parts of a predicted rating weigh, beside the bias model; see `engine.model.prediction.RatingModel`.

    Attributes
    ----------
    latent, near : float
    """

    latent: float
    near: float


@dataclass(frozen=True)
class RankingWeights:
    """What the parts weigh that items are ranked by, each standardised over a user's candidates.

    Attributes
    ----------
    products : float
        Of refined vectors.
    votes : float
        Of the nearest users, likeness to liked items included.
    together : float
        Of items that go together with the user's.
    popularity : float
    """

    products: float
    votes: float
    together: float
    popularity: float


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
    blend : RankingWeights
        Weight of all that beside other parts.
    """

    votes: bool
    amplification: float
    popularity_penalty: float
    disliked_vote: float
    liked_from: float
    liked_share: float
    blend: RankingWeights


class Worth(NamedTuple):
    """What a part brings: a difference of means over users, and its standard error."""

    gain: float
    error: float

    @property
    def is_real(self) -> bool:
        """Whether it is more than its error."""
        return self.gain > self.error


@dataclass(frozen=True)
class RatingChoice:
    """Weights of a predicted rating's parts, as calibrated.

    Attributes
    ----------
    weights : RatingWeights
    worth : dict of Worth
        Of each part that has a weight: mean squared error without it less that with it, on ratings that the weights
        were not fitted to.
    """

    weights: RatingWeights
    worth: dict[str, Worth]


@dataclass(frozen=True)
class RankingChoice:
    """Weights that items are ranked by, as calibrated.

    Attributes
    ----------
    weights : RankingWeights
    recall : Worth
        Mean recall with these weights, and its standard error.
    given : Worth
        Gain over the weights given.
    worth : dict of Worth
        Of each part that has a weight: mean recall less that of the best weights of the others, or, where it is the
        only one, of the best weights without it.
    """

    weights: RankingWeights
    recall: Worth
    given: Worth
    worth: dict[str, Worth]


RANKING_PARTS = ("products", "votes", "together", "popularity")
"""Names of the parts that items are ranked by."""

_VOTES, _TOGETHER, _POPULARITY = (0.0, 0.125, 0.25, 0.5, 1.0), (0.5, 1.0, 2.0), (0.0, 0.25, 0.5, 1.0)


def blends(given: RankingWeights, has_products: bool) -> list[RankingWeights]:
    """Weights to try, those given first: of products with more or fewer of the other parts, and of each alone."""
    found = [given]
    if has_products:
        found += [RankingWeights(1.0, votes, 0.0, popularity) for votes in _VOTES for popularity in _POPULARITY]
        found += [
            RankingWeights(1.0, votes, together, popularity)
            for together in _TOGETHER
            for votes in (0.0, 0.25, 0.5)
            for popularity in (0.0, 0.25)
        ]
    found += [RankingWeights(0.0, 1.0, 0.0, popularity) for popularity in _POPULARITY]
    found += [RankingWeights(0.0, votes, 1.0, popularity) for votes in (0.0, 0.5) for popularity in (0.0, 0.25)]
    found.append(RankingWeights(0.0, 0.0, 0.0, 1.0))
    return list(dict.fromkeys(found))


N_BLENDS = len(blends(RankingWeights(-1.0, -1.0, -1.0, -1.0), has_products=True))
"""As many as there are at most."""
