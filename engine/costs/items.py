"""Memory of the stages that predict ratings: biases, item_neighbors, predict."""

from __future__ import annotations

from engine.chunked.budget import MIB, Cost
from engine.chunked.task import Planned
from engine.config import Config
from engine.costs.common import (
    BEFORE,
    ZARR,
    ZIPPED,
    Plan,
    Shapes,
    bias_parts,
    chunks,
    column_bytes,
    comparing_centres,
    dims_of,
    n_near_items,
    n_ranking_items,
    n_test_of,
    n_together,
    n_train,
    residual_dims,
    total,
    wide_values,
)
from engine.model.index import clusters_items
from engine.model.sizes import (
    BIAS_RATINGS,
    CENTRE_SAMPLE,
    JOINED_RATINGS,
    PART_USER,
    PREDICT_RATINGS,
    PREDICT_USERS,
    READ_RATINGS,
    TILE_ITEMS,
)


def biases(settings: Config, shapes: Shapes) -> Plan:
    """A part of the users as it is stored, a piece of it widened; what is added up for the items."""
    section, items = settings.biases, shapes.n_items
    n, n_parts = n_train(settings, shapes), bias_parts(settings, shapes)
    work = chunks(n + PART_USER * shapes.n_users, max(1, n_parts))
    part, some = min(n, work + shapes.most_ratings), min(chunks(work, PART_USER), shapes.n_users)
    piece = min(part, BIAS_RATINGS + shapes.most_ratings)
    reading = total(
        zarr=ZARR,
        wide_values=wide_values(settings, shapes),
        part=total(data=shapes.value_bytes, indices=column_bytes(shapes)) * part,
        of_users=total(indptr=8, lengths=8, ends=8) * some,
        train_indptr=8 * shapes.n_users,
    )
    sums = total(
        reading=reading,
        piece=total(values=4, widened=8, columns=8) * piece,
        item_arrays=total(sums=8, counts=8, of_piece=8) * items,
    )
    users = total(
        reading=reading,
        piece=total(left=8, of_items=8, columns=8) * piece,
        biases=total(biases=8, of_piece=8, damped=3 * 8) * some,
        item_arrays=total(taken=8, of_piece=8) * items,
    )
    of_items = total(left=8, counts=8, of_a_part=8, damped=3 * 8) * items
    settling = total(numpy=4 * MIB, before=BEFORE, items=of_items, train_indptr=8 * shapes.n_users)
    together = total(items=8 * items, users=total(all=4, of_a_part=4, train_indptr=8) * shapes.n_users)
    plan = {"sums": Planned(n_parts, Cost(task=sums)), "start": Planned(1, Cost(task=settling))}
    for p in range(section.passes):
        plan[f"users-{p}"] = Planned(n_parts, Cost(task=users, shared=8 * items))
        if p < section.passes - 1:
            plan[f"items-{p + 1}"] = Planned(1, Cost(task=settling))
    plan["fit"] = Planned(1, Cost(task=total(numpy=4 * MIB, before=BEFORE, together=together)))
    return {name: Planned(0, each.cost) for name, each in plan.items()} if shapes.implicit else plan


def item_neighbors(settings: Config, shapes: Shapes) -> Plan:
    """A block of items against a tile of others at a time: the nearest of each so far."""
    section, items, k = settings.item_neighbors, shapes.n_items, n_near_items(settings, shapes)
    dims = min(section.dims, dims_of(settings, shapes))
    n_columns = items if shapes.n_columns is None else shapes.n_columns
    block = min(section.items_per_task, items)
    layout = total(
        zarr=ZARR,
        counts=8 * items,
        indptr=8 * shapes.n_users,
        read=total(stored=4, indices=4, as_int64=8) * READ_RATINGS,
    )
    found = total(best=2 * (4 + 4), result=4 + 4, without_nan=4, of_block=4 + 4)
    item = total(query=4 * dims, used=4, worst=4 + 4, trust=4, own=4 + 8, asking=8, found=found * k)
    clustered = clusters_items(n_columns)
    clusters = chunks(items, section.items_per_cluster) if clustered else 0
    tile = total(vectors=4, by_dimension=4) * dims * min(TILE_ITEMS, items)
    vectors = 4 * dims_of(settings, shapes) * items + total(leading=4, unit=4, squares=4) * dims * items
    item_arrays = total(counts=8, trust=4, by_trust=8, known=4, order=4) * items
    products = comparing_centres(dims, clusters)
    looking = chunks(block, 8) * clusters + total(nearest=4, order=8, numbers=8, unpacked=1, asking=8) * block
    search = Cost(
        task=total(zarr=ZARR, tile=tile, items=item * block, products=products, looking=looking if clustered else 0),
        shared=total(vectors=vectors, item_arrays=item_arrays, centres=4 * dims * clusters),
    )
    sample = total(rows=4, by_cluster=4) * dims * min(items, CENTRE_SAMPLE * clusters)
    find = total(
        zarr=ZARR,
        vectors=vectors,
        item_arrays=item_arrays + total(cluster=4, order=8, sorted=4) * items,
        sample=sample,
        centres=total(centres=4, sums=4, moved=4) * dims * clusters,
        products=products,
    )
    probes = min(section.probe_items, items)
    settle = Cost(
        task=total(
            zarr=ZARR,
            tile=tile,
            items=(item + total(rows=8, places=8, clusters=4, behind=4) * k) * probes,
            behind=total(products=4, differences=4, behind=4) * clusters * probes,
            cluster_of=total(by_item=4, repeated=8) * items,
        ),
        shared=search.shared,
    )
    ranking_k = n_ranking_items(settings, shapes)
    near = total(
        zarr=ZARR,
        numpy=4 * MIB,
        inverted=total(indices=4, data=4) * ranking_k * items,
        item_arrays=total(counts=8, of_block=8, indptr=8, filled=8) * items,
        read=total(stored=4 + 4, ids=4, similarities=4) * k * block,
        transposed=total(kept=4 + 4, columns=4 + 4, filled=8, starts=8, numbers=8, places=8) * ranking_k * block,
    )
    found_clusters = {"clusters": Planned(1, Cost(task=find)), "reach": Planned(1, settle)} if clustered else {}
    return {
        "layout": Planned(1, Cost(task=layout)),
        **found_clusters,
        "search": Planned(chunks(n_columns, section.items_per_task), search),
        "near": Planned(1, Cost(task=near)),
    }


def cooccurrence(settings: Config, shapes: Shapes) -> Plan:
    """Users drawn; their ratings sorted by item; all of these, and a piece of those of a share of the items."""
    section, items, value = settings.cooccurrence, shapes.n_items, shapes.value_bytes
    drawn = min(n_train(settings, shapes), max(section.ratings, shapes.most_ratings))
    users = min(section.ratings // PART_USER + 1, shapes.n_users)
    n_parts, n_tasks = chunks(drawn, section.ratings_per_part), chunks(items, section.items_per_task)
    share, piece = chunks(items, n_tasks), min(drawn, JOINED_RATINGS + users)
    indptr, stored = 8 * shapes.n_users, total(data=value, indices=column_bytes(shapes))
    draw = total(
        zarr=ZARR,
        users=total(lengths=8, there=1, numbers=8) * shapes.n_users,
        read=total(indices=4, as_int64=8) * READ_RATINGS,
        counts=2 * 8 * items,
    )
    part = min(drawn, chunks(drawn, max(1, n_parts)) + shapes.most_ratings)
    transpose = total(
        zarr=ZARR,
        wide_values=wide_values(settings, shapes),
        chunk=stored * min(settings.matrix.ratings_per_chunk, shapes.n_ratings),
        ratings=total(read=stored, place=4, order=8, users=8 + 4 + 4, sorted=value) * part,
        users=total(drawn=8, ends=3 * 8, rows=4 * 8) * users,
        places=total(places=4, counts=8, indptr=4) * chunks(items, n_tasks) * n_tasks,
    )
    k = n_together(settings, shapes)
    found = total(ids=4, similarities=4) * k
    search = total(
        ratings=total(users=4, data=value, places=8, order=8, consecutive=8, stored=4 + value) * piece,
        parts=total(stored=4, lengths=8) * share * n_parts,
        sums=total(sums=4, seen=1, touched=4) * items,
        found=2 * found * share,
        arrays=total(lengths=8, powers=8, weights=8 + 4) * users + total(known=8, weights=8 + 4) * items,
    )
    shared = total(
        zarr=ZARR,
        wide_values=wide_values(settings, shapes),
        chunk=stored * min(settings.matrix.ratings_per_chunk, shapes.n_ratings),
        train=stored * drawn,
        users=total(drawn=8, rows=4 * 8, indptr=8) * users,
        train_indptr=indptr,
        counts=8 * items,
    )
    kept = total(indices=column_bytes(shapes), data=1) * k + total(scales=4, counts=8, indptr=8)
    of_share = found + total(there=1, places=8, ids=4, steps=3 * 4) * k
    written = min(ZIPPED, column_bytes(shapes) * k * items)  # of the largest array
    collect = total(numpy=4 * MIB, kept=kept * items, of_share=of_share * share, written=written)
    needed = shapes.weighs_together
    return {
        "draw": Planned(1 if needed else 0, Cost(task=draw, shared=indptr)),
        "transpose": Planned(n_parts if needed else 0, Cost(task=transpose, shared=indptr)),
        "search": Planned(n_tasks if needed else 0, Cost(task=search, shared=shared)),
        "collect": Planned(1 if needed else 0, Cost(task=collect)),
    }


def predict(settings: Config, shapes: Shapes) -> Plan:
    """All items' neighbours; a block of users' ratings, one user's spread over all items."""
    per_task = settings.predict.users_per_task
    block = min(per_task, shapes.n_users)
    pairs = n_test_of(settings, shapes.ratings_of(block), block)
    task = total(zarr=ZARR, predicting=predicting(settings, shapes, block, pairs))
    cost = Cost(task=task, shared=predicting_shared(settings, shapes))
    return {"users": Planned(0 if shapes.implicit else chunks(shapes.n_users, per_task), cost)}


def predicting(settings: Config, shapes: Shapes, block: int, pairs: int) -> int:
    """Of a task that predicts so many ``pairs`` of a ``block`` of users."""
    of_block = shapes.ratings_of(block)
    some = min(shapes.ratings_of(min(PREDICT_USERS, block)), PREDICT_RATINGS + shapes.most_ratings)
    read = min(of_block, 2 * PREDICT_RATINGS + shapes.most_ratings)
    return total(
        residuals=total(residual=4, rated=1) * shapes.n_items,
        wide_values=wide_values(settings, shapes),
        ratings=total(train=4 + 4, test=4 + 4) * read,
        results=total(values=4, covered=1) * (min(pairs, of_block) + min(pairs, read)),
        own=total(values=4, columns=4, rows=8, users=8, expected=3 * 4) * some,
        vectors=4 * residual_dims(settings, shapes) * min(PREDICT_USERS, block),
        asked=total(places=8 + 4, items=4, parts=3 * 4, covered=1, rows=8, users=8, expected=4 * 4) * min(pairs, some),
    )


def predicting_shared(settings: Config, shapes: Shapes) -> int:
    """What ratings are predicted from, once for all tasks."""
    items, k = shapes.n_items, n_near_items(settings, shapes)
    return total(
        near=total(ids=4, similarities=4) * k * items,
        item_biases=4 * items,
        item_vectors=4 * residual_dims(settings, shapes) * items,
        chunk=4 * k * min(settings.item_neighbors.items_per_task, items),  # as it is unpacked
        users=total(train_indptr=8, test_indptr=8, biases=4, biases_read=4) * shapes.n_users,
    )
