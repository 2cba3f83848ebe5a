"""A test part that was made elsewhere: what it says is held out, and what does not fit is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine import config
from engine.artifacts.tables import item_ids, measured_users, user_ids
from engine.chunked.errors import UsageError
from engine.results import figures, summary
from engine.results.report.reproduce import command
from engine.serving.finished import open_finished
from tests.support.pipeline import SMALL, finish_run, read_matrix, read_partitions, run_stages
from tests.support.ratings import synthetic_ratings

SECTIONS: dict[str, Any] = {
    "preset": "default",
    "factors": SMALL,
    "neighbors": {"k": 7},
    "item_neighbors": {"k": 5, "ranking_k": 3},
    "evaluate": {"k": 8},
    "ingest": {"ratings_per_partition": 300},
}
RATINGS = synthetic_ratings(90, 60)
NEW_USERS, NEW_ITEM = (9001, 9002), 9999


def parts(folder: Path, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Train, and a test part that has pairs of train, users and an item of its own; rows in no order."""
    held_out = pl.Series(np.random.default_rng(seed).random(RATINGS.height) < 0.3)
    train, test = RATINGS.filter(~held_out), RATINGS.filter(held_out)
    popular = train["movieId"].value_counts(sort=True)["movieId"][:3].to_list()
    others = [
        train.head(7).with_columns(rating=pl.lit(1.5)),
        pl.DataFrame({"userId": [NEW_USERS[0]] * 3, "movieId": popular, "rating": [5.0] * 3}),
        pl.DataFrame({"userId": [NEW_USERS[1]], "movieId": [popular[0]], "rating": [1.0]}),
        pl.DataFrame({"userId": [2], "movieId": [NEW_ITEM], "rating": [5.0]}),
    ]
    test = pl.concat([test, *others], how="vertical_relaxed").sample(fraction=1, shuffle=True, seed=1)
    folder.mkdir(parents=True, exist_ok=True)
    train.write_csv(folder / "train.csv")
    test.write_csv(folder / "test.csv")
    return train, test


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame, pl.DataFrame]:
    folder = tmp_path_factory.mktemp("given")
    train, test = parts(folder)
    where = finish_run(folder / "train.csv", folder / "run", test=str(folder / "test.csv"), **SECTIONS)
    return where, train, test


def metrics_of(where: Path) -> dict[str, Any]:
    run = open_finished(where)
    return figures.collect(run.settings, run.source, {name: stage.root for name, stage in run.stages.items()})


def test_train_and_test_are_the_parts(given: tuple[Path, pl.DataFrame, pl.DataFrame]) -> None:
    where, train, test = given
    run = open_finished(where)
    assert run.settings.split.method == "given"
    by = ["userId", "movieId"]
    assert read_partitions(run.stages, "split", "train").sort(by).equals(train.sort(by))
    new = test.join(train, on=by, how="anti").sort(by)
    assert read_partitions(run.stages, "split", "test").sort(by).equals(new)
    matrix = read_matrix(run.stages, "test")
    known = new.filter(pl.col("movieId") != NEW_ITEM)
    assert matrix.nnz == known.height
    users, items = user_ids(run.stages["ingest"]), item_ids(run.stages["matrix"])
    assert set(NEW_USERS) < set(users)
    assert NEW_ITEM not in items


def test_what_does_not_fit_is_told(given: tuple[Path, pl.DataFrame, pl.DataFrame]) -> None:
    where, train, test = given
    metrics = metrics_of(where)
    assert (metrics["n_train"], metrics["n_test"]) == (train.height, test.height - 7)
    assert (metrics["n_test_in_train"], metrics["n_unknown_users"]) == (7, 2)
    assert metrics["n_test_scored"] == metrics["n_test"] - 1
    told = summary.describe(metrics)
    assert "7 pairs of the test part left out: they are in train" in told
    assert "2 users of the test part without train ratings: they get the most popular items" in told
    assert "1 test ratings of items that are not in train: not measured" in told


def test_users_without_train_ratings_are_measured_by_what_is_popular(
    given: tuple[Path, pl.DataFrame, pl.DataFrame],
) -> None:
    where, *_ = given
    users = pl.read_parquet(measured_users(open_finished(where).stages["evaluate"]))
    new = users.filter(pl.col("user") == NEW_USERS[0])
    assert new.select("n_test", "n_liked", "n_recommended").row(0) == (3, 3, 8)
    assert new["recall_at_8"].item() == new["popular_recall_at_8"].item() == 1.0
    assert users.filter(pl.col("user") == NEW_USERS[1])["n_recommended"].item() == 8


def test_one_partition_or_many_text_ids_and_the_order_of_rows_make_no_difference(
    given: tuple[Path, pl.DataFrame, pl.DataFrame], tmp_path: Path
) -> None:
    where, train, test = given
    expected = read_matrix(open_finished(where).stages, "test")
    text = pl.format("u{}", pl.col("userId").cast(pl.String).str.zfill(5)).alias("userId")
    train.with_columns(text).write_csv(tmp_path / "train.csv")
    test.sort("movieId").with_columns(text).write_parquet(tmp_path / "test.parquet")
    sections = SECTIONS | {"ingest": {}}
    run = run_stages(
        tmp_path / "train.csv", tmp_path / "run", "matrix", test=str(tmp_path / "test.parquet"), **sections
    )
    found = read_matrix(run, "test")
    np.testing.assert_array_equal(found.toarray(), expected.toarray())


def test_counts_add_up_in_each_part(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item,count\n" + "1,1,2\n1,1,3\n1,2,1\n2,1,1\n2,3,1\n")
    (tmp_path / "b.csv").write_text("user,item,count\n" + "1,1,9\n1,3,2\n1,3,2\n")
    run = run_stages(tmp_path / "a.csv", tmp_path / "run", "matrix", test=str(tmp_path / "b.csv"), preset="default")
    assert read_matrix(run).toarray().tolist() == [[5, 1, 0], [1, 0, 1]]
    assert read_matrix(run, "test").toarray().tolist() == [[0, 0, 4], [0, 0, 0]]
    (counts,) = run["ingest"].results("partition")
    assert counts == {"n_ratings": 5, "n_repeated": 2, "n_in_train": 1, "n_not_taken": 0}


def test_parts_of_two_kinds_and_other_methods_are_refused(tmp_path: Path) -> None:
    parts(tmp_path)
    RATINGS.select("userId", "movieId").write_csv(tmp_path / "pairs.csv")
    with pytest.raises(UsageError, match="give files of one kind"):
        run_stages(tmp_path / "train.csv", tmp_path / "run", "ingest", test=str(tmp_path / "pairs.csv"))
    with pytest.raises(UsageError, match=r"split.method=leave-last and test=a: method given goes with a test part"):
        config.load({"test": "a", "split": {"method": "leave-last"}})
    with pytest.raises(UsageError, match=r"split.method=given and test=None"):
        config.load({"split": {"method": "given"}})
    assert "--test a" in command(config.load({"test": "a", "dataset": "b"}), "b", 2**30)
