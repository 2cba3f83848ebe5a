"""Train and test as matrices: what SciPy builds from the notebook's own frames."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse

from engine.chunked.csr import CsrReader
from engine.chunked.journal import Committed
from engine.costs import ratings as costs
from tests.support.notebook import build_train_test, split_low_memory
from tests.support.pipeline import read_matrix, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

pd = pytest.importorskip("pandas", reason="the notebook splits with pandas")


def notebook(path: Path) -> tuple[scipy.sparse.csr_matrix, list[tuple[int, int, float]]]:
    return build_train_test(*split_low_memory(pd.read_csv(path)))


def tuples_of(run: dict[str, Committed]) -> list[tuple[int, int, float]]:
    coo = read_matrix(run, "test").tocoo()
    return list(zip(coo.row.tolist(), coo.col.tolist(), coo.data.tolist(), strict=True))


def compare(path: Path, run: dict[str, Committed]) -> None:
    train, tuples = notebook(path)
    found = read_matrix(run)
    assert found.shape == train.shape
    np.testing.assert_array_equal(found.indptr, train.indptr)
    np.testing.assert_array_equal(found.indices, train.indices)
    np.testing.assert_array_equal(found.data, train.data.astype(np.float32))
    assert tuples_of(run) == sorted((user, film, float(np.float32(rating))) for user, film, rating in tuples)
    assert read_matrix(run, "test").shape == train.shape


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("half_stars", [True, False])
def test_train_and_test_are_the_notebooks(tmp_path: Path, seed: int, half_stars: bool) -> None:
    path = write_ratings(tmp_path, synthetic_ratings(25, 40, seed=seed, half_stars=half_stars))
    run = run_stages(path, tmp_path / "run", "matrix", ingest={"ratings_per_partition": 70})
    compare(path, run)
    items = pl.read_parquet(run["matrix"].path("columns.parquet"))["item"].to_list()
    assert items == sorted(split_low_memory(pd.read_csv(path))[0]["movieId"].unique())


def test_films_only_in_test_are_left_out(tmp_path: Path) -> None:
    path = write_ratings(tmp_path, synthetic_ratings(6, 200, seed=3))
    run = run_stages(path, tmp_path / "run", "matrix")
    held_out = sum(part["n_test"] for part in run["split"].results("split"))
    n_items = run["ingest"].result("profile.00000")["n_items"]
    # The data are such that there is something to leave out.
    assert 0 < read_matrix(run, "test").nnz < held_out
    assert read_matrix(run).shape[1] < n_items
    compare(path, run)


def test_the_samples_matrices_are_the_notebooks(sample_dir: Path, sample_run: dict[str, Committed]) -> None:
    compare(sample_dir / "ratings.csv", sample_run)
    assert read_matrix(sample_run).shape == (671, 8445)
    assert read_matrix(sample_run, "test").nnz == 19075


@pytest.mark.parametrize(("chunk", "partition"), [(1, 10**6), (7, 10**6), (64, 30), (10**6, 1)])
def test_chunks_and_partitions_do_not_change_the_content(tmp_path: Path, chunk: int, partition: int) -> None:
    path = write_ratings(tmp_path, synthetic_ratings(8, 20))
    sections: dict[str, Any] = {
        "matrix": {"ratings_per_chunk": chunk},
        "ingest": {"ratings_per_partition": partition},
    }
    compare(path, run_stages(path, tmp_path / "run", "matrix", **sections))


def test_a_film_rated_zero_is_a_film_rated(tmp_path: Path) -> None:
    ratings = pl.DataFrame({"userId": [1, 1, 2], "movieId": [5, 6, 6], "rating": [0.0, 2.5, 0.0]})
    train = read_matrix(run_stages(write_ratings(tmp_path, ratings), tmp_path / "run", "matrix"))
    assert (train.indices.tolist(), train.data.tolist()) == ([0, 1, 1], [0.0, 2.5, 0.0])


def test_half_stars_of_few_films_take_two_bytes_each(tmp_path: Path) -> None:
    run = run_stages(write_ratings(tmp_path, synthetic_ratings(8, 20)), tmp_path / "run", "matrix")
    rows = CsrReader(run["matrix"].root, "train").read(0, 8)
    assert rows.data.itemsize + rows.indices.itemsize == 2


def test_without_test_ratings_the_test_matrix_is_empty(tmp_path: Path) -> None:
    ratings = pl.DataFrame({"userId": [1, 1, 2], "movieId": [5, 6, 6], "rating": [1.0, 2.5, 3.0]})
    run = run_stages(write_ratings(tmp_path, ratings), tmp_path / "run", "matrix")
    assert (read_matrix(run).nnz, read_matrix(run, "test").nnz) == (3, 0)
    assert read_matrix(run, "test").shape == (2, 2)


@pytest.mark.parametrize("partition", [1, 40, 200])
@pytest.mark.parametrize("workers", [1, 2])
def test_ratings_counted_by_many_tasks_are_laid_out_as_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partition: int, workers: int
) -> None:
    """Most items of test are in the train of another partition, if of any."""
    path = write_ratings(tmp_path, synthetic_ratings(40, 300, seed=4))
    options: dict[str, Any] = {"ingest": {"ratings_per_partition": partition}, "workers": workers}
    left = []
    for name, few in (("one", 10**6), ("many", 1)):
        monkeypatch.setattr(costs, "FEW_PARTITIONS", few)
        stage = run_stages(path, tmp_path / name, "matrix", **options)["matrix"]
        files = [file for file in stage.path(".").rglob("*") if file.is_file() and file.parent.name != "records"]
        digests = {file.relative_to(stage.path(".")): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        left.append((digests, stage.result("layout.00000")))
    assert left[0] == left[1]
    compare(path, {"matrix": stage})
