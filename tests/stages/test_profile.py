"""Ids counted by many tasks, in parts and in ranges: what one task finds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chunked.errors import DamagedError, EngineError
from engine.chunked.journal import Committed
from engine.model import counting
from engine.model import ingest as model
from engine.model.ingest import first_users, most_of_users, range_bounds
from engine.ratings import pieces
from engine.stages.ingest import distinct, profile
from engine.stages.ingest.profile import Profiling, Range
from tests.support.pipeline import run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

quick = settings(max_examples=100)
counts = st.lists(st.integers(1, 9), min_size=1, max_size=40).map(lambda each: np.array(each, dtype=np.uint32))


@quick
@given(counts, st.integers(1, 20), st.integers(1, 12))
def test_ratings_of_users_are_added_up_piece_by_piece(of_users: Any, size: int, at_once: int) -> None:
    wide = of_users.astype(np.int64)
    starts = np.cumsum(wide) - wide
    sums = np.concatenate([[0], np.cumsum(wide)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "SUMMED_USERS", at_once)
        firsts, most = first_users(of_users, size), most_of_users(of_users)
    assert firsts.tolist() == np.unique(starts // size, return_index=True)[1].tolist()
    widths = [2**k for k in range(10) if 2**k < len(wide)]
    assert most == [int((sums[n:] - sums[:-n]).max()) for n in widths] + [int(sums[-1])]


@quick
@given(st.lists(st.integers(-(2**63), 2**63 - 1), unique=True), st.integers(1, 9))
def test_ranges_have_about_as_many_ids(ids: list[int], n: int) -> None:
    bounds = range_bounds(np.array(ids, dtype=np.int64), n)
    assert len(bounds) == n - 1
    sizes = np.diff([0, *np.searchsorted(np.sort(ids), bounds), len(ids)])
    assert not ids or sizes.max() - sizes.min() <= 1


def test_a_range_is_read_from_its_files_only(tmp_path: Path) -> None:
    keys = [1, 2**63, 2**64 - 1]
    pl.DataFrame({"user": pl.Series(keys, dtype=pl.UInt64)}).write_parquet(tmp_path / "keys.parquet")
    low, high = np.uint64(2**63), np.uint64(2**64 - 1)
    for bounds, expected in (((None, low), keys[:1]), ((low, high), keys[1:2]), ((high, None), keys[2:])):
        (found,) = Range("user", 0, bounds[0], bounds[1], [tmp_path / "keys.parquet"]).rows("user")
        assert found["user"].to_list() == expected


def shared_out(monkeypatch: pytest.MonkeyPatch, ids: int, rows: int) -> list[Range]:
    """Let a task count so many rows, or put together so many ids; return the ranges that are made so, as they are."""
    made: list[Range] = []
    merge, order = Profiling._merge, Profiling._order

    def watch(do: Any) -> Any:
        def watched(self: Any, index: int, context: Any) -> Any:
            made.append(context.shared[index])
            return do(self, index, context)

        return watched

    monkeypatch.setattr(Profiling, "_merge", watch(merge))
    monkeypatch.setattr(Profiling, "_order", watch(order))
    monkeypatch.setattr(distinct, "SURVEY_BITS", 0)
    monkeypatch.setattr(distinct, "_SAMPLED", 1)
    monkeypatch.setattr(distinct, "HELD_IDS", 5)
    for module in (counting, profile):
        monkeypatch.setattr(module, "RANGE_IDS", ids)
    monkeypatch.setattr(profile, "RANGE_SAMPLE", 2)
    monkeypatch.setattr(profile, "_GROUP", 3)
    monkeypatch.setattr(counting, "COUNT_GROUPS", 1)
    monkeypatch.setattr(counting, "INGEST_ROW_GROUP", rows)
    monkeypatch.setattr(counting, "INGEST_ROW_GROUP_BYTES", 10 * rows)
    return made


def left(run: dict[str, Committed]) -> dict[str, str]:
    root = run["ingest"].path(".")
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*.*")
        if path.is_file() and path.parent.name != "records"
    } | {"profile": str(run["ingest"].result("profile.00000"))}


def rated(kind: str) -> pl.DataFrame:
    """Ratings in no order, by users with ids of a kind."""
    ratings = synthetic_ratings(70, 40, seed=2).sample(fraction=1, shuffle=True, seed=3)
    if kind == "texts":
        return ratings.with_columns(
            userId=pl.format("u{}", pl.col("userId") * 7 % 71), movieId=pl.format("é{}", "movieId")
        )
    if kind == "texts of items":
        return ratings.with_columns(movieId=pl.format("{}", pl.col("movieId") % 3) + pl.col("movieId").cast(pl.String))
    return ratings.with_columns(
        userId=(pl.col("userId") - 30) * 2**57, movieId=pl.col("movieId").rank("dense").cast(pl.Int64) - 20
    )


@pytest.mark.parametrize("kind", ["numbers", "texts", "texts of items"])
@pytest.mark.parametrize(
    ("ids", "rows", "workers"), [(4, 60, 2), (7, 10**6, 1), (30, 100, 2), (60, 10**6, 2), (10**6, 50, 1)]
)
def test_many_tasks_find_what_one_finds(
    kind: str, ids: int, rows: int, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_ratings(tmp_path, rated(kind))
    options: dict[str, Any] = {"ingest": {"ratings_per_partition": 50}}
    expected = left(run_stages(path, tmp_path / "one", "ingest", **options))
    made = shared_out(monkeypatch, ids, rows)
    monkeypatch.setattr(pieces, "INGEST_PIECE_BYTES", 3001)
    monkeypatch.setattr(pieces, "INGEST_BLOCK_BYTES", 1000)
    assert left(run_stages(path, tmp_path / "many", "ingest", workers=workers, **options)) == expected
    users, items = rated(kind)["userId"].n_unique(), rated(kind)["movieId"].n_unique()
    of_users, of_items = (-(-n // ids) for n in (users, items))
    again = {"numbers": 0, "texts": of_users * (of_users > 1) + of_items * (of_items > 1)}
    assert len(made) == of_users + of_items + again.get(kind, of_items * (of_items > 1))


@pytest.mark.parametrize("parts", [1, 2])
def test_ratings_that_are_few_are_counted_by_one_task(
    parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shared_out(monkeypatch, 70, -(-rated("numbers").height // parts))
    run_stages(write_ratings(tmp_path, rated("numbers")), tmp_path / "run", "ingest")
    assert not made


def test_two_texts_with_one_key_are_refused_in_whatever_parts_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared_out(monkeypatch, 4, 50)
    hashed, (one, other) = pl.Expr.hash, pl.Series(["u3", "u50"]).hash()

    def colliding(column: pl.Expr, *seed: int) -> pl.Expr:
        return hashed(column, *seed) if seed else hashed(column).replace(one, other)

    monkeypatch.setattr(pl.Expr, "hash", colliding)
    with pytest.raises(EngineError, match="same 64-bit hash"):
        run_stages(write_ratings(tmp_path, rated("texts").sort("userId")), tmp_path / "run", "ingest")


def test_ids_that_were_counted_twice_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a run goes on with another version of the program, which cuts the rows otherwise."""
    shared_out(monkeypatch, 4, 50)
    count = Profiling._count
    monkeypatch.setattr(
        Profiling, "_count", lambda self, n, index, context: count(self, n if index else n - 1, index, context)
    )
    with pytest.raises(DamagedError, match="begin afresh"):
        run_stages(write_ratings(tmp_path, rated("numbers")), tmp_path / "run", "ingest")


def test_what_was_counted_before_a_run_ended_is_not_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_ratings(tmp_path, rated("texts"))
    expected = left(run_stages(path, tmp_path / "one", "ingest"))
    made = shared_out(monkeypatch, 7, 100)
    with monkeypatch.context() as patch:
        patch.setattr(Profiling, "_join", lambda self, index, context: (_ for _ in ()).throw(OSError("no space")))
        with pytest.raises(OSError, match="no space"):
            run_stages(path, tmp_path / "run", "ingest")
    done = len(made)
    assert left(run_stages(path, tmp_path / "run", "ingest")) == expected
    assert len(made) == done > 10
