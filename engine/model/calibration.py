"""Weights of the model's parts, chosen by what they bring on ratings held out of train.

A small model is fitted to some users' ratings without a part of these, and asked for that part. The most popular items
and the bias model are among what is chosen from; a part that does not help by more than its error gets no weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows, narrowest_index
from engine.kernels.rows import lists_of
from engine.kernels.scoring import find_in_rows
from engine.model.parameters import RANKING_PARTS, RankingChoice, RankingWeights, RatingChoice, RatingWeights, Worth
from engine.model.prediction import Parts
from engine.model.scoring import row_numbers

Float64 = NDArray[np.float64]

_DECIMALS = 3
"""Of weights that are solved for: more of them say nothing, and their last ones differ from machine to machine."""
_DRAWN = 2**16
"""Users whose ratings are added up at once."""


def sample_users(lengths: NDArray[np.integer[Any]], most: int, most_users: int, seed: int) -> NDArray[np.int64]:
    """Draw users who have ``most`` ratings together at most; ascending, one user at least.

    Parameters
    ----------
    lengths : integer array, shape (users,)
        Ratings of each user; those without any are not drawn.
    most, most_users, seed : int
    """
    users = np.flatnonzero(lengths)
    np.random.default_rng(seed).shuffle(users)
    n, taken = 0, 0
    for first in range(0, min(len(users), most_users), _DRAWN):
        ends = taken + np.cumsum(lengths[users[first : min(first + _DRAWN, most_users)]])
        n, taken = first + int(np.searchsorted(ends, most, side="right")), int(ends[-1])
        if taken > most:
            break
    return np.sort(users[: max(1, n)])


def without_rare(rows: NarrowRows, least: int, most_columns: int) -> NarrowRows:
    """The same rows without columns that have fewer values than ``least``, and of the others those with most."""
    counts = np.bincount(rows.indices, minlength=rows.n_columns)
    there = counts >= least
    there[np.argsort(-counts, kind="stable")[most_columns:]] = False
    places = np.cumsum(there) - 1
    kept, n = _select(rows, there[rows.indices]), int(there.sum())
    indices = places[kept.indices].astype(narrowest_index(n))
    return NarrowRows(kept.indptr, indices, kept.data, n, kept.value_step)


def hold_out(rows: NarrowRows, share: float, least: int, seed: int) -> tuple[NarrowRows, NarrowRows]:
    """Part each row at random: what is left, and a share of it, rounded down, one value at least.

    Parameters
    ----------
    rows : NarrowRows
    share : float
    least : int
        Rows with fewer values stay whole.
    seed : int
    """
    lengths = np.diff(rows.indptr)
    n_held = np.where(lengths >= least, np.maximum(1, (lengths * share).astype(np.int64)), 0)
    order = np.lexsort((np.random.default_rng(seed).random(len(rows.indices)), row_numbers(rows.indptr)))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(rows.indptr[:-1], lengths)
    held = rank < np.repeat(n_held, lengths)
    return _select(rows, ~held), _select(rows, held)


def _select(rows: NarrowRows, there: NDArray[np.bool_]) -> NarrowRows:
    indptr = np.concatenate([[0], np.cumsum(there)])[rows.indptr]
    return NarrowRows(indptr, rows.indices[there], rows.data[there], rows.n_columns, rows.value_step)


# Ratings.

_RATING_PARTS = ("latent", "near")


def rating_sums(parts: Parts, ratings: NDArray[np.float32], rows: NDArray[np.int64], n_users: int) -> Float64:
    """What the squared errors of users follow from, whatever the weights.

    Parameters
    ----------
    parts : Parts
        Of the ratings held out.
    ratings : float32 array, shape (pairs,)
    rows : int64 array, shape (pairs,)
        The user of each, from 0 on.
    n_users : int

    Returns
    -------
    float64 array, shape (users, 3, 3)
        Sums of products of what is left by the bias model, latent and near.
    """
    columns = np.stack([ratings - parts.bias, parts.latent, parts.near]).astype(np.float64)
    sums = np.empty((n_users, 3, 3))
    for i in range(3):
        for j in range(3):
            sums[:, i, j] = np.bincount(rows, columns[i] * columns[j], minlength=n_users)
    return sums


def choose_rating(folds: Sequence[Float64], counts: Sequence[NDArray[np.int64]]) -> RatingChoice:
    """Weights with the least squared error, of parts that help.

    Parameters
    ----------
    folds : sequence of float64 arrays, shape (users, 3, 3)
        `rating_sums` of each fold.
    counts : sequence of int64 arrays, shape (users,)
        Ratings held out of each user.
    """
    chosen: tuple[int, ...] = ()
    while left := [part for part in (0, 1) if part not in chosen]:
        tried = {part: _gain(folds, counts, chosen, tuple(sorted((*chosen, part)))) for part in left}
        part = max(left, key=lambda each: tried[each].gain)
        if not tried[part].is_real:
            break
        chosen = tuple(sorted((*chosen, part)))
    weights = _fitted(folds, chosen)
    worth = {
        _RATING_PARTS[part]: _gain(folds, counts, tuple(each for each in chosen if each != part), chosen)
        for part in chosen
    }
    return RatingChoice(RatingWeights(*(round(float(weight), _DECIMALS) for weight in weights)), worth)


def _fitted(folds: Sequence[Float64], parts: tuple[int, ...]) -> Float64:
    """Weights of least squares, of some of the parts; those of the others, and what would be negative, are 0."""
    weights = np.zeros(2)
    total = np.sum([fold.sum(axis=0) for fold in folds], axis=0)
    while parts:
        at = [1 + part for part in parts]
        found = np.linalg.lstsq(total[np.ix_(at, at)], total[at, 0], rcond=1e-9)[0]
        if (found >= 0).all():
            weights[list(parts)] = found
            break
        parts = tuple(part for part, weight in zip(parts, found, strict=True) if weight >= 0)
    return weights


def _gain(
    folds: Sequence[Float64], counts: Sequence[NDArray[np.int64]], less: tuple[int, ...], more: tuple[int, ...]
) -> Worth:
    """By how much the mean squared error is less with more parts; weights are those of the other folds."""
    differences = []
    for i, fold in enumerate(folds):
        others = [each for j, each in enumerate(folds) if j != i] or [fold]
        errors = [squared_errors(fold, _fitted(others, parts)) for parts in (less, more)]
        differences.append(errors[0] - errors[1])
    return mean_over_pairs(np.concatenate(differences), np.concatenate(counts))


def squared_errors(sums: Float64, weights: Float64) -> Float64:
    """Sum of squared errors of each user, shape (users,), by `rating_sums` and the two parts' weights, shape (2,)."""
    signed = np.array([1.0, *-weights])
    errors: Float64 = (sums @ signed) @ signed
    return errors


def mean_over_pairs(sums: Float64, counts: NDArray[np.int64]) -> Worth:
    """Mean of pairs by the sums of users, who are a random sample."""
    n = max(1, int(counts.sum()))
    mean = float(sums.sum()) / n
    left = sums - mean * counts
    return Worth(mean, float(np.sqrt(np.sum(left * left))) / n)


# Ranking.


def recalls_of(items: NDArray[np.int32], held: NarrowRows, liked_from: float) -> NDArray[np.float32]:
    """Recall of the lists of users.

    Parameters
    ----------
    items : int32 array, shape (users x lists, k)
        The lists of each user, one after the other; -1 where they are shorter.
    held : NarrowRows
        What is to be found: of each user some values that are liked.
    liked_from : float

    Returns
    -------
    float32 array, shape (users, lists)
        Liked columns in the list, over all liked ones.
    """
    n_users = len(held.indptr) - 1
    liked = held.values() >= liked_from
    n_liked = np.bincount(row_numbers(held.indptr), liked, minlength=n_users)
    hits = []
    for lists in items.reshape(n_users, -1, items.shape[1]).swapaxes(0, 1):
        places = find_in_rows(lists_of(held), np.ascontiguousarray(lists))
        hits.append(((places >= 0) & liked[np.maximum(places, 0)]).sum(axis=1))
    recalls: NDArray[np.float32] = (np.stack(hits, axis=1) / n_liked[:, None]).astype(np.float32)
    return recalls


def choose_ranking(tried: Sequence[RankingWeights], recalls: NDArray[np.float32]) -> RankingChoice:
    """Of all weights tried the best, if it is better than the first by more than the error of the difference.

    Parts that do not help by more than their error are left out.

    Parameters
    ----------
    tried : sequence of RankingWeights
    recalls : float32 array, shape (users, tried)
    """
    values = recalls.astype(np.float64)
    if not len(values):
        nothing = Worth(0.0, 0.0)
        return RankingChoice(tried[0], nothing, nothing, {})
    best = _simplest(tried, values, _best(values, range(len(tried))))
    worth = {}
    for part in _parts(tried[best]):
        without = [i for i, weights in enumerate(tried) if part not in _parts(weights)]
        fewer = [i for i in without if set(_parts(tried[i])) < set(_parts(tried[best]))]
        if without:
            worth[part] = _paired(values, best, _best(values, fewer or without))
    recall = Worth(float(values[:, best].mean()), _error(values[:, best]))
    return RankingChoice(tried[best], recall, _paired(values, best, 0), worth)


def _parts(weights: RankingWeights) -> tuple[str, ...]:
    return tuple(part for part in RANKING_PARTS if getattr(weights, part))


def _best(values: Float64, some: Sequence[int]) -> int:
    """Of some weights, by their mean."""
    return max(some, key=lambda i: values[:, i].mean())


def _simplest(tried: Sequence[RankingWeights], values: Float64, best: int) -> int:
    """The first instead of the best, if it is as good; then weights of fewer of its parts, as long as such are.

    As good means: less by no more than the error of the difference.
    """
    if not _paired(values, best, 0).is_real:
        best = 0
    while True:
        parts = set(_parts(tried[best]))
        fewer = [i for i, weights in enumerate(tried) if (own := set(_parts(weights))) and own < parts]
        if not fewer or _paired(values, best, rival := _best(values, fewer)).is_real:
            return best
        best = rival


def _paired(values: Float64, one: int, other: int) -> Worth:
    differences = values[:, one] - values[:, other]
    return Worth(float(differences.mean()), _error(differences))


def _error(values: Float64) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0
