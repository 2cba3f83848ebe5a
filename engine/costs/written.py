"""What stages write to disk."""

from __future__ import annotations

import math
from typing import NamedTuple

from engine.config import Config, Recommend, Refine, Residuals
from engine.costs.common import (
    Shapes,
    bias_parts,
    chunks,
    clusters_of,
    counting_parts,
    dims_of,
    graph_bytes,
    id_ranges,
    measured_bytes,
    n_near_items,
    n_near_users,
    n_ranking_items,
    n_test,
    n_together,
    n_train,
    residual_dims,
    stored_train,
    total,
    users_per_chunk,
    vector_dims,
    width_of,
)
from engine.model.counting import is_shared_out
from engine.model.index import choose
from engine.model.parameters import N_BLENDS
from engine.model.sizes import PART_USER

# Parquet and Zarr come near to the fewest bits that tell values apart, headers and dictionaries included.
_PARQUET = 1.15
# Of the bits of a stored rating: a scale has fewer values than its type.
_OF_VALUE = 0.7
# Of a cosine's bytes: those of neighbours have nearly the same exponent.
_OF_COSINE = 0.92


class Written(NamedTuple):
    """Bytes on the disk: at most at a time, temporary files included, and those that stay."""

    most: int
    kept: int


def disk(settings: Config, shapes: Shapes) -> dict[str, Written]:
    """Bytes of each stage on the disk, about: what is stored compressed counts as few bits as tell its values apart."""
    n, users, items = shapes.n_ratings, shapes.n_users, shapes.n_items
    values, vectors = _OF_VALUE * shapes.value_bytes, 4 * users * vector_dims(settings, shapes)
    rating = _packed(items) + values
    neighbor = _packed(users) + _OF_COSINE * 4
    near_items = (_packed(items) + _OF_COSINE * 4) * n_near_items(settings, shapes)
    near_items += total(inverted=4 + 4) * n_ranking_items(settings, shapes) + total(count=8, indptr=8)
    found = {
        "ingest": _ingested(settings, shapes),
        "split": (_PARQUET * (_packed(items) + values) * n + n / 8,),
        "matrix": (rating * n + total(train_indptr=8, test_indptr=8) * users,),
        "factors": _decomposed(settings, shapes),
        "refine": _refined(settings, settings.refine, vector_dims(settings, shapes), shapes, vectors),
        "index": _indexed(settings, shapes),
        "neighbors": (neighbor * users * n_near_users(settings, shapes) + 4 * users,),
        "biases": _biases(settings, shapes),
        "residuals": _refined(settings, settings.residuals, residual_dims(settings, shapes), shapes, 0),
        "item_neighbors": (items * near_items,),
        "cooccurrence": _paired(settings, shapes),
        "predict": ((4 + 1 / 8) * n_test(settings, shapes),),
        "calibrate": (_calibrated(settings, shapes),),
        "evaluate": _evaluated(settings, shapes),
    }
    return {name: Written(math.ceil(most[0]), math.ceil(most[-1])) for name, most in found.items()}


def _packed(n: int) -> float:
    """Bytes of one of ``n`` numbers, as few as tell them apart."""
    return max(1.0, math.log2(max(2, n))) / 8


def _ingested(settings: Config, shapes: Shapes) -> tuple[float, float]:
    """Converted rows stay where they are of several files, so that one more can join them."""
    rows = max(shapes.n_ratings, shapes.n_rows)
    times, values = 4 * settings.ingest.times, _OF_VALUE * shapes.value_bytes
    texts = shapes.source_bytes if shapes.texts else 0
    converted = _PARQUET * (_packed(shapes.n_users) + _packed(shapes.n_items) + values + times) * rows + texts
    of_ids = 8 * (shapes.n_users + shapes.n_items) + shapes.user_text_bytes + shapes.item_text_bytes
    kept = _PARQUET * (_packed(shapes.n_items) + values + times) * shapes.n_ratings + of_ids
    # What ids are counted by goes before partitions are written.
    return converted + max(_counted(shapes, rows), kept), kept + converted * (shapes.n_files > 1)


def _counted(shapes: Shapes, rows: int) -> int:
    """What parts of the rows leave of ids and their counts, and ranges of ids; of texts, each distinct one."""
    parts, ranges = counting_parts(shapes), id_ranges(shapes)
    if not is_shared_out(parts, *ranges):
        return 0
    seen = sum(min(rows, parts * n) for n in (shapes.n_users, shapes.n_items))
    n_ids, texts = shapes.n_users + shapes.n_items, shapes.user_text_bytes + shapes.item_text_bytes
    return (
        total(ids=8, counts=4) * seen + total(merged=8 + 4, ordered=8 + 4) * n_ids + total(merged=1, ordered=1) * texts
    )


def _calibrated(settings: Config, shapes: Shapes) -> int:
    """Of users whose ratings are predicted, and of those whose items are ranked, in each fold."""
    section = settings.calibrate
    sums = total(sums=9 * 8, counts=8) * min(shapes.n_users, section.sample_users)
    return section.folds * (sums + 4 * N_BLENDS * min(shapes.n_users, section.users))


def _evaluated(settings: Config, shapes: Shapes) -> tuple[float, float]:
    lengths = len(settings.evaluate.lengths)
    measured = total(measured=measured_bytes(settings, shapes), code=4)
    table = total(columns=8 * 8, of_lengths=2 * (4 + 8 + 8) * lengths) / 2  # many users have few hits, or none
    blocks = chunks(shapes.n_users, settings.evaluate.users_per_task)
    kept = table * shapes.n_users + shapes.user_text_bytes + 8 * shapes.n_items
    most = kept + measured * shapes.n_users + 2 * 8 * blocks * shapes.n_items
    groups = chunks(blocks, settings.evaluate.tasks_per_group)
    if groups > 1:  # users of a group share neighbours: of twenty, each needs about a sixth of the ratings
        most += min(1, 4 / groups) * stored_train(settings, shapes) + total(predicted=4 + 1) * shapes.n_ratings / groups
    return most, kept


def _biases(settings: Config, shapes: Shapes) -> tuple[float, float]:
    users, items, section = shapes.n_users, shapes.n_items, settings.biases
    n_parts = bias_parts(settings, shapes)
    of_parts = total(sums=8, counts=8, taken=8 * section.passes) * n_parts
    of_items = total(left=8, counts=8, biases=8 * section.passes, found=4)
    return total(users=(4 + 4) * users, items=(of_parts + of_items) * items), 4 * (users + items)


def recommend_disk(section: Recommend, shapes: Shapes) -> int:
    """As `disk`, of the lists for every user."""
    users, items = shapes.n_users, shapes.n_items
    ids = total(user=8, item=8, texts=(shapes.user_text_bytes + shapes.item_text_bytes) // max(1, min(users, items)))
    row = total(columns=7 * 4, ids=ids)
    return total(ranked=6 * 4, part=row, joined=row) * users * min(section.k, items)


def _decomposed(settings: Config, shapes: Shapes) -> tuple[float, float]:
    section = settings.factors
    tall = 4 * shapes.n_items * width_of(settings, shapes)
    kept = total(bases=section.passes, loadings=1) * tall + 4 * shapes.n_users * dims_of(settings, shapes)
    return kept + section.partial_sums * tall, kept


def _paired(settings: Config, shapes: Shapes) -> tuple[float, float]:
    """Ratings sorted by item, and where each item's are in each part; then what goes together."""
    section = settings.cooccurrence
    n = min(n_train(settings, shapes), max(section.ratings, shapes.most_ratings))
    places = shapes.n_items + section.items_per_task
    by_item = total(users=4, data=shapes.value_bytes) * n + 4 * places * chunks(n, section.ratings_per_part)
    pairs = n_together(settings, shapes) * (shapes.n_items + 1)
    kept = total(together=4 + 1) * pairs + total(indptr=8, scales=4) * shapes.n_items
    return by_item + total(found=4 + 4) * pairs + kept, kept


def _refined(
    settings: Config, section: Refine | Residuals, dims: int, shapes: Shapes, vectors: int
) -> tuple[float, float]:
    """Users' vectors of two sweeps; items' of one step, and of the next; what two rounds of parts have added up."""
    parts = chunks(n_train(settings, shapes) + PART_USER * shapes.n_users, section.ratings_per_part)
    tables = total(start=1, descents=2 * 3, sums=3 * parts) if parts > 1 else total(start=1, solutions=2)
    users, items = 2 * 4 * dims * shapes.n_users, tables * 4 * dims * shapes.n_items
    kept = 4 * dims * shapes.n_items + vectors
    return max(users + items + total(totals=8) * (parts + 1) * shapes.n_items, kept), kept


def _indexed(settings: Config, shapes: Shapes) -> tuple[float, float]:
    method, _ = choose(settings.index.method, shapes.n_users)
    if method == "hnsw":
        graphs = chunks(shapes.n_users, settings.index.shard_users) * graph_bytes(settings, shapes)
        return graphs, graphs
    if method == "pruned":
        vector = total(vector=4 * vector_dims(settings, shapes), code=4)
        clusters = clusters_of(settings, shapes)
        counts = 8 * clusters * chunks(shapes.n_users, users_per_chunk(settings))
        kept = vector * shapes.n_users + clusters * total(centre=vector, edge=8)
        return vector * shapes.n_users + counts + kept, kept
    return 0, 0
