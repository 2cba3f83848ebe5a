"""Neighbours and train -> how well the test ratings are predicted and liked test items found; baselines beside it.

All items that any neighbour rated are scored, and the best kept, user by user. Ratings are those of the predict stage;
with the notebook's model the scores are taken for them, too: an item that no neighbour rated scores 0.

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
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.artifacts.names import TIMES, USER_TABLES, user_table_path
from engine.artifacts.readers import Matrix, Nearest, NearItems, Predictions, Refined, read_biases, read_together
from engine.artifacts.records import chosen_ranking, is_implicit, settled_liked_from
from engine.artifacts.tables import user_ids
from engine.chunked import arrays
from engine.chunked.csr import NarrowRows
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.kernels.rows import lists_of
from engine.model.evaluation import RANKED, Baselines, figures_of, measure_users, summarise
from engine.model.metrics import Mean, self_information
from engine.model.popularity import by_popularity
from engine.model.prediction import Predicted
from engine.model.ranking import Ranking
from engine.model.sizes import READ_RATINGS
from engine.stages.gathering import Block, RatingsOfNeighbors


class _Shared(NamedTuple):
    """What is asked, and how, and what it is compared with."""

    ratings: RatingsOfNeighbors
    ranking: Ranking
    baselines: Baselines


class _OfTask(NamedTuple):
    """What is read once of a task's users, from user ``start`` on, and what is counted of them."""

    start: int
    test: NarrowRows
    vectors: NDArray[np.float32] | None
    counts: NDArray[np.int64]

    def of(self, start: int, stop: int) -> tuple[NarrowRows, NDArray[np.float32] | None]:
        """Test ratings and vectors of some users."""
        first, last = start - self.start, stop - self.start
        return self.test.part(first, last), None if self.vectors is None else self.vectors[first:last]


class EvaluateStage:
    """One task a block of users, then the means."""

    def __init__(self, inputs: Inputs[config.Evaluate]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._own = inputs.own
        self._upstream = inputs.upstream
        self._votes = inputs.params.model == "votes"
        self._implicit = is_implicit(inputs.upstream["matrix"])
        self._liked_from = settled_liked_from(inputs.params.liked_from, inputs.upstream["matrix"])
        matrix = Matrix(inputs.upstream["matrix"])
        self._train, self._test = matrix.train, matrix.test
        self._neighbors = Nearest(inputs.upstream["neighbors"])
        self._refined = Refined(inputs.upstream["refine"]) if "refine" in inputs.upstream else None
        self._predictions = Predictions(inputs.upstream["predict"]) if "predict" in inputs.upstream else None

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        yield Round("users", plan["users"], self._users, self._load, self._load, until="mean")
        yield Round("mean", plan["mean"], self._mean)

    def _load(self, room: int = 0) -> _Shared:
        counts = self._train.count_columns(READ_RATINGS)
        near = NearItems(self._upstream["item_neighbors"]).inverted() if self._votes else None
        baselines = Baselines(
            by_popularity(counts),
            None if self._implicit else read_biases(self._upstream["biases"]),
            self_information(counts, self._train.shape[0]),
        )
        item_vectors = None if self._refined is None else self._refined.item_factors()
        parameters = chosen_ranking(self._section.ranking_parameters(self._liked_from), self._upstream)
        together = read_together(self._upstream, parameters.blend.together) if self._votes else None
        ranking = Ranking.of(parameters, counts, near, item_vectors, together)
        return _Shared(RatingsOfNeighbors(self._train, self._neighbors, room), ranking, baselines)

    def _users(self, index: int, context: TaskContext) -> None:
        start = index * self._section.users_per_task
        stop = min(start + self._section.users_per_task, self._train.shape[0])
        counts = np.zeros((len(RANKED), self._train.shape[1]), dtype=np.int64)
        vectors = None if self._refined is None else arrays.read_rows(self._refined.vectors, start, stop)
        of_task = _OfTask(start, self._test.read(start, stop), vectors, counts)
        measure = partial(self._measure, context.shared, of_task)
        measured = context.shared.ratings.each(start, stop, context.batch_rows, context.reads, measure)
        np.save(context.scratch / _measured_path(index), np.concatenate(measured))
        np.save(context.scratch / _counts_path(index), counts)

    def _measure(self, shared: _Shared, of_task: _OfTask, block: Block) -> NDArray[np.void]:
        """Measure a block of users, and count the items recommended to them."""
        start, stop, own = block.start, block.stop, block.own
        test, vectors = of_task.of(start, stop)
        wanted = None if self._votes else lists_of(test)
        ranked = shared.ranking.rank(
            block.ratings,
            block.neighbors,
            block.similarities,
            own,
            lists_of(own),
            self._section.k,
            wanted,
            vectors,
            fill=self._votes,  # the notebook's lists end with its candidates
        )
        predicted: Predicted | None = None
        if self._implicit:
            pass
        elif self._votes:
            assert self._predictions is not None
            predicted = self._predictions.read(self._test.indptr, start, stop)
        else:
            predicted = Predicted(ranked.wanted, ranked.wanted != 0)
        return measure_users(
            ranked.items, predicted, own, test, shared.baselines, start, self._liked_from, of_task.counts
        )

    def _mean(self, index: int, context: TaskContext) -> dict[str, Any]:
        from engine.stages.tables import write_users  # Polars, which scoring has no room for

        n_users, n_items = self._train.shape
        lengths, per_task = self._section.lengths, self._section.users_per_task
        ids = user_ids(self._upstream["ingest"])
        means: dict[str, dict[str, Mean]] = {}
        n_liked = n_test = 0
        counts = np.zeros((len(RANKED), n_items), dtype=np.int64)
        (context.scratch / USER_TABLES).mkdir()
        for block in range(-(-n_users // per_task)):
            table, of_block = summarise(np.load(self._own.path(_measured_path(block))), lengths, self._implicit)
            for name, found in of_block.items():
                known = means.setdefault(name, dict.fromkeys(found, Mean()))
                means[name] = {figure: known[figure] + mean for figure, mean in found.items()}
            path = context.scratch / user_table_path(block)
            write_users(path, ids[block * per_task : (block + 1) * per_task], table)
            counts += np.load(self._own.path(_counts_path(block)))
            n_liked += int(table["n_liked"].sum())
            n_test += int(table["n_test"].sum())
        np.save(context.scratch / TIMES, counts[RANKED.index("model")])
        found = _result(means, dict(zip(RANKED, counts, strict=True)), self._section.k)
        return found | {"n_test_scored": n_test} | ({"n_liked": n_liked} if self._votes else {})


def _result(means: dict[str, dict[str, Mean]], counts: dict[str, NDArray[np.int64]], k: int) -> dict[str, Any]:
    """The figures of the model and each baseline, and what they are of."""
    figures, model = figures_of(means, counts), means["model"]
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
