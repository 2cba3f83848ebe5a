"""RMSE and recall against the notebook's loops, on the pipeline's own neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.chunked import arrays
from engine.chunked.journal import Committed
from engine.stages.evaluate import measure_batch, summarise
from tests.conftest import SMALL, predict_user_all_movies, read_matrix, run_stages, synthetic_ratings, write_ratings

Cache = dict[int, NDArray[Any]]
Tuples = list[tuple[int, int, float]]


def recommend_topk(
    train_mat: scipy.sparse.csr_matrix, user: int, Krec: int, watched_set: set[int], neighbors: Cache, sims: Cache
) -> NDArray[np.intp]:
    preds = predict_user_all_movies(train_mat, user, neighbors, sims)
    preds[list(watched_set)] = -1e9
    topk = np.argpartition(preds, -Krec)[-Krec:]
    return np.asarray(topk[np.argsort(-preds[topk])])


def rmse_user_batch(train_mat: scipy.sparse.csr_matrix, test_tuples: Tuples, neighbors: Cache, sims: Cache) -> float:
    user_to_movies: dict[int, list[tuple[int, float]]] = {}
    for u, m, r in test_tuples:
        user_to_movies.setdefault(u, []).append((m, r))

    se = 0.0
    n = 0

    for u, pairs in user_to_movies.items():
        movies = [m for m, _ in pairs]
        reals = np.array([r for _, r in pairs])

        preds = predict_user_all_movies(train_mat, u, neighbors, sims)[movies]

        se += ((preds - reals) ** 2).sum()
        n += len(pairs)

    return float((se / n) ** 0.5)


def recall_at_k(
    train_mat: scipy.sparse.csr_matrix,
    test_tuples: Tuples,
    neighbors: Cache,
    sims: Cache,
    Krec: int = 50,
    like_threshold: float = 4.0,
) -> float:
    test_map: dict[int, list[tuple[int, float]]] = {}
    for u, m, r in test_tuples:
        test_map.setdefault(u, []).append((m, r))

    watched: dict[int, set[int]] = {u: set(train_mat[u].indices.tolist()) for u in range(train_mat.shape[0])}

    sum_recall = 0.0
    cnt_user = 0

    for u, pairs in test_map.items():
        liked = [m for m, r in pairs if r >= like_threshold]
        if not liked:
            continue

        rec_list = recommend_topk(train_mat, u, Krec, watched[u], neighbors, sims)

        hit = sum(1 for m in liked if m in rec_list)
        recall = hit / len(liked)

        sum_recall += recall
        cnt_user += 1

    return sum_recall / cnt_user


def notebooks_inputs(run: dict[str, Committed]) -> tuple[scipy.sparse.csr_matrix, Tuples, Cache, Cache]:
    """Train matrix, test tuples, neighbours and distances of a run, as the notebook has them."""
    train = read_matrix(run).astype(np.float64)
    test = read_matrix(run, "test").tocoo()
    tuples = list(zip(test.row.tolist(), test.col.tolist(), test.data.tolist(), strict=True))
    root = run["neighbors"].root
    ids, similarities = (arrays.read_rows(arrays.open_array(root, name), 0, 10**6) for name in ("ids", "similarities"))
    found = [ids[user] >= 0 for user in range(len(ids))]
    neighbors = {user: ids[user][found[user]] for user in range(len(ids))}
    distances = {user: 1 - similarities[user][found[user]].astype(np.float64) for user in range(len(ids))}
    return train, tuples, neighbors, distances


def margin_at_the_cut(inputs: tuple[scipy.sparse.csr_matrix, Tuples, Cache, Cache], k: int) -> tuple[float, float]:
    """Over all users with test ratings: the lowest k-th best score, and the least distance to the next."""
    train, tuples, neighbors, distances = inputs
    lowest, margin = np.inf, np.inf
    for user in {user for user, _, _ in tuples}:
        scores = predict_user_all_movies(train, user, neighbors, distances)
        scores[train[user].indices] = -1e9
        best = np.sort(scores)[::-1]
        lowest, margin = min(lowest, best[k - 1]), min(margin, best[k - 1] - best[k])
    return float(lowest), float(margin)


def per_user(run: dict[str, Committed]) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted((run["evaluate"].root / "users").iterdir())])


SECTIONS: dict[str, Any] = {
    "factors": SMALL,
    "neighbors": {"k": 12, "ef": 100, "users_per_chunk": 16},
    "evaluate": {"k": 8, "liked_from": 3.0, "users_per_task": 25},
}


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Committed]:
    """Ratings that are no half stars, so that no two films get the same score."""
    folder = tmp_path_factory.mktemp("evaluate")
    ratings = synthetic_ratings(60, 60, half_stars=False)
    return run_stages(write_ratings(folder, ratings), folder / "run", **SECTIONS)


def test_rmse_and_recall_are_those_of_the_notebooks_loops(small_run: dict[str, Committed]) -> None:
    inputs = notebooks_inputs(small_run)
    means = small_run["evaluate"].result("mean.00000")
    # The notebook fills its list with films of score 0 where neighbours rated too few; we do not. Here every user has
    # 8 films with a positive score, and no tie for the eighth place, which either side may settle as it likes.
    lowest, margin = margin_at_the_cut(inputs, 8)
    assert lowest > 0
    assert margin > 1e-6
    assert means["rmse"] == pytest.approx(rmse_user_batch(*inputs), rel=1e-6)
    assert means["recall"] == pytest.approx(recall_at_k(*inputs, Krec=8, like_threshold=3.0), rel=1e-6)
    assert 0.1 < means["recall"] < 0.9
    assert means["n_test_scored"] == len(inputs[1])
    assert means["n_users_with_liked"] == len({user for user, _, rating in inputs[1] if rating >= 3})


def test_rmse_and_recall_of_the_sample_are_those_of_the_notebooks_loops(sample_run: dict[str, Committed]) -> None:
    inputs = notebooks_inputs(sample_run)
    means = sample_run["evaluate"].result("mean.00000")
    assert means["rmse"] == pytest.approx(rmse_user_batch(*inputs), rel=1e-6)
    assert means["recall"] == pytest.approx(recall_at_k(*inputs), rel=1e-6)
    assert margin_at_the_cut(inputs, 50)[0] > 0  # see above; of half stars ties are possible, but decide nothing here


def test_the_figures_of_each_user_are_those_of_a_plain_loop(small_run: dict[str, Committed]) -> None:
    train, tuples, neighbors, distances = notebooks_inputs(small_run)
    for row in per_user(small_run).iter_rows(named=True):
        user = row["user"]
        pairs = [(film, rating) for who, film, rating in tuples if who == user]
        scores = predict_user_all_movies(train, user, neighbors, distances)
        assert row["n_test"] == len(pairs)
        assert row["squared_error"] == pytest.approx(sum((scores[film] - rating) ** 2 for film, rating in pairs))
        rated = set(train[neighbors[user]].indices.tolist())
        assert row["n_covered"] == sum(film in rated for film, _ in pairs)
        liked = [film for film, rating in pairs if rating >= 3]
        watched = set(train[user].indices.tolist())
        best = recommend_topk(train, user, 8, watched, neighbors, distances).tolist()
        assert (row["n_liked"], row["n_hits"]) == (len(liked), sum(film in best for film in liked))
    assert per_user(small_run)["user"].to_list() == list(range(train.shape[0]))


def test_the_figures_have_the_same_bits_whatever_the_batches(tmp_path: Path) -> None:
    ratings = write_ratings(tmp_path, synthetic_ratings(60, 60, half_stars=False).filter(pl.len().over("userId") >= 5))
    runs = [
        run_stages(ratings, tmp_path / f"run-{batch_rows}", batch_rows=batch_rows, workers=1, **SECTIONS)
        for batch_rows in (1, 7, 512)
    ]
    assert runs[0]["evaluate"].result("mean.00000")["recall"] > 0
    for run in runs[1:]:
        assert per_user(run).equals(per_user(runs[0]))
        assert run["evaluate"].result("mean.00000") == runs[0]["evaluate"].result("mean.00000")


def sparse(rows: list[dict[int, float]], n_items: int, shuffled: bool = False) -> scipy.sparse.csr_matrix:
    """Rows from dicts, columns ascending or, as products leave them, in any order."""
    columns = [list(row) if shuffled else sorted(row) for row in rows]
    data = [row[column] for row, order in zip(rows, columns, strict=True) for column in order]
    indices = [column for order in columns for column in order]
    indptr = np.cumsum([0, *map(len, rows)])
    parts = (np.array(data, dtype=np.float32), np.array(indices, dtype=np.int32), indptr.astype(np.int32))
    return scipy.sparse.csr_matrix(parts, shape=(len(rows), n_items))


ratings_of_a_user = st.dictionaries(st.integers(0, 11), st.integers(0, 10).map(lambda n: n / 2), max_size=8)
# Exact in float32, and few, so that ties and zeros are the rule.
scores_of_a_user = st.dictionaries(st.integers(0, 11), st.sampled_from([0.0, 0.25, 1.0, 3.5, 4.0]), max_size=12)


@settings(deadline=None, max_examples=100)
@given(
    users=st.lists(st.tuples(scores_of_a_user, ratings_of_a_user, ratings_of_a_user), min_size=1, max_size=5),
    k=st.integers(1, 6),
    spare=st.integers(0, 20),
)
def test_a_batch_is_measured_as_a_plain_loop_measures_it(users: list[Any], k: int, spare: int) -> None:
    # A rating is in train or in test.
    users = [(scores, watched, {m: r for m, r in test.items() if m not in watched}) for scores, watched, test in users]
    flags = np.zeros(12 * len(users) + spare, dtype=np.uint8)
    found = measure_batch(
        sparse([scores for scores, _, _ in users], 12, shuffled=True),
        sparse([watched for _, watched, _ in users], 12),
        sparse([test for _, _, test in users], 12),
        flags,
        k,
        3.5,
    )
    assert not flags.any()
    for row, (scores, watched, test) in zip(pl.DataFrame(found).iter_rows(named=True), users, strict=True):
        candidates = [m for m, score in scores.items() if score != 0 and m not in watched]
        best = sorted(candidates, key=lambda m: (-scores[m], m))[:k]
        liked = [m for m, rating in test.items() if rating >= 3.5]
        assert row == {
            "n_test": len(test),
            "squared_error": pytest.approx(sum((scores.get(m, 0.0) - rating) ** 2 for m, rating in test.items())),
            "n_covered": sum(m in scores for m in test),
            "n_liked": len(liked),
            "n_hits": sum(m in best for m in liked),
        }
    total = summarise(found)
    recalls = [row["n_hits"] / row["n_liked"] for row in pl.DataFrame(found).iter_rows(named=True) if row["n_liked"]]
    assert total["recall_total"] == pytest.approx(sum(recalls))
    assert total["n_users_with_liked"] == len(recalls)
    assert total["n_test"] == sum(len(test) for _, _, test in users)


def test_without_test_ratings_there_is_neither_rmse_nor_recall(tmp_path: Path) -> None:
    ratings = pl.DataFrame({"userId": [1, 1, 2, 2], "movieId": [5, 6, 6, 7], "rating": [1.0, 2.5, 3.0, 4.0]})
    run = run_stages(write_ratings(tmp_path, ratings), tmp_path / "run", factors=SMALL)
    means = run["evaluate"].result("mean.00000")
    assert (means["rmse"], means["recall"], means["n_test_scored"], means["n_test_covered"]) == (None, None, 0, 0)


def test_a_batch_without_test_ratings_does_not_stop_the_others(tmp_path: Path) -> None:
    rows = [(user, film, 1.0 + film % 5) for user in range(513) for film in (range(6) if user < 512 else range(2))]
    ratings = pl.DataFrame(rows, schema=["userId", "movieId", "rating"], orient="row")
    run = run_stages(write_ratings(tmp_path, ratings), tmp_path / "run", factors=SMALL)
    assert run["evaluate"].result("mean.00000")["n_test_scored"] == 512
