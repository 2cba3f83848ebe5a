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
    n_train,
    stored_train,
    total,
    wide_values,
)
from engine.costs.items import predicting, predicting_shared
from engine.model.sizes import (
    ASK_USERS,
    LEAST_SCORE_WORK,
    RANK_USERS,
    READ_RATINGS,
    READ_USERS,
    SCORE_USERS,
    SCORE_WORK,
)


def evaluate(settings: Config, shapes: Shapes) -> Plan:
    """Score batches of users; a batch is as many as its multiply-adds allow."""
    tasks = chunks(shapes.n_users, settings.evaluate.users_per_task)
    return {
        "users": Planned(tasks, _scoring(settings, shapes)),
        "mean": Planned(1, Cost(task=_means(settings, shapes))),
    }


def _scoring(settings: Config, shapes: Shapes) -> Cost:
    users, items, each = shapes.n_users, shapes.n_items, shapes.ratings_per_user
    k, block = settings.neighbors.k, min(settings.evaluate.users_per_task, users)
    votes = settings.evaluate.model == "votes"
    near = min(settings.item_neighbors.ranking_k, settings.item_neighbors.k) if votes else 0
    # Multiply-adds of a user: neighbours' ratings, and what is near to each of the user's own.
    work = k * each + each * near
    neighbor = total(distances=4, weights=4, columns=4, values=4)
    own = total(widened=4 + 4, liked_so_far=8, shares=8, parts=4, items=4, stacked=4 + 4)
    stored = stored_train(settings, shapes)
    task = total(
        zarr=ZARR,
        flags=min(SCORE_USERS, block) * items,
        asking=min(ASK_USERS, block) * neighbor * k + own * shapes.ratings_of(min(ASK_USERS, block)),
        wide_values=wide_values(settings, shapes),
        neighbors_read=min(READ_USERS, block) * (4 + 4) * k,
        ratings_read=total(columns=4, values=8) * shapes.ratings_of(min(READ_USERS, block)),
        times=2 * 8 * items,  # recommended by each of what ranks
        measured=block * total(fields=measured_bytes(settings), row_pointers=8 + 8, lengths=8, multiply_adds=8, ends=8),
        own=total(watched_places=8, rows=8, keys=8, popular_places=8) * shapes.ratings_of(min(SCORE_USERS, block)),
        batch=SCORE_USERS
        * total(
            lists=total(rows=8, columns=8, ranks=8, places=8, information=8) * settings.evaluate.k,
        ),
    )
    near_stored = total(columns=column_bytes(shapes), similarities=4) * near
    item_arrays = total(counts=8, factor=4, popular_columns=4, popular_places=4, bias=4, information=8)
    shared = total(
        train=stored,
        users=total(train_indptr=8, test_indptr=8, biases=4) * users,
        items=total(near=near_stored, arrays=item_arrays) * items,
    )
    return Cost(
        task=task,
        shared=shared,
        row=total(
            gathered=4 + 4,
            columns=4,
            scores=4,
            places=8,
            candidates=4,
            thresholds=4,
            sorting_own=chunks(64, k),  # the users' own ratings, one for each neighbour's
        ),
        max_rows=min(SCORE_WORK, block * work),
        min_rows=min(LEAST_SCORE_WORK, block * work),
        cache=_widened(settings, shapes, near, stored),
    )


def _widened(settings: Config, shapes: Shapes, near: int, stored: int) -> int:
    """What the widened matrix takes beyond the stored one; 0 where SciPy's pointers do not reach so far."""
    ratings = n_train(settings, shapes)
    if ratings >= 2**31:
        return 0
    widened = total(indices=4, data=4) * (ratings + near * shapes.n_items)
    return widened - stored + total(indices=4, data=1, liked=1) * READ_RATINGS


def _means(settings: Config, shapes: Shapes) -> int:
    block = min(settings.evaluate.users_per_task, shapes.n_users)
    # A table as it is made and as it is written: of each user, and of each number of items that is measured.
    of_lengths = total(columns=2 * (4 + 8 + 8), figures=2 * 7 * 8, of_liked=64, written=40)
    user = total(
        measured=measured_bytes(settings),
        id=8,
        columns=9 * 8,
        written=48,
        of_lengths=of_lengths * len(settings.evaluate.lengths),
    )
    running_sums = total(hits=8, gains=8, sums_of_gains=8, products=8, precisions=8, sums_of_precisions=8)
    return total(
        polars=POLARS_LOADED + POLARS // 2,
        users=user * block,
        ranks=running_sums * settings.evaluate.k * min(RANK_USERS, block),
        ids=total(ids=8, read=8) * shapes.n_users,
        texts=total(ids=1, read=1) * shapes.user_text_bytes,
        times=total(sums=2 * 8, of_block=2 * 8) * shapes.n_items,
    )


def recommend(settings: Config, section: Recommend, shapes: Shapes) -> Plan:
    """Score batches of users as evaluate does; predict the ratings of what is best; join."""
    users, items = shapes.n_users, shapes.n_items
    block = min(section.users_per_task, users)
    lists = block * min(section.k, items)
    scored = evaluate(settings, shapes)["users"].cost
    record = 7 * 4
    listed = total(parts=record, joined=record, rows=8, items=4, scores=4, n_raters=8, sums=8, mean_ratings=4, places=4)
    ranking = total(
        scoring=scored.task,
        place_of_item=8 * items,
        lists=listed * lists,
        ratings=total(train=4 + 4, test=4 + 4) * shapes.ratings_of(block),
    )
    rank = replace(scored, task=ranking, cache=0)
    row = total(ranked=record, predicted=4, columns=5 * 4, user=8, item=8, written=52)
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
