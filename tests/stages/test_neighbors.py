"""Nearest users against comparing everybody with everybody."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from engine.artifacts import readers
from engine.artifacts.readers import Index, Nearest, NearItems
from engine.artifacts.records import Means
from engine.chunked import arrays
from engine.chunked.journal import Committed
from engine.costs import users as user_costs
from engine.kernels.nearest import nearest_centres
from engine.model.index import choose
from engine.stages.index import clusters, tiles
from tests.support.pipeline import SMALL, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

Found = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]


# Every user is in the samples, so that as many clusters are looked at as it takes to find all of them.
PRUNED: dict[str, Any] = {"recall": 0.999999, "probe_users": 1000, "sample_users": 1000}
HNSW: dict[str, Any] = {"method": "hnsw"}
METHODS: dict[str, dict[str, Any]] = {
    "exact": {"method": "exact"},
    "pruned": {"method": "pruned", "users_per_cluster": 6},
    "one cluster": {"method": "pruned"},
    "one graph": HNSW,
    "several graphs": {"method": "hnsw", "shard_users": 9},
}
every_method = pytest.mark.parametrize("index", METHODS.values(), ids=METHODS.keys())


def neighbors(ratings: pl.DataFrame, folder: Path, index: dict[str, Any], **section: Any) -> Found:
    """Vectors, neighbours and similarities of a run."""
    path = write_ratings(folder, ratings)
    sections: dict[str, Any] = {"factors": SMALL, "index": index, "neighbors": PRUNED | section}
    return results(run_stages(path, folder / "run", "neighbors", **sections))


def results(run: dict[str, Committed]) -> Found:
    vectors = arrays.read_rows(arrays.open_array(run["factors"].root, "vectors"), 0, 10**6)
    return (vectors, *Nearest(run["neighbors"]).read(0, len(vectors)))


def check(found: Found, k: int, without: int | None = None) -> None:
    """Whoever is listed is among the nearest, with the right cosine; equally near users may stand for each other."""
    vectors, ids, similarities = found
    n = len(vectors)
    wide = vectors.astype(np.float64)
    cosines = wide @ wide.T
    assert ids.shape == similarities.shape == (n, k)
    assert [ids.dtype, similarities.dtype] == ["int32", "float32"]
    there = min(k, n - 1)
    for user in set(range(n)) - {without}:
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


@every_method
def test_neighbours_are_those_of_brute_force(tmp_path: Path, index: dict[str, Any]) -> None:
    ratings = synthetic_ratings(80, 40)
    check(neighbors(ratings, tmp_path, index, k=10, ef=1000, users_per_chunk=33), 10)


@pytest.mark.parametrize("shard_users", [7, 13, 79, 80])
def test_shards_merged_are_one_index(tmp_path: Path, shard_users: int) -> None:
    ratings = synthetic_ratings(80, 40)
    # Shards share ef out among them: this much lets every search see its whole shard.
    one = neighbors(ratings, tmp_path / "one", HNSW, k=10, ef=1000)
    shards = HNSW | {"shard_users": shard_users}
    several = neighbors(ratings, tmp_path / "several", shards, k=10, ef=1000, users_per_chunk=33)
    np.testing.assert_array_equal(several[1], one[1])
    np.testing.assert_array_equal(several[2], one[2])


@every_method
@pytest.mark.parametrize("n_users", [2, 5, 8])
def test_no_more_places_are_kept_than_there_are_others(tmp_path: Path, n_users: int, index: dict[str, Any]) -> None:
    check(neighbors(synthetic_ratings(n_users, 12), tmp_path, index, k=10), n_users - 1)


@every_method
def test_a_single_user_has_no_neighbours(tmp_path: Path, index: dict[str, Any]) -> None:
    _, ids, similarities = neighbors(synthetic_ratings(1, 12), tmp_path, index, k=3)
    assert ids.tolist() == [[-1]]
    assert np.isnan(similarities).all()


@every_method
def test_users_who_rated_alike_are_each_others_nearest_and_never_their_own(
    tmp_path: Path, index: dict[str, Any]
) -> None:
    """Four ratings each, so that none is held out and equal users stay equal."""
    tastes = [[1, 2, 3, 4], [1, 5, 6, 7], [2, 5, 8, 9]]
    rows = [(user, film, 1.0 + film % 4) for user in range(30) for film in tastes[user % 3]]
    ratings = pl.DataFrame(rows, schema=["userId", "movieId", "rating"], orient="row")
    _, ids, similarities = found = neighbors(ratings, tmp_path, index, k=9, ef=100)
    check(found, 9)
    for user in range(30):
        assert sorted(ids[user].tolist()) == [other for other in range(30) if other % 3 == user % 3 and other != user]
    np.testing.assert_allclose(similarities, 1, atol=1e-6)


@every_method
def test_many_more_equal_users_than_k_are_still_found(tmp_path: Path, index: dict[str, Any]) -> None:
    rows = [(user, film, 4.0) for user in range(300) for film in (1, 2)]
    ratings = pl.DataFrame(rows, schema=["userId", "movieId", "rating"], orient="row")
    check(neighbors(ratings, tmp_path, index, k=5, ef=10), 5)


@every_method
def test_a_user_without_a_direction_is_everybodys_equal(tmp_path: Path, index: dict[str, Any]) -> None:
    zeros = pl.DataFrame({"userId": [999, 999], "movieId": [1, 8], "rating": [0.0, 0.0]})
    found = neighbors(synthetic_ratings(20, 12).vstack(zeros), tmp_path, index, k=4, ef=100)
    one_cluster = index["method"] == "pruned"  # where it looks, which may hold fewer than four others
    check(found, 4, without=20 if one_cluster else None)
    assert (found[2][20][found[1][20] >= 0] == 0).all()


def test_the_tiles_hold_every_user_once_beside_the_nearest_centres(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (clusters, tiles, readers, user_costs):
        monkeypatch.setattr(module, "GROUP_USERS", 13)
    monkeypatch.setattr(tiles, "TILE_USERS", 5)
    sections: dict[str, Any] = {"factors": SMALL | {"users_per_chunk": 17}, "index": METHODS["pruned"]}
    run = run_stages(write_ratings(tmp_path, synthetic_ratings(90, 40)), tmp_path / "run", "index", **sections)
    vectors = arrays.read_rows(arrays.open_array(run["factors"].root, "vectors"), 0, 90)
    found = tiles.ClusterTiles(Index(run["index"]))
    seen = [code for tile in found for code in tile.codes.tolist()]
    assert sorted(seen) == list(range(90))
    for tile in found:
        assert len(tile.codes) <= 5
        np.testing.assert_array_equal(tile.vectors, vectors[tile.codes])
        np.testing.assert_array_equal(nearest_centres(tile.vectors, found.centres), tile.cluster)
        np.testing.assert_array_equal(found.cluster_of_users()[tile.codes], tile.cluster)
    assert len(found.centres) == 15
    some = {tile.cluster for tile in found.of(np.arange(15) % 4 == 1)}
    assert some == {cluster for cluster in range(1, 15, 4) if found.edges[cluster] < found.edges[cluster + 1]}
    for start, stop in itertools.combinations((0, 1, 12, 13, 14, 26, 27, 80, 90), 2):
        assert Index(run["index"]).codes(start, stop).tolist() == seen[start:stop]
        np.testing.assert_array_equal(Index(run["index"]).vectors(start, stop), vectors[seen[start:stop]])


def test_few_clusters_are_looked_at_and_what_is_found_is_measured(tmp_path: Path) -> None:
    """Five groups of users that have no film in common: nobody looks far."""
    frames = [
        synthetic_ratings(60, 30, seed=group).with_columns(
            userId=pl.col("userId") + 1000 * group, movieId=pl.col("movieId") + 1000 * group
        )
        for group in range(5)
    ]
    index = {"method": "pruned", "users_per_cluster": 15}
    section = {"k": 10, "recall": 0.95, "probe_users": 300, "sample_users": 200}
    path = write_ratings(tmp_path, pl.concat(frames))
    run = run_stages(path, tmp_path / "run", "neighbors", factors=SMALL, index=index, neighbors=section)
    looked = sum(part["clusters_looked_at"] for part in run["neighbors"].results("search"))
    assert 1 < looked / 300 < 10  # of 20 clusters
    vectors, _, similarities = results(run)
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(cosines, -np.inf)
    worst = np.sort(cosines, axis=1)[:, -10]
    true_recall = (similarities >= worst[:, None] - 1e-5).mean()
    measured = run["neighbors"].results("recall")
    assert sum(part["n_true"] for part in measured) == 200 * 10
    assert sum(part["n_found"] for part in measured) / 2000 == pytest.approx(true_recall, abs=0.03)
    assert 0.9 < true_recall < 1


@pytest.mark.parametrize(("n_users", "method"), [(1, "exact"), (32768, "exact"), (32769, "pruned")])
def test_auto_takes_what_the_number_of_users_asks_for(n_users: int, method: str) -> None:
    assert choose("auto", n_users)[0] == method
    assert choose("hnsw", n_users)[0] == "hnsw"


def test_where_the_graph_gives_no_answer_everybody_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Unreachable(hnswlib.Index):  # type: ignore[misc]
        def knn_query(self, *args: Any, **options: Any) -> Any:
            asked.append(options["k"])
            raise RuntimeError("Cannot return the results in a contiguous 2D array. Probably ef or M is too small")

    ratings = synthetic_ratings(40, 30)
    graph = neighbors(ratings, tmp_path / "graph", HNSW | {"shard_users": 15}, k=6, ef=100)
    monkeypatch.setattr(hnswlib, "Index", Unreachable)
    exact = neighbors(ratings, tmp_path / "exact", HNSW | {"shard_users": 15}, k=6, ef=100)
    assert asked == [7, 7, 7]
    check(exact, 6)
    np.testing.assert_array_equal(exact[1], graph[1])


@pytest.mark.parametrize("index", [HNSW, HNSW | {"shard_users": 200}, {}], ids=["one graph", "several", "default"])
def test_nearly_all_of_the_samples_neighbours_are_the_nearest(
    sample_dir: Path, sample_run: dict[str, Committed], index: dict[str, Any]
) -> None:
    workdir = sample_run["factors"].root.parent.parent
    vectors, ids, _ = results(run_stages(sample_dir / "ratings.csv", workdir, "neighbors", index=index))
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    exact = np.argsort(-cosines, axis=1)[:, :50]
    shared = [len(np.intersect1d(found, best)) for found, best in zip(ids, exact, strict=True)]
    assert np.mean(shared) / 50 > 0.99


def test_more_neighbours_and_items_than_there_are_is_all_of_them(tmp_path: Path) -> None:
    """Nothing is kept of those that are not there, and no figure depends on it."""
    ratings = write_ratings(tmp_path, synthetic_ratings(n_users=40, n_items=30, seed=2))
    n_users, n_items = 40, pl.read_csv(ratings)["movieId"].n_unique()
    found = []
    for most_users, most_items in ((n_users - 1, n_items), (10**6, 10**6)):
        run = run_stages(
            ratings,
            tmp_path / str(most_users),
            preset="default",
            factors=SMALL,
            neighbors={"k": most_users},
            item_neighbors={"k": most_items, "ranking_k": most_items},
            evaluate={"k": most_items, "cutoffs": [5]},
        )
        assert Nearest(run["neighbors"]).ids.shape == (n_users, n_users - 1)
        n_columns = NearItems(run["item_neighbors"]).ids.shape[0]
        assert NearItems(run["item_neighbors"]).ids.shape == (n_columns, n_columns - 1)
        means = Means.of(run["evaluate"])
        found.append((Nearest(run["neighbors"]).read(0, n_users)[0].tolist(), means.figures["model"]))
    (one_ids, one), (other_ids, other) = found
    assert one_ids == other_ids
    for name, figure in one.items():
        renamed = name.replace(f"_at_{n_items}", f"_at_{10**6}")
        if not name.startswith("precision_at_") or name == "precision_at_5":
            assert other[renamed] == figure, name
