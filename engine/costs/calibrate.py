"""Memory of the step that chooses weights: a small model of some users' ratings."""

from __future__ import annotations

from engine.chunked.budget import MIB, Cost
from engine.chunked.task import Planned
from engine.config import Config
from engine.costs.common import (
    ZARR,
    Plan,
    Shapes,
    column_bytes,
    dims_of,
    n_train,
    residual_dims,
    scaled_value,
    target_bytes,
    total,
    vector_dims,
    wide_values,
    width_of,
)
from engine.model.index import nearest_kept
from engine.model.parameters import N_BLENDS
from engine.model.sizes import BIAS_RATINGS, GRAM_ROWS, SCORE_USERS, SMALL_ITEMS


def calibrate(settings: Config, shapes: Shapes) -> Plan:
    """A fold: ratings of some users, and one after the other what is fitted to them."""
    section = settings.calibrate
    ratings = min(n_train(settings, shapes), max(section.ratings, shapes.most_ratings))
    users, items = min(shapes.n_users, section.sample_users), min(shapes.n_items, section.sample_items)
    stored = column_bytes(shapes) + shapes.value_bytes
    kept_of_item = nearest_kept(settings.item_neighbors.k, items)
    of_rating = total(read=stored, kept=stored, numbers=8, random=8, rows=8, order=8, rank=8, repeated=8, masks=2)
    drawing = of_rating * ratings
    kept = total(
        rows=stored * ratings,
        held=stored * ratings,
        decomposed=scaled_value(settings) * ratings,
        loadings=4 * dims_of(settings, shapes) * items,
        near=total(ids=4, similarities=4) * kept_of_item * items,
        all_items=total(counts=8, order=8, places=8) * shapes.n_items,
        item_arrays=total(counts=8, biases=4, popularity=8, indptr=8) * items,
        sums=total(sums=9 * 8, counts=8) * users,
    )
    turning = total(places=4, order=8, users=8 + 4 + 4, sorted=8, of_items=4 + shapes.value_bytes) * ratings
    decomposing = 3 * 4 * width_of(settings, shapes) * items + 8 * GRAM_ROWS * width_of(settings, shapes)
    dims = min(settings.item_neighbors.dims, dims_of(settings, shapes))
    block = min(SMALL_ITEMS, items)
    found = total(best=2 * (4 + 4), result=4 + 4, without_nan=4) * kept_of_item
    nearest = total(vectors=3 * 4 * dims * items, best=found * block)
    biases = total(left=8, of_items=8, columns=8) * min(ratings, BIAS_RATINGS + shapes.most_ratings)
    targets = target_bytes(settings, shapes) * ratings
    fitted = total(fitted=4, sums=4, residuals=4, directions=4) * items + total(fitted=4) * users
    fitting = targets + residual_dims(settings, shapes) * fitted
    some = min(users, SCORE_USERS)
    lists = (4 + 4) * N_BLENDS * min(settings.evaluate.k, items)
    asking = total(lists=lists, near=3 * 8 * nearest_kept(settings.neighbors.k, users)) * some
    # Vectors are fitted, then users ranked with them.
    inverted = total(indices=4, data=4, transposed=16) * min(settings.item_neighbors.ranking_k, items) * items
    refining = inverted + targets + vector_dims(settings, shapes) * fitted
    ranking = total(
        inverted=inverted,
        vectors=vector_dims(settings, shapes) * total(items=4, users=4, unit=4) * max(items, users),
        of_items=turning,
        together=total(ids=4, similarities=4, stored=4 + 1, places=8 + 1, ids_there=4, steps=3 * 4)
        * nearest_kept(settings.cooccurrence.k, items)
        * items,
        scores=total(cells=8, touched=4, places=4) * items,
        asking=asking,
    )
    steps = max(drawing, decomposing, nearest, biases, fitting, refining, ranking)
    fold = total(zarr=ZARR, wide_values=wide_values(settings, shapes), kept=kept, step=steps, indptr=8 * shapes.n_users)
    choosing = total(zarr=ZARR, numpy=8 * MIB, sums=2 * total(sums=9 * 8, counts=8) * users * section.folds)
    recalls = 3 * 8 * N_BLENDS * min(users, section.users) * section.folds
    return {"fold": Planned(section.folds, Cost(task=fold)), "choose": Planned(1, Cost(task=choosing + recalls))}
