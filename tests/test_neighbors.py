"""Nearest users against comparing everybody with everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from engine.chunked import arrays
from engine.chunked.journal import Committed
from tests.conftest import SMALL, run_stages, synthetic_ratings, write_ratings

Found = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]


def neighbors(ratings: pl.DataFrame, folder: Path, shard_users: int = 40960, **section: Any) -> Found:
    """Vectors, neighbours and similarities of a run."""
    path = write_ratings(folder, ratings)
    sections: dict[str, Any] = {"factors": SMALL, "index": {"shard_users": shard_users}, "neighbors": section}
    return results(run_stages(path, folder / "run", "neighbors", **sections))


def results(run: dict[str, Committed]) -> Found:
    vectors, ids, similarities = (
        arrays.read_rows(arrays.open_array(run[step].root, name), 0, 10**6)
        for step, name in (("factors", "vectors"), ("neighbors", "ids"), ("neighbors", "similarities"))
    )
    return vectors, ids, similarities


def check(found: Found, k: int) -> None:
    """Whoever is listed is among the nearest, with the right cosine; equally near users may stand for each other."""
    vectors, ids, similarities = found
    n = len(vectors)
    wide = vectors.astype(np.float64)
    cosines = wide @ wide.T
    assert ids.shape == similarities.shape == (n, k)
    assert [ids.dtype, similarities.dtype] == ["int32", "float32"]
    there = min(k, n - 1)
    for user in range(n):
        listed = ids[user, :there]
        assert user not in listed
        assert len(set(listed.tolist())) == there
        assert ((listed >= 0) & (listed < n)).all()
        np.testing.assert_allclose(similarities[user, :there], cosines[user, listed], atol=1e-6)
        assert (np.diff(similarities[user, :there]) <= 0).all()
        best = np.sort(np.delete(cosines[user], user))[::-1][:there]
        np.testing.assert_allclose(similarities[user, :there], best, atol=1e-6)
        assert (ids[user, there:] == -1).all()
        assert np.isnan(similarities[user, there:]).all()


def test_neighbours_are_those_of_brute_force(tmp_path: Path) -> None:
    vectors, ids, _ = found = neighbors(synthetic_ratings(80, 40), tmp_path, k=10, ef=100)
    check(found, 10)
    # These ratings have no ties, so the lists are settled one by one.
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(cosines, -np.inf)
    np.testing.assert_array_equal(ids, np.argsort(-cosines, axis=1)[:, :10])


@pytest.mark.parametrize("shard_users", [7, 13, 79, 80])
def test_shards_merged_are_one_index(tmp_path: Path, shard_users: int) -> None:
    ratings = synthetic_ratings(80, 40)
    # Shards share ef out among them: this much lets every search see its whole shard.
    one = neighbors(ratings, tmp_path / "one", k=10, ef=1000)
    several = neighbors(ratings, tmp_path / "several", shard_users, k=10, ef=1000, users_per_chunk=33)
    np.testing.assert_array_equal(several[1], one[1])
    np.testing.assert_array_equal(several[2], one[2])


@pytest.mark.parametrize("shard_users", [3, 100])
@pytest.mark.parametrize("n_users", [2, 5, 8])
def test_fewer_users_than_k_leave_places_empty(tmp_path: Path, n_users: int, shard_users: int) -> None:
    check(neighbors(synthetic_ratings(n_users, 12), tmp_path, shard_users, k=10), 10)


def test_a_single_user_has_no_neighbours(tmp_path: Path) -> None:
    _, ids, similarities = neighbors(synthetic_ratings(1, 12), tmp_path, k=3)
    assert ids.tolist() == [[-1, -1, -1]]
    assert np.isnan(similarities).all()


@pytest.mark.parametrize("shard_users", [8, 100])
def test_users_who_rated_alike_are_each_others_nearest_and_never_their_own(tmp_path: Path, shard_users: int) -> None:
    """Four ratings each, so that none is held out and equal users stay equal."""
    tastes = [[1, 2, 3, 4], [1, 5, 6, 7], [2, 5, 8, 9]]
    rows = [(user, film, 1.0 + film % 4) for user in range(30) for film in tastes[user % 3]]
    ratings = pl.DataFrame(rows, schema=["userId", "movieId", "rating"], orient="row")
    _, ids, similarities = found = neighbors(ratings, tmp_path, shard_users, k=9, ef=100)
    check(found, 9)
    for user in range(30):
        assert sorted(ids[user].tolist()) == [other for other in range(30) if other % 3 == user % 3 and other != user]
    np.testing.assert_allclose(similarities, 1, atol=1e-6)


def test_many_more_equal_users_than_k_are_still_found(tmp_path: Path) -> None:
    rows = [(user, film, 4.0) for user in range(300) for film in (1, 2)]
    ratings = pl.DataFrame(rows, schema=["userId", "movieId", "rating"], orient="row")
    check(neighbors(ratings, tmp_path, k=5, ef=10), 5)


def test_a_user_without_a_direction_is_everybodys_equal(tmp_path: Path) -> None:
    zeros = pl.DataFrame({"userId": [999, 999], "movieId": [1, 8], "rating": [0.0, 0.0]})
    found = neighbors(synthetic_ratings(20, 12).vstack(zeros), tmp_path, k=4, ef=100)
    check(found, 4)
    assert (found[2][20] == 0).all()


def test_where_the_graph_gives_no_answer_everybody_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Unreachable(hnswlib.Index):  # type: ignore[misc]
        def knn_query(self, *args: Any, **options: Any) -> Any:
            asked.append(options["k"])
            raise RuntimeError("Cannot return the results in a contiguous 2D array. Probably ef or M is too small")

    ratings = synthetic_ratings(40, 30)
    graph = neighbors(ratings, tmp_path / "graph", 15, k=6, ef=100)
    monkeypatch.setattr(hnswlib, "Index", Unreachable)
    exact = neighbors(ratings, tmp_path / "exact", 15, k=6, ef=100)
    assert asked == [7, 7, 7]
    check(exact, 6)
    np.testing.assert_array_equal(exact[1], graph[1])


@pytest.mark.parametrize("shard_users", [40960, 200])
def test_nearly_all_of_the_samples_neighbours_are_the_nearest(
    sample_dir: Path, sample_run: dict[str, Committed], tmp_path: Path, shard_users: int
) -> None:
    vectors, ids, _ = results(sample_run)
    if shard_users < len(vectors):
        sections: dict[str, Any] = {"index": {"shard_users": shard_users}}
        workdir = sample_run["factors"].root.parent.parent
        ids = results(run_stages(sample_dir / "ratings.csv", workdir, "neighbors", **sections))[1]
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    exact = np.argsort(-cosines, axis=1)[:, :50]
    shared = [len(np.intersect1d(found, best)) for found, best in zip(ids, exact, strict=True)]
    assert np.mean(shared) / 50 > 0.99
