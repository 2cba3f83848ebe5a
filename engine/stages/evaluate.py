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

from collections.abc import Callable, Iterator
from dataclasses import astuple
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.artifacts.names import TIMES, USER_TABLES, user_table_path
from engine.artifacts.readers import Index, Matrix, Nearest, NearItems, Predictions, Refined, read_biases, read_together
from engine.artifacts.records import chosen_ranking, is_implicit, settled_liked_from
from engine.chunked import arrays
from engine.chunked.array_files import load_array
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.kernels.rows import lists_of
from engine.model.counting import tables_per_task
from engine.model.evaluation import RANKED, Baselines, figures_of, measure_users, per_user, summarise
from engine.model.metrics import Mean, self_information
from engine.model.popularity import by_popularity
from engine.model.prediction import Predicted
from engine.model.ranking import Ranking
from engine.model.sizes import GATHERED_ROW, READ_RATINGS
from engine.stages.gathered import GatheredFiles, Needed, Tested
from engine.stages.gathering import Block, RatingsOfNeighbors, Users


class _Shared(NamedTuple):
    """What is asked, and how, and what it is compared with."""

    ratings: RatingsOfNeighbors
    tested: Callable[[NDArray[np.int64]], Tested]
    ranking: Ranking
    baselines: Baselines


class _OfTask(NamedTuple):
    """What is read once of a task's users, in order of code, and what is counted of them."""

    tested: Tested
    vectors: NDArray[np.float32] | None
    counts: NDArray[np.int64]


class EvaluateStage:
    """One task a block of users as they are scored; a table of each block as they are numbered; then the means.

    Where users are very many, what those of a group of tasks need is put together first.
    """

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
        self._predictions = Predictions(inputs.upstream["predict"]) if self._votes and not self._implicit else None
        self._index = Index(inputs.upstream["index"])
        self._by_cluster = self._neighbors.by_cluster

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        if "users" in plan:
            yield Round("users", plan["users"], partial(self._users, 0), self._load, self._load, until="mean")
        for group, first in enumerate(self._groups() if "users" not in plan else ()):
            gather, users = f"gather-{group}", f"users-{group}"
            yield Round(gather, plan[gather], self._gather, partial(self._load_needed, group), until=users)
            load = partial(self._load_group, group)
            yield Round(users, plan[users], partial(self._users, first), load, until="mean")
        yield Round("tables", plan["tables"], self._tables)
        yield Round("mean", plan["mean"], self._mean)

    def _load(self, room: int = 0) -> _Shared:
        tested = partial(Tested.read, self._test, self._predictions)
        return self._shared(RatingsOfNeighbors(self._train, self._neighbors, room), tested)

    def _load_group(self, group: int) -> _Shared:
        gathered, own = self._gathered(group), self._own_of(group)
        return self._shared(
            RatingsOfNeighbors(self._train, self._neighbors, 0, gathered), partial(gathered.tested, own)
        )

    def _shared(self, ratings: RatingsOfNeighbors, tested: Callable[[NDArray[np.int64]], Tested]) -> _Shared:
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
        return _Shared(ratings, tested, ranking, baselines)

    def _groups(self) -> list[int]:
        """The first task of each group."""
        n_tasks = -(-self._train.shape[0] // self._section.users_per_task)
        return list(range(0, n_tasks, self._section.tasks_per_group))

    def _rows_of(self, group: int) -> tuple[int, int]:
        """Users of a group, in the order in which they are scored."""
        edges = [*(first * self._section.users_per_task for first in self._groups()), self._train.shape[0]]
        return edges[group], edges[group + 1]

    def _own_of(self, group: int) -> NDArray[np.int64]:
        """Codes of the users of a group, ascending."""
        start, stop = self._rows_of(group)
        return np.sort(self._index.codes(start, stop)).astype(np.int64) if self._by_cluster else np.arange(start, stop)

    def _gathered(self, group: int) -> GatheredFiles:
        ranges = self._train.split_rows(self._inputs.plan()[f"gather-{group}"].n_tasks, GATHERED_ROW)
        return GatheredFiles(self._own, group, ranges, self._train, self._test, self._predictions)

    def _needed(self, group: int) -> Needed:
        own, (start, stop) = self._own_of(group), self._rows_of(group)
        marked = np.zeros(self._train.shape[0], dtype=bool)
        marked[own] = True
        for first in range(start, stop, self._section.users_per_task):
            ids = arrays.read_rows(self._neighbors.ids, first, min(first + self._section.users_per_task, stop))
            marked[ids[ids >= 0]] = True
        return Needed(own, marked)

    def _load_needed(self, group: int) -> tuple[GatheredFiles, Needed]:
        return self._gathered(group), self._needed(group)

    def _gather(self, index: int, context: TaskContext) -> None:
        files, needed = context.shared
        files.write(index, needed, context.scratch)

    def _users_of(self, index: int) -> tuple[Users, NDArray[np.float32] | None]:
        """Users of a task and their vectors: those of some clusters, which share neighbours, where there are any."""
        start = index * self._section.users_per_task
        stop = min(start + self._section.users_per_task, self._train.shape[0])
        if not self._by_cluster:
            found = None if self._refined is None else arrays.read_rows(self._refined.vectors, start, stop)
            return Users.between(start, stop), found
        users = Users.in_order(self._index.codes(start, stop))
        return users, None if self._refined is None else users.by_code(self._index.vectors(start, stop))

    def _users(self, first_task: int, number: int, context: TaskContext) -> None:
        index = first_task + number
        users, vectors = self._users_of(index)
        counts = np.zeros((len(RANKED), self._train.shape[1]), dtype=np.int64)
        of_task = _OfTask(context.shared.tested(users.codes), vectors, counts)
        measure = partial(self._measure, context.shared, of_task)
        found = np.concatenate(context.shared.ratings.each(users, context.batch_rows, context.reads, measure))
        if self._by_cluster:
            np.save(context.scratch / _codes_path(index), users.codes.astype(np.int32))
        np.save(context.scratch / _measured_path(index), users.by_code(found))
        np.save(context.scratch / _counts_path(index), of_task.counts)

    def _measure(self, shared: _Shared, of_task: _OfTask, block: Block) -> NDArray[np.void]:
        """Measure a block of users, and count the items recommended to them."""
        own, (test, predicted) = block.own, of_task.tested.take(block.places)
        wanted = None if self._votes else lists_of(test)
        ranked = shared.ranking.rank(
            block.ratings,
            block.neighbors,
            block.similarities,
            own,
            lists_of(own),
            self._section.k,
            wanted,
            None if of_task.vectors is None else of_task.vectors[block.places],
            fill=self._votes,  # the notebook's lists end with its candidates
        )
        if predicted is None and not self._implicit:
            predicted = Predicted(ranked.wanted, ranked.wanted != 0)
        return measure_users(
            ranked.items, predicted, own, test, shared.baselines, block.codes, self._liked_from, of_task.counts
        )

    def _measured(self, start: int, stop: int) -> NDArray[np.void]:
        """What was measured of users ``start`` to ``stop``."""
        found = np.empty(stop - start, dtype=per_user(min(self._section.k, self._train.shape[1])))
        for task, first in enumerate(range(0, self._train.shape[0], self._section.users_per_task)):
            if self._by_cluster:
                codes = load_array(self._own.path(_codes_path(task)))
            elif start <= first < stop:
                codes = np.arange(first, min(first + self._section.users_per_task, stop))
            else:
                continue
            low, high = np.searchsorted(codes, [start, stop])
            measured = load_array(self._own.path(_measured_path(task)), mmap_mode="r")
            found[codes[low:high] - start] = measured[low:high]
        return found

    def _tables(self, index: int, context: TaskContext) -> dict[str, Any]:
        """The tables of some blocks of users, and what each adds to the means."""
        per_task, n_users = self._section.users_per_task, self._train.shape[0]
        users = tables_per_task(per_task) * per_task
        start, stop = index * users, min((index + 1) * users, n_users)
        measured = self._measured(start, stop)
        (context.scratch / USER_TABLES).mkdir()
        blocks = range(start, stop, per_task)
        found = [self._table(first, measured[first - start :][:per_task], context) for first in blocks]
        return {"blocks": found}

    def _table(self, start: int, measured: NDArray[np.void], context: TaskContext) -> dict[str, Any]:
        """The table of the users from ``start`` on, and what it adds to the means."""
        from engine.artifacts.tables import user_ids_between
        from engine.stages.tables import write_users  # Polars, which scoring has no room for

        table, means = summarise(measured, self._section.lengths, self._implicit)
        ids = user_ids_between(self._upstream["ingest"], start, start + len(measured))
        write_users(context.scratch / user_table_path(start // self._section.users_per_task), ids, table)
        added = {name: {figure: astuple(mean) for figure, mean in each.items()} for name, each in means.items()}
        return {"means": added, "n_liked": int(table["n_liked"].sum()), "n_test": int(table["n_test"].sum())}

    def _mean(self, index: int, context: TaskContext) -> dict[str, Any]:
        blocks = [block for task in self._own.results("tables") for block in task["blocks"]]
        means: dict[str, dict[str, Mean]] = {}
        counts = np.zeros((len(RANKED), self._train.shape[1]), dtype=np.int64)
        for number, block in enumerate(blocks):
            for name, found in block["means"].items():
                known = means.setdefault(name, dict.fromkeys(found, Mean()))
                means[name] = {figure: known[figure] + Mean(*mean) for figure, mean in found.items()}
            counts += load_array(self._own.path(_counts_path(number)))
        np.save(context.scratch / TIMES, counts[RANKED.index("model")])
        found = _result(means, dict(zip(RANKED, counts, strict=True)), self._section.k)
        n_test, n_liked = (sum(block[name] for block in blocks) for name in ("n_test", "n_liked"))
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


def _codes_path(task: int) -> str:
    return f"codes-{task:05d}.npy"


def _measured_path(task: int) -> str:
    return f"measured-{task:05d}.npy"


def _counts_path(task: int) -> str:
    return f"counts-{task:05d}.npy"
