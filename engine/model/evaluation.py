"""What is measured of users, and how that becomes a table of users and means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.kernels.rows import lists_of
from engine.kernels.scoring import find_in_rows, rank_popular
from engine.model.biases import Biases, expected
from engine.model.metrics import Mean, gini, item_coverage, ranking_per_user
from engine.model.prediction import Predicted
from engine.model.scoring import row_numbers
from engine.model.sizes import RANK_USERS

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
    popularity : int32 array, shape (items,)
        Items, the most popular first.
    biases : Biases, optional
        None where no ratings are predicted.
    information : float64 array, shape (items,)
        `engine.model.metrics.self_information` of each item.
    """

    popularity: NDArray[np.int32]
    biases: Biases | None
    information: NDArray[np.float64]


def measure_users(
    items: NDArray[np.int32],
    predicted: Predicted | None,
    watched: NarrowRows,
    test: NarrowRows,
    baselines: Baselines,
    users: NDArray[np.integer[Any]],
    liked_from: float,
    counts: NDArray[np.int64],
    *,
    answer_unknown: bool = True,
) -> NDArray[np.void]:
    """Compare what is recommended to some users, and predicted for them, with their test ratings.

    Parameters
    ----------
    items : int32 array, shape (n, k)
        Recommended to each user, best first; -1 where there are fewer.
    predicted : Predicted, optional
        Of the test ratings. None where no ratings are predicted: then no errors are measured.
    watched, test : NarrowRows, shape (n, items)
        Train and test ratings; columns ascending.
    baselines : Baselines
    users : integer array, shape (n,)
        Their codes.
    liked_from : float
        Test ratings of at least this are liked.
    counts : int64 array, shape (2, items)
        How often each item is recommended by each of `RANKED`: added to.
    answer_unknown : bool
        Whether users without train ratings, of whom nothing is known, are recommended the most popular items.

    Returns
    -------
    structured array, shape (n,)
        Fields of `per_user`.
    """
    n, k = items.shape
    ratings, rows = test.values(), row_numbers(test.indptr)
    liked = ratings >= liked_from
    measured = np.zeros(n, dtype=per_user(k))
    measured["n_test"] = np.diff(test.indptr)
    measured["n_liked"] = np.bincount(rows[liked], minlength=n)
    if predicted is not None and baselines.biases is not None:
        measured["n_covered"] = np.bincount(rows[predicted.covered], minlength=n)
        by_bias = expected(baselines.biases, users[rows], test.indices)
        np.clip(by_bias, baselines.biases.low, baselines.biases.high, out=by_bias)
        for name, values in zip(RATED, (predicted.values, by_bias), strict=True):
            _measure_errors(measured["error"][name], rows, values.astype(np.float64) - ratings)

    tested = lists_of(test)
    popular = rank_popular(baselines.popularity, watched.n_columns, lists_of(watched), k)
    if answer_unknown:
        unknown = (np.diff(watched.indptr) == 0) & (measured["n_test"] > 0)
        items = np.where(unknown[:, None], popular, items)
    for name, of_items, lists in zip(RANKED, counts, (items, popular), strict=True):
        users, ranks = np.nonzero(lists >= 0)
        columns, places = lists[users, ranks], find_in_rows(tested, lists)[users, ranks]
        hit = np.zeros(len(users), dtype=bool)
        hit[places >= 0] = liked[places[places >= 0]]
        _measure_lists(measured["list"][name], users, ranks, hit, baselines.information[columns])
        of_items += np.bincount(columns, minlength=len(of_items))
    return measured


def _measure_errors(into: NDArray[np.void], rows: NDArray[np.int64], errors: NDArray[np.float64]) -> None:
    """Predicted less actual ratings, and the user of each."""
    into["squared"] = np.bincount(rows, errors * errors, minlength=len(into))
    into["absolute"] = np.bincount(rows, np.abs(errors), minlength=len(into))


def _measure_lists(
    into: NDArray[np.void],
    users: NDArray[np.int64],
    ranks: NDArray[np.int64],
    hit: NDArray[np.bool_],
    information: NDArray[np.float64],
) -> None:
    """Of each item that is recommended: the user, the rank from 0, whether it is a hit, and its self-information."""
    n_items = np.bincount(users, minlength=len(into))
    hits = np.zeros((len(into), 8 * into["hits"].shape[1]), dtype=bool)
    hits[users, ranks] = hit
    into["n_items"] = n_items
    into["novelty"] = np.bincount(users, information, minlength=len(into)) / np.maximum(n_items, 1)
    into["hits"] = np.packbits(hits, axis=1)


def summarise(
    measured: NDArray[np.void], lengths: Sequence[int], implicit: bool = False
) -> tuple[dict[str, NDArray[Any]], dict[str, dict[str, Mean]]]:
    """Make a table of what was measured of users, and means over them.

    Parameters
    ----------
    measured : structured array, shape (users,)
        Fields of `per_user`.
    lengths : sequence of int
        Numbers of first items that count; lists have as many as the greatest, or all items.
    implicit : bool
        No ratings were predicted: there are no columns of errors, and their means are of nothing.

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
    of_ratings = {
        "squared_error": errors[model]["squared"],
        "absolute_error": errors[model]["absolute"],
        "n_covered": measured["n_covered"],
        "bias_squared_error": errors[bias]["squared"],
        "bias_absolute_error": errors[bias]["absolute"],
    }
    table = {
        "n_test": measured["n_test"],
        **({} if implicit else of_ratings),
        "n_liked": measured["n_liked"],
        "n_recommended": lists[model]["n_items"],
        "novelty": np.where(lists[model]["n_items"] > 0, lists[model]["novelty"], np.nan),
    }
    n_predicted = np.zeros_like(measured["n_test"]) if implicit else measured["n_test"]
    means: dict[str, dict[str, Mean]] = {
        name: {
            "mse": Mean.over_pairs(errors[name]["squared"], n_predicted),
            "mae": Mean.over_pairs(errors[name]["absolute"], n_predicted),
        }
        for name in RATED
    }
    means[model]["coverage"] = Mean.over_pairs(measured["n_covered"], n_predicted)
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


def figures_of(
    means: Mapping[str, Mapping[str, Mean]], times: Mapping[str, NDArray[np.int64]]
) -> dict[str, dict[str, Any]]:
    """All figures by model or baseline, then by name.

    Parameters
    ----------
    means : mapping of mapping of Mean
        As `summarise` gives them, of all users.
    times : mapping of int64 array, shape (items,)
        How many users each item is recommended to, by each of `RANKED`.
    """
    figures: dict[str, dict[str, Any]] = {}
    for name, found in means.items():
        rmse = {"rmse": found["mse"].root()} if "mse" in found else {}
        figures[name] = rmse | {figure: mean.figure() for figure, mean in found.items() if figure != "mse"}
    for name, of_items in times.items():
        of = {"standard_error": None, "n_users": figures[name]["novelty"]["n_users"]}
        figures[name]["item_coverage"] = {"value": item_coverage(of_items)} | of
        figures[name]["gini"] = {"value": gini(of_items)} | of
    return figures


def _hits(lists: NDArray[np.void], lengths: Sequence[int]) -> NDArray[np.bool_]:
    """Whether the item at each rank is liked, shape (users, ranks): as many as count, or as there are."""
    most = min(max(lengths), 8 * lists["hits"].shape[1])
    return np.unpackbits(lists["hits"], axis=1, count=most).view(np.bool_)


def _ranking(measured: NDArray[np.void], name: str, lengths: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """Ranking figures of users with a liked item."""
    parts = []
    for start in range(0, max(1, len(measured)), RANK_USERS):
        some = measured[start : start + RANK_USERS]
        parts.append(ranking_per_user(_hits(some["list"][name], lengths), some["n_liked"], lengths))
    return {figure: np.concatenate([part[figure] for part in parts]) for figure in parts[0]}
