"""Memory of the stages that make user vectors and find nearest users: factors, index, neighbors."""

from __future__ import annotations

from dataclasses import replace

from engine.chunked.budget import MIB, Cost
from engine.chunked.task import Planned
from engine.config import Config, Refine, Residuals
from engine.costs.common import (
    BEFORE,
    HNSW_LOADED,
    ZARR,
    Plan,
    Shapes,
    chunks,
    clusters_of,
    column_bytes,
    comparing_centres,
    dims_of,
    filled_up,
    graph_bytes,
    n_near_users,
    n_train,
    residual_dims,
    scaled_value,
    target_bytes,
    total,
    users_per_chunk,
    vector_dims,
    wide_values,
    width_of,
)
from engine.model.index import choose
from engine.model.sizes import (
    CENTRE_SAMPLE,
    FEW_RANGES,
    GRAM_ROWS,
    GROUP_USERS,
    LEAST_PASS_RATINGS,
    PART_USER,
    PASS_AT_ONCE,
    PASS_ROWS,
    PIECE_RATINGS,
    PIECE_USERS,
    PROJECT_ROWS,
    READ_RATINGS,
    SAMPLE_TASKS,
    TILE_USERS,
    VECTOR_RATINGS,
)


def factors(settings: Config, shapes: Shapes) -> Plan:
    """Passes over the matrix with a tall basis (items x width), a partial sum of its size per task; user vectors."""
    dims = dims_of(settings, shapes)
    chunk = min(settings.factors.users_per_chunk, shapes.n_users)
    piece = min(VECTOR_RATINGS + shapes.most_ratings, shapes.ratings_of(chunk))
    loadings = Cost(
        task=total(
            zarr=ZARR,
            wide_values=wide_values(settings, shapes),
            ratings=total(stored=4, widened=4 + 4, scipy=8, scaled=scaled_value(settings)) * piece,
            vectors=total(product=4, scaled=4, written=4) * dims * chunk,
        ),
        shared=total(loadings=4 * shapes.n_items * dims, indptr=8 * shapes.n_users, order=4 * shapes.n_items),
    )
    return _decompose(settings, shapes) | {
        "layout": Planned(1, Cost(task=total(zarr=ZARR, before=BEFORE))),
        "vectors": Planned(chunks(shapes.n_users, settings.factors.users_per_chunk), loadings),
    }


def _decompose(settings: Config, shapes: Shapes) -> Plan:
    section, items, width = settings.factors, shapes.n_items, width_of(settings, shapes)
    tall, as_multiplied = 4 * items * width, 4 * items * filled_up(width)
    shared = total(
        basis=as_multiplied, indptr=8 * shapes.n_users, item_arrays=total(order=4, counts=4, powers=8) * items
    )
    rating = total(columns=4, values=8, scaled=scaled_value(settings))
    of_range = chunks(n_train(settings, shapes), section.partial_sums) + shapes.most_ratings
    most = min(shapes.ratings_of(min(PASS_ROWS, shapes.n_users)), of_range)
    pass_ = Cost(
        task=total(
            zarr=ZARR,
            wide_values=wide_values(settings, shapes),
            partial_sum=as_multiplied,
            row=total(place=8, value=4) * shapes.most_ratings,
        ),
        shared=shared,
        row=rating,
        max_rows=most,
        min_rows=min(most, max(LEAST_PASS_RATINGS, shapes.most_ratings)),
    )
    one = total(
        zarr=ZARR,
        before=BEFORE,
        linalg=4 * MIB,
        sum=tall,
        partial_sum=tall,
        widened=8 * GRAM_ROWS * width,
        item_arrays=total(order=4, counts=4, powers=8, scale=4, ordered=4) * items,
    )
    order = total(
        zarr=ZARR,
        item_arrays=total(counts=8, negated=8, by_count=8, order=4, numbers=4) * items,
        read=total(indices=4, as_int64=8) * READ_RATINGS,
    )
    projected = total(product=4, scaled=4, widened=8) * width
    project = Cost(
        task=total(
            zarr=ZARR,
            wide_values=wide_values(settings, shapes),
            ratings=rating * shapes.ratings_of(min(PROJECT_ROWS, shapes.n_users)),
            products=total(product=4 * filled_up(width), projected=projected) * PROJECT_ROWS,
        ),
        shared=shared,
    )
    plan = {"order": Planned(1, Cost(task=order))}
    at_once = n_train(settings, shapes) + PART_USER * shapes.n_users <= PASS_AT_ONCE
    for p in range(section.passes):
        if not at_once:
            plan[f"pass-{p}"] = Planned(section.partial_sums, pass_)
            plan[f"basis-{p}"] = Planned(1, Cost(task=one))
        else:
            plan[f"basis-{p}"] = Planned(1, Cost(task=_pass_at_once(settings, shapes), shared=shared))
    plan["project"] = Planned(section.partial_sums, project)
    plan["rotation"] = Planned(1, Cost(task=total(as_a_basis=one, lapack=8 * MIB)))
    return plan


def _pass_at_once(settings: Config, shapes: Shapes) -> int:
    """Of a pass, by items, and of what is added up."""
    items, width, n = shapes.n_items, width_of(settings, shapes), n_train(settings, shapes)
    rating = total(columns=column_bytes(shapes), data=shapes.value_bytes, scaled=scaled_value(settings), by_item=8 + 4)
    return total(
        zarr=ZARR,
        before=BEFORE,
        wide_values=wide_values(settings, shapes),
        linalg=4 * MIB,
        sum=4 * items * width,
        widened=8 * GRAM_ROWS * width,
        ratings=rating * n,
        row=total(place=8, value=4) * shapes.most_ratings,
        item_arrays=total(starts=8, order=4, counts=4, powers=8, scale=4, ordered=4) * items,
        users=total(products=4 * filled_up(width), pointers=8, lengths=2 * 8, weights=8 + 4) * shapes.n_users,
    )


def refine(settings: Config, shapes: Shapes) -> Plan:
    """Sweeps, and a block of users' vectors at a time."""
    dims, block = vector_dims(settings, shapes), min(settings.refine.users_per_chunk, shapes.n_users)
    plan = _sweeps(settings, settings.refine, shapes, dims)
    fit = plan["users-0"].cost
    tall = 4 * dims * shapes.n_items
    of_block = total(found=4, unit=4, written=4) * dims * block
    vectors = replace(fit, task=fit.task - tall + of_block, shared=fit.shared + tall)
    n_blocks = chunks(shapes.n_users, settings.refine.users_per_chunk)
    return plan | {
        "layout": Planned(1, Cost(task=total(zarr=ZARR, before=BEFORE))),
        "vectors": Planned(n_blocks, vectors),
    }


def residuals(settings: Config, shapes: Shapes) -> Plan:
    """Sweeps, with the bias model beside."""
    plan = _sweeps(settings, settings.residuals, shapes, residual_dims(settings, shapes))
    biases = total(of_users=4, of_items=4, read=4) * max(shapes.n_users, shapes.n_items)
    plan |= {
        name: Planned(each.n_tasks, replace(each.cost, shared=each.cost.shared + biases))
        for name, each in plan.items()
        if name not in ("sums", "start")
    }
    # There may be no ratings that biases could leave something of; or nothing that helps to predict it.
    if shapes.implicit or not shapes.weighs_latent:
        return {name: Planned(0, each.cost) for name, each in plan.items()}
    return plan


def _sweeps(settings: Config, section: Refine | Residuals, shapes: Shapes, dims: int) -> Plan:
    """Of users a piece, and a sum for each item; of items a range, and what a part has added up for it."""
    users, items = shapes.n_users, shapes.n_items
    work = n_train(settings, shapes) + PART_USER * users
    n_parts, own = chunks(work, section.ratings_per_part), min(section.items_per_task, items)
    piece = min(shapes.ratings_of(min(PIECE_USERS, users)), PIECE_RATINGS + shapes.most_ratings)
    read = total(columns=column_bytes(shapes), data=shapes.value_bytes)
    reading = total(
        zarr=ZARR,
        wide_values=wide_values(settings, shapes),
        stored=read * (piece + min(settings.matrix.ratings_per_chunk, n_train(settings, shapes))),
        lengths=3
        * 8
        * min(users, chunks(chunks(work, max(1, n_parts)), PART_USER)),  # of a part's users, and their ends
    )
    widened = 8 * dims * (GRAM_ROWS + 2 * dims)
    # Vectors of all items; of them a range as it is read.
    tall, some = 4 * dims * items, 4 * dims * own
    add_up = total(
        reading=reading,
        ratings=total(scaled=2 * 4, values=4, widened=2 * 8, columns=8) * piece,
        totals=2 * 8 * items,
    )
    fit = total(
        reading=reading,
        ratings=total(places=8, targets=target_bytes(settings, shapes)) * piece,
        vectors=total(stored=4, found=4, written=4) * dims * min(PIECE_USERS, users),
        sums=tall,
        widened=widened,
    )
    indptr = 8 * users
    descents = total(solutions=4, residuals=4, directions=4, sums=4, of_a_part=4) * dims
    of_range = Cost(
        task=total(
            zarr=ZARR, items=total(descents=descents, totals=8, ridges=3 * 4) * own, products=2 * 8 * dims * dims
        ),
        shared=indptr,
    )
    loadings = 4 * dims_of(settings, shapes)
    items_in_order = total(totals=2 * 8, negated=8, by_count=8, order=4)
    start = total(
        zarr=ZARR, vectors=(loadings + total(scaled=4, padded=4) * dims) * items, totals=items_in_order * items
    )
    fit_users = Cost(
        task=fit, shared=total(items=tall, some=some, order=4 * items, widened=widened, train_indptr=indptr)
    )
    add_more = Cost(task=fit, shared=total(directions=tall, some=some, order=4 * items, train_indptr=indptr))
    plan = {
        "sums": Planned(n_parts, Cost(task=add_up, shared=indptr)),
        "start": Planned(1, Cost(task=start, shared=indptr)),
    }
    # Of a piece, all ratings; of all pieces, those of the task's items.
    restricted = total(there=1, before=8, weights=4)
    kept = total(columns=column_bytes(shapes), data=shapes.value_bytes, targets=4, weights=4 * shapes.implicit)
    # One part of the users is gone through for each of a few ranges of the items.
    n_ranges = min(chunks(items, own), FEW_RANGES)
    fit_items = Cost(
        task=total(
            ratings=total(restricted=restricted, places=8, targets=target_bytes(settings, shapes)) * piece,
            kept=kept * n_train(settings, shapes) + 8 * users,
            vectors=total(stored=4, found=4) * dims * min(PIECE_USERS, users),
            items=total(descents=descents, totals=8, ridges=3 * 4) * chunks(items, n_ranges),
            products=2 * 8 * dims * dims,
        ),
        shared=total(zarr=ZARR, rows=read * n_train(settings, shapes), train_indptr=2 * indptr),
    )
    for sweep in range(section.sweeps):
        plan[f"users-{sweep}"] = Planned(n_parts, fit_users)
        if n_parts == 1:
            plan[f"items-{sweep}"] = Planned(n_ranges, fit_items)
            continue
        plan[f"begin-{sweep}"] = Planned(chunks(items, own), of_range)
        for number in range(section.steps):
            plan[f"more-{sweep}-{number}"] = Planned(n_parts, add_more)
            plan[f"step-{sweep}-{number}"] = Planned(chunks(items, own), of_range)
    collect = total(zarr=ZARR, before=BEFORE // 2, items=2 * tall, order=4 * items, some=some)
    plan["collect"] = Planned(1, Cost(task=collect, shared=indptr))
    return plan


def index(settings: Config, shapes: Shapes) -> Plan:
    """Build a graph from the vectors of its shard; or sort users by cluster, a chunk and then a group at a time."""
    method, _ = choose(settings.index.method, shapes.n_users)
    plan = {"choose": Planned(1, Cost(task=total(zarr=ZARR, before=BEFORE)))}
    if method == "hnsw":
        vectors = 4 * vector_dims(settings, shapes) * min(settings.index.shard_users, shapes.n_users)
        build = total(zarr=ZARR, hnswlib=HNSW_LOADED, vectors=vectors, graph=graph_bytes(settings, shapes))
        plan["build"] = Planned(chunks(shapes.n_users, settings.index.shard_users), Cost(task=build))
    elif method == "pruned":
        plan |= _clusters(settings, shapes)
    return plan


def _clusters(settings: Config, shapes: Shapes) -> Plan:
    dims, clusters = vector_dims(settings, shapes), clusters_of(settings, shapes)
    chunk = min(users_per_chunk(settings), shapes.n_users)
    n_chunks = chunks(shapes.n_users, users_per_chunk(settings))
    user = total(vector=4 * dims, code=4, cluster=4)
    sample = user * min(shapes.n_users, CENTRE_SAMPLE * clusters)
    products = comparing_centres(dims, clusters)
    centres = 4 * clusters * dims
    find = total(
        zarr=ZARR,
        sample=sample,
        sample_by_cluster=sample,
        centres=centres,
        sums=centres,
        moved=centres,
        products=products,
        numpy=4 * MIB,
        chunk=total(stored=4 * dims, decoded=4 * dims, user=user) * chunk,
    )
    sort = Cost(
        task=total(zarr=ZARR, read=user * chunk, sorted=user * chunk, written=user * chunk, products=products),
        shared=centres,
    )
    edges = total(numpy=8 * MIB, before=BEFORE, counts=total(chunks=8, stacked=8) * n_chunks * clusters)
    group = user * min(GROUP_USERS, shapes.n_users)
    collect = Cost(
        task=total(
            files=4 * MIB,
            before=BEFORE // 2,
            group=group,
            of_a_chunk=group,
            places=total(starts=8, offsets=8, numbers=8, places=8) * chunk,
        ),
        shared=total(counts=8, stacked=8, earlier=8, begin=8) * n_chunks * clusters,
    )
    return {
        "centres": Planned(1, Cost(task=find)),
        "sort": Planned(n_chunks, sort),
        "edges": Planned(1, Cost(task=edges)),
        "collect": Planned(chunks(shapes.n_users, GROUP_USERS), collect),
    }


def neighbors(settings: Config, shapes: Shapes) -> Plan:
    """Search for a block of users: one shard at a time, or one tile at a time."""
    dims, k, users = vector_dims(settings, shapes), n_near_users(settings, shapes), shapes.n_users
    method, _ = choose(settings.index.method, users)
    clusters = clusters_of(settings, shapes) if method == "pruned" else 0
    shared = total(centres=4 * dims, edges=8) * clusters
    search = _ask_graphs(settings, shapes) if method == "hnsw" else _compare(settings, shapes, clusters)
    sample = _compare_sample(settings, shapes)
    cluster_of_users = total(by_place=4, codes=4, by_code=4) * users
    by_place = method == "pruned"
    placing = total(places=4 * users, groups=_groups(settings, shapes)) * by_place
    plan = {"layout": Planned(1, Cost(task=total(zarr=ZARR, placing=placing)))}
    if by_place:
        look = total(sample=sample, cluster_of_users=cluster_of_users)
        behind = total(read=4, parts=4, joined=4, partitioned=4) * min(settings.neighbors.probe_users, users) * k
        plan["sample"] = Planned(SAMPLE_TASKS, Cost(task=look, shared=shared))
        plan["reach"] = Planned(1, Cost(task=total(zarr=ZARR, numpy=8 * MIB, behind=behind)))
    tasks = chunks(users, settings.neighbors.users_per_chunk)
    plan["search"] = Planned(tasks, Cost(task=search, shared=0 if method == "hnsw" else shared))
    plan["recall"] = Planned(
        SAMPLE_TASKS, Cost(task=total(sample=sample, mapped_places=4 * users * by_place), shared=shared)
    )
    return plan


def _block(settings: Config, shapes: Shapes) -> int:
    return min(settings.neighbors.users_per_chunk, shapes.n_users)


def _ask_graphs(settings: Config, shapes: Shapes) -> int:
    """Of a block of users, and a graph at a time."""
    found = total(
        labels=8,
        distances=4,
        codes=4,
        similarities=4,
        best=4 + 4,
        joined=4 + 4,
        masks=4,
        negated=4,
        order=8,
        nearest=4 + 4,
    )
    user = total(query=4 * vector_dims(settings, shapes), found=found * (n_near_users(settings, shapes) + 1))
    users = _block(settings, shapes) * user
    return total(zarr=ZARR, hnswlib=HNSW_LOADED, users=users, graph=graph_bytes(settings, shapes))


def _compare(settings: Config, shapes: Shapes, clusters: int) -> int:
    """Of a block of users that is compared with tiles; without ``clusters``, with all of them."""
    block, k = _block(settings, shapes), n_near_users(settings, shapes)
    dims = vector_dims(settings, shapes)
    found = total(best=2 * (4 + 4), result=4 + 4, written=4 + 4)
    user = total(query=4 * dims, code=4, used=4, worst=4 + 4, all=8, found=found * k)
    # How far users look makes no difference: a bit for each user and centre.
    near = chunks(block, 8) * clusters + total(nearest=4, order=8, numbers=8, unpacked=1, asking=8) * block
    centres = comparing_centres(dims, clusters)
    return total(
        zarr=ZARR,
        users=block * user,
        tile=4 * dims * TILE_USERS,
        groups=_groups(settings, shapes),
        centres=centres,
        near=near,
    )


def _compare_sample(settings: Config, shapes: Shapes) -> int:
    """Of a task's part of a sample of users, compared with everybody."""
    dims, k = vector_dims(settings, shapes), n_near_users(settings, shapes)
    some = chunks(min(settings.neighbors.sample_users, shapes.n_users), SAMPLE_TASKS)
    centres = total(products=4, differences=4, behind=4, spare=36) * clusters_of(settings, shapes)
    user = total(query=4 * dims, used=4, worst=4 + 4, best=3 * (4 + 4) * k, compared=(4 + 4 + 8) * k, centres=centres)
    return total(
        zarr=ZARR,
        users=some * user,
        tile=4 * dims * TILE_USERS,
        groups=_groups(settings, shapes),
        # That users are taken out of, or what was found of them.
        chunk=max(4 * dims * min(users_per_chunk(settings), shapes.n_users), 4 * k * _block(settings, shapes)),
    )


def _groups(settings: Config, shapes: Shapes) -> int:
    """Groups of tiles: one that is gone through, while the next is read."""
    return 2 * GROUP_USERS * total(vector=4 * vector_dims(settings, shapes), code=4, cluster=4)
