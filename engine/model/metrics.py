"""Definitions of the metrics: figures of one user, of what is recommended to all, and means that merge.

`Mean` is a mergeable accumulator: measure a batch of users, add, finish.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Figure = dict[str, Any]
"""``value`` and ``standard_error``, floats or None, and ``n_users``, those it is of."""


@dataclass(frozen=True)
class Mean:
    """Mean of a figure over users, or over their rating pairs; means of other users can be added.

    Its standard error takes users as independent draws, but not the pairs of one user.

    Attributes
    ----------
    n_users : int
        Users that have the figure.
    n : int
        What it is the mean over: the users, or all their pairs.
    total : float
        Sum of the figure.
    n_squares, squares, products : float
        Sums over users of: the user's ``n`` squared, the user's ``total`` squared, one times the other.

    Examples
    --------
    >>> recall = Mean.over_users(np.array([0.0, 1.0])) + Mean.over_users(np.array([0.5]))
    >>> f"{recall.value} +- {recall.standard_error:.3f}"
    '0.5 +- 0.289'
    >>> error = Mean.over_pairs(np.array([4.0, 2.0, 0.0]), np.array([1, 2, 0]))
    >>> error.value, error.n_users
    (2.0, 2)
    >>> {name: round(value, 3) for name, value in error.root().items()}
    {'value': 1.414, 'standard_error': 0.471, 'n_users': 2}
    >>> Mean().value is None
    True
    """

    n_users: int = 0
    n: int = 0
    total: float = 0.0
    n_squares: float = 0.0
    squares: float = 0.0
    products: float = 0.0

    @classmethod
    def over_users(cls, values: NDArray[np.floating[Any]]) -> Mean:
        """Mean over users of ``values``, shape (n_users,)."""
        return cls.over_pairs(values, np.ones(len(values), dtype=np.int64))

    @classmethod
    def over_pairs(cls, totals: NDArray[Any], counts: NDArray[np.integer[Any]]) -> Mean:
        """Mean over pairs, of which each user has ``counts``, their sum ``totals``; both of shape (users,)."""
        totals, sizes = totals.astype(np.float64), counts.astype(np.float64)
        return cls(
            int(np.count_nonzero(counts)),
            int(counts.sum()),
            float(totals.sum()),
            float(np.square(sizes).sum()),
            float(np.square(totals).sum()),
            float((sizes * totals).sum()),
        )

    def __add__(self, other: Mean) -> Mean:
        return Mean(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))

    @property
    def value(self) -> float | None:
        """``total / n``; None without any."""
        return self.total / self.n if self.n else None

    @property
    def standard_error(self) -> float | None:
        """Standard error of `value`; None with fewer than 2 users.

        With each user's total t and number n, ``sqrt(sum (t - value n)^2 * n_users / (n_users - 1)) / sum n``: that of
        a ratio of two sums over users (Cochran, Sampling Techniques, 1977, section 6.3). Over users, where n = 1,
        it is their standard deviation over ``sqrt(n_users)``.
        """
        if self.n_users < 2:
            return None
        value = self.total / self.n
        spread = self.squares - 2 * value * self.products + value * value * self.n_squares
        # Rounding can leave a little less than 0 where all users are alike.
        return math.sqrt(max(spread, 0.0) * self.n_users / (self.n_users - 1)) / self.n

    def figure(self) -> Figure:
        """The mean as a figure."""
        return {"value": self.value, "standard_error": self.standard_error, "n_users": self.n_users}

    def root(self) -> Figure:
        """The root of the mean as a figure; its standard error, by the delta method, is ``se / (2 root)``."""
        if not self.total:
            return self.figure()
        root, error = math.sqrt(self.total / self.n), self.standard_error
        return {
            "value": root,
            "standard_error": None if error is None else error / (2 * root),
            "n_users": self.n_users,
        }


def ranking_per_user(
    hits: NDArray[np.bool_], n_liked: NDArray[np.integer[Any]], lengths: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Compare the first items recommended to each user with those the user liked.

    Parameters
    ----------
    hits : bool array, shape (n_users, K)
        Whether the item at each rank, best first, is a liked test item. False beyond the end of a short list.
    n_liked : integer array, shape (n_users,)
        Liked test items of each user, at least 1.
    lengths : sequence of int
        Numbers ``k`` of first items that count. No user likes more than K items.

    Returns
    -------
    dict of float64 arrays, shape (n_users,)
        All from 0 to 1. For each k, with ``hit[r]`` 0 or 1 at rank r = 1..k, ``hits = sum hit[r]`` and
        ``most = min(k, n_liked)``, the most hits there can be:

        - ``recall_at_k``: ``hits / n_liked``. Less than 1 at best for users with more than ``k`` liked.
        - ``capped_recall_at_k``: ``hits / most`` [1]_.
        - ``precision_at_k``: ``hits / k``, also of a list shorter than that.
        - ``ndcg_at_k``: ``sum hit[r] / log2(r + 1)``, over the same of a list that starts with ``most`` hits [2]_.
        - ``map_at_k``: ``sum hit[r] * (hits in the first r) / r / most``, the average precision [3]_.
        - ``mrr_at_k``: ``1 / r`` of the first hit; 0 without [4]_.
        - ``hit_rate_at_k``: 1 with any hit, else 0.

    References
    ----------
    .. [1] Liang, Krishnan, Hoffman & Jebara, Variational autoencoders for collaborative filtering, WWW 2018.
    .. [2] Järvelin & Kekäläinen, Cumulated gain-based evaluation of IR techniques, ACM TOIS 20(4), 2002.
    .. [3] McFee, Bertin-Mahieux, Ellis & Lanckriet, The million song dataset challenge, WWW 2012 Companion.
    .. [4] Voorhees, The TREC-8 question answering track report, 1999.

    Examples
    --------
    >>> hits = np.array([[True, False, True], [False, True, False]])
    >>> for name, values in ranking_per_user(hits, np.array([4, 1]), [2]).items():
    ...     print(name, values.round(3))
    recall_at_2 [0.25 1.  ]
    capped_recall_at_2 [0.5 1. ]
    precision_at_2 [0.5 0.5]
    ndcg_at_2 [0.613 0.631]
    map_at_2 [0.5 0.5]
    mrr_at_2 [1.  0.5]
    hit_rate_at_2 [1. 1.]
    """
    ranks = np.arange(1, hits.shape[1] + 1)
    # Running sums serve every length, and add up from left to right however the batch lies in memory.
    n_hits = np.cumsum(hits, axis=1)
    gains = np.cumsum(hits / np.log2(ranks + 1), axis=1)
    ideal_gains = np.cumsum(1 / np.log2(ranks + 1))
    precisions = np.cumsum(hits * n_hits / ranks, axis=1)
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, np.inf)
    figures: dict[str, NDArray[np.float64]] = {}
    for k in lengths:
        last = min(k, hits.shape[1]) - 1
        most = np.minimum(last + 1, n_liked)
        found = n_hits[:, last]
        figures |= {
            f"recall_at_{k}": found / n_liked,
            f"capped_recall_at_{k}": found / most,
            f"precision_at_{k}": found / k,
            f"ndcg_at_{k}": gains[:, last] / ideal_gains[most - 1],
            f"map_at_{k}": precisions[:, last] / most,
            f"mrr_at_{k}": np.where(first <= k, 1 / first, 0.0),
            f"hit_rate_at_{k}": (found > 0).astype(np.float64),
        }
    return figures


def self_information(n_raters: NDArray[np.integer[Any]], n_users: int) -> NDArray[np.float64]:
    """How surprising it is that a user rated each item, in bits: ``-log2(n_raters / n_users)``.

    0 if everybody did, and 1 more each time half as many did. The novelty of a list is the mean over its items: Zhou et
    al., Solving the apparent diversity-accuracy dilemma of recommender systems, PNAS 107(10), 2010.

    Parameters
    ----------
    n_raters : integer array, shape (items,)
        Users who rated each item in train, at least 1.
    n_users : int
        Users in train.

    Examples
    --------
    >>> self_information(np.array([8, 2, 1]), n_users=8)
    array([0., 2., 3.])
    """
    information: NDArray[np.float64] = np.log2(n_users / n_raters)
    return information


def item_coverage(counts: NDArray[np.int64]) -> float:
    """Share of the items that are recommended to anybody: ``items with counts > 0 / items``.

    Catalogue coverage of Ge, Delgado-Battenfeld & Jannach, Beyond accuracy: evaluating recommender systems by coverage
    and serendipity, RecSys 2010.

    Parameters
    ----------
    counts : int64 array, shape (items,), items >= 1
        How often each item is recommended.

    Examples
    --------
    >>> item_coverage(np.array([3, 0, 1, 0]))
    0.5
    """
    return int(np.count_nonzero(counts)) / len(counts)


def gini(counts: NDArray[np.int64]) -> float | None:
    """How unequally the recommendations are spread over the items.

    With ``x[1] <= ... <= x[n]`` the counts in ascending order, ``sum (2i - n - 1) x[i] / (n sum x[i])``, which is half
    the mean absolute difference of two items over the mean. 0 if all are equal; ``1 - 1/n``, its most, if one item is
    all that is recommended. Items never recommended count. Fleder & Hosanagar, Blockbuster culture's next rise or
    fall, Management Science 55(5), 2009.

    Parameters
    ----------
    counts : int64 array, shape (items,)
        How often each item is recommended.

    Returns
    -------
    float or None
        None when nothing is recommended.

    Examples
    --------
    >>> gini(np.array([2, 2, 2, 2])), gini(np.array([0, 8, 0, 0])), gini(np.array([0, 0]))
    (0.0, 0.75, None)
    """
    n, total = len(counts), int(counts.sum())
    if not total:
        return None
    return int(np.dot(np.arange(1 - n, n, 2), np.sort(counts))) / (n * total)
