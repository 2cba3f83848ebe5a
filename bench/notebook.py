"""The notebook's algorithm, plain and in memory: what our results and our times are compared with.

    python -m bench.notebook RATINGS_CSV [--users-sampled 300] [--exact] [--dims 128] [--json OUT]

Every step is the notebook's own, its weighting by cosine *distance* included. The steps that go user by user
(neighbours, RMSE, Recall@50) may run on a random sample of users. Their figures are then unbiased estimates, and their
seconds are scaled to all users; the output marks both.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

K_NEIGHBORS = 50
K_REC = 50
LIKED = 4.0

Array = NDArray[Any]
Pairs = dict[int, list[tuple[int, float]]]
Neighbors = tuple[dict[int, Array], dict[int, Array]]


class Clock:
    """Seconds of each step; `share` is the part of the users that a step was run on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, share: float = 1.0) -> Iterator[None]:
        """Time a step and print it, scaled to all users when it ran on a sample of them."""
        start = time.perf_counter()
        yield
        spent = time.perf_counter() - start
        self.seconds[name] = spent / share
        note = "" if share == 1.0 else f"   (measured {spent:.1f} s on {share:.2%} of the users, scaled)"
        print(f"{name:<12}{spent / share:9.1f} s   peak {peak_mib():6.0f} MiB{note}", flush=True)


def peak_mib() -> float:
    """Peak resident memory of this process, MiB (VmHWM; Linux only, else nan)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except FileNotFoundError:
        return float("nan")
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def split(users: Array, test_ratio: float = 0.2, min_items: int = 5, seed: int = 42) -> Array:
    """Mask (ratings,) of the test rows: 20 % of each user's, users in ascending id, one generator for all."""
    rng = np.random.default_rng(seed)
    order = np.argsort(users, kind="stable")
    test = np.zeros(len(users), dtype=bool)
    for group in np.split(order, np.flatnonzero(np.diff(users[order])) + 1):
        if len(group) >= min_items:
            test[rng.choice(group, size=max(1, int(len(group) * test_ratio)), replace=False)] = True
    return test


def build_train_test(ratings: pl.DataFrame, test: Array) -> tuple[csr_matrix, list[tuple[int, int, float]]]:
    """Train matrix, and the test tuples whose user and item both occur in it."""
    user, item, rating = (ratings[c].to_numpy() for c in ("userId", "movieId", "rating"))
    users, u_train = np.unique(user[~test], return_inverse=True)
    items, i_train = np.unique(item[~test], return_inverse=True)
    train = csr_matrix((rating[~test], (u_train, i_train)), shape=(len(users), len(items)))
    in_train = np.isin(user[test], users) & np.isin(item[test], items)
    u_test, i_test = np.searchsorted(users, user[test][in_train]), np.searchsorted(items, item[test][in_train])
    return train, list(zip(u_test.tolist(), i_test.tolist(), rating[test][in_train].tolist(), strict=True))


def user_vectors(train: csr_matrix, dims: int) -> Array:
    svd = TruncatedSVD(n_components=dims, random_state=42)
    vectors: Array = normalize(svd.fit_transform(train.astype("float32")), axis=1)
    return vectors


def ann_index(X: Array, ef: int = 200, M: int = 32) -> Any:
    index = hnswlib.Index(space="cosine", dim=X.shape[1])
    index.init_index(max_elements=len(X), ef_construction=ef, M=M)
    index.add_items(X)
    index.set_ef(ef)
    return index


def hnsw_neighbors(index: Any, X: Array, users: list[int], k: int = K_NEIGHBORS) -> Neighbors:
    """Ids and cosine distances of each user's nearest others, one query a user."""
    ids, distances = {}, {}
    for u in users:
        neigh, dist = index.knn_query(X[u], k=k + 1)
        mask = neigh[0] != u
        ids[u], distances[u] = neigh[0][mask], dist[0][mask]
    return ids, distances


def exact_neighbors(X: Array, users: list[int], k: int = K_NEIGHBORS, block: int = 256) -> Neighbors:
    """The same by brute force, in blocks of users; distances are 1 - cosine."""
    ids, distances = {}, {}
    for start in range(0, len(users), block):
        chunk = users[start : start + block]
        cosine = X[chunk] @ X.T
        cosine[np.arange(len(chunk)), chunk] = -np.inf
        nearest = np.argpartition(-cosine, k, axis=1)[:, :k]
        for row, u in enumerate(chunk):
            best = nearest[row][np.argsort(-cosine[row, nearest[row]], kind="stable")]
            ids[u], distances[u] = best, 1.0 - cosine[row, best]
    return ids, distances


def predict_all(train: csr_matrix, user: int, neighbors: Neighbors) -> Array:
    """Scores (items,): sum(distance * rating) / sum(distance) over all neighbours, 0 for an item not rated."""
    weights = neighbors[1][user].reshape(-1, 1)
    ratings = train[neighbors[0][user]].toarray()
    scores: Array = (ratings * weights).sum(axis=0) / (weights.sum() + 1e-8)
    return scores


def rmse_neighbors(train: csr_matrix, tests: Pairs, neighbors: Neighbors) -> float:
    se, n = 0.0, 0
    for u, pairs in tests.items():
        predicted = predict_all(train, u, neighbors)[[i for i, _ in pairs]]
        se += float(((predicted - np.array([r for _, r in pairs])) ** 2).sum())
        n += len(pairs)
    return float((se / n) ** 0.5)


def recall_at_k(scores: Any, train: csr_matrix, tests: Pairs, k: int = K_REC) -> tuple[float, float]:
    """Mean Recall@k over the users with a liked test item, and its standard error; `scores(user)` gives (items,)."""
    recalls = []
    for u, pairs in tests.items():
        liked = [i for i, r in pairs if r >= LIKED]
        if not liked:
            continue
        preds = scores(u)
        preds[train[u].indices] = -1e9
        top = np.argpartition(preds, -k)[-k:]
        recalls.append(sum(1 for i in liked if i in top) / len(liked))
    return float(np.mean(recalls)), float(np.std(recalls) / np.sqrt(len(recalls)))


def rmse_bias(train: csr_matrix, tests: Pairs, damping: float = 5.0, passes: int = 10) -> float:
    """RMSE of mu + b_u + b_i, each bias a damped mean of what the others leave over, fitted in turns."""
    users, items = train.nonzero()
    mu = train.data.mean()
    b_user, b_item = np.zeros(train.shape[0]), np.zeros(train.shape[1])
    n_user, n_item = np.bincount(users, minlength=len(b_user)), np.bincount(items, minlength=len(b_item))
    for _ in range(passes):
        b_item = np.bincount(items, train.data - mu - b_user[users], len(b_item)) / (n_item + damping)
        b_user = np.bincount(users, train.data - mu - b_item[items], len(b_user)) / (n_user + damping)
    errors = [mu + b_user[u] + b_item[i] - r for u, pairs in tests.items() for i, r in pairs]
    return float(np.sqrt(np.mean(np.square(errors))))


def group_by_user(tuples: list[tuple[int, int, float]]) -> Pairs:
    grouped: Pairs = {}
    for u, i, r in tuples:
        grouped.setdefault(u, []).append((i, r))
    return grouped


def sample_users(tests: Pairs, n_users: int, seed: int = 0) -> Pairs:
    """Test pairs of `n_users` random users, or of all when it is 0 or more than there are."""
    if not 0 < n_users < len(tests):
        return tests
    chosen = np.random.default_rng(seed).choice(sorted(tests), n_users, replace=False)
    return {u: tests[u] for u in sorted(chosen.tolist())}


def run(path: Path, *, users_sampled: int = 300, exact: bool = False, dims: int = 128) -> dict[str, Any]:
    """Every step in the notebook's order; returns what it printed."""
    clock = Clock()
    with clock.step("read"):
        ratings = pl.read_csv(path, columns=["userId", "movieId", "rating"])
    with clock.step("split"):
        test = split(ratings["userId"].to_numpy())
        n_train, n_test = int((~test).sum()), int(test.sum())
    with clock.step("matrix"):
        train, tuples = build_train_test(ratings, test)
        del ratings, test
    n_tuples = len(tuples)
    with clock.step("svd"):
        X = user_vectors(train, dims)
    everyone = group_by_user(tuples)
    del tuples
    tests = sample_users(everyone, users_sampled)
    share = len(tests) / len(everyone)
    if exact:
        with clock.step("neighbors", share):
            neighbors = exact_neighbors(X, list(tests))
    else:
        with clock.step("index"):
            index = ann_index(X)
        with clock.step("neighbors", share):
            neighbors = hnsw_neighbors(index, X, list(tests))
    with clock.step("rmse", share):
        rmse = rmse_neighbors(train, tests, neighbors)
    with clock.step("recall", share):
        recall, recall_se = recall_at_k(lambda u: predict_all(train, u, neighbors), train, tests)
    peak = peak_mib()
    popularity = np.bincount(train.indices, minlength=train.shape[1]).astype(np.float64)
    return {
        "file": str(path),
        "n_train": n_train,
        "n_test": n_test,
        "shape": list(train.shape),
        "test_tuples": n_tuples,
        "neighbors": "exact" if exact else "hnsw",
        "dims": dims,
        "users_evaluated": len(tests),
        "users_with_tests": len(everyone),
        "rmse": rmse,
        "recall@50": recall,
        "recall@50_stderr": recall_se,
        "bias_rmse": rmse_bias(train, tests),
        "popular_recall@50": recall_at_k(lambda u: popularity.copy(), train, tests)[0],
        "seconds": clock.seconds,
        "seconds_total": sum(clock.seconds.values()),
        "seconds_scaled_from_sample": share < 1.0,
        "peak_mib": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ratings", type=Path, metavar="RATINGS_CSV")
    parser.add_argument("--users-sampled", type=int, default=300, help="users to evaluate; 0 means all")
    parser.add_argument("--exact", action="store_true", help="exact neighbours instead of hnswlib")
    parser.add_argument("--dims", type=int, default=128, help="dimensions of the user vectors")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures here too")
    args = parser.parse_args()
    figures = run(args.ratings, users_sampled=args.users_sampled, exact=args.exact, dims=args.dims)
    for name, value in figures.items():
        if name != "seconds":
            print(f"{name:<28}{value}")
    if args.json is not None:
        args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
