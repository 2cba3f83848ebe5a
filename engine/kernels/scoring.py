"""Items scored and ranked for a block of users, straight from the stored rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.kernels import _native
from engine.kernels.rows import Lists, native_lists, native_rows, no_lists

Ids = NDArray[np.int32]
Float32 = NDArray[np.float32]


class Contributions(NamedTuple):
    """What the scores of listed items are put together from.

    Attributes
    ----------
    parts : float32 array, shape (users, k, 4)
        What products, votes, what goes together and popularity add to the score; minus infinity where a part has no
        weight or is the same for all candidates, and where no candidate is listed.
    votes : float32 array, shape (users, k)
        Votes as they are, before they are standardised; 0 where no candidate is listed.
    """

    parts: Float32
    votes: Float32


class Scored(NamedTuple):
    """The best items of some users.

    Attributes
    ----------
    items : int32 array, shape (users, k)
        Best first, equal scores by ascending column; -1 where there are fewer. Where several blends were asked for, a
        user has as many rows, one after the other.
    scores : float32 array, shape (users, k)
        0 where there is none. NaN where a user has no candidates but the most popular items, which are listed by their
        popularity then.
    wanted : float32 array, shape (pairs,)
        Scores of the items that were asked for beside, whoever has rated them; 0 where there is none.
    contributions : Contributions, optional
        As many rows as ``items`` has; where they were asked for.
    """

    items: Ids
    scores: Float32
    wanted: Float32
    contributions: Contributions | None = None


class Votes(NamedTuple):
    """What a rating counts: itself, or a vote of 1 from ``liked_from`` on and ``disliked`` below.

    Attributes
    ----------
    is_rating : bool
    liked_from, disliked : float
    """

    is_rating: bool
    liked_from: float = 0.0
    disliked: float = 0.0


class Near(NamedTuple):
    """What liked items add to those near them.

    Attributes
    ----------
    similarities : NarrowRows
        float32, items x items: of each item the items that it is near to; columns in the type that ratings have.
    liked : Lists
        Items that each user liked.
    shares : float32 array, shape (liked items,)
        What each of these adds its similarities times.
    """

    similarities: NarrowRows
    liked: Lists
    shares: Float32


class Together(NamedTuple):
    """Items that go together with those of users.

    Attributes
    ----------
    similarities : NarrowRows
        uint8, items x items: of each item those that go together with it; columns in the type that ratings have.
    own : Lists
        Items of each user.
    values : float32 array, shape (own items,)
        What each of these adds its similarities times.
    """

    similarities: NarrowRows
    own: Lists
    values: Float32


class Blended(NamedTuple):
    """Parts that candidates are ranked by, each standardised over a user's candidates.

    Attributes
    ----------
    users, items : float32 arrays, shapes (users asked for, dims) and (items, dims)
        Whose products are a part; ``dims`` is a multiple of 16, or 0 where there are none.
    popularity : float32 array, shape (items,)
        Another part.
    by_popularity : int32 array
        Items; the first ``n_popular`` of them that are not taken are candidates, too.
    n_popular : int
    weights : float32 array, shape (blends, 4)
        What products, votes, what goes together and popularity weigh: a list is made for each row.
    """

    users: Float32
    items: Float32
    popularity: Float32
    by_popularity: Ids
    n_popular: int
    weights: Float32


_NOTHING = np.empty((0, 0), np.float32)
NOT_BLENDED = Blended(_NOTHING, _NOTHING, _NOTHING[0:0].ravel(), np.empty(0, np.int32), 0, _NOTHING)
"""Candidates are ranked by their votes as they are."""


def rank_items(
    rows: NarrowRows,
    neighbors: Ids,
    weights: Float32,
    factor: Float32,
    votes: Votes,
    near: Near | None,
    taken: Lists,
    k: int,
    wanted: Lists | None = None,
    blended: Blended = NOT_BLENDED,
    offered: NDArray[np.bool_] | None = None,
    together: Together | None = None,
    explain: bool = False,
) -> Scored:
    """The ``k`` best items of each user.

    ``score[i] = factor[i] * sum_v weight[v] * vote(rating[v, i]) + sum_j share[j] * similarity[j, i]``, over the
    neighbours v who rated i, in their order, then over the liked items j. Candidates have a score other than 0.

    Parameters
    ----------
    rows : NarrowRows
        Ratings, users x items.
    neighbors, weights : int32 and float32 arrays, shape (users asked for, n)
        Rows of ``rows``; -1 where there is none.
    factor : float32 array, shape (items,)
    votes : Votes
    near : Near, optional
    taken : Lists
        Items of each user that are no candidates.
    k : int
    wanted : Lists, optional
        Items of each user whose score is wanted beside.
    blended : Blended, optional
        Candidates are then ranked by ``a z(x_u y_i) + b z(score[i]) + c z(together[i]) + d z(popularity[i])``, with a
        to d the weights, and z standardising over the user's candidates.
    offered : bool array, shape (items,), optional
        Which items may be in a list. The others are candidates as before, so that no score depends on what is offered.
    together : Together, optional
        ``together[i] = sum_j value[j] * similarity[j, i]`` over the user's items j, else 0; what has some is a
        candidate, too.
    explain : bool
        Whether contributions are wanted; with ``blended`` only.

    Raises
    ------
    ValueError, IndexError
        Where arrays do not fit together, or a number leads out of one.
    """
    n = len(neighbors)
    wanted = wanted or no_lists(n)
    near = near or Near(rows, no_lists(n), np.empty(0, np.float32))
    together = together or Together(rows, no_lists(n), np.empty(0, np.float32))
    n_lists = n * max(1, len(blended.weights))
    items, scores = np.empty((n_lists, k), dtype=np.int32), np.empty((n_lists, k), dtype=np.float32)
    found = np.empty(len(wanted.columns), dtype=np.float32)
    n_explained = items.size if explain else 0
    parts = np.full((n_explained, 4), -np.inf, dtype=np.float32)
    votes_of_listed = np.zeros(n_explained, dtype=np.float32)
    _native.rank_items(
        native_rows(rows),
        neighbors,
        weights,
        factor,
        *votes,
        None if near.similarities is rows else native_rows(near.similarities),
        native_lists(near.liked),
        near.shares,
        None if together.similarities is rows else native_rows(together.similarities),
        native_lists(together.own),
        together.values,
        *blended,  # type: ignore[arg-type]
        native_lists(taken),
        native_lists(wanted),
        np.empty(0, np.uint8) if offered is None else np.ascontiguousarray(offered, dtype=np.uint8),
        items,
        scores,
        found,
        parts,
        votes_of_listed,
    )
    if not explain:
        return Scored(items, scores, found)
    return Scored(
        items, scores, found, Contributions(parts.reshape(*items.shape, 4), votes_of_listed.reshape(items.shape))
    )


def rank_popular(by_popularity: Ids, n_items: int, taken: Lists, k: int) -> Ids:
    """The first ``k`` items of an order that are not each user's own.

    Parameters
    ----------
    by_popularity : int32 array
        Some or all columns, the best first.
    n_items : int
        All columns.
    taken : Lists
        Items of each user.
    k : int

    Returns
    -------
    int32 array, shape (users, k)
        -1 where there are fewer.
    """
    items = np.empty((len(taken.indptr) - 1, k), dtype=np.int32)
    _native.rank_popular(by_popularity, n_items, native_lists(taken), items)
    return items


def find_in_rows(rows: Lists, items: Ids) -> NDArray[np.int64]:
    """Where each item of some users is in these users' rows.

    Parameters
    ----------
    rows : Lists
        Columns ascending within a row.
    items : int32 array, shape (users, k)

    Returns
    -------
    int64 array, shape (users, k)
        Places in ``rows.columns``; -1 for what is not there.
    """
    places = np.empty(items.shape, dtype=np.int64)
    _native.find_in_rows(native_lists(rows), items, places)
    return places


def count_opinions(rows: NarrowRows, neighbors: Ids, items: Ids) -> tuple[NDArray[np.uint32], Float32]:
    """How many of each user's neighbours rated some items, and the mean of their ratings.

    Parameters
    ----------
    rows : NarrowRows
        Ratings, users x items.
    neighbors, items : int32 arrays, shapes (users asked for, n) and (users asked for, k)
        -1 where there is none.

    Returns
    -------
    uint32 and float32 arrays, shape (users asked for, k)
        An item nobody rated has 0 and NaN.
    """
    counts, means = np.empty(items.shape, dtype=np.uint32), np.empty(items.shape, dtype=np.float32)
    _native.count_opinions(native_rows(rows), neighbors, items, counts, means)
    return counts, means


def find_strongest(rows: NarrowRows, own: Lists, values: Float32, items: Ids) -> tuple[Ids, Float32]:
    """Which of each user's own items adds most to some items, and what all of them add together.

    Item j of the user's own adds ``value[j] * rows[j, i]`` to item i.

    Parameters
    ----------
    rows : NarrowRows
        Similarities, items x items.
    own : Lists
        Items of each user.
    values : float32 array, shape (own items,)
    items : int32 array, shape (users, k)
        -1 where there is none.

    Returns
    -------
    int32 and float32 arrays, shape (users, k)
        -1 and 0 where none adds more than 0; of equal ones the first.

    Raises
    ------
    ValueError, IndexError
        Where arrays do not fit together, or a number leads out of one.
    """
    strongest, sums = np.empty(items.shape, dtype=np.int32), np.empty(items.shape, dtype=np.float32)
    _native.find_strongest(native_rows(rows), native_lists(own), values, items, strongest, sums)
    return strongest, sums
