"""Why an item is recommended: what loops over the parts of its score say added most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.serving.answers import describe_items, describe_near, items_as_mappings
from engine.serving.recommender import Recommender
from tests.support.loops import Loops
from tests.support.pipeline import SMALL, finish_run
from tests.support.ratings import synthetic_ratings, write_ratings

WEIGHTS = ("products", "votes", "together", "popularity")
BLENDS: dict[str, tuple[float, ...]] = {
    "votes": (0, 1, 0, 0),
    "together": (0, 0.5, 1, 0),
    "popularity": (0, 1, 0, 1),
    "all": (1, 1, 1, 1),
}
CLOSE = 1e-3
"""Contributions that are nearer to each other may come in either order: single precision."""


def weighed(blend: tuple[float, ...], **more: Any) -> dict[str, Any]:
    """Settings of a small model with given weights."""
    weights = {f"{part}_weight": weight for part, weight in zip(WEIGHTS, blend, strict=True)}
    sections = {"factors": SMALL, "neighbors": {"k": 7}, "item_neighbors": {"k": 5}, "calibrate": {"method": "fixed"}}
    return {"preset": "default", **sections, "evaluate": {"k": 6, **weights}, **more}


@pytest.fixture(scope="module", params=list(BLENDS))
def blended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reasons")
    return finish_run(
        write_ratings(folder, synthetic_ratings(90, 60)), folder / "run", **weighed(BLENDS[request.param])
    )


def largest(added: dict[int, float]) -> tuple[float, set[int]]:
    """Sum of what items add, and those of them that add most."""
    most = max(added.values(), default=0)
    return sum(added.values()), {item for item, each in added.items() if most > 0 and each > most * (1 - CLOSE)}


def true_reasons(loops: Loops, user: int, item: int, contributions: dict[str, dict[int, float]]) -> dict[str, set[int]]:
    """What may be said of an item: reasons, and items of the user's own that go with them; nearly equal ones all."""
    most = max(part[item] for part in contributions.values())
    found: dict[str, set[int]] = {}
    for name, part in contributions.items():
        if part[item] < most - CLOSE:
            continue
        if name in ("products", "popularity"):
            found["vectors" if name == "products" else name] = set()
        elif name == "together":
            liked = largest(loops.taken_together(user, item))[1]
            found["item" if liked else "popularity"] = liked
        else:
            likeness, liked = largest(loops.likeness(user, item))
            of_neighbors = loops.of_neighbors(user, item)
            if of_neighbors > likeness - CLOSE * likeness and of_neighbors:
                found["neighbors"] = set()
            if likeness > of_neighbors - CLOSE * likeness and liked:
                found.setdefault("item", set()).update(liked)
            if not liked and not of_neighbors:
                found["popularity"] = set()
    return found


def test_the_reason_is_what_loops_say_added_most(blended: Path) -> None:
    loops, recommender = Loops(blended), Recommender.open(blended)
    found, told = recommender.recommend(recommender.users, 6), set()
    for user, row in enumerate(loops.train):
        free = [item for item in range(len(row)) if not row[item] + loops.test[user, item]]
        contributions = loops.contributions(user, free)
        for answer in found.filter(pl.col("user") == recommender.users[user]).iter_rows(named=True):
            item = recommender.items.index_of(answer["item"])
            assert item is not None
            true = true_reasons(loops, user, item, contributions)
            assert answer["reason"] in true
            assert answer["n_ratings"] == (loops.train[:, item] > 0).sum()
            told.add(answer["reason"])
            if answer["reason"] == "item":
                own = recommender.items.index_of(answer["reason_item"])
                assert own in true["item"]
                assert answer["reason_rating"] == row[own] > 0
            else:
                assert answer["reason_item"] is answer["reason_title"] is answer["reason_rating"] is None
    assert (
        told
        >= {
            "votes": {"neighbors", "item"},
            "together": {"neighbors", "item"},
            "popularity": {"popularity"},
            "all": {"neighbors", "item", "vectors", "popularity"},
        }[next(name for name, blend in BLENDS.items() if blend == tuple(vars(loops.weights).values()))]
    )


def test_lists_that_are_filled_up_and_those_of_strangers_say_that_items_are_popular(tmp_path: Path) -> None:
    lonely = pl.DataFrame({"userId": [1, 1, 2, 2], "movieId": [1, 2, 1, 3], "rating": [5.0, 1.0, 5.0, 5.0]})
    more = synthetic_ratings(90, 300)
    ratings = pl.concat([lonely.cast(more.select(lonely.columns).schema), more.select(lonely.columns)])
    where = finish_run(write_ratings(tmp_path, ratings), tmp_path / "run", **weighed((1, 1, 0, 0)))
    recommender = Recommender.open(where)
    users = [recommender.users[0], 123456]
    found = recommender.recommend(users, 290, on_unknown="popular")
    filled = found.filter("popular")
    assert set(filled["user"]) == set(users)
    assert set(filled["reason"]) == {"popularity"}
    shown = describe_items(found, users, len(recommender.users), predicts_ratings=True)
    first = filled.row(0, named=True)
    assert f"  popular: {first['n_ratings']} of {len(recommender.users)} users rated it" in shown


def test_a_newcomer_is_told_which_of_their_own_items_it_was(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("movieId,title\n" + "".join(f"{i},Title {i}\n" for i in range(500)))
    path = write_ratings(tmp_path, synthetic_ratings(90, 60))
    recommender = Recommender.open(finish_run(path, tmp_path / "run", **weighed((0, 0, 1, 0))))
    items = recommender.items[:5].to_list()
    rated = recommender.recommend(recommender.fold_in(items, [5, 4.5, 4, 5, 5]), 8)
    gave = dict(zip(items, [5, 4.5, 4, 5, 5], strict=True))
    named = rated.filter(reason="item")
    assert named.height
    for answer in named.iter_rows(named=True):
        assert gave[answer["reason_item"]] == answer["reason_rating"]
        assert answer["reason_title"] == f"Title {answer['reason_item']}"
    answer = named.row(0, named=True)
    shown = describe_items(rated, [None], 90, predicts_ratings=True)
    assert f"  goes with {answer['reason_title']}, which you gave {answer['reason_rating']:g}\n" in shown
    liked = recommender.recommend(recommender.likes(items), 8)
    assert liked.filter(reason="item").height
    shown = describe_items(liked, [None], 90, predicts_ratings=True)
    assert "  goes with Title " in shown
    assert "gave" not in shown
    (listed,) = items_as_mappings(liked, [None])
    assert {each["reason_rating"] for each in listed["items"]} == {None}


def test_the_notebooks_model_has_neighbours_alone(notebook_run: Path) -> None:
    found = Recommender.open(notebook_run).recommend([1, 2])
    assert set(found.filter(~pl.col("popular"))["reason"]) == {"neighbors"}


def test_what_goes_with_an_item_in_a_list_need_not_be_near_it(tmp_path: Path) -> None:
    """Near items have ratings enough for it; those that the same users took need fewer, and are not called like it."""
    path = write_ratings(tmp_path, synthetic_ratings(90, 60))
    settings = weighed((0, 0, 1, 0)) | {"item_neighbors": {"min_ratings": 10_000}}
    recommender = Recommender.open(finish_run(path, tmp_path / "run", **settings))
    listed = recommender.recommend(recommender.users, 5)
    row = listed.filter(reason="item").row(0, named=True)
    user, own = row["user"], row["reason_item"]
    shown = describe_items(listed.filter(user=user), [user], 90, predicts_ratings=True)
    assert f"      goes with {own}, which you gave {row['reason_rating']:g}" in shown
    told = describe_near(str(own), recommender.similar_items(own))
    assert "no item near: too few ratings in common; a list needs fewer" in told
    assert max(map(len, told.splitlines())) <= 80
