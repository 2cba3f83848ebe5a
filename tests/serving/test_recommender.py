"""Answers against loops over users, and against the figures of the run they are of."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine import cli
from engine.artifacts.readers import compared
from engine.chunked import arrays, workdir
from engine.chunked.csr import CsrReader
from engine.chunked.errors import UsageError
from engine.model import ranking
from engine.serving.everybody import recommend_all
from engine.serving.finished import open_finished
from engine.serving.ids import read_ids
from engine.serving.recommender import Recommender
from engine.serving.titles import TitlesWarning
from tests.support.loops import Loops
from tests.support.ratings import synthetic_ratings
from tests.support.recommender import run


def test_a_list_is_what_loops_over_neighbours_and_items_give(small: Path) -> None:
    loops, recommender = Loops(small), Recommender.open(small)
    found = recommender.recommend(recommender.users, 6)
    for user, row in enumerate(loops.train):
        scores = loops.scores(user, [item for item in range(len(row)) if not row[item] + loops.test[user, item]])
        best = sorted((-score, item) for item, score in scores.items())[:6]
        mine = found.filter(pl.col("user") == recommender.users[user])
        assert mine["rank"].to_list() == list(range(1, len(best) + 1))
        np.testing.assert_allclose(mine["score"], [-score for score, _ in best], rtol=1e-3, atol=1e-3)
        for answer in mine.iter_rows(named=True):
            item = recommender.items.index_of(answer["item"])
            assert item is not None
            assert answer["score"] == pytest.approx(scores[item], rel=1e-3, abs=1e-3)
            assert answer["predicted"] == pytest.approx(loops.predicted(user, item), abs=1e-4)
            theirs = loops.train[loops.ids[user], item]
            assert (answer["n_raters"], answer["n_neighbors"]) == ((theirs > 0).sum(), 7)
            mean = pytest.approx(theirs[theirs > 0].mean()) if (theirs > 0).any() else None
            assert answer["mean_rating"] == mean


def test_users_are_answered_in_the_order_asked_alone_as_together(small: Path) -> None:
    recommender = Recommender.open(small)
    asked = [recommender.users[place] for place in (40, 3, 77, 3)]
    together = recommender.recommend(pl.Series(asked), 4)
    alone = pl.concat([recommender.recommend([user], 4) for user in asked])
    assert together.equals(alone)
    assert recommender.recommend([str(user) for user in asked], 4).equals(alone)
    assert dict(zip(together["item"], together["title"], strict=True)).get(1, "One, the") == "One, the"


def test_titles_are_those_beside_the_ratings_where_there_are_some(small: Path, texts: Path) -> None:
    assert Recommender.open(small).titles(pl.Series([8, 15, 1])).to_list() == ["Eight", None, "One, the"]
    assert Recommender.open(texts).titles(pl.Series(["item 8"])).to_list() == [None]


def test_ids_that_are_text_get_the_answers_of_those_that_are_numbers(small: Path, texts: Path) -> None:
    numbers, words = Recommender.open(small), Recommender.open(texts)
    assert words.users.dtype == words.items.dtype == pl.String
    user = words.users[5]
    listed = words.recommend([user], 5)
    assert listed.height == 5
    assert set(listed["item"]) <= set(words.items)
    assert numbers.users.dtype == pl.Int64
    pairs = words.predict([user] * 3, words.items[:3])
    assert pairs["item"].to_list() == words.items[:3].to_list()


def test_the_lists_and_ratings_have_the_figures_of_the_run(sample: Path) -> None:
    recommender = Recommender.open(sample)
    metrics = json.loads((sample / workdir.METRICS).read_text())
    matrix = open_finished(sample).stages["matrix"].root
    test = CsrReader(matrix, "test")
    held_out = test.read(0, test.shape[0]).widen().tocoo()
    pairs = pl.DataFrame(
        {
            "user": recommender.users.gather(held_out.row),
            "item": recommender.items.gather(held_out.col),
            "rating": held_out.data,
        }
    )
    predicted = recommender.predict(pairs["user"], pairs["item"])
    assert predicted.select("user", "item").equals(pairs.select("user", "item"))
    error = predicted["predicted"].cast(pl.Float64) - pairs["rating"]
    assert float(np.sqrt((error**2).to_numpy().mean())) == pytest.approx(metrics["rmse"], rel=1e-12)
    assert predicted["near"].sum() == metrics["n_test_covered"]
    listed = recommender.recommend(recommender.users, 50, include_test=True)
    liked = pairs.filter(pl.col("rating") >= 4.0).join(listed, on=["user", "item"], how="left")
    recalls = liked.group_by("user").agg(pl.col("rank").is_not_null().mean())["rank"].to_numpy()
    assert len(recalls) == metrics["n_users_with_liked"]
    assert recalls.mean() == pytest.approx(metrics["recall_at_50"], rel=1e-12)
    fresh = recommender.recommend(recommender.users, 50)
    assert fresh.join(pairs, on=["user", "item"]).is_empty()
    assert not listed.join(pairs, on=["user", "item"]).is_empty()


def test_one_of_the_data_folded_in_by_their_own_ratings_is_who_they_were(sample: Path) -> None:
    recommender = Recommender.open(sample)
    stages = open_finished(sample).stages
    train = CsrReader(stages["matrix"].root, "train")
    vectors = arrays.open_array(compared(stages).root, "vectors")
    for code in (0, 41, 500):
        row = train.read(code, code + 1).widen()
        person = recommender.fold_in(recommender.items.gather(row.indices), row.data)
        np.testing.assert_allclose(person.vector, arrays.read_rows(vectors, code, code + 1)[0], atol=1e-5)
        assert person.neighbors[0] == code
        stored = recommender.similar_users(recommender.users[code], 20)
        found = recommender.similar_users(person, 21)[1:]
        assert found["user"].to_list() == stored["user"].to_list()
        np.testing.assert_allclose(found["similarity"], stored["similarity"], atol=1e-5)
        assert found.select("n_both", "n_both_liked", "items").equals(stored.select("n_both", "n_both_liked", "items"))
        if recommender.predicts_ratings:
            items = recommender.items[:40]
            expected = recommender.predict([recommender.users[code]] * 40, items)["predicted"]
            np.testing.assert_allclose(recommender.predict(person, items)["predicted"], expected, atol=1e-5)
        assert recommender.recommend(person, 3)["user"].to_list() == [None] * 3


def test_a_newcomers_later_rating_of_a_item_counts_and_unknown_items_are_left_out(small: Path) -> None:
    recommender = Recommender.open(small)
    person = recommender.fold_in(np.array([1, 8]), np.array([2, np.int64(4)], dtype=object))
    assert person.rated.data.tolist() == [2, 4]
    person = recommender.fold_in([1, 999, 8, 1, 998, 999], [5, 3, 4, 2, 3, 3])
    assert (person.left_out, person.rated.data.tolist()) == ((999, 998), [2, 4])
    assert not set(recommender.recommend(person, 60)["item"]) & {1, 8}
    for items, ratings, what in (
        ([999], [3], "none of the 1 items is known: known are"),
        ([1], [5.5], "rating 5.5 of item 1: the ratings of this run go from 0.5 to 5"),
        ([1, 8], [np.nan, 3], "rating nan of item 1"),
        ([1, 8], [3], "2 items and 1 ratings"),
        ([], [], "no item is given"),
        ([1], ["good"], "rating 'good': give a number for each item"),
        ([1.5], [3], "item 1.5: ids are whole numbers or texts"),
    ):
        with pytest.raises(UsageError, match=what):
            recommender.fold_in(items, ratings)


def test_a_newcomers_ratings_go_as_far_as_the_runs_own(tmp_path: Path) -> None:
    ratings = synthetic_ratings(40, 30).with_columns(pl.col("rating") * 0.8 + 0.3)
    recommender = Recommender.open(run(tmp_path, ratings))
    items = recommender.items[:2]
    for ratings_given in ([0.7, 4.3], np.array([0.7, 4.3]), np.array([0.7, 4.3], dtype=np.float32)):
        assert recommender.fold_in(items, ratings_given).rated.nnz == 2
    for wrong, told in ((4.30001, "4.30001"), (0.69, "0.69"), (1e300, r"1e\+300"), (-np.inf, "-inf")):
        with pytest.raises(UsageError, match=f"rating {told} of item .* go from 0.7 to 4.3"):
            recommender.fold_in(items, [1, wrong])


def test_users_alike_share_what_a_loop_counts(small: Path) -> None:
    loops, recommender = Loops(small), Recommender.open(small)
    for code in (0, 17, 89):
        found = recommender.similar_users(recommender.users[code], 4)
        assert found["user"].to_list() == [recommender.users[int(other)] for other in loops.ids[code][:4]]
        np.testing.assert_array_equal(found["similarity"], loops.similarities[code][:4])
        for row, other in zip(found.iter_rows(named=True), loops.ids[code], strict=False):
            both = (loops.train[code] > 0) & (loops.train[other] > 0)
            liked = np.flatnonzero((loops.train[code] >= 4) & (loops.train[other] >= 4))
            assert (row["n_both"], row["n_both_liked"]) == (both.sum(), len(liked))
            rare = sorted(liked.tolist(), key=lambda item: ((loops.train[:, item] > 0).sum(), item))[:3]
            assert row["items"] == [recommender.items[item] for item in rare]


def test_who_and_what_is_not_known_is_told_with_what_is(small: Path, texts: Path, tmp_path: Path) -> None:
    numbers, words = Recommender.open(small), Recommender.open(texts)
    for ask, what in (
        (lambda: numbers.recommend([2, 3, 4]), "no user 3, 4 in .*: known are 90 users from 2 to 269"),
        (lambda: numbers.recommend(["bob"]), "no user bob in"),
        (lambda: numbers.recommend(["02"]), "no user 02 in"),
        (lambda: numbers.recommend(["2", "+5"]), r"no user \+5 in"),
        (lambda: numbers.similar_users(" 2"), "no user  2 in"),
        (lambda: numbers.predict(["2"], ["01"]), "no item 01 in"),
        (lambda: numbers.fold_in(["01"], [3]), "none of the 1 items is known"),
        (lambda: numbers.similar_users(1), "no user 1 in"),
        (lambda: words.recommend(["bob"]), "known are 90 users, such as u101, u104, u107"),
        (lambda: numbers.predict([2], [2]), "no item 2 in .*: known are"),
        (lambda: numbers.predict([2, 2], [1]), "2 users and 1 items"),
        (lambda: numbers.recommend([]), "no user is given"),
        (lambda: numbers.recommend([2], 0), "0 items: ask for 1 or more"),
        (lambda: numbers.similar_users(2, 0), "0 users: ask for 1 or more"),
        (lambda: numbers.recommend([2], 2.5), "2.5 items: ask for a whole number"),  # type: ignore[arg-type]
        (lambda: numbers.recommend([2], True), "True items: ask for a whole number"),
        (lambda: numbers.recommend([2], "3"), "'3' items: ask for a whole number"),  # type: ignore[arg-type]
        (lambda: numbers.similar_users(2, np.float32(3)), "items|users: ask for a whole"),  # type: ignore[arg-type]
        (lambda: numbers.recommend([2], include_test="no"), "include_test is 'no'"),  # type: ignore[arg-type]
        (lambda: numbers.fold_in([1], [True]), "rating True: give a number"),
        (lambda: numbers.fold_in([1], ["4"]), "rating '4': give a number"),
        (lambda: Recommender.open(3), "3 is no place: give a path"),  # type: ignore[arg-type]
        (lambda: numbers.recommend([2.5]), "user 2.5: ids are whole numbers or texts"),
        (lambda: numbers.recommend([True]), "user True: ids are"),
        (lambda: numbers.recommend([None]), "user None: ids are"),  # type: ignore[arg-type]
        (lambda: words.recommend([float("nan")]), "user nan: ids are"),
        (lambda: numbers.recommend(3), "no user 3 in"),
        (lambda: numbers.recommend({2}), r"user \{2\}: give a list"),  # type: ignore[arg-type]
        (lambda: numbers.recommend(True), "user True: ids are"),
        (lambda: numbers.predict(2, [1, 8]), "1 users and 2 items"),
        (lambda: numbers.fold_in([1, 8], 3), "2 items and 1 ratings"),
        (lambda: numbers.fold_in(1, "good"), "rating 'good': give a number"),
        (lambda: numbers.recommend([2.0, np.inf]), "user inf: ids are"),
        (
            lambda: numbers.predict([2**53 + 1, 2.0], [1, 1]),
            "user 9007199254740992 is a float, in which ids of 9.* and",
        ),
        (
            lambda: numbers.recommend(np.array([2**24 + 1], dtype=np.float32)),
            "16777216 is a float, in which ids of 16777216 and more",
        ),
        (lambda: numbers.recommend(np.ma.array([2, 5], mask=[False, True])), "users of which some are masked"),
        (
            lambda: numbers.fold_in([1, 8], np.ma.array([3.0, 4.0], mask=[False, True])),
            "ratings of which some are masked",
        ),
        (lambda: numbers.recommend([[2], [2, 5]]), "users of uneven shape: give a list"),
        (lambda: numbers.similar_users([2, 3]), "no user 3 in"),
        (lambda: read_ids(tmp_path / "none"), "cannot be read"),
    ):
        with pytest.raises(UsageError, match=what):
            ask()
    same = numbers.recommend([2, 5])
    assert numbers.recommend([2, 5], np.int64(10), include_test=np.bool_(False)).equals(same)  # type: ignore[arg-type]
    assert numbers.similar_users(np.int32(2), np.uint8(3)).equals(numbers.similar_users(2, 3))  # type: ignore[arg-type]
    small_integers, texts_of_polars = np.array([2, 5], dtype=np.uint8), pl.Series(["2", "5"])
    ways: tuple[Any, ...] = (["2", "5"], [2, "5"], [2.0, 5.0], pl.Series(small_integers), texts_of_polars)
    assert np.asarray(numbers.recommend(small_integers)["item"]).tolist() == same["item"].to_list()
    for ids in ways:
        assert numbers.recommend(ids).equals(same)
    (tmp_path / "ids").write_text("2\n\n 5\n")
    assert read_ids(tmp_path / "ids") == ["2", "5"]
    (tmp_path / "ids").write_text("\n")
    with pytest.raises(UsageError, match="holds no user ids"):
        read_ids(tmp_path / "ids")


@pytest.mark.parametrize("low", [1, -1])
def test_who_and_what_have_nothing_in_common_are_not_near_by_rounding(low: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pairs = [(u, i) for u in range(24) for i in range(40) if u % 2 == i % 2 and rng.random() < 0.6]
    ratings = [(u, i, float(rng.choice([low, 5 if low > 0 else 1]))) for u, i in pairs]
    more: dict[str, Any] = {"factors": {}, "neighbors": {"k": 20}, "item_neighbors": {"k": 39, "ranking_k": 39}}
    more["evaluate"] = {"k": 6, "liked_from": 4.0 if low > 0 else 1.0}
    where = run(tmp_path, pl.DataFrame(ratings, schema=["userId", "movieId", "rating"], orient="row"), **more)
    recommender = Recommender.open(where)
    listed = recommender.recommend(recommender.users, 40)
    assert not listed.is_empty()
    # Popular items are candidates, too; they come after those that have something in common.
    apart = listed.filter(pl.col("user") % 2 != pl.col("item") % 2)
    assert apart["rank"].min() > 4  # type: ignore[operator]
    for user in recommender.users:
        assert (recommender.similar_users(user, 20)["user"] % 2 == user % 2).all()
        others = [item for item in recommender.items if item % 2 != user % 2]
        assert not recommender.predict([user] * len(others), others)["near"].any()
    made = recommend_all(where, tmp_path / "all.parquet", k=40)
    assert made.n_items == listed.height


TITLES: dict[str, tuple[bytes, list[str | None] | None]] = {
    "usual": (b"movieId,title\n1,One\n8,Eight\n", ["One", "Eight"]),
    "other case": (b"MovieID,Genres,TITLE\r\n1,x,One\r\n8,y,Eight\r\n", ["One", "Eight"]),
    "tabs and a mark": (b"\xef\xbb\xbfitem_id\tname\n1\tOne, the\n8\tEight\n", ["One, the", "Eight"]),
    "not its number": (b"movieId,title\n01,One\n8,Eight\n8,Again\n", [None, "Eight"]),
    "short and long rows": (b"movieId,title\n1\n8,Eight,x,y\n", [None, "Eight"]),
    "other columns": (b"film,label\n1,One\n", None),
    "Latin-1": ("movieId,title\n1,\u00c9t\u00e9\n8,Eight\n".encode("latin-1"), ["\u00c9t\u00e9", "Eight"]),
    "Latin-1 header": ("movieId,title,\u00e9\n1,One,\n".encode("latin-1"), ["One", None]),
    "empty": (b"", None),
    "blank": (b"\n\n", None),
    "binary": (bytes(range(256)), None),
}


@pytest.mark.parametrize("case", TITLES)
def test_nothing_about_titles_stops_an_answer(case: str, small: Path) -> None:
    content, expected = TITLES[case]
    titles = small.parent / "movies.csv"
    before = titles.read_bytes()
    titles.write_bytes(content)
    recommender = Recommender.open(small)
    try:
        found = recommender.titles(pl.Series([1, 8])).to_list()
        assert recommender.recommend([2], 3).height == 3
    finally:
        titles.write_bytes(before)
    assert found == (expected or [None, None])
    told = recommender.no_titles
    assert bool(told) is (expected is None)
    assert len(told) < 400
    assert "\n" not in told


def _asked_twice(recommender: Recommender, text: str) -> list[Any]:
    return [recommender.find_items(text)["item"].item() for _ in range(2)]


@pytest.mark.parametrize("memory", ["64MiB", None])
def test_a_title_at_fault_is_told_from_python_and_by_commands(
    small: Path, memory: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    titles = small.parent / "movies.csv"
    before = titles.read_bytes()
    titles.write_bytes(b'movieId,title\n1,"One\n8,Eight\n')
    try:
        with pytest.warns(TitlesWarning, match=r"movies\.csv, line 2: not a valid record .* is not shown") as told:
            found = _asked_twice(Recommender.open(small, memory=memory), "Eight")
        assert (len(told), found) == (1, [8, 8])
        with warnings.catch_warnings(record=True) as more:
            assert cli.main(["recommend", str(small), "--user", "2"]) == 0
    finally:
        titles.write_bytes(before)
    assert not more
    assert f"note: {titles}, line 2: not a valid record" in capsys.readouterr().err


def test_similar_items_are_those_that_the_run_found(small: Path) -> None:
    recommender = Recommender.open(small)
    found = recommender.similar_items(8, k=3)
    near = Recommender.open(small)._opened.near_items
    assert near is not None
    code = recommender.items.to_list().index(8)
    ids, similarities = near.take(np.array([code]))
    assert found["item"].to_list() == recommender.items.gather(ids[0][:3]).to_list()
    assert found["similarity"].to_list() == similarities[0][:3].tolist()
    assert found["n_ratings"].to_list() == recommender._opened.counts[ids[0][:3]].tolist()
    with pytest.raises(UsageError, match="item 999"):
        recommender.similar_items(999)


def test_who_likes_items_is_one_who_rated_them_highest(small: Path) -> None:
    recommender = Recommender.open(small)
    liked = recommender.recommend(recommender.likes([1, 8]), k=4)
    rated = recommender.recommend(recommender.fold_in([1, 8], [5.0, 5.0]), k=4)
    assert liked.drop("reason_rating").equals(rated.drop("reason_rating"))
    assert liked["reason_rating"].null_count() == liked.height  # nobody gave these ratings
    assert not set(liked["item"]) & {1, 8}


def test_only_candidates_are_recommended_in_the_order_they_had(small: Path) -> None:
    recommender = Recommender.open(small)
    users = recommender.users.head(30)
    whole = recommender.recommend(users, 60)
    some = recommender.items.sample(25, seed=3)
    shown = ["user", "item", "score", "predicted", "n_raters"]
    for given, kept in (
        ({"candidates": some}, pl.col("item").is_in(some.implode())),
        ({"exclude": some.to_list()}, ~pl.col("item").is_in(some.implode())),
        ({"candidates": [*some, 123456], "exclude": some.head(5)}, pl.col("item").is_in(some[5:].implode())),
    ):
        found = recommender.recommend(users, 4, **given)
        expected = whole.filter(kept).group_by("user", maintain_order=True).head(4)
        assert found.select(shown).equals(expected.select(shown))
    me = recommender.fold_in([1, 8], [5, 1])
    assert set(recommender.recommend(me, 5, candidates=some)["item"]) <= set(some)
    assert recommender.recommend(users, 3, exclude=[]).equals(recommender.recommend(users, 3))
    for wrong, told in (([], "none of the candidates"), ([123456], "none of the candidates"), ([1.5], "whole numbers")):
        with pytest.raises(UsageError, match=told):
            recommender.recommend(users, 3, candidates=wrong)


@pytest.mark.parametrize("most", [0, 2])
def test_where_candidates_are_too_few_lists_go_on_with_what_is_popular(
    most: int, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "POPULAR_ITEMS", most)
    recommender = Recommender.open(small)
    users, counts = recommender.users.head(20), recommender._opened.counts
    train = CsrReader(open_finished(small).stages["matrix"].root, "train").read(0, 20).widen()
    some = recommender.items.gather_every(2)
    for offered in (recommender.items, some):
        listed = recommender.recommend(users, 60, include_test=True, candidates=offered)
        by_vote = recommender.recommend(users, 60, include_test=True, candidates=offered, on_empty="skip")
        assert listed.filter(~pl.col("popular")).equals(by_vote)
        for place, user in enumerate(users):
            mine = listed.filter(pl.col("user") == user)
            own = train[place].indices
            assert sorted(mine["item"]) == sorted(set(offered) - set(recommender.items.gather(own)))
            assert mine["popular"].is_sorted()
            filled = mine.filter("popular")
            assert filled["score"].null_count() == filled.height
            columns = [recommender.items.index_of(item) or 0 for item in filled["item"]]
            assert columns == sorted(columns, key=lambda column: (-counts[column], column))
    assert listed["popular"].any()


def test_who_is_not_known_gets_an_error_nothing_or_what_is_popular(small: Path, texts: Path) -> None:
    recommender = Recommender.open(small)
    asked = [5, 123456, 2, 5, -1]
    with pytest.raises(UsageError, match="no user 123456, -1"):
        recommender.recommend(asked)
    skipped = recommender.recommend(asked, 3, on_unknown="skip")
    assert skipped.equals(recommender.recommend([5, 2, 5], 3))
    assert recommender.known_users(asked, "skip").to_list() == [5, 2, 5]
    found = recommender.recommend(asked, 3, on_unknown="popular")
    assert found["user"].to_list() == [user for user in asked for _ in range(3)]
    assert found.filter(~pl.col("popular")).equals(skipped)
    of_all = sorted(range(len(recommender.items)), key=lambda column: (-recommender._opened.counts[column], column))
    popular = found.filter(pl.col("user") == -1)
    assert popular["item"].to_list() == recommender.items.gather(of_all[:3]).to_list()
    assert popular["score"].to_list() == [None] * 3
    biases = recommender._opened.biases
    assert biases is not None
    expected = np.clip(biases.mean + biases.items[of_all[:3]], biases.low, biases.high)
    np.testing.assert_allclose(popular["predicted"], expected, rtol=1e-6)
    with pytest.raises(UsageError, match="'x': known are 90 users"):
        recommender.recommend(["2", "x"], on_unknown="popular")
    assert recommender.recommend(["2", "x"], 2, on_unknown="skip").equals(recommender.recommend([2], 2))
    assert recommender.recommend([-1], 2, on_unknown="skip").is_empty()
    strange = Recommender.open(texts).recommend(["nobody"], 2, on_unknown="popular", exclude=["item 1"])
    assert strange["user"].to_list() == ["nobody"] * 2
    assert "item 1" not in strange["item"]
    for more in ({"on_unknown": "no"}, {"on_empty": "no"}, {"on_unknown": None}):
        with pytest.raises(UsageError, match="give one of"):
            recommender.recommend([2], **more)


@pytest.mark.parametrize("one", [lambda each: each, np.int64, np.array, str], ids=["int", "NumPy", "0-d", "text"])
def test_one_id_will_do_wherever_ids_are_taken(one: Callable[[Any], Any], small: Path) -> None:
    ask = Recommender.open(small)
    user, item = int(ask.users[1]), int(ask.items[3])

    def same(of_one: Any, of_several: Any, name: str) -> None:
        assert np.asarray(of_one[name]).tolist() == of_several[name].to_list()

    same(ask.recommend(one(user), 3), ask.recommend([user], 3), "item")
    same(ask.predict(one(user), one(item)), ask.predict([user], [item]), "predicted")
    same(ask.predict(one(user), one(item), on_unknown="mean"), ask.predict([user], [item]), "predicted")
    same(ask.recommend(user, 3, candidates=one(item)), ask.recommend([user], 3, candidates=[item]), "item")
    same(ask.recommend(user, 3, exclude=one(item)), ask.recommend([user], 3, exclude=[item]), "item")
    same(ask.similar_users(one(user), 3), ask.similar_users([user], 3), "user")
    same(ask.similar_items(one(item), 3), ask.similar_items([item], 3), "item")
    assert ask.known_users(one(user)).to_list() == [user]
    assert ask.fold_in(one(item), 4).rated.toarray().tolist() == ask.fold_in([item], [4]).rated.toarray().tolist()
    assert ask.likes(one(item)).rated.nnz == 1


def test_items_that_nothing_is_near_are_named_where_several_are_asked_about(tmp_path: Path) -> None:
    ask = Recommender.open(run(tmp_path, synthetic_ratings(60, 40), item_neighbors={"min_ratings": 12}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = [item for item in ask.items if ask.similar_items(item).is_empty()]
        near = [item for item in ask.items if item not in alone]
        assert set(ask.similar_items(near)["of"]) == set(near)
    assert len(alone) > 3
    with pytest.warns(UserWarning, match=rf"^no item is near {alone[0]}: too few ratings in common$") as told:
        assert set(ask.similar_items([alone[0], near[0]])["of"]) == {near[0]}
    assert told[0].filename == __file__
    with pytest.warns(
        UserWarning, match=f"^no item is near {', '.join(map(str, alone[:3]))} and {len(alone) - 3} more:"
    ):
        assert ask.similar_items(alone).is_empty()
