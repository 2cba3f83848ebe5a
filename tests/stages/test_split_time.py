"""Splits by time, against Polars with everything in memory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.chunked.errors import UsageError
from engine.chunked.journal import Committed
from engine.chunked.pipeline import Pipeline
from engine.config import load
from engine.model.split import held_out_of_each, last_of_each, smallest
from engine.pipeline import steps
from tests.support.pipeline import read_matrix, read_partitions, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

pytestmark = pytest.mark.usefixtures("here")

PAIR = ("userId", "movieId")
int64s = st.integers(-(2**63), 2**63 - 1)


@given(values=st.lists(int64s | st.integers(-3, 3), min_size=1, max_size=60), data=st.data())
def test_the_value_of_a_rank_is_that_of_the_sorted_values(values: list[int], data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, len(values) - 1))
    low = data.draw(st.integers(-(2**63), min(values)))
    high = data.draw(st.integers(max(values), 2**63 - 1))
    cut = data.draw(st.integers(0, len(values)))
    pieces = [np.array(part, dtype=np.int64) for part in (values[:cut], values[cut:])]
    assert smallest(lambda: iter(pieces), rank, low, high) == sorted(values)[rank]


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=40),
    size=st.integers(0, 3),
)
def test_the_last_of_each_user_are_those_of_a_sort(rows: list[tuple[int, int, int]], size: int) -> None:
    rows = list({row[:2]: row for row in rows}.values())
    numbered = {user: code for code, user in enumerate(sorted({row[0] for row in rows}))}
    rows = [(numbered[user], item, time) for user, item, time in rows]
    users, items, times = (np.array(column) for column in zip(*rows, strict=True))
    counts = np.bincount(users)
    mask = last_of_each(users, items, times.astype(np.int64), np.minimum(counts, size))
    for user in numbered.values():
        mine = sorted((time, item) for u, item, time in rows if u == user)
        held = {(time, item) for (u, item, time), held in zip(rows, mask, strict=True) if u == user and held}
        assert held == set(mine[len(mine) - min(size, len(mine)) :])


def timed_ratings(n_users: int = 40, *, seed: int = 0, seconds: int = 50) -> pl.DataFrame:
    """Ratings made within so few seconds that many share one."""
    ratings = synthetic_ratings(n_users, 40, seed=seed)
    begin = np.random.default_rng(seed).integers(0, seconds, n_users).repeat(2)
    return ratings.with_columns(
        timestamp=pl.Series(begin[ratings["userId"].to_numpy() // 3])
        + pl.Series(np.random.default_rng(seed + 1).integers(0, seconds, ratings.height))
    )


def leave_last(ratings: pl.DataFrame, n: int | None, min_ratings: int = 5, fraction: float = 0.2) -> pl.DataFrame:
    """The ratings held out."""
    count = pl.len().over("userId")
    size = pl.max_horizontal(1, (count * fraction).floor()) if n is None else pl.lit(n)
    taken = pl.when((count >= min_ratings) & (size < count)).then(size).otherwise(0)
    ordered = ratings.sort("userId", "timestamp", "movieId", descending=[False, True, True])
    return ordered.filter(pl.int_range(pl.len()).over("userId") < taken)


def global_time(ratings: pl.DataFrame, fraction: float = 0.2) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Train and test."""
    times = ratings["timestamp"].sort(descending=True)
    n_test = max(1, int(len(times) * fraction))
    train = ratings.filter(pl.col("timestamp") <= times[n_test])
    later = ratings.filter(pl.col("timestamp") > times[n_test])
    return train, later.filter(pl.col("userId").is_in(train["userId"].unique().implode()))


def pairs(ratings: pl.DataFrame) -> list[tuple[Any, ...]]:
    return ratings.select(*PAIR, "rating").sort(PAIR).rows()


def split(ratings: pl.DataFrame, folder: Path, method: str, *, size: int = 200, **section: Any) -> dict[str, Committed]:
    path = write_ratings(folder, ratings)
    section |= {"method": method}
    return run_stages(path, folder / "run", "split", ingest={"ratings_per_partition": size}, split=section)


def compare(run: dict[str, Committed], train: pl.DataFrame, test: pl.DataFrame) -> None:
    assert read_partitions(run, "split", "train").rows() == pairs(train)
    assert read_partitions(run, "split", "test").rows() == pairs(test)
    parts = run["split"].results("split")
    assert [sum(part[f"n_{kind}"] for part in parts) for kind in ("train", "test")] == [train.height, test.height]


@pytest.mark.parametrize("size", [1, 200, 10**6])
@pytest.mark.parametrize("section", [{}, {"leave_last": 3}, {"leave_last": 7, "min_ratings": 3}])
def test_each_users_last_ratings_are_held_out(tmp_path: Path, size: int, section: dict[str, int]) -> None:
    ratings = timed_ratings()
    run = split(ratings, tmp_path, "leave-last", size=size, **section)
    test = leave_last(ratings, section.get("leave_last"), section.get("min_ratings", 5))
    compare(run, ratings.join(test, on=PAIR, how="anti"), test)
    assert sum(part["n_left_out"] for part in run["split"].results("split")) == 0


def test_without_a_number_as_many_are_held_out_as_by_the_notebook(tmp_path: Path) -> None:
    ratings = timed_ratings()
    runs = [split(ratings, tmp_path / method, method) for method in ("leave-last", "notebook")]
    counts = [read_partitions(run, "split", "test").group_by("userId").len().sort("userId") for run in runs]
    assert counts[0].equals(counts[1])


@pytest.mark.parametrize("size", [1, 200, 10**6])
@pytest.mark.parametrize(("fraction", "seconds"), [(0.2, 50), (0.5, 50), (0.01, 50), (0.29, 50), (0.2, 10**9)])
def test_what_is_later_than_one_moment_is_held_out(tmp_path: Path, size: int, fraction: float, seconds: int) -> None:
    ratings = timed_ratings(seconds=seconds)
    run = split(ratings, tmp_path, "global-time", size=size, test_fraction=fraction)
    train, test = global_time(ratings, fraction)
    compare(run, train, test)
    n_left_out = sum(part["n_left_out"] for part in run["split"].results("split"))
    assert n_left_out == ratings.height - train.height - test.height
    assert test.height + n_left_out <= fraction * ratings.height


@pytest.mark.parametrize("method", ["leave-last", "global-time"])
def test_the_order_of_the_file_does_not_matter(tmp_path: Path, method: str) -> None:
    ratings = timed_ratings(seconds=9)
    shuffled = ratings.sample(fraction=1, shuffle=True, seed=2)
    runs = [split(frame, tmp_path / name, method) for name, frame in (("a", ratings), ("b", shuffled))]
    for kind in ("train", "test"):
        first, second = (read_partitions(run, "split", kind) for run in runs)
        assert first.equals(second)


@pytest.mark.parametrize("method", ["leave-last", "global-time"])
def test_ids_may_be_text(tmp_path: Path, method: str) -> None:
    ratings = timed_ratings(seconds=9).with_columns(pl.format("u{}", "userId").alias("userId"))
    ratings = ratings.with_columns(pl.format("film {}", "movieId").alias("movieId"))
    run = split(ratings, tmp_path, method)
    train, test = global_time(ratings)
    if method == "leave-last":
        test = leave_last(ratings, None)  # sorts texts, as their codes are
        train = ratings.join(test, on=PAIR, how="anti")
    compare(run, train, test)


def test_of_a_pair_rated_twice_the_later_row_and_its_time_count(tmp_path: Path) -> None:
    ratings = pl.DataFrame(
        {"userId": 1, "movieId": [1, 2, 3, 4, 5, 1], "rating": [1.0, 2, 3, 4, 5, 0.5], "timestamp": [9, 2, 3, 4, 5, 1]}
    )
    run = split(ratings, tmp_path, "leave-last")
    assert read_partitions(run, "split", "test").rows() == [(1, 5, 5.0)]


def test_parquet_dates_are_taken_in_seconds(tmp_path: Path) -> None:
    ratings = timed_ratings(seconds=10**9)
    dated = ratings.with_columns(pl.from_epoch("timestamp", time_unit="s").cast(pl.Datetime("ms")))
    dated.write_parquet(tmp_path / "ratings.parquet")
    run = run_stages(tmp_path / "ratings.parquet", tmp_path / "run", "split", split={"method": "global-time"})
    compare(run, *global_time(ratings))


def digests(run: dict[str, Committed], *steps: str) -> dict[str, str]:
    files = [(step, path) for step in steps for path in run[step].path(".").rglob("*") if path.is_file()]
    return {
        f"{step}/{path.relative_to(run[step].path('.'))}": hashlib.sha256(path.read_bytes()).hexdigest()
        for step, path in files
        if path.parent.name != "records"
    }


@pytest.mark.parametrize("method", ["leave-last", "global-time"])
def test_batches_and_workers_change_no_byte(tmp_path: Path, method: str) -> None:
    path = write_ratings(tmp_path, timed_ratings())
    sections: dict[str, Any] = {"ingest": {"ratings_per_partition": 100}, "split": {"method": method}}
    first = run_stages(path, tmp_path / "a", "matrix", workers=1, batch_rows=1, **sections)
    second = run_stages(path, tmp_path / "b", "matrix", workers=2, **sections)
    assert len((first["split"].root / "train").names()) > 2
    assert digests(first, "ingest", "split", "matrix") == digests(second, "ingest", "split", "matrix")


def test_without_times_ingest_leaves_what_it_left(tmp_path: Path) -> None:
    timed = timed_ratings()
    plain = timed.drop("timestamp")
    runs = [split(frame, tmp_path / name, "notebook") for name, frame in (("a", timed), ("b", plain))]
    assert digests(runs[0], "ingest", "split") == digests(runs[1], "ingest", "split")
    kept = run_stages(tmp_path / "a/ratings.csv", tmp_path / "c", "split", ingest={"times": True})
    frames = [read_partitions(run, "split", "test") for run in (runs[0], kept)]
    assert frames[0].equals(frames[1])


def test_another_method_keeps_what_does_not_depend_on_it() -> None:
    def prints(method: str, **ingest: bool) -> dict[str, str]:
        settings = load({"split": {"method": method}, "ingest": ingest})
        return Pipeline("p", steps(settings, ("1", "x"))).fingerprints()

    notebook, last, one_moment = (prints(method) for method in ("notebook", "leave-last", "global-time"))
    assert last["ingest"] == one_moment["ingest"] == prints("notebook", times=True)["ingest"] != notebook["ingest"]
    assert len({each["split"] for each in (notebook, last, one_moment)}) == 3


HEAD = "userId,movieId,rating,timestamp\n1,2,3.5,7\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("userId,movieId,rating\n1,2,3.5\n", "userId, movieId, rating, none of them with timestamps, which a split"),
        ("1::2::3\n", "user, item, rating, none of them with timestamps"),
        (
            HEAD + "1,3,3.5,\n",
            "line 3, column timestamp: missing timestamp; complete or delete the line, or do without",
        ),
        (HEAD.replace("7", ""), "line 2, column timestamp: missing timestamp"),
        (HEAD.replace("7", "noon"), "line 2, column timestamp: timestamp is not a whole number"),
        (HEAD + "1,3,3.5,7\n" * 1200 + "1,4,3.5,\n", "line 1203, column timestamp: missing timestamp"),
        (
            HEAD + "1,3,3.5,7\n" * 1200 + "1,4,3.5,1600000000000\n",
            "line 1203, column timestamp: timestamp is no number of seconds, as those at the top of the file",
        ),
        (
            HEAD.replace("7", "1.5e12") + "1,3,3.5,7\n" * 1200 + "1,4,3.5,-1.6e15\n",
            "line 1203, column timestamp: timestamp is no number of milliseconds, as those",
        ),
    ],
)
def test_ratings_without_a_time_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / ("r.dat" if "::" in content else "r.csv")
    path.write_text(content)
    settings = load({"dataset": str(path), "workdir": str(tmp_path / "w"), "split": {"method": "leave-last"}})
    with pytest.raises(UsageError) as caught:
        engine.run(settings)
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", [int, float])
def test_times_of_another_unit_far_below_are_named_in_parquet_where_times_are_used(tmp_path: Path, kind: Any) -> None:
    times = [kind(1_600_000_000)] * 1500 + [kind(1_600_000_000_000)]
    frame = pl.DataFrame({"user": range(1501), "item": 1, "rating": 3.5, "timestamp": times})
    frame.write_parquet(tmp_path / "r.parquet")
    with pytest.raises(UsageError, match="row 1501, column timestamp: timestamp is no number of seconds"):
        run_stages(tmp_path / "r.parquet", tmp_path / "run", "ingest", ingest={"times": True})
    assert run_stages(tmp_path / "r.parquet", tmp_path / "run", "ingest")["ingest"].results("partition")
    assert run_stages(write_ratings(tmp_path, frame), tmp_path / "text", "ingest")["ingest"].results("partition")


def test_parquet_without_times_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    columns = {"user": [1], "item": [2], "rating": [3.5]}
    settings = load({"dataset": str(path), "workdir": str(tmp_path / "w"), "split": {"method": "leave-last"}})
    for more, message in (({}, "none of them with timestamps"), ({"timestamp": ["noon"]}, "has type String where")):
        pl.DataFrame(columns | more).write_parquet(path)
        with pytest.raises(UsageError, match=message):
            engine.run(settings)


@pytest.mark.parametrize("preset", ["default", "notebook"])
@pytest.mark.parametrize("index", ["exact", "pruned", "hnsw"])
def test_users_without_earlier_ratings_are_left_out_and_disturb_nobody(tmp_path: Path, preset: str, index: str) -> None:
    ratings = timed_ratings(120)
    newcomer = pl.col("userId") % 4 == 0
    ratings = ratings.with_columns(timestamp=pl.col("timestamp") + pl.when(newcomer).then(1000).otherwise(0))
    sections: dict[str, Any] = {
        "split": {"method": "global-time", "test_fraction": 0.4},
        "index": {"method": index, "users_per_cluster": 10, "shard_users": 70},
        "neighbors": {"k": 8, "probe_users": 40, "sample_users": 60},
        "factors": {"dims": 8},
    }
    run = run_stages(write_ratings(tmp_path, ratings), tmp_path / "run", preset=preset, **sections)
    train, test = global_time(ratings, 0.4)
    cold = sorted(set(ratings["userId"]) - set(train["userId"]))
    assert cold
    assert read_matrix(run).nnz == train.height
    seen = test.filter(pl.col("movieId").is_in(train["movieId"].unique().implode()))
    assert read_matrix(run, "test").nnz == seen.height
    users = pl.read_parquet(run["evaluate"].path("users/00000.parquet"))
    assert users.filter(pl.col("user").is_in(cold))["n_test"].sum() == 0
    mean = run["evaluate"].result("mean.00000")
    assert (mean["n_test_scored"], np.isfinite(mean["rmse"]), mean["recall"] > 0) == (seen.height, True, True)
    found = run["neighbors"].results("recall")
    assert sum(part["n_found"] for part in found) >= 0.9 * sum(part["n_true"] for part in found) > 0


def test_nothing_is_held_out_where_all_was_rated_in_one_second(tmp_path: Path) -> None:
    path = write_ratings(tmp_path, timed_ratings(8).with_columns(timestamp=7))
    given = {"dataset": str(path), "workdir": str(tmp_path / "w"), "memory": "1GiB"}
    metrics = engine.run(load(given, {"split": {"method": "global-time"}})).metrics
    assert (metrics["n_test"], metrics["rmse"]) == (0, None)
    assert "later than the moment cut at" in metrics["why_no_rmse"]


def test_the_sample_splits_by_time_as_in_memory(sample_dir: Path, tmp_path: Path) -> None:
    ratings = pl.read_csv(sample_dir / "ratings.csv")
    run = run_stages(sample_dir / "ratings.csv", tmp_path, "split", split={"method": "global-time"})
    compare(run, *global_time(ratings))
    run = run_stages(sample_dir / "ratings.csv", tmp_path, "split", split={"method": "leave-last"})
    test = leave_last(ratings, None)
    compare(run, ratings.join(test, on=PAIR, how="anti"), test)
    assert test.height == held_out_of_each(ratings["userId"].value_counts()["count"].to_numpy(), 0.2, 5).sum() == 19753
