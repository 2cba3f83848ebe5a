"""Neighbours and train -> RMSE over the test ratings and recall of liked test films.

One sparse product per batch of users scores all films any neighbour rated; both figures are read off it.

- RMSE = sqrt(sum (score - rating)^2 / n) over all test pairs whose film occurs in train. A film that no
  neighbour rated scores 0, as in the notebook.
- Recall@K = mean, over users with at least one liked test film, of hits / liked. Candidates are the train
  films with a score other than 0 (those some neighbour rated), without the user's own train films.

Files
-----
``users/00000.parquet``, ...
    For each user: ``user`` (code) and the fields of `PER_USER`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine import config
from engine.chunked import arrays
from engine.chunked.csr import CsrReader, NarrowRows
from engine.chunked.task import Round, TaskContext
from engine.costs import READ_RATINGS, SCORE_USERS
from engine.metrics import MeanOverUsers, SquaredError
from engine.scoring import cut_by_work, distance_weights, multiply_adds, row_numbers, weighted_sums
from engine.stages.inputs import StageInputs
from engine.stages.names import IDS, SIMILARITIES, TEST, TRAIN
from engine.topk import top_per_row

_UNSEEN, _WATCHED, _TEST, _LIKED = range(4)

PER_USER = np.dtype(
    [("n_test", "u4"), ("squared_error", "f8"), ("n_covered", "u4"), ("n_liked", "u4"), ("n_hits", "u4")]
)
"""What is measured of each user: test ratings, sum of their squared errors, those with a score other than 0, liked
ones, and liked ones among the recommended."""


class EvaluateStage:
    """One task a block of users, then the means."""

    def __init__(self, inputs: StageInputs[config.Evaluate]) -> None:
        self._inputs = inputs
        self._section = inputs.section
        self._own = inputs.own
        matrix = inputs.upstream["matrix"].root
        self._train = CsrReader(matrix, TRAIN)
        self._test = CsrReader(matrix, TEST)
        neighbors = inputs.upstream["neighbors"].root
        self._ids = arrays.open_array(neighbors, IDS)
        self._similarities = arrays.open_array(neighbors, SIMILARITIES)

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        costs = self._inputs.plan(self._inputs.shapes)
        n_blocks = -(-self._train.shape[0] // self._section.users_per_task)
        cost = costs["users"].cost
        yield Round("users", n_blocks, self._users, cost, self._load, self._load_wide, until="mean")
        yield Round("mean", 1, self._mean, costs["mean"].cost)

    def _load(self) -> NarrowRows:
        return self._train.read(0, self._train.shape[0])

    def _load_wide(self) -> csr_matrix:
        return self._train.read_wide(READ_RATINGS)

    def _users(self, index: int, context: TaskContext) -> None:
        start = index * self._section.users_per_task
        stop = min(start + self._section.users_per_task, self._train.shape[0])
        ids = arrays.read_rows(self._ids, start, stop)
        weights = distance_weights(arrays.read_rows(self._similarities, start, stop))
        test = self._test.read(start, stop)
        work = multiply_adds(np.diff(self._train.indptr), ids)
        batches = cut_by_work(work, context.batch_rows, SCORE_USERS)
        flags = np.zeros(max(last - first for first, last in batches) * self._train.shape[1], dtype=np.uint8)
        measured = []
        for first, last in batches:
            scores = weighted_sums(context.shared, ids[first:last], weights[first:last])
            watched = _rows(context.shared, start + first, start + last)
            rated = test.part(first, last).widen()
            measured.append(measure_batch(scores, watched, rated, flags, self._section.k, self._section.liked_from))
        np.save(context.scratch / _measured_path(index), np.concatenate(measured))

    def _mean(self, index: int, context: TaskContext) -> dict[str, Any]:
        from engine.stages.tables import write_users  # Polars, which scoring has no room for in a small budget

        parts = []
        (context.scratch / "users").mkdir()
        for block in range(-(-self._train.shape[0] // self._section.users_per_task)):
            users = np.load(self._own.path(_measured_path(block)))
            parts.append(summarise(users))
            path = context.scratch / f"users/{block:05d}.parquet"
            write_users(path, block * self._section.users_per_task, users)
        error = sum((SquaredError(p["n_test"], p["squared_error"]) for p in parts), SquaredError())
        recall = sum((MeanOverUsers(p["n_users_with_liked"], p["recall_total"]) for p in parts), MeanOverUsers())
        return {
            "rmse": error.rmse,
            "recall": recall.mean,
            "n_test_scored": error.n,
            "n_test_covered": sum(p["n_covered"] for p in parts),
            "n_users_with_liked": recall.n_users,
        }


def _rows(ratings: NarrowRows | csr_matrix, start: int, stop: int) -> csr_matrix:
    """Consecutive rows, wide."""
    if isinstance(ratings, NarrowRows):
        return ratings.part(start, stop).widen()
    return ratings[start:stop]


def _measured_path(block: int) -> str:
    return f"measured-{block:05d}.npy"


def summarise(users: NDArray[np.void]) -> dict[str, Any]:
    """Sums over a block of users, whose fields are those of `PER_USER`."""
    liked = users[users["n_liked"] > 0]
    return {
        "n_test": int(users["n_test"].sum()),
        "squared_error": float(users["squared_error"].sum()),
        "n_covered": int(users["n_covered"].sum()),
        "n_users_with_liked": len(liked),
        "recall_total": float((liked["n_hits"] / liked["n_liked"]).sum()),
    }


def measure_batch(
    scores: csr_matrix, watched: csr_matrix, test: csr_matrix, flags: NDArray[np.uint8], k: int, liked_from: float
) -> NDArray[np.void]:
    """Compare a batch's scores with its test ratings.

    Parameters
    ----------
    scores, watched, test : csr_matrix, shape (n, films)
        Scores of films (any order within a row), train ratings, test ratings (columns ascending).
    flags : uint8 array, shape (at least n * films,)
        Zeros; used as scratch and left as zeros.
    k : int
        Films recommended to each user.
    liked_from : float
        Test ratings of at least this are liked.

    Returns
    -------
    structured array, shape (n,)
        Fields of `PER_USER`.
    """
    n, n_items = scores.shape
    row_starts = np.arange(n, dtype=np.int64) * n_items
    watched_at = np.repeat(row_starts, np.diff(watched.indptr)) + watched.indices
    test_rows = row_numbers(test.indptr)
    test_at = row_starts[test_rows] + test.indices
    liked = test.data >= liked_from
    flags[watched_at] = _WATCHED
    flags[test_at] = np.where(liked, _LIKED, _TEST)

    at = np.repeat(row_starts, np.diff(scores.indptr)) + scores.indices
    flag = flags[at]
    tested = np.flatnonzero(flag >= _TEST)
    predicted = np.zeros(len(test_at), dtype=np.float32)
    covered = np.zeros(len(test_at), dtype=bool)
    place = np.searchsorted(test_at, at[tested])
    predicted[place] = scores.data[tested]
    covered[place] = True

    no_candidate = (flag == _WATCHED) | (scores.data == 0)
    candidates = np.where(no_candidate, np.float32(-np.inf), scores.data)
    best_rows, best = top_per_row(scores.indptr, scores.indices, candidates, k)
    hit = flag[best] == _LIKED
    flags[watched_at] = _UNSEEN
    flags[test_at] = _UNSEEN

    error = (predicted.astype(np.float64) - test.data) ** 2
    measured = np.empty(n, dtype=PER_USER)
    measured["n_test"] = np.diff(test.indptr)
    measured["squared_error"] = np.bincount(test_rows, error, minlength=n)
    measured["n_covered"] = np.bincount(test_rows[covered], minlength=n)
    measured["n_liked"] = np.bincount(test_rows[liked], minlength=n)
    measured["n_hits"] = np.bincount(best_rows[hit], minlength=n)
    return measured
