"""Why an item is in a list: the part of the ranking that added most to its score."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.kernels.rows import lists_of
from engine.kernels.scoring import Contributions, Near, Scored, Together, find_in_rows, find_strongest
from engine.model.parameters import RANKING_PARTS
from engine.model.ranking import Ranking

REASONS = ("vectors", "neighbors", "item", "popularity")
"""The vectors of user and item fit; neighbours vote for it; it goes with an item of the user's own, being
near to it or taken by the same users; it is popular."""

_NEIGHBORS, _ITEM, _POPULARITY = (REASONS.index(reason) for reason in ("neighbors", "item", "popularity"))
_VOTES, _TOGETHER = (RANKING_PARTS.index(part) for part in ("votes", "together"))
_OF_PARTS = np.arange(len(RANKING_PARTS), dtype=np.uint8)
"""The reason of each of the ranking's parts: they come in the same order."""


class Reasons(NamedTuple):
    """Why each item is in its list.

    Attributes
    ----------
    kinds : uint8 array, shape (users, k)
        Places in `REASONS`.
    items : int32 array, shape (users, k)
        The item of the user's own that adds most, where that is the reason; else -1.
    ratings : float32 array, shape (users, k)
        What the user gave it; NaN where there is none.
    """

    kinds: NDArray[np.uint8]
    items: NDArray[np.int32]
    ratings: NDArray[np.float32]


def explain(ranking: Ranking, own: NarrowRows, found: Scored) -> Reasons:
    """Why items are in lists.

    The reason is the part with the largest contribution, its weight times its standardised value. Votes are those of
    neighbours and those of liked items: the larger sum of the two is the reason. Where no part tells the candidates
    apart, or the largest one has nothing to show (no vote for the item), it is popularity, by which items become
    candidates without any vote; so it is for items that fill a list up.

    Parameters
    ----------
    ranking : Ranking
    own : NarrowRows
        The users' train ratings.
    found : Scored
        A list for each user, ranked with ``explain``.
    """
    if found.contributions is None:  # the notebook's model has no part but its neighbours' ratings
        kinds = np.where(np.isnan(found.scores), np.uint8(_POPULARITY), np.uint8(_NEIGHBORS))
        items = np.full(found.items.shape, -1, dtype=np.int32)
    else:
        kinds, items = _of_parts(ranking, own, found.items, found.contributions)
    places = find_in_rows(lists_of(own), items)
    ratings = np.full(places.shape, np.nan, dtype=np.float32)
    there = places >= 0
    ratings[there] = own.data[places[there]].astype(np.float32) * np.float32(own.value_step)
    return Reasons(kinds, items, ratings)


def _of_parts(
    ranking: Ranking, own: NarrowRows, listed: NDArray[np.int32], contributions: Contributions
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Kinds of reasons, and items of the users' own."""
    # Of equal ones the last: popularity, where all are minus infinity.
    largest = len(RANKING_PARTS) - 1 - np.argmax(contributions.parts[..., ::-1], axis=-1)
    voted, together = largest == _VOTES, largest == _TOGETHER
    near_item, likeness = _strongest(ranking.near_of, own, np.where(voted, listed, -1))
    own_item, _ = _strongest(ranking.together_of, own, np.where(together, listed, -1))
    by_neighbors = voted & (contributions.votes - likeness > likeness)
    items = np.where(voted & ~by_neighbors, near_item, own_item)
    kinds = _OF_PARTS[largest]
    kinds[(voted | together) & ~by_neighbors] = _POPULARITY  # but for those that have an item to show
    kinds[items >= 0] = _ITEM
    return kinds, items


def _strongest(
    adding: Callable[[NarrowRows], Near | Together | None], own: NarrowRows, asked: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The item of the user's own that adds most to each of those asked about, and what all of them add."""
    added = adding(own) if (asked >= 0).any() else None
    if added is None:
        return np.full(asked.shape, -1, dtype=np.int32), np.zeros(asked.shape, dtype=np.float32)
    rows, items, values = added
    return find_strongest(rows, items, values, asked)
