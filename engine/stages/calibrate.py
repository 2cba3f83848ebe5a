"""Train CSR -> weights of the model's parts, chosen on ratings held out of train.

Each fold fits a small model to some users' ratings without a random share of them, and notes what every choice of
weights makes of that share. It never sees a test rating. Users of the folds are the same, what is held out differs.
The sample is bounded, so that the time this takes does not grow with the data.

Files
-----
``ratings-0.npz``, ...
    Of each user: sums of products of what the bias model leaves and of the parts of a predicted rating; how many
    ratings were held out.
``recalls-0.npy``, ...
    float32 (users, blends): recall of each choice of weights that items are ranked by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import config
from engine.artifacts.names import fold_ratings_path, fold_recalls_path
from engine.artifacts.readers import Matrix, read_held_out
from engine.artifacts.records import Scale, is_implicit, settled_liked_from
from engine.chunked.csr import NarrowRows
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.kernels.products import times_dense
from engine.kernels.rows import lists_of
from engine.model import small
from engine.model.biases import fit_biases
from engine.model.calibration import (
    Float64,
    choose_ranking,
    choose_rating,
    hold_out,
    rating_sums,
    recalls_of,
    sample_users,
    without_rare,
)
from engine.model.cooccurrence import together, together_rows
from engine.model.factors import unit_rows
from engine.model.item_neighbors import near_rows
from engine.model.parameters import blends
from engine.model.prediction import Latent, Near, RatingModel, rating_parts
from engine.model.ranking import Ranking
from engine.model.refine import preferences, starting_vectors
from engine.model.residuals import Residuals, deviation
from engine.model.scale import scaled
from engine.model.scoring import row_numbers
from engine.model.sizes import PREDICT_USERS, SCORE_USERS

Float32 = NDArray[np.float32]


class _Shared(NamedTuple):
    """Ratings that models are fitted to, the same as they are decomposed, and their SVD."""

    rows: NarrowRows
    decomposed: NarrowRows
    counts: NDArray[np.int64]
    loadings: Float32
    values: NDArray[np.float64]
    magnitude: float

    def start(self, dims: int) -> Float32:
        """Item vectors that alternating least squares start from."""
        return starting_vectors(self.loadings[:, :dims], self.values, self.magnitude)


class CalibrateStage:
    """A task a fold, then the choice."""

    def __init__(self, inputs: Inputs[config.Calibration]) -> None:
        self._inputs = inputs
        self._models = inputs.params
        self._section = inputs.params.calibrate
        self._own = inputs.own
        matrix = inputs.upstream["matrix"]
        self._train = Matrix(matrix).train
        self._scale = Scale.of(matrix) if self._models.factors.ratings == "scaled" else None
        evaluate, refine = self._models.evaluate, self._models.refine
        self._ranking = evaluate.ranking_parameters(settled_liked_from(evaluate.liked_from, matrix))
        self._implicit = is_implicit(matrix)
        self._preferred_from = settled_liked_from(refine.liked_from, matrix)
        self._blends = blends(self._ranking.blend, refine.sweeps > 0)

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        yield Round("fold", plan["fold"], self._fold)
        yield Round("choose", plan["choose"], self._choose)

    def _fold(self, fold: int, context: TaskContext) -> None:
        section = self._section
        users = sample_users(np.diff(self._train.indptr), section.ratings, section.sample_users, section.seed)
        # An item that one of these users has rated is either held out, and then unknown, or says nothing of others.
        rows = without_rare(self._train.read_some(users), 2, section.sample_items)
        left, held = hold_out(rows, section.held_out, section.min_ratings, section.seed + 1 + fold)
        sums, counts = np.zeros((0, 3, 3)), np.zeros(0, dtype=np.int64)
        recalls = np.empty((0, len(self._blends)), dtype=np.float32)
        if len(held.data):  # else there is too little to choose by
            shared = self._fit(left)
            near = self._near(shared)
            if not self._implicit:
                sums, counts = self._rate(shared, near, held)
            recalls = self._rank(shared, near, held, fold)
        np.savez(context.scratch / fold_ratings_path(fold), sums=sums, counts=counts)
        np.save(context.scratch / fold_recalls_path(fold), recalls)

    def _fit(self, rows: NarrowRows) -> _Shared:
        counts = np.bincount(rows.indices, minlength=rows.n_columns)
        decomposed = rows if self._scale is None else scaled(rows, self._scale.low, self._scale.high)
        magnitude = float(np.abs(decomposed.values().astype(np.float64)).sum()) / max(1, len(rows.data))
        loadings, values = small.decompose(decomposed, self._models.factors)
        return _Shared(rows, decomposed, counts, loadings, values, magnitude)

    def _near(self, shared: _Shared) -> Near:
        section = self._models.item_neighbors
        vectors = shared.loadings[:, : section.dims] * shared.values[: section.dims].astype(np.float32)
        found = small.nearest_items(unit_rows(vectors), shared.counts, section.k, section.shrink, section.min_ratings)
        return Near(*found, self._models.predict.shrink)

    def _rate(self, shared: _Shared, near: Near, held: NarrowRows) -> tuple[Float64, NDArray[np.int64]]:
        """Predict what was held out, some users at a time."""
        biases, residuals, rows = self._models.biases, self._models.residuals, shared.rows
        bias_model = fit_biases(rows, biases.passes, biases.user_damping, biases.item_damping)
        squares = float(np.square(rows.values().astype(np.float64)).sum())
        unit = deviation(squares, len(rows.data), bias_model.mean)
        objective = Residuals(bias_model, unit, residuals.strength)
        items = shared.start(residuals.dims)
        small.alternate(objective, rows, items, residuals.sweeps, residuals.steps)
        model = RatingModel(bias_model, Latent(items, unit, residuals.strength), near, self._models.predict.weights)
        n_users, sums = len(rows.indptr) - 1, []
        for first in range(0, n_users, PREDICT_USERS):
            last = min(first + PREDICT_USERS, n_users)
            asked = held.part(first, last)
            parts = rating_parts(model, rows.part(first, last), first, asked.indptr, asked.indices)
            sums.append(rating_sums(parts, asked.values(), row_numbers(asked.indptr), last - first))
        return np.concatenate(sums), np.diff(held.indptr)

    def _rank(self, shared: _Shared, near: Near, held: NarrowRows, fold: int) -> Float32:
        """Recall of what was held out and liked, by some of the users who have such ratings."""
        section, parameters, rows = self._models.refine, self._ranking, shared.rows
        near_k = self._models.item_neighbors.ranking_k
        inverted = near_rows(rows.n_columns, [(near.ids[:, :near_k], near.similarities[:, :near_k])])
        item_vectors = None
        if section.sweeps:
            shape = len(rows.indptr) - 1, rows.n_columns
            objective = preferences(section, self._preferred_from, self._implicit, *shape)
            item_vectors = shared.start(self._models.factors.dims)
            small.alternate(objective, rows, item_vectors, section.sweeps, section.steps)
            vectors = small.user_vectors(objective, rows, item_vectors)
        else:
            vectors = unit_rows(times_dense(shared.decomposed, shared.loadings))
        ranking = Ranking.of(parameters, shared.counts, inverted, item_vectors)
        items = np.arange(rows.n_columns, dtype=np.int32)
        found_together = together(
            self._models.cooccurrence, parameters.liked_from, rows, shared.counts, items, small.by_item(rows)
        )
        with_together = replace(ranking, together=together_rows(rows.n_columns, [found_together], 1))
        liked = held.values() >= parameters.liked_from
        n_liked = np.bincount(row_numbers(held.indptr)[liked], minlength=len(rows.indptr) - 1)
        users = np.flatnonzero(n_liked)
        drawn = np.random.default_rng(self._section.seed + fold).permutation(users)
        users = np.sort(drawn[: self._section.users])
        found = [
            self._recalls((ranking, with_together), rows, vectors, held, users[first : first + SCORE_USERS])
            for first in range(0, len(users), SCORE_USERS)
        ]
        return np.concatenate([np.empty((0, len(self._blends)), dtype=np.float32), *found])

    def _recalls(
        self,
        rankings: tuple[Ranking, Ranking],
        rows: NarrowRows,
        vectors: Float32,
        held: NarrowRows,
        users: NDArray[np.int64],
    ) -> Float32:
        """Recall of all weights, of those without what goes together by the first ranking, which does not know it."""
        k = self._models.evaluate.k
        neighbors, similarities = small.nearest(users.astype(np.int32), vectors, self._models.neighbors.k)
        own, test = rows.take(users), held.take(users)
        taken, of_users = lists_of(own), vectors[users]
        recalls = np.empty((len(users), len(self._blends)), dtype=np.float32)
        for ranking in rankings:
            which = [i for i, each in enumerate(self._blends) if bool(each.together) == (ranking.together is not None)]
            some = [self._blends[i] for i in which]
            found = ranking.rank(rows, neighbors, similarities, own, taken, k, vectors=of_users, blends=some)
            recalls[:, which] = recalls_of(found.items, test, ranking.parameters.liked_from)
        return recalls

    def _choose(self, index: int, context: TaskContext) -> dict[str, Any]:
        sums, counts, recalls = read_held_out(self._own, self._inputs.plan()["fold"].n_tasks)
        rating, ranking = choose_rating(sums, counts), choose_ranking(self._blends, recalls)
        return {
            "rating": msgspec.to_builtins(rating),
            "ranking": msgspec.to_builtins(ranking),
            "n_users": len(recalls),
            "n_ratings": int(sum(each.sum() for each in counts)),
        }
