"""Items scored and ranked, against plain loops in float32."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine import kernels
from engine.chunked.csr import NarrowRows
from engine.kernels.rows import Lists, joined, lists_of, no_lists
from engine.kernels.scoring import Blended, Near, Scored, Together, Votes
from tests.kernels.cases import dense, lists, of_row, quick, rows_of, seeds, value_types, wide

N_USERS = 12


def case(seed: int, n_items: int = 20, dtype: str = "uint8", offset: int = 0, asking: int = 5) -> Any:
    rng = np.random.default_rng(seed)
    rows = rows_of(rng, N_USERS, n_items, dtype, offset)
    near = rows_of(rng, n_items + offset, n_items, "float32", offset) if offset == 0 else None
    neighbors = rng.integers(-1, N_USERS, (asking, 4)).astype(np.int32)
    liked = lists(rng, asking, n_items)
    return {
        "rows": rows,
        "neighbors": neighbors,
        "weights": rng.choice(np.array([0, 0.25, 0.5, -1], dtype=np.float32), neighbors.shape),
        "factor": rng.choice(np.array([0.5, 1], dtype=np.float32), rows.n_columns),
        "votes": Votes(bool(rng.integers(2)), 3.0, float(np.float32(0.3))),
        "near": near and Near(near, liked, rng.random(len(liked.columns), dtype=np.float32)),
        "taken": lists(rng, asking, n_items, offset),
        "wanted": lists(rng, asking, n_items, offset),
    }


def scores_of(given: dict[str, Any], user: int) -> dict[int, np.float32]:
    """A score for each item that somebody rated or that is near to a liked one, added up as the formula says."""
    ratings, votes = dense(given["rows"]), given["votes"]
    found: dict[int, np.float32] = {}
    for neighbor, weight in zip(given["neighbors"][user], given["weights"][user], strict=True):
        for item in np.flatnonzero(~np.isnan(ratings[neighbor])).tolist() if neighbor >= 0 else []:
            rating = ratings[neighbor, item]
            vote = rating if votes.is_rating else np.float32(1 if rating >= votes.liked_from else votes.disliked)
            found[item] = found.get(item, np.float32(0)) + weight * vote
    found = {item: score * given["factor"][item] for item, score in found.items()}
    if near := given["near"]:
        similarities, start = dense(near.similarities), near.liked.indptr[user]
        for place, other in enumerate(of_row(near.liked, user)):
            for item in np.flatnonzero(~np.isnan(similarities[other])).tolist():
                stored = similarities[other, item] / np.float32(0.5)  # what is stored has no step
                found[item] = found.get(item, np.float32(0)) + near.shares[start + place] * stored
    return found


@quick
@given(seeds, st.integers(1, 8), value_types, wide)
def test_the_best_items_are_those_of_a_plain_loop_to_the_last_bit(seed: int, k: int, dtype: str, offset: int) -> None:
    asked = case(seed, dtype=dtype, offset=offset)
    found = kernels.rank_items(**asked, k=k)
    for user in range(5):
        scores = scores_of(asked, user)
        open_ = [item for item, score in scores.items() if score != 0 and item not in of_row(asked["taken"], user)]
        best = sorted(open_, key=lambda item: (-scores[item], item))[:k]
        assert found.items[user].tolist() == best + [-1] * (k - len(best))
        assert found.scores[user].tolist() == [scores[item] for item in best] + [0] * (k - len(best))
        wanted = slice(*asked["wanted"].indptr[user : user + 2].tolist())
        expected = [scores.get(item, 0) for item in of_row(asked["wanted"], user)]
        assert found.wanted[wanted].tolist() == expected


@quick
@given(seeds, st.sets(st.integers(0, 5)))
def test_a_users_list_has_the_same_bits_in_every_batch(seed: int, cuts: set[int]) -> None:
    asked = case(seed) | {"near": None, "wanted": None}
    whole = kernels.rank_items(**asked, k=6)
    for first, last in itertools.pairwise(sorted({0, 5, *cuts})):
        taken = asked["taken"]
        part = Lists(taken.indptr[first : last + 1], taken.columns)
        some = asked | {name: asked[name][first:last] for name in ("neighbors", "weights")} | {"taken": part}
        found = kernels.rank_items(**some, k=6)
        assert found.items.tobytes() == whole.items[first:last].tobytes()
        assert found.scores.tobytes() == whole.scores[first:last].tobytes()


def standardised(values: Any) -> Any:
    return (values - values.mean()) / values.std() if len(values) and values.std() > 1e-12 else values * 0


def together_of(together: Together | None, user: int) -> dict[int, np.float32]:
    """What goes together with a user's items, added up as the formula says."""
    if together is None:
        return {}
    similarities, start = dense(together.similarities) / np.float32(0.5), together.own.indptr[user]
    found: dict[int, np.float32] = {}
    for place, own in enumerate(of_row(together.own, user)):
        for item in np.flatnonzero(~np.isnan(similarities[own])).tolist():
            found[item] = found.get(item, np.float32(0)) + together.values[start + place] * similarities[own, item]
    return found


@quick
@given(seeds, st.integers(1, 40), st.booleans())
def test_a_short_list_is_the_head_of_a_long_one(seed: int, k: int, offers_some: bool) -> None:
    rng = np.random.default_rng(seed)
    n_items, nothing = 300, np.empty((0, 0), dtype=np.float32)
    popularity = rng.integers(0, 4, n_items).astype(np.float32)  # many are equal
    weights = np.array([[0, 0, 0, 1], [0, 1, 0, 0.25]], dtype=np.float32)
    order = rng.permutation(n_items).astype(np.int32)

    def ranked(k: int) -> Scored:
        return kernels.rank_items(
            rows_of(np.random.default_rng(seed), 5, n_items),
            np.array([[1, 2], [0, 4]], dtype=np.int32),
            np.ones((2, 2), dtype=np.float32),
            np.ones(n_items, dtype=np.float32),
            Votes(False, 3.0, 0.3),
            None,
            lists(np.random.default_rng(seed), 2, n_items),
            k,
            blended=Blended(nothing, nothing, popularity, order, 280, weights),
            offered=np.random.default_rng(seed).random(n_items) < 0.7 if offers_some else None,
        )

    short, long = ranked(k), ranked(n_items)
    assert short.items.tobytes() == long.items[:, :k].tobytes()
    assert short.scores.tobytes() == long.scores[:, :k].tobytes()


@quick
@given(seeds, st.integers(1, 8), st.sampled_from([0, 16]), st.integers(1, 3), st.booleans())
def test_blends_are_sums_of_standardised_parts(seed: int, k: int, dims: int, n_blends: int, beside: bool) -> None:
    rng = np.random.default_rng(seed)
    asked = case(seed)
    if beside:
        own = lists(rng, 5, 20)
        values = rng.choice(np.array([0.3, 1], dtype=np.float32), len(own.columns))
        asked["together"] = Together(rows_of(rng, 20, 20), own, values)
    users, items = (rng.standard_normal((n, dims), dtype=np.float32) for n in (5, 20))
    popularity, order = rng.random(20, dtype=np.float32), rng.permutation(20)[: rng.integers(21)].astype(np.int32)
    weights = rng.choice(np.array([0, 0.25, 1], dtype=np.float32), (n_blends, 4))
    blended = Blended(users, items, popularity, order, 3, weights)
    found = kernels.rank_items(**asked, k=k, blended=blended, explain=True)
    plain = kernels.rank_items(**asked, k=k, blended=blended)
    assert plain.contributions is None
    assert (found.items.tobytes(), found.scores.tobytes()) == (plain.items.tobytes(), plain.scores.tobytes())
    assert found.items.shape == (5 * n_blends, k)
    assert found.contributions is not None
    for user in range(5):
        scores, taken = scores_of(asked, user), of_row(asked["taken"], user)
        together = together_of(asked.get("together"), user)
        popular = [item for item in order.tolist() if item not in taken][:3]
        scored = {item for each in (scores, together) for item, score in each.items() if score != 0}
        open_ = sorted((scored | {*popular}) - {*taken})
        sums = ([each.get(item, 0) for item in open_] for each in (scores, together))
        parts = [items[open_] @ users[user], *sums, popularity[open_]]
        standard = np.array([standardised(np.array(each, dtype=float)) for each in parts])
        has_own = bool(scored - {*taken})
        for row, own in zip(range(user * n_blends, (user + 1) * n_blends), weights, strict=True):
            expected, listed = own @ standard, found.items[row][found.items[row] >= 0].tolist()
            added, votes = found.contributions.parts[row], found.contributions.votes[row]
            assert np.isneginf(added[len(listed) :]).all()
            assert votes.tolist() == [scores.get(item, 0) for item in listed] + [0] * (k - len(listed))
            by = (own if has_own else np.array([0, 0, 0, 1])) * (np.ptp(standard, axis=1) > 0 if open_ else 1)
            if listed:
                places = [open_.index(item) for item in listed]
                true = np.where(by[:, None], by[:, None] * standard[:, places], -np.inf)
                np.testing.assert_allclose(added[: len(listed)], true.T, atol=1e-4)
            if not has_own:
                assert np.isnan(found.scores[row][: len(open_)]).all()
                best = sorted(open_, key=lambda item: (-popularity[item], item))[:k]
                assert found.items[row].tolist() == best + [-1] * (k - len(best))
                continue
            there = found.items[row] >= 0
            assert there.sum() == min(k, len(open_))
            np.testing.assert_allclose(found.scores[row][there], np.sort(expected)[::-1][:k], atol=1e-4)
            places = [open_.index(item) for item in found.items[row][there].tolist()]
            np.testing.assert_allclose(expected[places], found.scores[row][there], atol=1e-4)


def test_blends_of_what_does_not_fit_are_refused() -> None:
    asked, vectors = case(0), np.ones((5, 16), np.float32)
    good = Blended(
        vectors,
        np.ones((20, 16), np.float32),
        np.ones(20, np.float32),
        np.arange(20, dtype=np.int32),
        3,
        vectors[:1, :4].copy(),
    )
    kernels.rank_items(**asked, k=2, blended=good)
    for other in (
        {"users": vectors[:4]},
        {"items": np.ones((19, 16), np.float32)},
        {"popularity": np.ones(19, np.float32)},
        {"weights": vectors[:1, :2].copy()},
    ):
        with pytest.raises(ValueError, match="of other"):
            kernels.rank_items(**asked, k=2, blended=good._replace(**other))
    with pytest.raises(IndexError):
        kernels.rank_items(**asked, k=2, blended=good._replace(by_popularity=np.array([20], dtype=np.int32)))
    rows, own = rows_of(np.random.default_rng(1), 20, 20), lists(np.random.default_rng(2), 5, 20)
    together = Together(rows, own, np.ones(len(own.columns), np.float32))
    kernels.rank_items(**asked, k=2, blended=good, together=together)
    for broken in (
        {"own": Lists(own.indptr[:-1], own.columns)},
        {"own": Lists(own.indptr, own.columns + np.int32(20))},
        {"values": together.values[:-1]},
        {"similarities": damaged(rows, indices=rows.indices + np.uint8(20))},
        {"similarities": damaged(rows, data=rows.data.astype(np.float64))},
    ):
        with pytest.raises((ValueError, IndexError)):
            kernels.rank_items(**asked, k=2, blended=good, together=together._replace(**broken))


@quick
@given(seeds, st.integers(1, 8), st.booleans())
def test_what_is_not_offered_is_left_out_and_changes_no_score(seed: int, k: int, blend: bool) -> None:
    rng = np.random.default_rng(seed)
    asked, offered = case(seed), rng.random(20) < 0.5
    if blend:
        users, items = (rng.standard_normal((n, 16), dtype=np.float32) for n in (5, 20))
        weights, none = np.array([[1, 0.25, 0, 0]], dtype=np.float32), np.empty(0, dtype=np.int32)
        asked["blended"] = Blended(users, items, np.zeros(20, np.float32), none, 3, weights)
    whole = kernels.rank_items(**asked, k=20)
    found = kernels.rank_items(**asked, k=k, offered=offered)
    for user in range(5):
        there = (whole.items[user] >= 0) & offered[whole.items[user]]
        n = min(k, there.sum())
        assert found.items[user, :n].tolist() == whole.items[user][there][:k].tolist()
        assert found.scores[user, :n].tobytes() == whole.scores[user][there][:k].tobytes()
        assert (found.items[user, n:] == -1).all()
    assert found.wanted.tobytes() == whole.wanted.tobytes()
    with pytest.raises(ValueError, match="marks of other items"):
        kernels.rank_items(**asked, k=k, offered=offered[:-1])


def test_what_is_no_number_is_never_recommended() -> None:
    asked = case(3) | {"near": None, "wanted": None, "taken": no_lists(5)}
    asked["factor"] = np.full(20, np.nan, dtype=np.float32)
    assert (kernels.rank_items(**asked, k=3).items == -1).all()


@quick
@given(seeds, st.integers(1, 25))
def test_popular_lists_go_down_the_order_without_the_users_own(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    order, taken = rng.permutation(20).astype(np.int32)[: rng.integers(1, 21)], lists(rng, 6, 20)
    found = kernels.rank_popular(order, 20, taken, k)
    for user in range(6):
        left = [item for item in order.tolist() if item not in of_row(taken, user)][:k]
        assert found[user].tolist() == left + [-1] * (k - len(left))


@quick
@given(seeds)
def test_items_are_found_in_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, items = lists(rng, 4, 15), rng.integers(-1, 16, (4, 7)).astype(np.int32)
    found = kernels.find_in_rows(rows, items)
    for user, of_user in enumerate(items.tolist()):
        own = of_row(rows, user)
        assert found[user].tolist() == [rows.indptr[user] + own.index(i) if i in own else -1 for i in of_user]


@quick
@given(seeds, value_types)
def test_opinions_are_counts_and_means(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    rows = rows_of(rng, N_USERS, 15, dtype)
    neighbors = rng.permuted(np.tile(np.arange(-1, N_USERS), (3, 1)), axis=1)[:, :5].astype(np.int32)
    items = rng.permuted(np.tile(np.arange(-1, 15), (3, 1)), axis=1)[:, :6].astype(np.int32)
    counts, means = kernels.count_opinions(rows, neighbors, items)
    ratings = dense(rows).astype(np.float64)
    for user, place in itertools.product(range(3), range(6)):
        item, theirs = items[user, place], ratings[neighbors[user][neighbors[user] >= 0]]
        said = theirs[:, item][~np.isnan(theirs[:, item])] if item >= 0 else np.empty(0)
        assert counts[user, place] == len(said)
        np.testing.assert_allclose(means[user, place], said.mean() if len(said) else np.nan, rtol=1e-6)


@quick
@given(seeds)
def test_joined_lists_have_both(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rows_of(rng, 5, 9), rows_of(rng, 5, 9)
    both = joined(one, other)
    for row in range(5):
        assert of_row(both, row) == of_row(lists_of(one), row) + of_row(lists_of(other), row)


def damaged(rows: NarrowRows, **changes: Any) -> NarrowRows:
    parts = {name: getattr(rows, name) for name in ("indptr", "indices", "data", "n_columns", "value_step")}
    return NarrowRows(**(parts | changes))


@pytest.mark.parametrize(
    "broken",
    [
        {"rows": lambda given: damaged(given["rows"], indices=given["rows"].indices + np.uint8(200))},
        {"rows": lambda given: damaged(given["rows"], indptr=given["rows"].indptr + 1000)},
        {"rows": lambda given: damaged(given["rows"], indptr=given["rows"].indptr[::-1].copy())},
        {"rows": lambda given: damaged(given["rows"], data=given["rows"].data[:-1])},
        {"rows": lambda given: damaged(given["rows"], n_columns=3), "factor": lambda given: given["factor"][:3]},
        {"rows": lambda given: damaged(given["rows"], data=given["rows"].data.astype(np.int64))},
        {"neighbors": lambda given: given["neighbors"] + np.int32(N_USERS)},
        {"neighbors": lambda given: given["neighbors"].astype(np.int64)},
        {"weights": lambda given: given["weights"][:, :-1].copy()},
        {"factor": lambda given: given["factor"][:-1]},
        {"taken": lambda given: Lists(given["taken"].indptr, given["taken"].columns + np.int32(99))},
        {"taken": lambda given: Lists(given["taken"].indptr, given["taken"].columns - np.int32(99))},
        {"taken": lambda given: Lists(given["taken"].indptr[:-1], given["taken"].columns)},
        {"taken": lambda given: Lists(given["taken"].indptr - 1, given["taken"].columns)},
        {"wanted": lambda given: Lists(given["wanted"].indptr * 9, given["wanted"].columns)},
    ],
)
def test_no_array_leads_out_of_another(broken: dict[str, Any]) -> None:
    asked = case(1) | {"near": None}
    with pytest.raises((ValueError, IndexError, TypeError)):
        kernels.rank_items(**(asked | {name: change(asked) for name, change in broken.items()}), k=3)


@quick
@given(seeds, st.integers(1, 8), value_types)
def test_the_own_item_that_adds_most_is_that_of_a_plain_loop(seed: int, k: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    rows, own = rows_of(rng, 20, 20, dtype), lists(rng, 5, 20)
    values = rng.choice(np.array([0, 0.3, 1], dtype=np.float32), len(own.columns))
    items = np.array([rng.permutation(20)[:k] for _ in range(5)], dtype=np.int32)
    items[rng.random(items.shape) < 0.2] = -1
    strongest, sums = kernels.find_strongest(rows, own, values, items)
    similarities = np.nan_to_num(dense(rows))
    for user, place in np.ndindex(*items.shape):
        item, first = items[user, place], own.indptr[user]
        added = [values[first + at] * similarities[j, item] for at, j in enumerate(of_row(own, user)) if item >= 0]
        most = max(added, default=0)
        assert strongest[user, place] == (of_row(own, user)[added.index(most)] if most > 0 else -1)
        assert sums[user, place] == sum(added, np.float32(0))
    assume(len(own.columns) > 0)  # else there is nothing to break
    for broken in (
        (rows, Lists(own.indptr[:-1], own.columns), values, items),
        (rows, Lists(own.indptr, own.columns + np.int32(20)), values, items),
        (rows, own, values[:-1], items),
        (rows, own, values, np.full_like(items, 20)),
    ):
        with pytest.raises((ValueError, IndexError)):
            kernels.find_strongest(*broken)
