"""Figures are those of plain loops and of trec_eval; however the users are batched, they are those of all of them."""

from __future__ import annotations

import doctest
import math
import statistics
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import engine.model.metrics
from engine.model.metrics import Mean, gini, item_coverage, ranking_per_user, self_information

FIGURES = ["recall", "capped_recall", "precision", "ndcg", "map", "mrr", "hit_rate"]

# Single precision keeps their squares from vanishing in a double.
batched_shares = st.lists(st.lists(st.floats(0, 1, width=32), max_size=8), max_size=8)
batched_users = st.lists(st.lists(st.lists(st.floats(-5, 5, width=32), max_size=4), max_size=6), max_size=6)
item_counts = st.lists(st.integers(0, 1000), min_size=1, max_size=30)


@st.composite
def recommended(draw: st.DrawFn) -> tuple[NDArray[np.bool_], NDArray[np.int64], list[int]]:
    """Hits of some users' lists, how many items each likes, and the lengths to measure at."""
    length = draw(st.integers(1, 12))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=length, max_size=length), max_size=8))
    hits = np.array(rows, dtype=np.bool_).reshape(-1, length)
    missed = draw(st.lists(st.integers(0, 15), min_size=len(rows), max_size=len(rows)))
    n_liked = np.maximum(hits.sum(axis=1) + np.array(missed, dtype=np.int64), 1)
    return hits, n_liked, draw(st.lists(st.integers(1, length), min_size=1, max_size=3, unique=True))


def plain_ranking(hits: list[bool], n_liked: int, k: int) -> dict[str, float]:
    """One user's figures, from their definitions."""
    found, gain, precisions, first = 0, 0.0, 0.0, 0
    for rank in range(1, k + 1):
        if hits[rank - 1]:
            found += 1
            gain += 1 / math.log2(rank + 1)
            precisions += found / rank
            first = first or rank
    most = k if k < n_liked else n_liked
    ideal = 0.0
    for rank in range(1, most + 1):
        ideal += 1 / math.log2(rank + 1)
    return {
        "recall": found / n_liked,
        "capped_recall": found / most,
        "precision": found / k,
        "ndcg": gain / ideal,
        "map": precisions / most,
        "mrr": 1 / first if first else 0.0,
        "hit_rate": 1.0 if found else 0.0,
    }


def plain_standard_error(values: list[float]) -> float | None:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def close(expected: float | None) -> object:
    """Equal but for what is lost where nearly equal sums are subtracted and the root is taken."""
    return None if expected is None else pytest.approx(expected, rel=1e-6, abs=1e-5)


@given(recommended())
def test_ranking_figures_are_those_of_plain_loops(
    lists: tuple[NDArray[np.bool_], NDArray[np.int64], list[int]],
) -> None:
    hits, n_liked, lengths = lists
    figures = ranking_per_user(hits, n_liked, lengths)
    assert list(figures) == [f"{name}_at_{k}" for k in lengths for name in FIGURES]
    for k in lengths:
        users = [plain_ranking(*user, k) for user in zip(hits.tolist(), n_liked.tolist(), strict=True)]
        for name in FIGURES:
            values = figures[f"{name}_at_{k}"]
            assert (values.shape, values.dtype) == ((len(hits),), np.dtype(np.float64))
            assert values.tolist() == pytest.approx([user[name] for user in users], rel=1e-12, abs=0)
            assert all(0 <= value <= 1 for value in values)


def test_a_user_is_measured_to_the_bit_the_same_in_any_batch_and_layout() -> None:
    hits = np.random.default_rng(5).random((300, 200)) < 0.3
    n_liked = hits.sum(axis=1) + 1
    together = ranking_per_user(hits, n_liked, [7, 200])
    other = ranking_per_user(np.asfortranarray(hits), n_liked, [7, 200])
    alone = [ranking_per_user(hits[user : user + 1], n_liked[user : user + 1], [7, 200]) for user in range(len(hits))]
    for name in together:
        np.testing.assert_array_equal(other[name], together[name])
        np.testing.assert_array_equal(np.concatenate([user[name] for user in alone]), together[name])


@pytest.mark.parametrize("n_liked", [1, 3, 10, 40])
def test_a_list_that_starts_with_all_the_hits_there_can_be_is_perfect(n_liked: int) -> None:
    hits = np.arange(20)[None, :] < n_liked
    figures = {name: values[0] for name, values in ranking_per_user(hits, np.array([n_liked]), [10]).items()}
    assert {figures[f"{name}_at_10"] for name in ("capped_recall", "ndcg", "map", "mrr", "hit_rate")} == {1.0}
    assert figures["recall_at_10"] == min(10, n_liked) / n_liked
    assert figures["precision_at_10"] == min(10, n_liked) / 10


# Ours by theirs; that has no capped recall, which is compared with the plain loops only.
TREC_EVAL = {
    "recall": "recall_{k}",
    "precision": "P_{k}",
    "ndcg": "ndcg_cut_{k}",
    "map": "map_cut_{k}",
    "hit_rate": "success_{k}",
}


def by_trec_eval(liked: list[set[int]], lists: list[list[int]], names: set[str]) -> dict[str, NDArray[np.float64]]:
    """Each user's figures by trec_eval."""
    wanted = {f"u{user}": {f"f{item}": 1 for item in items} for user, items in enumerate(liked)}
    run = {f"u{user}": {f"f{item}": -float(i) for i, item in enumerate(items)} for user, items in enumerate(lists)}
    found = pytrec_eval.RelevanceEvaluator(wanted, names).evaluate(run)
    return {name: np.array([found[f"u{user}"][name] for user in range(len(liked))]) for name in found["u0"]}


def test_ranking_figures_are_those_of_trec_eval() -> None:
    rng = np.random.default_rng(11)
    n_users, n_items, length = 150, 60, 25
    liked = [set(rng.choice(n_items, rng.integers(1, 40), replace=False).tolist()) for _ in range(n_users)]
    lists = [rng.permutation(n_items)[: rng.integers(1, length + 1)].tolist() for _ in range(n_users)]
    hits = np.zeros((n_users, length), dtype=np.bool_)
    for user, items in enumerate(lists):
        hits[user, : len(items)] = [item in liked[user] for item in items]
    n_liked = np.array([len(items) for items in liked])

    lengths = [1, 10, length]
    ours = ranking_per_user(hits, n_liked, lengths)
    names = {name.format(k=k) for k in lengths for name in TREC_EVAL.values()}
    theirs = by_trec_eval(liked, lists, names | {"recip_rank"})
    for k in lengths:
        # trec_eval divides the average precision by all that is liked, not by the most hits there can be.
        ours[f"map_at_{k}"] = ours[f"map_at_{k}"] * np.minimum(k, n_liked) / n_liked
        for name, their_name in TREC_EVAL.items():
            expected = theirs[their_name.format(k=k)]
            np.testing.assert_allclose(ours[f"{name}_at_{k}"], expected, rtol=0, atol=1e-6, err_msg=f"{name}_at_{k}")
            assert 0 < expected.mean() < 1
    # It has the reciprocal rank of whole lists only.
    np.testing.assert_allclose(ours[f"mrr_at_{length}"], theirs["recip_rank"], rtol=0, atol=1e-6)


@given(batched_shares, st.randoms(use_true_random=False))
def test_merged_means_over_users_are_those_of_all_users_in_any_order(values: list[list[float]], random: Random) -> None:
    together = [value for batch in values for value in batch]
    random.shuffle(values)
    merged = sum((Mean.over_users(np.array(batch)) for batch in values), Mean())
    assert (merged.n_users, merged.n) == (len(together), len(together))
    assert merged.value == close(statistics.fmean(together) if together else None)
    assert merged.standard_error == close(plain_standard_error(together))


@given(batched_users, st.randoms(use_true_random=False))
def test_merged_means_over_pairs_are_those_of_all_pairs_in_any_order(
    batches: list[list[list[float]]], random: Random
) -> None:
    users = [user for batch in batches for user in batch if user]
    pairs = [value for user in users for value in user]
    random.shuffle(batches)
    merged = sum(
        (
            Mean.over_pairs(np.array([sum(user) for user in batch]), np.array([len(user) for user in batch], dtype=int))
            for batch in batches
        ),
        Mean(),
    )
    assert (merged.n_users, merged.n) == (len(users), len(pairs))
    mean = statistics.fmean(pairs) if pairs else None
    assert merged.value == close(mean)
    if mean is None or len(users) < 2:
        assert merged.standard_error is None
    else:
        spread = sum((sum(user) - mean * len(user)) ** 2 for user in users) * len(users) / (len(users) - 1)
        assert merged.standard_error == close(math.sqrt(spread) / len(pairs))


@pytest.mark.parametrize("figure", ["figure", "root"])
def test_standard_errors_are_how_far_the_figures_of_fresh_samples_are_apart(figure: str) -> None:
    # Pairs of one user are alike: taken as independent, their error would be told half as large as it is.
    rng = np.random.default_rng(7)
    counts = rng.integers(1, 20, (1500, 200))
    totals = counts * rng.gamma(2.0, size=counts.shape)
    samples = [getattr(Mean.over_pairs(*sample), figure)() for sample in zip(totals, counts, strict=True)]
    spread = statistics.stdev(sample["value"] for sample in samples)
    told = statistics.fmean(sample["standard_error"] for sample in samples)
    assert told == pytest.approx(spread, rel=0.06)


def test_a_mean_over_pairs_weighs_pairs_and_not_batches() -> None:
    merged = Mean.over_pairs(np.array([16.0]), np.array([1])) + Mean.over_pairs(np.array([0.0]), np.array([3]))
    assert merged.root()["value"] == 2.0


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7])
def test_users_that_are_all_alike_leave_no_error(value: float) -> None:
    errors = [Mean.over_users(np.full(n, value)).standard_error for n in range(2, 200)]
    assert errors == pytest.approx([0.0] * 198, abs=1e-7)


def test_without_two_users_there_is_no_standard_error() -> None:
    one = Mean.over_pairs(np.array([4.0]), np.array([2]))
    assert one.figure() == {"value": 2.0, "standard_error": None, "n_users": 1}
    assert one.root() == {"value": math.sqrt(2), "standard_error": None, "n_users": 1}
    assert Mean().root() == {"value": None, "standard_error": None, "n_users": 0}
    assert Mean.over_users(np.zeros(3)).root() == {"value": 0.0, "standard_error": 0.0, "n_users": 3}


@given(item_counts, st.randoms(use_true_random=False))
def test_coverage_and_gini_are_those_of_plain_loops_in_any_order(counts: list[int], random: Random) -> None:
    apart = sum(abs(one - other) for one in counts for other in counts)
    expected = apart / (2 * len(counts) * sum(counts)) if any(counts) else None
    covered = sum(1 for count in counts if count > 0) / len(counts)
    random.shuffle(counts)
    assert gini(np.array(counts)) == (None if expected is None else pytest.approx(expected, rel=1e-12, abs=0))
    assert item_coverage(np.array(counts)) == covered


def test_self_information_at_its_ends() -> None:
    assert self_information(np.array([16, 4, 1]), 16).tolist() == [0.0, 2.0, 4.0]


def test_gini_of_counts_whose_products_are_beyond_doubles_is_exact() -> None:
    counts = np.full(60_000, 10**9 + 7)
    counts[0] += 1
    assert gini(counts) == (60_000 - 1) / (60_000 * int(counts.sum()))


@pytest.mark.parametrize("figure", [item_coverage, gini])
def test_how_often_all_items_are_recommended_does_not_matter(
    figure: Callable[[NDArray[np.int64]], float | None],
) -> None:
    counts = np.array([5, 0, 2, 1, 0, 9])
    assert figure(counts) == figure(counts * 1000)


def test_examples_in_docstrings() -> None:
    found = doctest.testmod(engine.model.metrics)
    assert found.attempted > 10
    assert not found.failed
