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

from engine.artifacts.readers import read_biases
from engine.chunked import arrays
from engine.chunked.csr import NarrowRows
from engine.chunked.journal import Committed
from engine.model.biases import Biases
from engine.model.evaluation import RANKED, RATED, Baselines, measure_users, per_user, summarise
from engine.model.metrics import self_information
from engine.model.popularity import by_popularity
from engine.model.prediction import Predicted
from engine.model.sizes import RANK_USERS
from tests.support.notebook import predict_user_all_movies
from tests.support.pipeline import SMALL, read_matrix, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

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


def table_of_users(run: dict[str, Committed]) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted(run["evaluate"].path("users").iterdir())])


SECTIONS: dict[str, Any] = {
    "factors": SMALL,
    "neighbors": {"k": 12, "ef": 100, "users_per_chunk": 16},
    "evaluate": {"k": 8, "cutoffs": [5, 8, 50, 5], "liked_from": 3.0, "users_per_task": 25},
}


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Committed]:
    """Ratings that are no half stars, so that no two items get the same score."""
    folder = tmp_path_factory.mktemp("evaluate")
    ratings = synthetic_ratings(60, 60, half_stars=False)
    return run_stages(write_ratings(folder, ratings), folder / "run", **SECTIONS)


def test_rmse_and_recall_are_those_of_the_notebooks_loops(small_run: dict[str, Committed]) -> None:
    inputs = notebooks_inputs(small_run)
    means = small_run["evaluate"].result("mean.00000")
    # The notebook fills its list with items of score 0 where neighbours rated too few; we do not. Here every user has
    # 8 items with a positive score, and no tie for the eighth place, which either side may settle as it likes.
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
    order = np.argsort(-np.diff(train.tocsc().indptr), kind="stable").tolist()
    rows = table_of_users(small_run).rows(named=True)
    assert [row["user"] for row in rows] == pl.read_parquet(small_run["ingest"].path("users.parquet"))["user"].to_list()
    for user, row in enumerate(rows):
        pairs = [(item, rating) for who, item, rating in tuples if who == user]
        scores = predict_user_all_movies(train, user, neighbors, distances)
        assert row["n_test"] == len(pairs)
        assert row["squared_error"] == pytest.approx(sum((scores[item] - rating) ** 2 for item, rating in pairs))
        assert row["absolute_error"] == pytest.approx(sum(abs(scores[item] - rating) for item, rating in pairs))
        rated = set(train[neighbors[user]].indices.tolist())
        assert row["n_covered"] == sum(item in rated for item, _ in pairs)
        liked = [item for item, rating in pairs if rating >= 3]
        watched = set(train[user].indices.tolist())
        best = recommend_topk(train, user, 8, watched, neighbors, distances).tolist()
        popular = [item for item in order if item not in watched][:8]
        assert row["n_liked"] == len(liked)
        for k in (5, 8):
            assert row[f"hits_at_{k}"] == sum(item in best[:k] for item in liked)
            assert row[f"popular_hits_at_{k}"] == sum(item in popular[:k] for item in liked)
            assert row[f"recall_at_{k}"] == (row[f"hits_at_{k}"] / len(liked) if liked else None)
    assert "hits_at_50" not in rows[0]


def test_the_catalogues_figures_are_those_of_plain_loops(small_run: dict[str, Committed]) -> None:
    train, _, neighbors, distances = notebooks_inputs(small_run)
    n_users, n_items = train.shape
    raters = np.diff(train.tocsc().indptr)
    order = np.argsort(-raters, kind="stable").tolist()
    watched = [set(train[user].indices.tolist()) for user in range(n_users)]
    lists = {
        "model": [
            recommend_topk(train, user, 8, watched[user], neighbors, distances).tolist() for user in range(n_users)
        ],
        "most_popular": [[item for item in order if item not in watched[user]][:8] for user in range(n_users)],
    }
    figures = small_run["evaluate"].result("mean.00000")["figures"]
    for name, items in lists.items():
        times = np.bincount(np.concatenate(items).astype(int), minlength=n_items)
        assert figures[name]["item_coverage"]["value"] == np.count_nonzero(times) / n_items
        apart = np.abs(times[:, None] - times).sum() / (2 * n_items * times.sum())
        assert figures[name]["gini"]["value"] == pytest.approx(apart)
        bits = [np.mean(-np.log2(raters[some] / n_users)) for some in items]
        assert figures[name]["novelty"]["value"] == pytest.approx(np.mean(bits))
        assert figures[name]["novelty"]["n_users"] == n_users


def test_the_bias_model_beside_it_is_that_of_its_stage(small_run: dict[str, Committed]) -> None:
    _, tuples, _, _ = notebooks_inputs(small_run)
    biases = read_biases(small_run["biases"])
    errors = [
        float(np.clip(biases.mean + biases.users[user] + biases.items[item], biases.low, biases.high)) - rating
        for user, item, rating in tuples
    ]
    figures = small_run["evaluate"].result("mean.00000")["figures"]["bias_model"]
    assert figures["rmse"]["value"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-6)
    assert figures["mae"]["value"] == pytest.approx(np.mean(np.abs(errors)), rel=1e-6)
    assert figures["rmse"]["n_users"] == len({user for user, _, _ in tuples})


def test_the_figures_have_the_same_bits_whatever_the_batches(tmp_path: Path) -> None:
    ratings = write_ratings(tmp_path, synthetic_ratings(60, 60, half_stars=False).filter(pl.len().over("userId") >= 5))
    runs = [
        run_stages(ratings, tmp_path / f"run-{batch_rows}", batch_rows=batch_rows, workers=1, **SECTIONS)
        for batch_rows in (1, 7, 512)
    ]
    assert runs[0]["evaluate"].result("mean.00000")["recall"] > 0
    for run in runs[1:]:
        assert table_of_users(run).equals(table_of_users(runs[0]))
        assert run["evaluate"].result("mean.00000") == runs[0]["evaluate"].result("mean.00000")


def rows_of(rows: list[dict[int, float]], n_items: int) -> NarrowRows:
    """Rows from dicts, columns ascending."""
    columns = [column for row in rows for column in sorted(row)]
    data = [row[column] for row in rows for column in sorted(row)]
    indptr = np.cumsum([0, *map(len, rows)])
    return NarrowRows(indptr, np.array(columns, dtype=np.uint8), np.array(data, dtype=np.float32), n_items, 1.0)


ratings_of_a_user = st.dictionaries(st.integers(0, 11), st.integers(0, 10).map(lambda n: n / 2), max_size=8)
# What is recommended, and what is predicted for test items; for others nothing near was rated.
list_of_a_user = st.permutations(range(12))
said_of_a_user = st.dictionaries(st.integers(0, 11), st.sampled_from([0.0, 0.25, 1.0, 3.5, 4.0]), max_size=12)


N_ITEMS = 12


def catalogue(n_users: int) -> Baselines:
    """Films some of which are equally popular, and biases that reach beyond the scale."""
    counts = np.array([4, 1, 8, 8, 2, 1, 4, 16, 1, 2, 8, 3])
    rng = np.random.default_rng(4)
    users, items = (rng.normal(0, 1.5, n).astype(np.float32) for n in (n_users + 3, N_ITEMS))
    return Baselines(by_popularity(counts), Biases(3.0, users, items, 0.5, 5.0), self_information(counts, 16))


def plain_list(items: list[int], liked: list[int], baselines: Baselines, k: int) -> dict[str, Any]:
    """What is measured of one list."""
    bits = [1 if item in liked else 0 for item in items] + [0] * (k - len(items))
    told = [float(baselines.information[item]) for item in items]
    return {"n_items": len(items), "novelty": pytest.approx(sum(told) / len(told) if told else 0.0), "hits": bits}


def plain_error(said: list[float], ratings: list[float]) -> dict[str, Any]:
    gaps = [value - rating for value, rating in zip(said, ratings, strict=True)]
    total = {"squared": sum(gap**2 for gap in gaps), "absolute": sum(abs(gap) for gap in gaps)}
    return {name: pytest.approx(value, rel=1e-5, abs=1e-5) for name, value in total.items()}


def unpacked(measured: NDArray[np.void], k: int) -> list[dict[str, Any]]:
    """What was measured of each user, as dicts."""
    users = []
    for row in measured:
        user: dict[str, Any] = {name: int(row[name]) for name in ("n_test", "n_covered", "n_liked")}
        user["error"] = {name: {kind: float(row["error"][name][kind]) for kind in ERROR_KINDS} for name in RATED}
        user["list"] = {
            name: {
                "n_items": int(row["list"][name]["n_items"]),
                "novelty": float(row["list"][name]["novelty"]),
                "hits": np.unpackbits(row["list"][name]["hits"], count=k).tolist(),
            }
            for name in RANKED
        }
        users.append(user)
    return users


ERROR_KINDS = ("squared", "absolute")


@settings(max_examples=100)
@given(
    users=st.lists(
        st.tuples(list_of_a_user, said_of_a_user, ratings_of_a_user, ratings_of_a_user), min_size=1, max_size=5
    ),
    k=st.integers(1, 11),
)
def test_users_are_measured_as_a_plain_loop_measures_them(users: list[Any], k: int) -> None:
    # A rating is in train or in test, and nobody is recommended what is in train.
    users = [
        ([m for m in listed if m not in watched][:k], said, watched, {m: test[m] for m in test.keys() - watched.keys()})
        for listed, said, watched, test in users
    ]
    lists = np.array([best + [-1] * (k - len(best)) for best, *_ in users], dtype=np.int32)
    tested = [(said, item) for _, said, _, test in users for item in sorted(test)]
    predicted = Predicted(
        np.array([said.get(item, 0) for said, item in tested], dtype=np.float32),
        np.array([item in said for said, item in tested], dtype=bool),
    )
    baselines = catalogue(len(users))
    order = baselines.popularity.tolist()
    counts = np.ones((2, N_ITEMS), dtype=np.int64)
    watched_rows, test_rows = (rows_of([user[at] for user in users], N_ITEMS) for at in (2, 3))
    measured = measure_users(
        lists, predicted, watched_rows, test_rows, baselines, 3 + np.arange(len(users)), 3.5, counts
    )
    times = {name: [1] * N_ITEMS for name in RANKED}
    for user, (found, (best, scores, watched, test)) in enumerate(zip(unpacked(measured, k), users, strict=True)):
        liked = [m for m, rating in test.items() if rating >= 3.5]
        popular = [m for m in order if m not in watched][:k]
        if test and not watched:
            best = popular  # nothing is known of them
        items = sorted(test)
        bias = baselines.biases
        assert bias is not None
        by_bias = [min(max(3.0 + float(bias.users[3 + user]) + float(bias.items[m]), 0.5), 5.0) for m in items]
        ratings = [test[m] for m in items]
        assert found == {
            "n_test": len(test),
            "n_covered": sum(m in scores for m in test),
            "n_liked": len(liked),
            "error": {
                "model": plain_error([scores.get(m, 0.0) for m in items], ratings),
                "bias_model": plain_error(by_bias, ratings),
            },
            "list": {
                "model": plain_list(best, liked, baselines, k),
                "most_popular": plain_list(popular, liked, baselines, k),
            },
        }
        for name, listed in zip(RANKED, (best, popular), strict=True):
            for item in listed:
                times[name][item] += 1
    assert counts.tolist() == list(times.values())


def measured_users(n_users: int, k: int) -> NDArray[np.void]:
    """Some users as if measured, some of them without a liked item, a test rating, or a list."""
    rng = np.random.default_rng(8)
    users = np.zeros(n_users, dtype=per_user(k))
    users["n_test"] = rng.integers(0, 4, n_users)
    users["n_covered"] = rng.integers(0, users["n_test"] + 1)
    for name in RATED:
        for kind in ERROR_KINDS:
            users["error"][name][kind] = users["n_test"] * rng.random(n_users)
    for name in RANKED:
        n_items = users["list"][name]["n_items"] = rng.integers(0, k + 1, n_users)
        users["list"][name]["novelty"] = np.where(n_items > 0, 5 * rng.random(n_users), 0)
        hits = (rng.random((n_users, k)) < 0.3) & (np.arange(k) < n_items[:, None]) & (users["n_test"] > 0)[:, None]
        users["list"][name]["hits"] = np.packbits(hits, axis=1)
        users["n_liked"] = np.maximum(users["n_liked"], hits.sum(axis=1))
    return users


def test_means_over_users_are_those_of_plain_loops_over_the_table() -> None:
    users = measured_users(RANK_USERS + 77, 13)  # more than are gone through at a time
    table, means = summarise(users, (4, 13))
    rows = pl.DataFrame(table, nan_to_null=True).rows(named=True)
    assert [row["n_test"] for row in rows] == users["n_test"].tolist()
    n_pairs = sum(row["n_test"] for row in rows)
    for name, column, kind in (
        ("model", "squared_error", "mse"),
        ("model", "absolute_error", "mae"),
        ("model", "n_covered", "coverage"),
        ("bias_model", "bias_squared_error", "mse"),
        ("bias_model", "bias_absolute_error", "mae"),
    ):
        assert means[name][kind].value == pytest.approx(sum(row[column] for row in rows) / n_pairs)
        assert means[name][kind].n_users == sum(row["n_test"] > 0 for row in rows)
    for name, prefix in (("model", ""), ("most_popular", "popular_")):
        for k in (4, 13):
            with_liked = [row for row in rows if row["n_liked"]]
            assert 0 < len(with_liked) < len(rows)
            hits = np.unpackbits(users["list"][name]["hits"], axis=1, count=13)[:, :k].sum(axis=1)
            assert [row[f"{prefix}hits_at_{k}"] for row in rows] == hits.tolist()
            for row in rows:
                recall = row[f"{prefix}hits_at_{k}"] / row["n_liked"] if row["n_liked"] else None
                assert row[f"{prefix}recall_at_{k}"] == recall
            for kind in ("recall", "ndcg"):
                mean = means[name][f"{kind}_at_{k}"]
                assert mean.value == pytest.approx(
                    sum(row[f"{prefix}{kind}_at_{k}"] for row in with_liked) / len(with_liked)
                )
                assert mean.n_users == len(with_liked)
            precision = sum(row[f"{prefix}hits_at_{k}"] / k for row in with_liked) / len(with_liked)
            assert means[name][f"precision_at_{k}"].value == pytest.approx(precision)
    listed = [row for row in rows if row["n_recommended"]]
    assert all((row["novelty"] is None) == (row["n_recommended"] == 0) for row in rows)
    assert means["model"]["novelty"].value == pytest.approx(sum(row["novelty"] for row in listed) / len(listed))
    assert means["model"]["novelty"].n_users == len(listed) < len(rows)


def test_of_nobody_there_are_no_means() -> None:
    table, means = summarise(measured_users(0, 5), (5,))
    assert {len(column) for column in table.values()} == {0}
    assert {mean.value for found in means.values() for mean in found.values()} == {None}


def test_without_test_ratings_there_is_neither_rmse_nor_recall(tmp_path: Path) -> None:
    ratings = pl.DataFrame({"userId": [1, 1, 2, 2], "movieId": [5, 6, 6, 7], "rating": [1.0, 2.5, 3.0, 4.0]})
    run = run_stages(write_ratings(tmp_path, ratings), tmp_path / "run", factors=SMALL)
    means = run["evaluate"].result("mean.00000")
    assert (means["rmse"], means["recall"], means["n_test_scored"], means["n_test_covered"]) == (None, None, 0, 0)


def test_a_batch_without_test_ratings_does_not_stop_the_others(tmp_path: Path) -> None:
    rows = [(user, item, 1.0 + item % 5) for user in range(513) for item in (range(6) if user < 512 else range(2))]
    ratings = pl.DataFrame(rows, schema=["userId", "movieId", "rating"], orient="row")
    run = run_stages(write_ratings(tmp_path, ratings), tmp_path / "run", factors=SMALL)
    assert run["evaluate"].result("mean.00000")["n_test_scored"] == 512
