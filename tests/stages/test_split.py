"""The holdout: the rows the notebook's own function picks."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.chunked.journal import Committed
from engine.model import split as holdout
from engine.model.split import draw_fold, draw_held_out, held_out_of_each, share
from tests.support.notebook import split_low_memory
from tests.support.pipeline import read_partitions, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

pd = pytest.importorskip("pandas", reason="the notebook splits with pandas")

counts_of_users = st.lists(st.integers(1, 40), min_size=1, max_size=12)
seeds = st.integers(0, 2**32 - 1)
# Of which no product with a number of ratings rounds to a whole number in floats without being one.
fractions = st.integers(1, 127).map(lambda n: n / 128)


def draw(counts: list[int], seed: int, test_fraction: float = 0.2, min_ratings: int = 5) -> list[bool]:
    rng = np.random.default_rng(seed)
    mask = draw_held_out(rng, np.array(counts, dtype=np.int64), test_fraction, min_ratings)
    return [bool(held) for held in mask]


@settings(max_examples=40)
@given(counts=counts_of_users, seed=seeds, test_fraction=fractions, min_ratings=st.integers(2, 10))
def test_the_rows_drawn_are_those_the_notebook_draws(
    counts: list[int], seed: int, test_fraction: float, min_ratings: int
) -> None:
    users = np.repeat(np.arange(len(counts)) * 5 + 3, counts)
    _, test = split_low_memory(pd.DataFrame({"userId": users}), test_fraction, min_ratings, seed)
    assert np.flatnonzero(draw(counts, seed, test_fraction, min_ratings)).tolist() == test.index.tolist()


def choices(rng: np.random.Generator, counts: list[int], test_fraction: float) -> list[int]:
    rows: list[int] = []
    start = 0
    for n in counts:
        size = max(1, int(n * test_fraction))
        rows += (start + rng.choice(n, size, replace=False)).tolist() if n > 1 else []
        start += n
    return sorted(rows)


some_with_many_ratings = st.lists(st.integers(1, 3000) | st.integers(9_990, 10_020), min_size=1, max_size=6)


@pytest.mark.parametrize("known", [True, False])
def test_users_with_many_ratings_are_drawn_as_numpy_does(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert holdout._numpy_is_known()
    monkeypatch.setattr(holdout, "_numpy_is_known", lambda: known)

    @settings(max_examples=60)
    @given(counts=some_with_many_ratings, seed=seeds, test_fraction=fractions)
    def check(counts: list[int], seed: int, test_fraction: float) -> None:
        mine, numpys = np.random.default_rng(seed), np.random.default_rng(seed)
        mask = draw_held_out(mine, np.array(counts), test_fraction, 2)
        assert np.flatnonzero(mask).tolist() == choices(numpys, counts, test_fraction)
        assert mine.bit_generator.state == numpys.bit_generator.state

    check()


def test_another_numpy_is_seen_to_draw_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    real = holdout._draw_one_by_one

    def later(rng: np.random.Generator, counts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        rng.random()
        return real(rng, counts, sizes)

    check = holdout._numpy_is_known.__wrapped__
    assert check()
    monkeypatch.setattr(holdout, "_draw_one_by_one", later)
    assert not check()


@given(counts=counts_of_users, seed=seeds, data=st.data())
def test_drawing_part_by_part_draws_the_same(counts: list[int], seed: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(counts)))
    rng = np.random.default_rng(seed)
    parts = [np.array(part, dtype=np.int64) for part in (counts[:cut], counts[cut:])]
    assert np.concatenate([draw_held_out(rng, part, 0.2, 5) for part in parts]).tolist() == draw(counts, seed)


@given(counts=counts_of_users, seed=seeds, test_fraction=st.floats(0.01, 0.99), min_ratings=st.integers(2, 10))
def test_every_user_keeps_a_rating_and_gives_a_fifth_or_one_or_none(
    counts: list[int], seed: int, test_fraction: float, min_ratings: int
) -> None:
    mask = np.array(draw(counts, seed, test_fraction, min_ratings))
    for n, held in zip(counts, np.split(mask, np.cumsum(counts)[:-1]), strict=True):
        assert held.sum() == (max(1, int(n * Decimal(repr(test_fraction)))) if n >= min_ratings else 0)
        assert held.sum() < n


def test_a_share_is_that_of_the_decimal_and_a_fifth_is_the_notebooks() -> None:
    counts = np.arange(1, 200_000)
    assert held_out_of_each(np.array([100]), 0.29, 2).tolist() == [29]
    for percent in range(1, 100):
        assert share(counts, percent / 100).tolist() == (counts * percent // 100).tolist()
    assert share(counts, 0.2).tolist() == (counts * 0.2).astype(np.int64).tolist()
    assert share(np.array([10**12, 3]), 0.1234567890123456).tolist() == [123456789012, 0]
    assert share(np.array([3]), 1e-5).tolist() == [0]


def compare_with_notebook(path: Path, run: dict[str, Committed], **options: Any) -> None:
    """Exactly the notebook's rows, in each partition sorted by user and film."""
    for ours, theirs in zip(("train", "test"), split_low_memory(pd.read_csv(path), **options), strict=True):
        expected = pl.DataFrame({name: theirs[name].to_numpy() for name in ("userId", "movieId", "rating")})
        found = read_partitions(run, "split", ours)
        assert found.equals(expected.sort("userId", "movieId"))
        assert sum(part[f"n_{ours}"] for part in run["split"].results("split")) == len(theirs)


@pytest.mark.parametrize("size", [1, 60, 10**6])
def test_the_stage_splits_as_the_notebook_whatever_the_partitions(tmp_path: Path, size: int) -> None:
    path = write_ratings(tmp_path, synthetic_ratings(30, 40, seed=size))
    run = run_stages(path, tmp_path / "run", "split", ingest={"ratings_per_partition": size})
    compare_with_notebook(path, run)


def test_the_stage_splits_an_unsorted_file_as_the_notebook(tmp_path: Path) -> None:
    shuffled = synthetic_ratings(30, 40).sample(fraction=1, shuffle=True, seed=1)
    path = write_ratings(tmp_path, shuffled)
    run = run_stages(path, tmp_path / "run", "split", ingest={"ratings_per_partition": 100})
    compare_with_notebook(path, run)


def test_fraction_seed_and_minimum_are_the_notebooks_parameters(tmp_path: Path) -> None:
    path = write_ratings(tmp_path, synthetic_ratings(30, 40))
    section = {"test_fraction": 0.4, "seed": 7, "min_ratings": 9}
    compare_with_notebook(
        path, run_stages(path, tmp_path / "run", "split", split=section), test_ratio=0.4, seed=7, min_items=9
    )


def test_the_sample_splits_as_the_notebook(sample_dir: Path, sample_run: dict[str, Committed]) -> None:
    compare_with_notebook(sample_dir / "ratings.csv", sample_run)
    parts = sample_run["split"].results("split")
    assert (sum(p["n_train"] for p in parts), sum(p["n_test"] for p in parts)) == (80251, 19753)


@settings(max_examples=40)
@given(counts=counts_of_users, seed=seeds, folds=st.integers(2, 7), min_ratings=st.integers(2, 10))
def test_each_rating_is_in_one_fold_and_a_users_folds_are_as_large(
    counts: list[int], seed: int, folds: int, min_ratings: int
) -> None:
    rngs = [np.random.default_rng(seed) for _ in range(folds)]
    n = np.array(counts, dtype=np.int64)
    masks = [draw_fold(rng, n, fold, folds, min_ratings) for fold, rng in enumerate(rngs)]
    users = np.repeat(np.arange(len(counts)), counts)
    np.testing.assert_array_equal(np.sum(masks, axis=0), (n >= min_ratings)[users])
    sizes = np.array([np.bincount(users[mask], minlength=len(counts)) for mask in masks])
    assert (sizes.max(axis=0) - sizes.min(axis=0)).max() <= 1
    assert len({str(rng.bit_generator.state) for rng in rngs}) == 1  # whoever comes next draws the same in each fold


def test_folds_of_a_run_cover_its_ratings(tmp_path: Path) -> None:
    path = write_ratings(tmp_path, synthetic_ratings(40, 30))
    tests = []
    for fold in range(3):
        run = run_stages(
            path, tmp_path / "run", "split", ingest={"ratings_per_partition": 100}, split={"folds": 3, "fold": fold}
        )
        parts = [read_partitions(run, "split", kind) for kind in ("train", "test")]
        assert sum(part.height for part in parts) == pl.read_csv(path).height
        tests.append(parts[1])
    every = pl.concat(tests).select("userId", "movieId")
    assert not every.is_duplicated().any()
    n = pl.col("userId").count().over("userId")
    assert every.sort("userId", "movieId").equals(
        pl.read_csv(path).filter(n >= 5).select("userId", "movieId").sort("userId", "movieId")
    )
