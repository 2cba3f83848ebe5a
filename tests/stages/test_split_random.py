"""The random split that depends on nothing but the seed and the ids of a pair."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chunked.journal import Committed
from engine.model.split import greatest_of_each, numbers_of_text, turns
from tests.support.pipeline import read_partitions, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

pytestmark = pytest.mark.usefixtures("here")

PAIR = ("userId", "movieId")
WORDS = 2**64
numbers = st.integers(0, WORDS - 1)


def mixed(number: int) -> int:
    """SplitMix64 in whole numbers: its step, then its finaliser."""
    number = (number + 0x9E3779B97F4A7C15) % WORDS
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % WORDS
    number = (number ^ number >> 27) * 0x94D049BB133111EB % WORDS
    return number ^ number >> 31


def turn(seed: int, user: Any, item: Any) -> int:
    """When a pair's turn is."""
    found = mixed(seed)
    for each in (user, item):
        found = mixed((found + (number_of(each) if isinstance(each, str) else each)) % WORDS)
    return found


def number_of(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def held_out(ratings: pl.DataFrame, seed: int, fraction: float = 0.2, least: int = 5) -> set[tuple[Any, Any]]:
    """Pairs in test, user by user."""
    found = set()
    for (user,), own in ratings.group_by("userId"):
        items = sorted(own["movieId"].to_list(), key=lambda item: turn(seed, user, item))
        n = max(1, int(len(items) * fraction)) if len(items) >= least else 0
        found |= {(user, item) for item in items[len(items) - n :]}
    return found


def split(ratings: pl.DataFrame, folder: Path, *, size: int = 200, **section: Any) -> dict[str, Committed]:
    path = write_ratings(folder, ratings)
    sections: dict[str, Any] = {"ingest": {"ratings_per_partition": size}, "split": {"method": "random"} | section}
    return run_stages(path, folder / "run", "split", **sections)


def in_test(run: dict[str, Committed]) -> set[tuple[Any, Any]]:
    return set(read_partitions(run, "split", "test").select(*PAIR).rows())


@given(seed=numbers, pairs=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_turns_are_those_of_whole_numbers(seed: int, pairs: list[tuple[int, int]]) -> None:
    users, items = (np.array(column, dtype=np.uint64) for column in zip(*pairs, strict=True))
    assert turns(seed, users, items).tolist() == [turn(seed, *pair) for pair in pairs]


def test_numbers_of_texts_are_the_same_everywhere() -> None:
    texts = ["", "a", "\u00e9"]
    assert numbers_of_text(texts).tolist() == [number_of(text) for text in texts]


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), numbers | st.integers(0, 30)), min_size=1, max_size=40, unique=True),
    data=st.data(),
)
def test_the_greatest_of_each_are_those_of_a_sort(rows: list[tuple[int, int]], data: st.DataObject) -> None:
    numbered = {user: code for code, user in enumerate(sorted({user for user, _ in rows}))}
    rows = sorted(((numbered[user], number) for user, number in rows), key=lambda row: row[0])
    users, drawn = np.array([user for user, _ in rows]), np.array([number for _, number in rows], dtype=np.uint64)
    sizes = np.array([data.draw(st.integers(0, n)) for n in np.bincount(users).tolist()])
    mask = greatest_of_each(users, drawn, sizes)
    for user, size in enumerate(sizes.tolist()):
        mine = sorted(number for own, number in rows if own == user)
        assert {number for (own, number), taken in zip(rows, mask, strict=True) if taken and own == user} == set(
            mine[len(mine) - size :]
        )


@pytest.mark.parametrize("size", [1, 200, 10**6])
@pytest.mark.parametrize("seed", [42, 7])
def test_what_is_held_out_follows_from_seed_and_ids(tmp_path: Path, size: int, seed: int) -> None:
    ratings = synthetic_ratings(40, 40, seed=3).with_columns(userId=pl.col("userId") * 1000 - 500)
    run = split(ratings, tmp_path, size=size, seed=seed)
    assert in_test(run) == held_out(ratings, seed)
    train = set(read_partitions(run, "split", "train").select(*PAIR).rows())
    assert train == set(ratings.select(*PAIR).rows()) - in_test(run)


def test_ids_that_are_text_decide_it_too(tmp_path: Path) -> None:
    ratings = synthetic_ratings(30, 30, seed=4).with_columns(
        userId=pl.format("user {}", "userId"), movieId=pl.format("item {}", "movieId")
    )
    assert in_test(split(ratings, tmp_path)) == held_out(ratings, 42)


def test_neither_order_nor_other_users_and_items_matter(tmp_path: Path) -> None:
    ratings = synthetic_ratings(40, 40, seed=5)
    shuffled = ratings.sample(fraction=1, shuffle=True, seed=1)
    some = ratings.filter(pl.col("userId") % 3 != 0)
    whole = in_test(split(ratings, tmp_path / "whole"))
    assert in_test(split(shuffled, tmp_path / "shuffled")) == whole
    assert in_test(split(some, tmp_path / "some")) == {pair for pair in whole if pair[0] % 3 != 0}


def test_each_rating_is_held_out_as_often_as_any() -> None:
    # 2 of 10 for each of 4 000 seeds: the standard deviation of a share of them is .0063.
    items = np.arange(10, dtype=np.uint64)
    held = np.zeros(10)
    for seed in range(4000):
        held[np.argsort(turns(seed, np.zeros(10, dtype=np.uint64), items))[-2:]] += 1
    assert np.abs(held / 4000 - 0.2).max() < 4 * 0.0063
