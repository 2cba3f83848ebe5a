"""Train, neighbours, biases, nearest items -> the best items for every user.

No part of a run: `engine.serving.everybody` runs it when asked. A user's list is the one that
`engine.serving.recommender` gives.

Files
-----
``recommended.parquet``
    A row an item, users in order of code, best first: ``user`` and ``item`` (original ids), ``rank`` (uint32, from 1),
    ``predicted`` (float32, rating; with the notebook's model the score), ``score`` (float32), ``n_raters`` of the
    user's ``n_neighbors`` (uint32) who rated the item, ``mean_rating`` (float32) of theirs, ``n_ratings`` (uint32), the
    item's train ratings, and ``popular`` (bool): whether it is there for being popular, in the list of who would have
    none; it has no score then. ``reason`` (one of `engine.model.reasons.REASONS`): what added most to the score;
    ``reason_item`` (original id) and ``reason_rating`` (float32): the item of the user's own and what the user gave it,
    where that is the reason. With implicit feedback ``predicted``, ``mean_rating`` and ``reason_rating`` are null.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.artifacts.names import RECOMMENDED
from engine.artifacts.readers import Matrix, Nearest, NearItems, Refined, read_biases, read_latent, read_together
from engine.artifacts.records import chosen_ranking, chosen_rating, is_implicit, settled_liked_from
from engine.artifacts.tables import item_ids, user_ids
from engine.chunked import arrays
from engine.chunked.array_files import load_array
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.kernels.rows import joined, lists_of
from engine.kernels.scoring import count_opinions
from engine.model.prediction import Near, RatingModel
from engine.model.ranking import Ranking
from engine.model.reasons import REASONS, explain
from engine.model.sizes import READ_RATINGS, RECOMMEND_ROW_GROUP
from engine.stages.gathering import Block, RatingsOfNeighbors, Users
from engine.stages.predicting import predict_block

_RANKED = np.dtype(
    [
        ("user", "u4"),
        ("item", "i4"),
        ("rank", "u4"),
        ("score", "f4"),
        ("n_raters", "u4"),
        ("n_neighbors", "u4"),
        ("mean_rating", "f4"),
        ("n_ratings", "u4"),
        ("popular", "?"),
        ("reason", "u1"),
        ("reason_item", "i4"),
        ("reason_rating", "f4"),
    ]
)


class _Shared(NamedTuple):
    ratings: RatingsOfNeighbors
    ranking: Ranking
    counts: NDArray[np.int64]


class _Known(NamedTuple):
    """Original ids, and what ratings are predicted from; None with the notebook's model."""

    users: Any
    items: Any
    model: RatingModel | None


class RecommendStage:
    """Two tasks a block of users, one that ranks and one that predicts; then one that joins."""

    def __init__(self, inputs: Inputs[config.Recommend]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._own = inputs.own
        self._upstream = inputs.upstream
        matrix = Matrix(inputs.upstream["matrix"])
        self._train, self._test = matrix.train, matrix.test
        self._neighbors = Nearest(inputs.upstream["neighbors"])
        self._refined = Refined(inputs.upstream["refine"]) if "refine" in inputs.upstream else None
        self._implicit = is_implicit(inputs.upstream["matrix"])
        self._n_blocks = -(-self._train.shape[0] // inputs.params.users_per_task)

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        yield Round("rank", plan["rank"], self._rank, self._load, self._load, until="join")
        yield Round("predict", plan["predict"], self._predict, self._load_known, until="join")
        yield Round("join", plan["join"], self._join)

    def _load(self, room: int = 0) -> _Shared:
        section = self._section.ranking
        given = section.ranking_parameters(settled_liked_from(section.liked_from, self._upstream["matrix"]))
        parameters = chosen_ranking(given, self._upstream)
        near = NearItems(self._upstream["item_neighbors"]).inverted() if parameters.votes else None
        item_vectors = None if self._refined is None else self._refined.item_factors()
        counts = self._train.count_columns(READ_RATINGS)
        together = read_together(self._upstream, parameters.blend.together) if parameters.votes else None
        ranking = Ranking.of(parameters, counts, near, item_vectors, together)
        return _Shared(RatingsOfNeighbors(self._train, self._neighbors, room), ranking, counts)

    def _bounds(self, index: int) -> tuple[int, int]:
        start = index * self._section.users_per_task
        return start, min(start + self._section.users_per_task, self._train.shape[0])

    def _rank(self, index: int, context: TaskContext) -> None:
        start, stop = self._bounds(index)
        vectors = None if self._refined is None else arrays.read_rows(self._refined.vectors, start, stop)
        rank = partial(self._lists, context.shared, vectors)
        lists = context.shared.ratings.each(Users.between(start, stop), context.batch_rows, context.reads, rank)
        np.save(context.scratch / _ranked_path(index), np.concatenate(lists))

    def _lists(self, shared: _Shared, of_task: NDArray[np.float32] | None, block: Block) -> NDArray[np.void]:
        """Rank items for a block of users; ``of_task`` are the vectors of a task's users."""
        own, neighbors = block.own, block.neighbors
        taken = lists_of(own) if self._section.include_test else joined(own, self._test.read_some(block.codes))
        vectors = None if of_task is None else of_task[block.places]
        k, fill = self._section.k, self._section.on_empty == "popular"
        found = shared.ranking.rank(
            block.ratings, neighbors, block.similarities, own, taken, k, vectors=vectors, fill=fill, explain=True
        )
        reasons = explain(shared.ranking, own, found)
        n_raters, mean_ratings = count_opinions(block.ratings, neighbors, found.items)
        users, ranks = np.nonzero(found.items >= 0)
        lists = np.empty(len(users), dtype=_RANKED)
        lists["user"], lists["rank"] = block.codes[users], ranks + 1
        lists["n_neighbors"] = (neighbors >= 0).sum(axis=1)[users]
        lists["item"], lists["score"] = found.items[users, ranks], found.scores[users, ranks]
        lists["n_raters"], lists["mean_rating"] = n_raters[users, ranks], mean_ratings[users, ranks]
        lists["n_ratings"], lists["popular"] = shared.counts[lists["item"]], np.isnan(lists["score"])
        lists["reason"], lists["reason_item"] = reasons.kinds[users, ranks], reasons.items[users, ranks]
        lists["reason_rating"] = reasons.ratings[users, ranks]
        return lists

    def _load_known(self) -> _Known:
        users, items = user_ids(self._upstream["ingest"]), item_ids(self._upstream["matrix"])
        if "item_neighbors" not in self._upstream or self._implicit:
            return _Known(users, items, None)
        prediction = self._section.prediction
        near = Near(*Nearest(self._upstream["item_neighbors"]).read(0, self._train.shape[1]), prediction.shrink)
        biases, weights = read_biases(self._upstream["biases"]), chosen_rating(prediction.weights, self._upstream)
        latent = read_latent(self._upstream, weights.latent)
        return _Known(users, items, RatingModel(biases, latent, near, weights))

    def _predict(self, index: int, context: TaskContext) -> None:
        import polars as pl  # late: ranking has no room for it in a small budget

        known: _Known = context.shared
        ranked = load_array(self._own.path(_ranked_path(index)))
        start, stop = self._bounds(index)
        predicted = ranked["score"] if known.model is None else self._ratings(known.model, start, stop, ranked)
        coded = ("user", "item", "reason", "reason_item")
        plain = {name: np.ascontiguousarray(ranked[name]) for name in _RANKED.names or () if name not in coded}
        liked = np.ascontiguousarray(ranked["reason_item"])
        rows = pl.DataFrame(
            {
                "user": known.users.gather(ranked["user"]),
                "rank": plain.pop("rank"),
                "item": known.items.gather(ranked["item"]),
                "predicted": np.ascontiguousarray(predicted),
                **plain,
                "reason": pl.Series(REASONS).gather(ranked["reason"].astype(np.uint32)),
                "reason_item": known.items.gather(np.maximum(liked, 0)).set(pl.Series(liked < 0), None),
            }
        ).with_columns(pl.col("predicted", "score", "mean_rating", "reason_rating").fill_nan(None))
        if self._implicit:
            of_ratings = ("predicted", "mean_rating", "reason_rating")
            rows = rows.with_columns(pl.lit(None, pl.Float32).alias(name) for name in of_ratings)
        rows.write_parquet(context.scratch / _part_path(index))

    def _ratings(self, model: RatingModel, start: int, stop: int, ranked: NDArray[np.void]) -> NDArray[np.float32]:
        """Predicted ratings of a block's lists."""
        indptr, items = np.searchsorted(ranked["user"], np.arange(start, stop + 1)), ranked["item"]

        def listed(first: int, last: int) -> NDArray[np.int32]:
            return np.ascontiguousarray(items[indptr[first - start] : indptr[last - start]])

        return predict_block(model, self._train, start, indptr, listed).values

    def _join(self, index: int, context: TaskContext) -> dict[str, Any]:
        import polars as pl

        parts = pl.scan_parquet([self._own.path(_part_path(block)) for block in range(self._n_blocks)], glob=False)
        parts.sink_parquet(context.scratch / RECOMMENDED, row_group_size=RECOMMEND_ROW_GROUP)
        made = pl.scan_parquet(context.scratch / RECOMMENDED, glob=False)
        popular = (pl.col("popular") & (pl.col("rank") == 1)).sum()
        n_rows, n_popular = made.select(pl.len(), popular.alias("n")).collect(engine="streaming").row(0)
        return {"n_items": n_rows, "n_users": self._train.shape[0], "n_popular": n_popular}


def _ranked_path(block: int) -> str:
    """The best items of a block of users, in codes."""
    return f"ranked-{block:05d}.npy"


def _part_path(block: int) -> str:
    """The same with original ids and predicted ratings."""
    return f"part-{block:05d}.parquet"
