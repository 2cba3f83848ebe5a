"""From a ratings file to partitions: every rating in one of them, once, exactly."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.artifacts.records import partition_counts
from engine.chunked.errors import EngineError, UsageError
from engine.chunked.journal import Committed
from engine.chunked.pipeline import Pipeline
from engine.model.ingest import first_users, latest_by_user, summed_by_pair
from engine.ratings import pieces
from engine.stages.ingest.stage import codes
from tests.support.pipeline import read_partitions, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

quick = settings(max_examples=100)


@quick
@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=40), size=st.integers(1, 100))
def test_users_whose_first_ratings_fall_into_the_same_stretch_share_a_partition(counts: list[int], size: int) -> None:
    expected, seen, stretch = [], 0, -1
    for user, n in enumerate(counts):
        if seen // size != stretch:
            expected.append(user)
            stretch = seen // size
        seen += n
    found = first_users(np.array(counts, dtype=np.int64), size).tolist()
    assert found == expected
    sizes = [sum(counts[start:stop]) for start, stop in zip(found, [*found[1:], None], strict=True)]
    assert max(sizes) < size + max(counts)


@quick
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40))
def test_of_a_repeated_pair_the_last_row_stays_and_users_keep_their_order(pairs: list[tuple[int, int]]) -> None:
    latest = {pair: row for row, pair in enumerate(pairs)}
    expected = sorted(latest.values(), key=lambda row: (pairs[row][0], row))
    users, items = (np.array([pair[i] for pair in pairs], dtype=np.uint32) for i in (0, 1))
    assert latest_by_user(users, items).tolist() == expected


def test_codes_beyond_16_bits_are_not_mixed_up() -> None:
    users = np.array([2**31, 1, 2**31, 1], dtype=np.uint32)
    items = np.array([5, 2**32 - 1, 6, 2**32 - 1], dtype=np.uint32)
    assert latest_by_user(users, items).tolist() == [3, 0, 2]


def ingest(ratings: pl.DataFrame, folder: Path, **section: Any) -> dict[str, Committed]:
    return run_stages(write_ratings(folder, ratings), folder / "run", "ingest", ingest=section)


def partition_bytes(run: dict[str, Committed]) -> list[str]:
    root = run["ingest"].path(".")
    files = sorted(path for path in root.rglob("*.parquet") if path.parent.name != "source")
    return [f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]


@pytest.mark.parametrize(("size", "fewest", "most"), [(1, 30, 30), (37, 2, 29), (100, 2, 29), (10**6, 1, 1)])
def test_partitions_hold_every_rating_once_whatever_their_size(
    tmp_path: Path, size: int, fewest: int, most: int
) -> None:
    ratings = synthetic_ratings(30, 20)
    run = ingest(ratings, tmp_path, ratings_per_partition=size)
    assert read_partitions(run, "ingest", "ratings").equals(ratings)
    starts = run["ingest"].result("profile.00000")["first_users"]
    assert starts[0] == 0
    parts = sorted(run["ingest"].path("ratings").iterdir())
    assert fewest <= len(parts) == len(starts) <= most
    for index, part in enumerate(parts):
        users = pl.read_parquet(part)["user"]
        assert users[0] == starts[index]
        assert users[-1] < [*starts, 30][index + 1]


def test_an_unsorted_file_gives_what_the_file_sorted_by_user_gives(tmp_path: Path) -> None:
    shuffled = synthetic_ratings(30, 20).sample(fraction=1, shuffle=True, seed=3)
    by_user = shuffled.sort("userId", maintain_order=True)
    unsorted, ordered = (
        ingest(frame, tmp_path / name, ratings_per_partition=50) for name, frame in (("a", shuffled), ("b", by_user))
    )
    assert partition_bytes(unsorted) == partition_bytes(ordered)
    profiles = [run["ingest"].result("profile.00000") for run in (unsorted, ordered)]
    assert [profile.pop("sorted_by_user") for profile in profiles] == [False, True]
    assert profiles[0] == profiles[1]


@pytest.mark.parametrize(
    ("users", "is_sorted"),
    [([1, 1, 2, 3], True), ([2, 1], False), ([1, 2, 1], False), ([5, 5, 9], True), ([1, 1, 2, 3, 3, 2], False)],
)
def test_a_file_is_called_sorted_only_if_its_users_ascend(tmp_path: Path, users: list[int], is_sorted: bool) -> None:
    ratings = pl.DataFrame({"userId": users, "movieId": range(len(users)), "rating": 3.0})
    assert ingest(ratings, tmp_path)["ingest"].result("profile.00000")["sorted_by_user"] is is_sorted


@pytest.mark.parametrize("size", [2, 10**6])
def test_a_pair_rated_twice_counts_with_its_later_rating(tmp_path: Path, size: int) -> None:
    ratings = pl.DataFrame(
        {
            "userId": [7, 7, 4, 7, 4, 7],
            "movieId": [1, 2, 1, 1, 9, 1],
            "rating": [0.5, 1.0, 1.5, 5.0, 2.0, 4.5],
        }
    )
    run = ingest(ratings, tmp_path, ratings_per_partition=size)
    found = read_partitions(run, "ingest", "ratings")
    assert found.rows() == [(4, 1, 1.5), (4, 9, 2.0), (7, 2, 1.0), (7, 1, 4.5)]
    assert sum(part["n_repeated"] for part in run["ingest"].results("partition")) == 2


@pytest.mark.parametrize("size", [2, 10**6])
def test_counts_of_a_repeated_pair_add_up(tmp_path: Path, size: int) -> None:
    clicks = pl.DataFrame({"user": [7, 7, 4, 7, 4, 7], "item": [1, 2, 1, 1, 9, 1]})
    plays = clicks.with_columns(plays=pl.Series([1, 200, 3, 4, 5, 6]))
    for name, frame, values, sums in (("a", clicks, "pairs", (1, 1, 1, 3)), ("b", plays, "counts", (3, 5, 200, 11))):
        run = ingest(frame, tmp_path / name, ratings_per_partition=size)
        assert read_partitions(run, "ingest", "ratings").rows() == list(
            zip((4, 4, 7, 7), (1, 9, 2, 1), sums, strict=True)
        )
        assert run["ingest"].result("profile.00000")["values"] == values


def test_rows_with_a_count_of_0_are_left_out(tmp_path: Path) -> None:
    counted = pl.DataFrame(
        [(1, 5, 0), (1, 6, 2), (2, 5, 0), (2, 7, 0), (3, 5, 1), (1, 5, 0), (3, 5, 0), (3, 8, 0), (1, 8, 1), (1, 8, 2)],
        ["user", "item", "plays"],
        orient="row",
    )
    counted.write_csv(tmp_path / "counts.csv")
    run = run_stages(tmp_path / "counts.csv", tmp_path / "run", "matrix", ingest={"ratings_per_partition": 1})
    found = read_partitions(run, "ingest", "ratings")
    assert found.sort("userId", "movieId").rows() == [(1, 6, 2.0), (1, 8, 3.0), (3, 5, 1.0)]
    counts = partition_counts(run["ingest"])
    assert len(counts) == 3
    assert [sum(getattr(each, name) for each in counts) for name in ("n_ratings", "n_repeated", "n_not_taken")] == [
        3,
        1,
        6,
    ]
    counted.with_columns(plays=0).write_csv(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="all counts are 0"):
        run_stages(tmp_path / "none.csv", tmp_path / "none", "ingest")


@quick
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=40))
def test_sums_are_those_of_a_loop(rated: list[tuple[int, int, int]]) -> None:
    expected: dict[tuple[int, int], int] = {}
    for user, item, value in rated:
        expected[user, item] = expected.get((user, item), 0) + value
    users, items, values = (np.array([row[i] for row in rated]) for i in range(3))
    users, items = users.astype(np.uint32), items.astype(np.uint32)
    rows = latest_by_user(users, items)
    sums = summed_by_pair(users, items, values.astype(np.float64), rows)
    assert {rated[row][:2]: total for row, total in zip(rows, sums, strict=True)} == expected


@pytest.mark.parametrize("texts", [False, True], ids=["numbers", "texts"])
def test_many_files_give_what_one_gives(tmp_path: Path, texts: bool) -> None:
    """In the order of their names; of a repeated pair the row of the last file counts."""
    ratings = synthetic_ratings(30, 20).sample(fraction=1, shuffle=True, seed=3)
    again = ratings.head(50).with_columns(rating=5.5 - pl.col("rating"))
    whole = pl.concat([ratings, again]).with_columns(timestamp=pl.int_range(pl.len()))
    if texts:
        whole = whole.with_columns(userId=pl.format("u{}", "userId"), movieId=pl.format("é{}", "movieId"))
    folder = tmp_path / "parts"
    folder.mkdir()
    n = whole.height // 4
    whole.slice(0, n).write_csv(folder / "0.csv")
    whole.slice(n, n).write_parquet(folder / "1.parquet")
    (folder / "2.tsv.gz").write_bytes(gzip.compress(whole.slice(2 * n, n).write_csv(separator="\t").encode()))
    (folder / "3.csv").write_bytes(whole.slice(3 * n).write_csv(separator=";").encode("utf-16"))
    options: dict[str, Any] = {"ingest": {"ratings_per_partition": 50, "times": True}}
    parts = run_stages(folder, tmp_path / "a", "ingest", **options)
    one = run_stages(write_ratings(tmp_path, whole), tmp_path / "b", "ingest", **options)
    assert partition_bytes(parts) == partition_bytes(one)
    assert parts["ingest"].result("profile.00000") == one["ingest"].result("profile.00000")


def in_pieces(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Cut text files into pieces of so many bytes, and these into blocks."""
    monkeypatch.setattr(pieces, "INGEST_PIECE_BYTES", size)
    monkeypatch.setattr(pieces, "INGEST_BLOCK_BYTES", max(40, size // 3))


@pytest.mark.parametrize("ending", ["", "\n", "\r\n\r\n"])
@pytest.mark.parametrize("texts", [False, True], ids=["numbers", "texts"])
@pytest.mark.parametrize("shuffled", [False, True], ids=["ordered", "shuffled"])
def test_a_file_in_pieces_gives_what_it_gives_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: bool, shuffled: bool, ending: str
) -> None:
    ratings = synthetic_ratings(20, 20).with_columns(timestamp=pl.int_range(pl.len()) * 7 % 1000)
    if shuffled:
        ratings = ratings.sample(fraction=1, shuffle=True, seed=3)
    if texts:
        ids = pl.format("u{}", pl.col("userId") + 100), pl.format("\u00e9{}", "movieId")
        ratings = ratings.with_columns(userId=ids[0], movieId=ids[1])
    converted: list[int] = []

    def watch(pipeline: Pipeline) -> Pipeline:
        converted.append(len(pipeline.details["conversions"]))
        return pipeline

    path = tmp_path / "ratings.csv"
    text = ratings.write_csv(line_terminator="\r\n" if "\r" in ending else "\n").rstrip() + ending
    path.write_bytes(text.encode())
    options: dict[str, Any] = {"ingest": {"ratings_per_partition": 50, "times": True}, "prepare": watch}
    whole = run_stages(path, tmp_path / "whole", "ingest", **options)
    known = whole["ingest"].result("survey.00000")
    assert known["sorted_by_user"] is not shuffled
    for size in (60, 500, 3001):
        in_pieces(monkeypatch, size)
        cut = run_stages(path, tmp_path / f"{size}", "ingest", **options)
        assert partition_bytes(cut) == partition_bytes(whole)
        assert cut["ingest"].result("profile.00000") == whole["ingest"].result("profile.00000")
        assert cut["ingest"].result("survey.00000") == known
        assert converted.pop() == -(-path.stat().st_size // size)


def test_a_file_with_quotes_is_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_pieces(monkeypatch, 30)
    titles = ['"one\ntwo, 5,5,0.5\n"', "three"]
    path = tmp_path / "ratings.csv"
    path.write_text("user,item,rating,title\n" + "".join(f"{k},{k},3.0,{titles[k % 2]}\n" for k in range(20)))
    run = run_stages(path, tmp_path / "run", "ingest")
    assert read_partitions(run, "ingest", "ratings").rows() == [(k, k, 3.0) for k in range(20)]


def test_each_partition_is_read_from_the_pieces_that_have_its_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_pieces(monkeypatch, 100)
    read: list[int] = []
    scan_parquet = pl.scan_parquet

    def watched(source: Any, **options: Any) -> pl.LazyFrame:
        read.append(len(source) if isinstance(source, list) else 0)
        return scan_parquet(source, **options)

    monkeypatch.setattr(pl, "scan_parquet", watched)
    run = ingest(synthetic_ratings(30, 20), tmp_path, ratings_per_partition=50)
    n_pieces = (tmp_path / "ratings.csv").stat().st_size // 100
    n_partitions = len(run["ingest"].result("profile.00000")["first_users"])
    assert n_pieces > 10
    assert len([n for n in read if n]) == n_partitions
    assert max(read) < n_pieces
    assert sum(read) < n_pieces + 3 * n_partitions


@pytest.mark.parametrize("line", ["5,5,five", "5,5", "5,5,1.0,9,9", "5,5,nan", ",5,3.0", "007,5,3.0"])
@pytest.mark.parametrize("at", [40, 300, -1])
def test_a_fault_in_any_piece_is_named_by_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, at: int
) -> None:
    monkeypatch.setattr("engine.ratings.text_head.HEAD_ROWS", 20)
    in_pieces(monkeypatch, 400)
    path = write_ratings(tmp_path, synthetic_ratings(40, 40))
    lines = path.read_text().splitlines()
    at = at % len(lines)
    lines[at:at] = [line]
    lines.append("8,8,eight")  # a later piece's
    path.write_text("\n".join(lines))
    with pytest.raises(UsageError, match=rf"ratings\.csv, line {at + 1}\b"):
        run_stages(path, tmp_path / "run", "ingest")


def test_a_fault_in_one_of_many_files_is_named(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_ratings(tmp_path / "parts", synthetic_ratings(100, 60)).rename(tmp_path / f"parts/{name}.csv")
    with (tmp_path / "parts/b.csv").open("a") as file:
        file.write("5,5,five\n")
    with pytest.raises(UsageError, match=r"parts/b\.csv, line \d+, column rating"):
        run_stages(tmp_path / "parts", tmp_path / "run", "ingest")


def test_text_ids_are_coded_in_their_order(tmp_path: Path) -> None:
    ratings = pl.DataFrame(
        {"userId": ["b", "a", "10", "9"], "movieId": ["x", "é", "x", "Z"], "rating": [1.0, 2.0, 3.0, 4.0]}
    )
    run = ingest(ratings, tmp_path, ratings_per_partition=1)
    assert pl.read_parquet(run["ingest"].path("users.parquet"))["user"].to_list() == ["10", "9", "a", "b"]
    assert pl.read_parquet(run["ingest"].path("items.parquet"))["item"].to_list() == ["Z", "x", "é"]
    assert sorted(read_partitions(run, "ingest", "ratings").rows()) == sorted(ratings.rows())


def test_negative_and_large_ids_are_coded_in_their_order(tmp_path: Path) -> None:
    ratings = pl.DataFrame({"userId": [2**62, -3, 0], "movieId": [5, -(2**62), 2**40], "rating": [1.0, 2.0, 3.0]})
    assert read_partitions(ingest(ratings, tmp_path), "ingest", "ratings").rows() == [
        (-3, -(2**62), 2.0),
        (0, 2**40, 3.0),
        (2**62, 5, 1.0),
    ]


@pytest.mark.parametrize(
    ("ratings", "dtype", "step"),
    [
        ([0.5, 3.0, 5.0], "uint8", 0.5),
        ([0.0, 127.5], "uint8", 0.5),
        ([1.0, 100.0], "uint8", 0.5),
        ([128.0, 0.5], "float32", 1.0),
        ([-0.5, 3.0], "float32", 1.0),
        ([0.25, 3.0], "float32", 1.0),
        ([3.1, 3.0], "float64", 1.0),
        ([16777217.0, 1.0], "float64", 1.0),
    ],
)
def test_ratings_are_kept_exactly_in_the_narrowest_type(
    tmp_path: Path, ratings: list[float], dtype: str, step: float
) -> None:
    users = range(len(ratings))
    run = ingest(pl.DataFrame({"userId": users, "movieId": users, "rating": ratings}), tmp_path)
    profile = run["ingest"].result("profile.00000")
    assert (profile["rating_dtype"], profile["rating_step"]) == (dtype, step)
    assert (profile["rating_min"], profile["rating_max"]) == (min(ratings), max(ratings))
    stored = pl.read_parquet(run["ingest"].path("ratings/00000.parquet"))["rating"].to_numpy()
    assert stored.dtype == dtype
    assert (stored * step).tolist() == ratings


def test_the_profile_counts_what_is_in_the_file(tmp_path: Path) -> None:
    ratings = synthetic_ratings(30, 20, seed=5)
    profile = ingest(ratings, tmp_path)["ingest"].result("profile.00000")
    counts = ratings["userId"].value_counts()["count"]
    assert profile["n_rows"] == ratings.height
    assert (profile["n_users"], profile["n_items"]) == (30, ratings["movieId"].n_unique())
    assert profile["most_ratings_of_a_user"] == counts.max()


def test_a_bad_line_far_down_is_named(tmp_path: Path) -> None:
    path = write_ratings(tmp_path, synthetic_ratings(100, 60))
    with path.open("a") as file:
        file.write("5,5,five\n")
    n_lines = len(path.read_text().splitlines())
    assert n_lines > 1001  # beyond what is looked at when the file is opened
    with pytest.raises(UsageError, match=f"line {n_lines}, column rating"):
        run_stages(path, tmp_path / "run", "ingest")


def test_the_converted_source_does_not_stay(tmp_path: Path) -> None:
    run = ingest(synthetic_ratings(5, 6), tmp_path)
    assert not run["ingest"].path("source/00000.parquet").exists()


@pytest.mark.parametrize("known", [[3, 4, 9], [-5, 0, 2**40], ["a", "b", "d"]], ids=["dense", "sparse", "text"])
def test_ids_are_coded_by_their_position_and_unknown_ones_are_refused(known: list[Any]) -> None:
    ids = pl.Series(known)
    assert codes(ids.gather([2, 0, 0, 1]), ids).tolist() == [2, 0, 0, 1]
    for unknown in (5, 100) if isinstance(known[0], int) else ("c", "e"):
        with pytest.raises(EngineError, match="changed while it was read"):
            codes(pl.Series([known[0], unknown]), ids)


def test_text_ids_in_parquet_that_take_less_than_a_byte_a_row_are_read(tmp_path: Path) -> None:
    users = [f"user-{row // 1000:02d}" for row in range(20_000)]
    columns = {"user": users, "item": [7] * 20_000, "rating": [3.0] * 20_000}
    pl.DataFrame(columns).write_parquet(tmp_path / "ratings.parquet", use_pyarrow=True)  # dictionaries throughout
    run = run_stages(tmp_path / "ratings.parquet", tmp_path / "run", "ingest")
    assert read_partitions(run, "ingest", "ratings")["userId"].to_list() == sorted(set(users))


def test_zeros_after_the_end_of_gzip_are_told(tmp_path: Path) -> None:
    (tmp_path / "r.csv.gz").write_bytes(gzip.compress(b"user,item,rating\n1,2,3\n1,3,4\n2,2,5\n") + bytes(512))
    with pytest.raises(UsageError, match="zeros after its end, unpack it with gzip -d"):
        run_stages(tmp_path / "r.csv.gz", tmp_path / "run", "ingest")
