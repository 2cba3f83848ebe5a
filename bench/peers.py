"""Other models on a run's own split: ``python -m bench.peers DATA --name NAME``.

A run of the default model makes the split. Of its train ratings a fifth of each user's are held out for validation;
every peer's parameters are those of a small grid with the best Recall@50 there, and then it learns from all of train.
Its lists are measured on test as the run's own are. Test is looked at once for each. Results go to
``bench/results/peers-NAME.json``; ``python -m bench.report`` shows them in docs/model.md.

Peers: EASE (Steck 2019, https://arxiv.org/abs/1905.03375) where its matrix of items fits, nearest items by cosine and
BM25, and alternating least squares (Hu, Koren and Volinsky 2008) of the package implicit, all in memory.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import engine
from bench.measure import HERE, write_result
from engine import config
from engine.serving.export import export
from engine.serving.lists import measure_lists

K = 50
DISLIKED = 0.5
"""The preference that a rating below liked stands for, as `refine.disliked_preference`."""
EASE_ITEMS = 12_000
"""Items whose matrix of numbers of 8 bytes, inverted, takes 4 GB."""
TUNED_USERS = 4096
"""Users whose validation part is looked at, at most."""
_BLOCK = 1024
_MOST = np.float32(np.inf)

Matrix = sp.csr_matrix
Ids = NDArray[np.integer[Any]]
Lister = Callable[[Ids, Matrix], Ids]
"""Lists of items for some users, whose rows are given; -1 where there are fewer."""


class Peer(NamedTuple):
    """A model with parameters: what fits it to a matrix of preferences."""

    name: str
    parameters: str
    fit: Callable[[Matrix], Lister]


def ease(penalty: float) -> Callable[[Matrix], Lister]:
    """``B = I - P diag(1 / diag P)`` with ``P = (X'X + penalty I)^-1``; the scores are X B."""

    def fit(rows: Matrix) -> Lister:
        gram = np.asarray((rows.T @ rows).todense(), dtype=np.float64)
        gram[np.diag_indices_from(gram)] += penalty
        inverse = np.linalg.inv(gram)
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        weights = weights.astype(np.float32)
        return lambda users, own: best_of(np.asarray(own @ weights), own)

    return fit


def best_of(scores: NDArray[np.float32], own: Matrix) -> Ids:
    """The best items of each row that are not the user's own, best first."""
    scores[own.nonzero()] = -_MOST
    k = min(K, scores.shape[1])
    some = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    found = np.take_along_axis(scores, some, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    items, found = np.take_along_axis(some, order, axis=1), np.take_along_axis(found, order, axis=1)
    return np.where(found > -_MOST, items, -1)


def of_implicit(make: Callable[[], Any]) -> Callable[[Matrix], Lister]:
    """A model of the package."""

    def fit(rows: Matrix) -> Lister:
        model = make()
        with threadpool_limits(1, "blas"):  # it has threads of its own
            model.fit(rows, show_progress=False)
        return lambda users, own: model.recommend(users, own, N=K, filter_already_liked_items=True)[0]

    return fit


def als(factors: int, alpha: float, regularization: float) -> Callable[[Matrix], Lister]:
    """Alternating least squares."""
    given = {"factors": factors, "alpha": alpha, "regularization": regularization, "iterations": 15}
    return of_implicit(lambda: AlternatingLeastSquares(**given, num_threads=2, random_state=0, use_gpu=False))


def peers(n_items: int) -> Iterator[Peer]:
    """All that are tried."""
    if n_items <= EASE_ITEMS:
        for penalty in (50, 200, 500, 1000):
            yield Peer("EASE", f"penalty {penalty}", ease(penalty))
    for k in (50, 100, 200, 500, 1000):
        yield Peer("nearest items, cosine", f"K {k}", of_implicit(partial(CosineRecommender, K=k, num_threads=2)))
        yield Peer("nearest items, BM25", f"K {k}", of_implicit(partial(BM25Recommender, K=k, num_threads=2)))
    for factors, alpha, ridge in itertools.product((64, 128), (2.0, 10.0, 40.0), (1.0, 10.0, 30.0, 100.0)):
        parameters = f"factors {factors}, alpha {alpha:g}, regularization {ridge:g}"
        yield Peer("alternating least squares", parameters, als(factors, alpha, ridge))


def preferences(ratings: pl.DataFrame, liked_from: float, disliked: float, shape: tuple[int, int]) -> Matrix:
    """1 for each liked rating, and ``disliked`` for the others; those of 0 are not there."""
    values = np.where(ratings["rating"].to_numpy() >= liked_from, 1.0, disliked).astype(np.float32)
    there = values > 0
    places = ratings["row"].to_numpy()[there], ratings["column"].to_numpy()[there]
    return sp.csr_matrix((values[there], places), shape=shape, dtype=np.float32)


def recall(lister: Lister, rows: Matrix, wanted: Matrix, users: Ids) -> float:
    """Recall@50, as `docs/metrics.md` has it, of users who have wanted items."""
    found = []
    for first in range(0, len(users), _BLOCK):
        some = users[first : first + _BLOCK]
        for user, items in zip(some, lister(some, rows[some]), strict=True):
            of_user = wanted.indices[wanted.indptr[user] : wanted.indptr[user + 1]]
            found.append(len(np.intersect1d(of_user, items)) / len(of_user))
    return float(np.mean(found))


class Split(NamedTuple):
    """Train and test of a run, with the numbers of users and items, and how they were measured."""

    train: pl.DataFrame
    users: pl.Series
    items: pl.Series
    liked_from: float

    @property
    def shape(self) -> tuple[int, int]:
        """Users and items."""
        return len(self.users), len(self.items)

    @classmethod
    def of(cls, train: Path, liked_from: float) -> Split:
        """Number what an exported train part has."""
        rows = pl.read_parquet(train)
        users, items = rows["user"].unique().sort(), rows["item"].unique().sort()
        return cls(
            rows.with_columns(row=users.search_sorted(rows["user"]), column=items.search_sorted(rows["item"])),
            users,
            items,
            liked_from,
        )

    def write(self, lister: Lister, rows: Matrix, target: Path) -> None:
        """Lists for all users, by their ids."""
        parts = []
        for first in range(0, self.shape[0], _BLOCK):
            users = np.arange(first, min(first + _BLOCK, self.shape[0]))
            items = lister(users, rows[users])
            at, rank = np.nonzero(items >= 0)
            of_part = {"user": self.users[users[at]], "item": self.items[items[at, rank]], "rank": rank + 1}
            parts.append(pl.DataFrame(of_part))
        pl.concat(parts).write_parquet(target)


def tuned(split: Split) -> dict[str, tuple[float, Peer]]:
    """Of each model the parameters that are best on the validation part, and its Recall@50 there."""
    rng = np.random.default_rng(0)
    held = rng.random(len(split.train)) < 0.2
    rows = preferences(split.train.filter(~held), split.liked_from, DISLIKED, split.shape)
    wanted = preferences(split.train.filter(held), split.liked_from, 0.0, split.shape)
    users = np.flatnonzero((np.diff(wanted.indptr) > 0) & (np.diff(rows.indptr) > 0))
    users = rng.permutation(users)[:TUNED_USERS]
    best: dict[str, tuple[float, Peer]] = {}
    for peer in peers(split.shape[1]):
        found = recall(peer.fit(rows), rows, wanted, users)
        print(f"{found:.4f} on validation  {peer.name}, {peer.parameters}", flush=True)
        if peer.name not in best or found > best[peer.name][0]:
            best[peer.name] = found, peer
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="sample", help="(default: the sample)")
    parser.add_argument("--name", help="what the results are called (default: as the data set)")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="implicit")  # that it makes CSR of what it makes itself
    name = options.name or Path(options.dataset).stem
    work = HERE / "data" / "peers" / name
    metrics = engine.run(config.load({"dataset": options.dataset, "workdir": str(work)})).metrics
    with tempfile.TemporaryDirectory() as temporary:
        out = export(work, temporary).out
        split = Split.of(out / "train.parquet", metrics["liked_from"])
        rows = preferences(split.train, split.liked_from, DISLIKED, split.shape)
        found = []
        for validation, peer in tuned(split).values():
            begun = time.perf_counter()
            split.write(peer.fit(rows), rows, out / "peer.parquet")
            seconds = time.perf_counter() - begun
            figure = measure_lists(work, out / "peer.parquet").figures["lists"][f"recall_at_{K}"]
            found.append(
                {
                    "name": peer.name,
                    "parameters": peer.parameters,
                    "validation": validation,
                    "seconds": seconds,
                    **figure,
                }
            )
            print(f"{figure['value']:.4f} on test  {peer.name}, {peer.parameters}", flush=True)
    own = {each: metrics["figures"][each][f"recall_at_{K}"] for each in ("model", "most_popular")}
    print(f"{own['model']['value']:.4f} on test  this engine's default model")
    counts = {each: metrics[each] for each in ("n_users", "n_items", "n_train")}
    print(write_result(f"peers-{name}", {"dataset": name, **counts, **own, "disliked": DISLIKED, "peers": found}))


if __name__ == "__main__":
    main()
