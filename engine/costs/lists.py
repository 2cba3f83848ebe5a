"""Memory of the stages that rank items: evaluate, recommend."""

from __future__ import annotations

from dataclasses import replace

from engine.chunked.budget import MIB, Cost
from engine.chunked.task import Planned
from engine.config import Config, Recommend
from engine.costs.common import (
    POLARS,
    POLARS_LOADED,
    POLARS_STREAM,
    ZARR,
    Plan,
    Shapes,
    chunks,
    column_bytes,
    measured_bytes,
    n_near_users,
    n_ranking_items,
    n_test_of,
    n_together,
    n_train,
    parts,
    refines,
    stored_train,
    total,
    users_per_chunk,
    vector_dims,
    wide_values,
)
from engine.costs.items import predicting, predicting_shared
from engine.model.counting import tables_per_task
from engine.model.sizes import (
    GATHER_RATINGS,
    GATHERED_ROW,
    INGEST_ROW_GROUP,
    INGEST_ROW_GROUP_BYTES,
    LEAST_GATHERED,
    RANGE_RATINGS,
    RANK_USERS,
    READ_RATINGS,
    SCORE_USERS,
)


def evaluate(settings: Config, shapes: Shapes) -> Plan:
    """Score a block of users at a time, one user after the other."""
    tasks, of_group = chunks(shapes.n_users, settings.evaluate.users_per_task), settings.evaluate.tasks_per_group
    scoring = _scoring(settings, shapes, settings.evaluate.k)
    plan = {"users": Planned(tasks, scoring)}
    if tasks > of_group:
        plan = {}
        for group, first in enumerate(range(0, tasks, of_group)):
            plan[f"gather-{group}"] = _put_together(settings, shapes)
            plan[f"users-{group}"] = Planned(min(of_group, tasks - first), _scoring_of_group(settings, shapes, scoring))
    tables = Planned(chunks(tasks, tables_per_task(settings.evaluate.users_per_task)), _tables(settings, shapes))
    return plan | {"tables": tables, "mean": Planned(1, _mean(shapes))}


def _put_together(settings: Config, shapes: Shapes) -> Planned:
    """Go through a range of users, and take what a group needs: at most all."""
    users, work = shapes.n_users, n_train(settings, shapes) + GATHERED_ROW * shapes.n_users
    block, stored = (
        min(settings.evaluate.users_per_task, users),
        total(columns=column_bytes(shapes), values=shapes.value_bytes),
    )
    of_range = min(users, chunks(RANGE_RATINGS, GATHERED_ROW))
    piece = READ_RATINGS + shapes.most_ratings
    chunk = min(settings.matrix.ratings_per_chunk, shapes.n_ratings)
    n_test = n_test_of(settings, min(RANGE_RATINGS + shapes.most_ratings, shapes.n_ratings), of_range)
    of_predictions = n_test_of(settings, shapes.ratings_of(min(settings.predict.users_per_task, users)), users)
    task = total(
        zarr=ZARR,
        users=total(lengths=3 * 8, codes=8 + 8 + 4, edges=2 * 8) * of_range,
        piece=total(read=stored, taken=stored, places=8) * piece,
        chunks=total(train=stored, test=stored) * chunk,
        test=total(stored=stored, predicted=4 + 1, places=8) * n_test,
        predictions=total(values=4, packed=1, covered=1)
        * min(of_predictions, n_test_of(settings, shapes.n_ratings, users)),
    )
    marking = total(ids=4, there=1, neighbors=4 + 8) * n_near_users(settings, shapes) * block
    shared = total(users=total(train_indptr=8, test_indptr=8, marked=1, own=4 + 8) * users, marking=marking)
    return Planned(chunks(work, RANGE_RATINGS), Cost(task=task, shared=shared))


def _scoring_of_group(settings: Config, shapes: Shapes, scoring: Cost) -> Cost:
    """The same as of all, with a file of ratings at a time in the place of chunks; nothing is kept of these."""
    stored = total(columns=column_bytes(shapes), values=shapes.value_bytes)
    file = min(RANGE_RATINGS + shapes.most_ratings, shapes.n_ratings)
    of_file = total(
        file=stored * file, users=total(codes=4, ends=2 * 8) * min(shapes.n_users, chunks(RANGE_RATINGS, GATHERED_ROW))
    )
    taken = total(places=8, taken=stored) * (READ_RATINGS + shapes.most_ratings)
    own = 8 * min(settings.evaluate.users_per_gather, shapes.n_users)
    return replace(scoring, task=scoring.task + of_file + taken, shared=scoring.shared + own, cache=0)


def _scoring(settings: Config, shapes: Shapes, k: int) -> Cost:
    """Lists of ``k`` items for the users of a task of evaluate's, and what is measured of them."""
    items, block = shapes.n_items, min(settings.evaluate.users_per_task, shapes.n_users)
    users = min(SCORE_USERS, block)
    votes = settings.evaluate.model == "votes"
    dims = vector_dims(settings, shapes) if refines(settings) else 0
    near = n_ranking_items(settings, shapes) if votes else 0
    k = min(k, items)
    ratings = shapes.ratings_of(users)
    stored = total(columns=column_bytes(shapes), values=shapes.value_bytes)
    neighbor = total(known=4, powers=4, weights=4, rows=4, codes=4 + 2 * 8, work=2 * 8)
    own = total(stored=stored, values=4, liked=1, votes=4, liked_so_far=8, columns=4 + 4, liked_columns=4, shares=4 + 8)
    test = total(
        columns=4 + 4,
        values=8 + 4,
        rows=8 + 8,
        liked=1,
        by_bias=4 * 4,
        predicted=4 + 1 + 8,
        errors=8 + 8,
    )
    listed = total(items=4, scores=4, popular=4, users=8, ranks=8, columns=4, places=8 + 8, hits=2, information=8)
    task = total(
        zarr=ZARR,
        scores=total(sums=4, states=4, touched=4, together=4) * items,
        wide_values=wide_values(settings, shapes),
        neighbors=n_near_users(settings, shapes) * (neighbor * users + total(ids=4, similarities=4, sorted=4) * block),
        needed=total(mark=1, mapped_place=4) * shapes.n_users,
        turn=total(code=8 + 8 + 4, turn=8 + 8) * block,
        chunk=4
        * max(
            n_near_users(settings, shapes) * min(settings.neighbors.users_per_chunk, shapes.n_users),
            dims * min(users_per_chunk(settings), shapes.n_users),
        ),
        own=own * ratings,
        vectors=total(by_cluster=4, by_code=4) * dims * block,
        blended=total(candidates=4, votes=4, products=4, together=4, popularity=4, ranked=4, places=4) * items,
        test=test * n_test_of(settings, ratings, users),
        stored_test=total(stored=stored, predicted=4 + 1) * n_test_of(settings, shapes.ratings_of(block), block),
        lists=listed * k * users,
        times=2 * 8 * items,  # recommended by each of what ranks
        of_block=8 * items,  # the same of a block
        measured=measured_bytes(settings, shapes) * 2 * block,
    )
    together = n_together(settings, shapes) if "cooccurrence" in parts(settings)[1] and shapes.weighs_together else 0
    near_stored = total(columns=column_bytes(shapes), similarities=4) * near
    near_stored += total(columns=column_bytes(shapes), steps=1) * together
    item_arrays = total(
        vectors=4 * dims, counts=8, factor=4, popular=4 + 8, bias=4, information=8, near_indptr=8 + 8, scales=4
    )
    shared = total(
        users=total(train_indptr=8, test_indptr=8, biases=4) * shapes.n_users,
        items=total(near=near_stored, arrays=item_arrays) * items,
    )
    return _gathering(settings, shapes, task, shared)


def _gathering(settings: Config, shapes: Shapes, task: int, shared: int) -> Cost:
    """With ratings of neighbours beside: all, or so many at a time, a row counting as `GATHERED_ROW` more."""
    columns, values, chunk = column_bytes(shapes), shapes.value_bytes, settings.matrix.ratings_per_chunk
    of_chunk = total(columns=2 * columns, values=values) * min(chunk, shapes.n_ratings)
    most = n_train(settings, shapes) + GATHERED_ROW * shapes.n_users
    one_user = (shapes.most_ratings + GATHERED_ROW) * (1 + n_near_users(settings, shapes))
    return Cost(
        task=total(scoring=task, chunk=of_chunk, places=2 * MIB),
        shared=shared,
        row=total(columns=columns, values=values),
        max_rows=min(most, max(GATHER_RATINGS, one_user)),
        min_rows=max(one_user, LEAST_GATHERED),
        cache=total(train=stored_train(settings, shapes), indptr=8 * (shapes.n_users + 1)),
    )


def _tables(settings: Config, shapes: Shapes) -> Cost:
    """What was measured of some blocks of users; the table of one, as it is made and as it is written."""
    per_task = settings.evaluate.users_per_task
    block = min(per_task, shapes.n_users)
    blocks = min(tables_per_task(per_task) * per_task, shapes.n_users)
    # Of each user, and of each number of items that is measured.
    of_lengths = total(columns=2 * (4 + 8 + 8), figures=2 * 7 * 8, of_liked=64, written=40)
    user = total(
        id=8,
        columns=9 * 8,
        written=48,
        of_lengths=of_lengths * len(settings.evaluate.lengths),
    )
    running_sums = total(hits=8, gains=8, sums_of_gains=8, products=8, precisions=8, sums_of_precisions=8)
    return Cost(
        task=total(
            measured=measured_bytes(settings, shapes) * blocks,
            codes=4 * per_task,
            users=user * block,
            ranks=running_sums * min(settings.evaluate.k, shapes.n_items) * min(RANK_USERS, block),
            ids=8 * INGEST_ROW_GROUP,
            texts=min(shapes.user_text_bytes, INGEST_ROW_GROUP_BYTES),
            own_texts=total(read=1, ids=1, written=1) * (shapes.user_text_bytes * block // max(1, shapes.n_users)),
        ),
        shared=POLARS_LOADED + POLARS // 2,
    )


def _mean(shapes: Shapes) -> Cost:
    """What tasks recommended, added up in the process that has written the tables."""
    times = total(sums=2 * 8, of_block=2 * 8) * shapes.n_items
    return Cost(task=total(files=4 * MIB, times=times), shared=POLARS_LOADED + POLARS // 2)


def recommend(settings: Config, section: Recommend, shapes: Shapes) -> Plan:
    """Score batches of users as evaluate does; predict the ratings of what is best; join."""
    users, items = shapes.n_users, shapes.n_items
    block = min(section.users_per_task, users)
    k = min(section.k, items)
    lists = block * k
    scored = _scoring(settings, shapes, k)
    record = 10 * 4 + 2
    opinions = total(place=4 * items, n_raters=4 * k * SCORE_USERS, means=4 * k * SCORE_USERS)
    # Why each is listed: what parts add, which is largest, and which item of the user's own adds most.
    of_reasons = total(parts=4 * 4, votes=4, largest=8, masks=4, asked=2 * 4, strongest=2 * 4, sums=3 * 4, kinds=8 + 1)
    of_reasons += total(items=8 + 4, places=8, ratings=4)
    reasons = total(listed=of_reasons * k * SCORE_USERS, place=4 * items)
    popular = total(taken=items, lists=4 * k * SCORE_USERS)
    task = total(
        scoring=scored.task,
        opinions=opinions,
        reasons=reasons,
        popular=popular,
        lists=total(parts=record, joined=record) * lists,
    )
    rank = replace(scored, task=task)
    row = total(ranked=record, predicted=4, columns=7 * 4, user=8, item=8, reason=16, liked=4 + 8 + 8, written=84)
    task = total(zarr=ZARR, lists=row * lists)
    shared = total(
        polars=POLARS_LOADED + POLARS // 2,
        ids=total(ids=8, read=8, gathered=16) * (users + items),
        texts=total(ids=1, read=1) * (shapes.user_text_bytes + shapes.item_text_bytes),
    )
    if settings.evaluate.model != "notebook":
        task += predicting(settings, shapes, block, lists)
        shared += predicting_shared(settings, shapes)
    n_tasks = chunks(users, section.users_per_task)
    # The allocator keeps some of what the rounds before freed in the same process.
    join = total(polars=POLARS_LOADED, streaming=POLARS_STREAM, of_rounds_before=24 * MIB)
    return {
        "rank": Planned(n_tasks, rank),
        "predict": Planned(n_tasks, Cost(task=task, shared=shared)),
        "join": Planned(1, Cost(task=join)),
    }
