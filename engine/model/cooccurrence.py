"""Items that are taken together: what of them a user's own say of the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows, narrowest_index
from engine.chunked.ranges import consecutive
from engine.kernels.cooccurrence import find_together
from engine.model.index import nearest_kept

Ids = NDArray[np.int32]
Float32 = NDArray[np.float32]

_STEPS = 255
# Guards divisions by the similarities of an item that goes together with none.
_LEAST = np.float32(1e-30)


class Counting(Protocol):
    """What a configuration says of it; `engine.config.Cooccurrence` has the meanings."""

    @property
    def k(self) -> int: ...  # noqa: D102
    @property
    def user_power(self) -> float: ...  # noqa: D102
    @property
    def item_power(self) -> float: ...  # noqa: D102
    @property
    def most_ratings(self) -> int: ...  # noqa: D102
    @property
    def disliked_vote(self) -> float: ...  # noqa: D102


class Companions(NamedTuple):
    """What goes together with each item.

    Attributes
    ----------
    similarities : NarrowRows
        uint8, items x items: an item's row has those that go best together with it, in 255ths of the first of them.
    scales : float32 array, shape (items,)
        What one of these is, of each item.
    """

    similarities: NarrowRows
    scales: Float32


def together(
    section: Counting,
    liked_from: float,
    rows: NarrowRows,
    counts: NDArray[np.integer[Any]],
    items: Ids,
    of_items: NarrowRows,
) -> tuple[Ids, Float32]:
    """What goes best together with each of some items.

    ``s_ij = n_i^(p - 1) n_j^-p sum_v n_v^-q vote(r_vi) vote(r_vj)`` over the users v who took both; n are numbers of
    ratings, p is ``item_power`` and q ``user_power``. With p = 1/2 and q = 1 it is the linear filter of Shen et al.
    (2021, https://doi.org/10.1145/3459637.3482264). With a smaller p popular items are nearer to others than others to
    them.

    Parameters
    ----------
    section : Counting
    liked_from : float
        The vote of ratings from there on is 1.
    rows : NarrowRows
        Ratings, users x items.
    counts : integer array, shape (items,)
        Of each item.
    items : int32 array, shape (n,)
        Those asked about.
    of_items : NarrowRows
        Their ratings, these x users; columns are uint32.

    Returns
    -------
    int32 and float32 arrays, shape (n, k), ``k`` being no more than there are others
        By descending similarity; -1 and 0 where there are fewer.
    """
    lengths = np.diff(rows.indptr)
    of_users = np.where(lengths <= section.most_ratings, np.maximum(lengths, 1.0) ** -section.user_power, 0.0)
    known = np.maximum(counts, 1).astype(np.float64)
    ids, similarities = find_together(
        rows,
        of_items,
        items,
        of_users.astype(np.float32),
        (known**-section.item_power).astype(np.float32),
        liked_from,
        section.disliked_vote,
        nearest_kept(section.k, len(counts)),
    )
    similarities *= (known[items] ** (section.item_power - 1)).astype(np.float32)[:, None]
    return ids, similarities


def together_rows(n_items: int, shares: Iterable[tuple[Ids, Float32]], n_shares: int) -> Companions:
    """What was found for all shares of items, put together.

    Parameters
    ----------
    n_items : int
    shares : iterable of (ids, similarities)
        In order, as `together` finds them of every ``n_shares``-th item; gone through twice.
    n_shares : int
    """
    counts, scales = np.zeros(n_items, dtype=np.int64), np.zeros(n_items, dtype=np.float32)
    for share, (ids, similarities) in enumerate(shares):
        counts[share::n_shares] = (ids >= 0).sum(axis=1)
        scales[share::n_shares] = similarities[:, 0] / np.float32(_STEPS)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = np.empty(indptr[-1], dtype=narrowest_index(n_items))
    data = np.empty(indptr[-1], dtype=np.uint8)
    for share, (ids, similarities) in enumerate(shares):
        there = ids >= 0
        places = consecutive(indptr[:-1][share::n_shares], counts[share::n_shares])
        indices[places] = ids[there]
        steps = similarities / np.maximum(scales[share::n_shares], _LEAST)[:, None]
        data[places] = np.clip(np.rint(steps), 1, _STEPS)[there]
    return Companions(NarrowRows(indptr, indices, data, n_items, 1.0), scales)
