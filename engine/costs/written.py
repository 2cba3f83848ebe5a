"""What stages write to disk."""

from __future__ import annotations

from engine.config import Config, Cooccurrence, Recommend, Refine, Residuals
from engine.costs.common import (
    Shapes,
    bias_parts,
    chunks,
    clusters_of,
    dims_of,
    graph_bytes,
    measured_bytes,
    n_near_items,
    n_near_users,
    n_test,
    n_together,
    n_train,
    residual_dims,
    total,
    vector_dims,
    width_of,
)
from engine.model.index import choose
from engine.model.parameters import N_BLENDS
from engine.model.sizes import PART_USER


def disk(settings: Config, shapes: Shapes) -> dict[str, int]:
    """Bytes each stage writes at most, temporary files included; what compression saves is not counted on."""
    n, users, items = shapes.n_ratings, shapes.n_users, shapes.n_items
    rows = max(n, shapes.n_rows)
    rating = total(user=4, item=4, rating=shapes.value_bytes)
    times = total(converted=8, partitioned=8) * settings.ingest.times
    near = total(ids=4, similarities=4, inverted=4 + 4)
    return {
        "ingest": total(
            converted=(8 + 8 + 8) * rows,
            partitioned=rating * n,
            times=times * rows,
            texts=shapes.source_bytes if shapes.texts else 0,
        ),
        "split": total(train_and_test=rating * n, held_out=n // 8),
        "matrix": total(indices=4, data=shapes.value_bytes) * n + total(train_indptr=8, test_indptr=8) * users,
        "factors": _decomposed(settings, shapes) + 4 * users * dims_of(settings, shapes),
        "refine": _refined(settings, settings.refine, vector_dims(settings, shapes), shapes)
        + 4 * users * vector_dims(settings, shapes),
        "index": _indexed(settings, shapes),
        "neighbors": total(ids=4, similarities=4) * users * n_near_users(settings, shapes),
        "biases": _biases(settings, shapes),
        "residuals": _refined(settings, settings.residuals, residual_dims(settings, shapes), shapes),
        "item_neighbors": near * items * (n_near_items(settings, shapes) + 1),  # one more: counts and row pointers
        "cooccurrence": _by_item(settings.cooccurrence, settings, shapes)
        + total(found=4 + 4, together=4 + 1) * n_together(settings, shapes) * (items + 1)
        + total(indptr=8, scales=4) * items,
        "predict": total(predicted=4, covered=1) * n_test(settings, shapes),
        "calibrate": total(sums=9 * 8 + 8, recalls=4 * N_BLENDS) * users * settings.calibrate.folds,
        "evaluate": _evaluated(settings, shapes),
    }


def _evaluated(settings: Config, shapes: Shapes) -> int:
    lengths = len(settings.evaluate.lengths)
    user = total(measured=measured_bytes(settings, shapes), code=4, columns=8 * 8, of_lengths=2 * (4 + 8 + 8) * lengths)
    blocks = chunks(shapes.n_users, settings.evaluate.users_per_task)
    times = total(of_blocks=2 * 8 * blocks, of_all=8)
    return total(users=user * shapes.n_users, ids=shapes.user_text_bytes, items=times * shapes.n_items)


def _biases(settings: Config, shapes: Shapes) -> int:
    users, items, section = shapes.n_users, shapes.n_items, settings.biases
    n_parts = bias_parts(settings, shapes)
    of_parts = total(sums=8, counts=8, taken=8 * section.passes) * n_parts
    of_items = total(left=8, counts=8, biases=8 * section.passes, found=4)
    return total(users=(4 + 4) * users, items=(of_parts + of_items) * items)


def recommend_disk(section: Recommend, shapes: Shapes) -> int:
    """As `disk`, of the lists for every user."""
    users, items = shapes.n_users, shapes.n_items
    ids = total(user=8, item=8, texts=(shapes.user_text_bytes + shapes.item_text_bytes) // max(1, min(users, items)))
    row = total(columns=7 * 4, ids=ids)
    return total(ranked=6 * 4, part=row, joined=row) * users * min(section.k, items)


def _decomposed(settings: Config, shapes: Shapes) -> int:
    section = settings.factors
    n_tall = total(bases=section.passes, partial_sums=section.partial_sums, loadings=1)
    return n_tall * 4 * shapes.n_items * width_of(settings, shapes) + 4 * shapes.n_items


def _by_item(section: Cooccurrence, settings: Config, shapes: Shapes) -> int:
    """Ratings sorted by item, and where each item's are in each part."""
    n = min(n_train(settings, shapes), max(section.ratings, shapes.most_ratings))
    places = shapes.n_items + section.items_per_task
    return total(users=4, data=shapes.value_bytes) * n + 4 * places * chunks(n, section.ratings_per_part)


def _refined(settings: Config, section: Refine | Residuals, dims: int, shapes: Shapes) -> int:
    """Users' vectors of two sweeps; items' of one step, and of the next; what two rounds of parts have added up."""
    parts = chunks(n_train(settings, shapes) + PART_USER * shapes.n_users, section.ratings_per_part)
    tables = total(start=1, descents=2 * 3, sums=3 * parts) if parts > 1 else total(start=1, solutions=2)
    users, items = 2 * 4 * dims * shapes.n_users, tables * 4 * dims * shapes.n_items
    return users + items + total(totals=8) * (parts + 1) * shapes.n_items + 4 * dims * shapes.n_items


def _indexed(settings: Config, shapes: Shapes) -> int:
    method, _ = choose(settings.index.method, shapes.n_users)
    if method == "hnsw":
        return chunks(shapes.n_users, settings.index.shard_users) * graph_bytes(settings, shapes)
    if method == "pruned":
        vector = total(vector=4 * vector_dims(settings, shapes), code=4)
        clusters = clusters_of(settings, shapes)
        counts = 8 * clusters * chunks(shapes.n_users, settings.factors.users_per_chunk)
        return total(sorted=vector, tiles=vector) * shapes.n_users + clusters * total(centre=vector, edge=8) + counts
    return 0
