"""Neighbours and train -> how well the test ratings are predicted and liked test items found; baselines beside it.

One sparse product per batch of users scores all items any neighbour rated. Ratings are those of the predict stage; with
the notebook's model the scores are taken for them, too: an item that no neighbour rated scores 0.

Test ratings are those whose item occurs in train. Candidates are the train items with a score other than 0 (those some
neighbour rated), without the user's own train items. ``docs/metrics.md`` has all definitions.

Files
-----
``users/00000.parquet``, ...
    For each user, by original id, the columns in ``docs/metrics.md``.
``recommended.npy``
    How many users each item is recommended to: int64, in order of column.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from engine import config
from engine.artifacts.names import TIMES, USER_TABLES, user_table_path
from engine.artifacts.readers import Matrix, Nearest, NearItems, read_biases, read_predictions
from engine.artifacts.tables import user_ids
from engine.chunked.csr import NarrowRows
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.model.evaluation import RANKED, Baselines, measure_batch, per_user, summarise
from engine.model.metrics import Mean, gini, item_coverage, self_information
from engine.model.popularity import Popularity
from engine.model.prediction import Predicted
from engine.model.ranking import Ranking, Voters, weigh_votes
from engine.model.scoring import cut_by_work, multiply_adds, weighted_sums
from engine.model.sizes import ASK_USERS, READ_RATINGS, READ_USERS, SCORE_USERS


class _Shared(NamedTuple):
    """What is asked, and how, and what it is compared with."""

    voters: Voters | NarrowRows | csr_matrix
    ranking: Ranking
    baselines: Baselines


class _Block(NamedTuple):
    """What is stored of some users, the first of whom has code ``start``."""

    start: int
    ids: NDArray[np.int32]
    similarities: NDArray[np.float32]
    watched: NarrowRows
    test: NarrowRows
    predicted: Predicted | None


class EvaluateStage:
    """One task a block of users, then the means."""

    def __init__(self, inputs: Inputs[config.Evaluate]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._own = inputs.own
        self._upstream = inputs.upstream
        self._votes = inputs.params.model == "votes"
        matrix = Matrix(inputs.upstream["matrix"])
        self._train, self._test = matrix.train, matrix.test
        self._neighbors = Nearest(inputs.upstream["neighbors"])

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        yield Round("users", plan["users"], self._users, self._load, self._load_wide, until="mean")
        yield Round("mean", plan["mean"], self._mean)

    def _load(self) -> _Shared:
        ratings, counts = self._train.read(0, self._train.shape[0]), self._counts()
        ranking = Ranking.of(self._section.ranking_parameters, counts)
        return _Shared(ranking.voters(ratings, self._near()), ranking, self._baselines(counts))

    def _load_wide(self) -> _Shared:
        near = self._near()
        voters = self._train.read_wide(READ_RATINGS, None if near is None else near.widen())
        counts = self._counts()
        ranking = Ranking.of(self._section.ranking_parameters, counts)
        if self._votes:
            for start in range(0, self._train.nnz, READ_RATINGS):
                some = slice(start, min(start + READ_RATINGS, self._train.nnz))
                weigh_votes(ranking, voters.indices[some], voters.data[some])
        return _Shared(voters, ranking, self._baselines(counts))

    def _near(self) -> NarrowRows | None:
        return NearItems(self._upstream["item_neighbors"]).inverted() if self._votes else None

    def _counts(self) -> NDArray[np.int64]:
        return self._train.count_columns(READ_RATINGS)

    def _baselines(self, counts: NDArray[np.int64]) -> Baselines:
        information = self_information(counts, self._train.shape[0])
        return Baselines(Popularity.of(counts), read_biases(self._upstream["biases"]), information)

    def _users(self, index: int, context: TaskContext) -> None:
        start = index * self._section.users_per_task
        stop = min(start + self._section.users_per_task, self._train.shape[0])
        counts = np.zeros((len(RANKED), self._train.shape[1]), dtype=np.int64)
        measured = []
        for first in range(start, stop, READ_USERS):
            block = self._read(first, min(first + READ_USERS, stop))
            n = len(block.ids)
            asked = ((at, min(at + ASK_USERS, n)) for at in range(0, n, ASK_USERS))
            measured += [self._measure(block, at, end, counts, context) for at, end in asked]
        np.save(context.scratch / _measured_path(index), np.concatenate(measured))
        np.save(context.scratch / _counts_path(index), counts)

    def _read(self, start: int, stop: int) -> _Block:
        ids, similarities = self._neighbors.read(start, stop)
        watched, test = self._train.read(start, stop), self._test.read(start, stop)
        predicted = read_predictions(self._upstream["predict"], self._test.indptr, start, stop) if self._votes else None
        return _Block(start, ids, similarities, watched, test, predicted)

    def _measure(
        self, block: _Block, start: int, stop: int, counts: NDArray[np.int64], context: TaskContext
    ) -> NDArray[np.void]:
        """Measure users ``start`` to ``stop`` of a block, and count the items recommended to them."""
        voters, ranking, baselines = context.shared
        watched, test = block.watched.part(start, stop).widen(), block.test
        asking = ranking.ask(block.ids[start:stop], block.similarities[start:stop], watched, self._train.shape[0])
        work = multiply_adds(np.diff(voters.indptr), asking)
        batches = cut_by_work(work, context.batch_rows, SCORE_USERS)
        flags = np.zeros(max(last - first for first, last in batches) * self._train.shape[1], dtype=np.uint8)
        measured = np.empty(stop - start, dtype=per_user(self._section.k))
        for first, last in batches:
            of_batch = slice(test.indptr[start + first], test.indptr[start + last])
            measured[first:last] = measure_batch(
                weighted_sums(voters, asking[first:last]),
                watched[first:last],
                test.part(start + first, start + last).widen(),
                flags,
                baselines,
                block.start + start + first,
                self._section.k,
                self._section.liked_from,
                counts,
                None if block.predicted is None else block.predicted.part(of_batch),
            )
        return measured

    def _mean(self, index: int, context: TaskContext) -> dict[str, Any]:
        from engine.stages.tables import write_users  # Polars, which scoring has no room for

        n_users, n_items = self._train.shape
        lengths, per_task = self._section.lengths, self._section.users_per_task
        ids = user_ids(self._upstream["ingest"])
        means: dict[str, dict[str, Mean]] = {}
        counts = np.zeros((len(RANKED), n_items), dtype=np.int64)
        (context.scratch / USER_TABLES).mkdir()
        for block in range(-(-n_users // per_task)):
            table, of_block = summarise(np.load(self._own.path(_measured_path(block))), lengths)
            for name, found in of_block.items():
                known = means.setdefault(name, dict.fromkeys(found, Mean()))
                means[name] = {figure: known[figure] + mean for figure, mean in found.items()}
            path = context.scratch / user_table_path(block)
            write_users(path, ids[block * per_task : (block + 1) * per_task], table)
            counts += np.load(self._own.path(_counts_path(block)))
        np.save(context.scratch / TIMES, counts[RANKED.index("model")])
        return _result(means, dict(zip(RANKED, counts, strict=True)), self._section.k)


def _result(means: dict[str, dict[str, Mean]], counts: dict[str, NDArray[np.int64]], k: int) -> dict[str, Any]:
    """The figures of the model and each baseline, and what they are of."""
    figures: dict[str, dict[str, Any]] = {}
    for name, found in means.items():
        rmse = {"rmse": found["mse"].root()} if "mse" in found else {}
        figures[name] = rmse | {figure: mean.figure() for figure, mean in found.items() if figure != "mse"}
    for name, times in counts.items():
        of = {"standard_error": None, "n_users": figures[name]["novelty"]["n_users"]}
        figures[name]["item_coverage"] = {"value": item_coverage(times)} | of
        figures[name]["gini"] = {"value": gini(times)} | of
    model = means["model"]
    return {
        "rmse": figures["model"]["rmse"]["value"],
        "recall": figures["model"][f"recall_at_{k}"]["value"],
        "n_test_scored": model["mse"].n,
        "n_test_covered": int(model["coverage"].total),
        "n_users_with_liked": model[f"recall_at_{k}"].n_users,
        "figures": figures,
    }


def _measured_path(block: int) -> str:
    return f"measured-{block:05d}.npy"


def _counts_path(block: int) -> str:
    return f"counts-{block:05d}.npy"
