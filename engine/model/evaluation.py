"""What is measured of batches of users, and how that becomes a table of users and means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine.model.biases import Biases, expected
from engine.model.metrics import Mean, ranking_per_user
from engine.model.popularity import Popularity, popular_lists
from engine.model.prediction import Predicted
from engine.model.ranking import best_candidates
from engine.model.scoring import row_numbers
from engine.model.sizes import RANK_USERS

_UNSEEN, _WATCHED, _TEST, _LIKED = range(4)

RATED = ("model", "bias_model")
"""What predicts ratings."""
RANKED = ("model", "most_popular")
"""What ranks items."""
_IN_TABLE = ("recall", "ndcg")
"""Ranking figures that are in the table of users, beside the numbers of hits."""


def per_user(k: int) -> np.dtype[Any]:
    """What is measured of each user, with lists of ``k`` items.

    - ``n_test``, ``n_covered``, ``n_liked``: test ratings; those with something near that counted; liked ones.
    - ``error``, of each of `RATED`: sums of ``(predicted - rating)^2`` and ``|predicted - rating|`` over test ratings.
    - ``list``, of each of `RANKED`: number of items, mean of their self-information (0 without items), and a bit for
      each rank: whether that item is liked.
    """
    error = [("squared", "f8"), ("absolute", "f8")]
    items = [("n_items", "u4"), ("novelty", "f8"), ("hits", "u1", (-(-k // 8),))]
    counts = [("n_test", "u4"), ("n_covered", "u4"), ("n_liked", "u4")]
    errors, lists = [(name, error) for name in RATED], [(name, items) for name in RANKED]
    return np.dtype([*counts, ("error", errors), ("list", lists)])


class Baselines(NamedTuple):
    """What the model is compared with, and what is known of the items.

    Attributes
    ----------
    popularity : Popularity
    biases : Biases
    information : float64 array, shape (items,)
        `engine.model.metrics.self_information` of each item.
    """

    popularity: Popularity
    biases: Biases
    information: NDArray[np.float64]


def measure_batch(
    scores: csr_matrix,
    watched: csr_matrix,
    test: csr_matrix,
    flags: NDArray[np.uint8],
    baselines: Baselines,
    first_user: int,
    k: int,
    liked_from: float,
    counts: NDArray[np.int64],
    predicted: Predicted | None = None,
) -> NDArray[np.void]:
    """Compare a batch's scores with its test ratings.

    Parameters
    ----------
    scores, watched, test : csr_matrix, shape (n, items)
        Scores of items (any order within a row), train ratings, test ratings (columns ascending).
    flags : uint8 array, shape (at least n * items,)
        Zeros; used as scratch and left as zeros.
    baselines : Baselines
    first_user : int
        Code of the first of the users.
    k : int
        Items recommended to each user.
    liked_from : float
        Test ratings of at least this are liked.
    counts : int64 array, shape (2, items)
        How often each item is recommended by each of `RANKED`: added to.
    predicted : Predicted, optional
        Of the test ratings; without it, their items' scores.

    Returns
    -------
    structured array, shape (n,)
        Fields of `per_user`.
    """
    n, n_items = scores.shape
    row_starts = np.arange(n, dtype=np.int64) * n_items
    watched_at = np.repeat(row_starts, np.diff(watched.indptr)) + watched.indices
    test_rows = row_numbers(test.indptr)
    test_at = row_starts[test_rows] + test.indices
    liked = test.data >= liked_from
    flags[watched_at] = _WATCHED
    flags[test_at] = np.where(liked, _LIKED, _TEST)

    at = np.repeat(row_starts, np.diff(scores.indptr)) + scores.indices
    flag = flags[at]
    values, covered = predicted or _scores_of(test_at, at, scores.data, np.flatnonzero(flag >= _TEST))
    best_rows, best = best_candidates(scores, flag == _WATCHED, k)

    measured = np.zeros(n, dtype=per_user(k))
    measured["n_test"] = np.diff(test.indptr)
    measured["n_covered"] = np.bincount(test_rows[covered], minlength=n)
    measured["n_liked"] = np.bincount(test_rows[liked], minlength=n)
    by_bias = expected(baselines.biases, first_user + test_rows, test.indices)
    np.clip(by_bias, baselines.biases.low, baselines.biases.high, out=by_bias)
    for name, said in zip(RATED, (values, by_bias), strict=True):
        _measure_errors(measured["error"][name], test_rows, said.astype(np.float64) - test.data)

    lists = (best_rows, scores.indices[best]), popular_lists(baselines.popularity, watched, k)
    for name, of_items, (rows, columns) in zip(RANKED, counts, lists, strict=True):
        hit = flags[row_starts[rows] + columns] == _LIKED
        _measure_lists(measured["list"][name], rows, hit, baselines.information[columns], k)
        np.add.at(of_items, columns, 1)
    flags[watched_at] = _UNSEEN
    flags[test_at] = _UNSEEN
    return measured


def _scores_of(
    test_at: NDArray[np.int64], at: NDArray[np.int64], scores: NDArray[np.float32], tested: NDArray[np.intp]
) -> Predicted:
    """Scores of the test items: those of the places ``tested``, and 0."""
    values = np.zeros(len(test_at), dtype=np.float32)
    covered = np.zeros(len(test_at), dtype=bool)
    place = np.searchsorted(test_at, at[tested])
    values[place] = scores[tested]
    covered[place] = True
    return Predicted(values, covered)


def _measure_errors(into: NDArray[np.void], rows: NDArray[np.int64], errors: NDArray[np.float64]) -> None:
    """Predicted less actual ratings, and the user of each."""
    into["squared"] = np.bincount(rows, errors * errors, minlength=len(into))
    into["absolute"] = np.bincount(rows, np.abs(errors), minlength=len(into))


def _measure_lists(
    into: NDArray[np.void],
    rows: NDArray[np.int64],
    hit: NDArray[np.bool_],
    information: NDArray[np.float64],
    k: int,
) -> None:
    """Lists one after the other, their users ascending: whether each item is a hit, and its self-information."""
    n_items = np.bincount(rows, minlength=len(into))
    ranks = np.arange(len(rows)) - (np.cumsum(n_items) - n_items)[rows]
    hits = np.zeros((len(into), k), dtype=bool)
    hits[rows, ranks] = hit
    into["n_items"] = n_items
    into["novelty"] = np.bincount(rows, information, minlength=len(into)) / np.maximum(n_items, 1)
    into["hits"] = np.packbits(hits, axis=1)


def summarise(
    measured: NDArray[np.void], lengths: Sequence[int]
) -> tuple[dict[str, NDArray[Any]], dict[str, dict[str, Mean]]]:
    """Make a table of what was measured of users, and means over them.

    Parameters
    ----------
    measured : structured array, shape (users,)
        Fields of `per_user`.
    lengths : sequence of int
        Numbers of first items that count; the greatest is the length of the lists.

    Returns
    -------
    table : dict of arrays, shape (users,)
        Columns for people; NaN for figures of users without a liked item.
    means : dict of dict of Mean
        For the model and each baseline, its figures by name; ``mse`` is the mean squared error.
    """
    model, popular = RANKED
    bias = RATED[1]
    errors, lists = measured["error"], measured["list"]
    table = {
        "n_test": measured["n_test"],
        "squared_error": errors[model]["squared"],
        "absolute_error": errors[model]["absolute"],
        "n_covered": measured["n_covered"],
        "bias_squared_error": errors[bias]["squared"],
        "bias_absolute_error": errors[bias]["absolute"],
        "n_liked": measured["n_liked"],
        "n_recommended": lists[model]["n_items"],
        "novelty": np.where(lists[model]["n_items"] > 0, lists[model]["novelty"], np.nan),
    }
    means: dict[str, dict[str, Mean]] = {
        name: {
            "mse": Mean.over_pairs(errors[name]["squared"], measured["n_test"]),
            "mae": Mean.over_pairs(errors[name]["absolute"], measured["n_test"]),
        }
        for name in RATED
    }
    means[model]["coverage"] = Mean.over_pairs(measured["n_covered"], measured["n_test"])
    liked = np.flatnonzero(measured["n_liked"])
    for name, prefix in ((model, ""), (popular, "popular_")):
        figures = _ranking(measured[liked], name, lengths)
        listed = lists[name][lists[name]["n_items"] > 0]
        means.setdefault(name, {})["novelty"] = Mean.over_users(listed["novelty"])
        means[name] |= {figure: Mean.over_users(values) for figure, values in figures.items()}
        hits = _hits(lists[name], lengths)
        for k in lengths:
            table[f"{prefix}hits_at_{k}"] = hits[:, :k].sum(axis=1, dtype=np.uint32)
            for kind in _IN_TABLE:
                column = table[f"{prefix}{kind}_at_{k}"] = np.full(len(measured), np.nan)
                column[liked] = figures[f"{kind}_at_{k}"]
    return table, means


def _hits(lists: NDArray[np.void], lengths: Sequence[int]) -> NDArray[np.bool_]:
    """Whether the item at each rank is liked, shape (users, the greatest length)."""
    return np.unpackbits(lists["hits"], axis=1, count=max(lengths)).view(np.bool_)


def _ranking(measured: NDArray[np.void], name: str, lengths: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """Ranking figures of users with a liked item."""
    parts = []
    for start in range(0, max(1, len(measured)), RANK_USERS):
        some = measured[start : start + RANK_USERS]
        parts.append(ranking_per_user(_hits(some["list"][name], lengths), some["n_liked"], lengths))
    return {figure: np.concatenate([part[figure] for part in parts]) for figure in parts[0]}
