"""The memory of every stage: integer arithmetic from shapes and configuration to bytes, one page.

Each function returns, for every round of its stage, how many tasks it has and what they cost. Nothing here
loads a library or touches a file, so that a whole run can be planned before any of it starts. The constants
that no shape explains (what Polars, Zarr and the allocator hold while they work) were measured:
``run.json`` has projected and measured memory of every stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.chunked.budget import MIB, Cost
from engine.chunked.task import Planned
from engine.config import Config, Factors, Recommend
from engine.model.index import choose
from engine.model.sizes import (
    ASK_USERS,
    BEST_ROOM,
    BIAS_RATINGS,
    CENTRE_SAMPLE,
    GRAM_ROWS,
    GROUP_USERS,
    LEAST_PASS_ROWS,
    LEAST_SCORE_WORK,
    NEAR_ITEMS,
    PASS_ROWS,
    PREDICT_PAIRS,
    PREDICT_USERS,
    PROJECT_ROWS,
    QUERY_USERS,
    RANK_USERS,
    READ_RATINGS,
    READ_USERS,
    SAMPLE_TASKS,
    SCORE_USERS,
    SCORE_WORK,
    TILE_ITEMS,
    TILE_USERS,
)

# Bytes of what is there once for all tasks: streaming buffers and pools of Polars (and without streaming), of Zarr.
_POLARS_STREAM = 56 * MIB
_POLARS = 32 * MIB
_ZARR = 8 * MIB
# Polars itself, where a stage loads it late.
_POLARS_LOADED = 48 * MIB
_HNSW_LOADED = 4 * MIB


@dataclass(frozen=True)
class Shapes:
    """What is known of the data: from the source's size alone at first, all of it once it is profiled.

    Attributes
    ----------
    source_bytes : int
        Size of the ratings file.
    compressed, columnar : bool
        Whether it is gzip or zstd, or Parquet.
    group_bytes : int
        Of a Parquet file's largest row group, decoded.
    texts : bool
        Whether users or films go by text.
    n_ratings, n_users, n_items : int
        Rows, distinct users, distinct films.
    most_ratings : int
        Of one user.
    value_bytes : int
        Of one stored rating.
    user_text_bytes, item_text_bytes : int
        Of the distinct ids, where they are text; about.
    n_partitions, n_columns, n_train, n_test : int or None
        Partitions of users, items with a column, and stored ratings; none while they are not counted.
    """

    source_bytes: int
    compressed: bool = False
    columnar: bool = False
    group_bytes: int = 0
    texts: bool = False
    n_ratings: int = 0
    n_users: int = 0
    n_items: int = 0
    most_ratings: int = 0
    value_bytes: int = 1
    user_text_bytes: int = 0
    item_text_bytes: int = 0
    n_partitions: int | None = None
    n_columns: int | None = None
    n_train: int | None = None
    n_test: int | None = None

    def laid_out(self, layout: Mapping[str, Any]) -> Shapes:
        """The same with what matrix's layout found."""
        return replace(self, n_columns=layout["n_columns"], n_train=layout["train"][-1], n_test=layout["test"][-1])

    def profiled(self, profile: Mapping[str, Any]) -> Shapes:
        """The same with what ingest's profile found."""
        return replace(
            self,
            n_ratings=profile["n_rows"],
            n_users=profile["n_users"],
            n_items=profile["n_items"],
            most_ratings=profile["most_ratings_of_a_user"],
            n_partitions=len(profile["first_users"]),
            value_bytes={"uint8": 1, "float32": 4, "float64": 8}[profile["rating_dtype"]],
        )

    def surveyed(self, survey: Mapping[str, Any]) -> Shapes:
        """The same with what ingest's survey found: the number of ratings, and about that of users and films."""
        return replace(
            self,
            n_ratings=survey["n_rows"],
            n_users=survey["about_n_users"],
            n_items=survey["about_n_items"],
            user_text_bytes=survey["user_text_bytes"],
            item_text_bytes=survey["item_text_bytes"],
        )

    @property
    def ratings_per_user(self) -> int:
        """Mean, rounded up."""
        return -(-self.n_ratings // max(1, self.n_users))


Plan = dict[str, Planned]


def _chunks(n: int, size: int) -> int:
    return -(-n // size)


def _n_partitions(settings: Config, shapes: Shapes) -> int:
    """Partitions, at most while that is not known."""
    if shapes.n_partitions is not None:
        return shapes.n_partitions
    return _chunks(shapes.n_ratings, settings.ingest.ratings_per_partition)


def _n_columns(shapes: Shapes) -> int:
    """Items with a column, at most while that is not known."""
    return shapes.n_items if shapes.n_columns is None else shapes.n_columns


def _partition_rows(settings: Config, shapes: Shapes) -> int:
    return settings.ingest.ratings_per_partition + shapes.most_ratings


def ingest(settings: Config, shapes: Shapes) -> Plan:
    """Stream the source, look at it, cut it into partitions."""
    times = settings.ingest.times
    stream = _POLARS_STREAM + 8 * MIB + 48 * MIB * shapes.compressed + 8 * MIB * times
    rows = min(_partition_rows(settings, shapes), shapes.n_ratings)
    ids = 16 * (shapes.n_users + shapes.n_items)
    partitions = _n_partitions(settings, shapes)
    distinct = 128 * (shapes.n_users + shapes.n_items) + 2 * (shapes.user_text_bytes + shapes.item_text_bytes)
    wide = 64 * MIB * shapes.texts
    # The allocator keeps some of it for the rounds that follow in the same process.
    group = 80 * MIB * shapes.columnar + shapes.group_bytes
    return {
        "convert": Planned(1, Cost(task=stream + wide + group)),
        "survey": Planned(1, Cost(task=_POLARS_STREAM + 24 * MIB + wide + group)),
        "profile": Planned(1, Cost(task=_POLARS_STREAM + 16 * MIB + wide + group + distinct)),
        "partition": Planned(
            partitions, Cost(task=8 * MIB + (74 + 32 * times) * rows, shared=_POLARS_STREAM + 8 * MIB + wide // 4 + ids)
        ),
    }


def split(settings: Config, shapes: Shapes) -> Plan:
    """Settle which rows are held out, write train and test."""
    rows = min(_partition_rows(settings, shapes), shapes.n_ratings)
    partitions = _n_partitions(settings, shapes)
    before = {
        "notebook": {"draw": Planned(1, Cost(task=_POLARS + int((18 + 120 * settings.split.test_fraction) * rows)))},
        "leave-last": {},
        "global-time": {"cut": Planned(1, Cost(task=_POLARS + 4 * MIB + 40 * rows))},
    }
    # Times, and what they are compared or put in order with.
    write = Cost(task=10 * MIB + (62 + 48 * settings.split.by_time) * rows, shared=_POLARS)
    return before[settings.split.method] | {"split": Planned(partitions, write)}


def _n_test(settings: Config, shapes: Shapes) -> int:
    """Test ratings, about."""
    last = settings.split.leave_last
    if settings.split.method == "leave-last" and last is not None:
        return min(shapes.n_ratings, last * shapes.n_users)
    return int(shapes.n_ratings * settings.split.test_fraction)


def _n_train(settings: Config, shapes: Shapes) -> int:
    """Train ratings, at most."""
    if settings.split.method == "global-time" or settings.split.leave_last is not None:
        return shapes.n_ratings  # ratings of the same second stay together, and users with few stay in train
    return min(shapes.n_ratings, int((1 - settings.split.test_fraction) * shapes.n_ratings) + shapes.n_users)


def matrix(settings: Config, shapes: Shapes) -> Plan:
    """Lay the matrices out, fill them chunk by chunk."""
    rows = min(_partition_rows(settings, shapes), shapes.n_ratings)
    chunk = min(settings.matrix.ratings_per_chunk, shapes.n_ratings)
    n_test = _n_test(settings, shapes)
    layout = _POLARS + 4 * MIB + 32 * shapes.n_users + 40 * shapes.n_items + 3 * shapes.item_text_bytes + 16 * rows
    fill = Cost(task=4 * MIB + 16 * chunk + 24 * rows, shared=_POLARS + _ZARR + 40 * shapes.n_items)
    size = settings.matrix.ratings_per_chunk
    return {
        "layout": Planned(1, Cost(task=layout)),
        "train": Planned(_chunks(shapes.n_ratings - n_test if shapes.n_train is None else shapes.n_train, size), fill),
        "test": Planned(_chunks(n_test if shapes.n_test is None else shapes.n_test, size), fill),
    }


def factors(settings: Config, shapes: Shapes) -> Plan:
    """Passes over the matrix with a tall basis (films x width), a partial sum of its size per task; user vectors."""
    section = settings.factors
    dims = min(section.dims, shapes.n_users, shapes.n_items)
    chunk = min(section.users_per_chunk, shapes.n_users)
    vectors = _ZARR + chunk * (20 * shapes.ratings_per_user + 12 * dims)
    indptr = 8 * shapes.n_users + 4 * shapes.n_items
    loadings = Cost(task=vectors, shared=4 * shapes.n_items * dims + indptr)
    n_chunks = _chunks(shapes.n_users, section.users_per_chunk)
    return _decompose(section, shapes) | {
        "layout": Planned(1, Cost(task=_ZARR)),
        "vectors": Planned(n_chunks, loadings),
    }


def _decompose(section: Factors, shapes: Shapes) -> Plan:
    smaller = min(shapes.n_users, shapes.n_items)
    width = min(section.dims + section.oversamples, smaller)
    tall = 4 * shapes.n_items * width
    indptr = 8 * shapes.n_users + 16 * shapes.n_items
    # Stored, widened and SciPy's own copies of a user's ratings; the user's row of the product.
    row = 24 * shapes.ratings_per_user + 4 * width
    pass_ = Cost(task=_ZARR + tall, shared=tall + indptr, row=row, max_rows=PASS_ROWS, min_rows=LEAST_PASS_ROWS)
    one = Cost(task=_ZARR + 4 * MIB + 2 * tall + GRAM_ROWS * width * 8 + 24 * shapes.n_items)
    plan = {"order": Planned(1, Cost(task=_ZARR + 32 * shapes.n_items + 12 * READ_RATINGS))}
    for p in range(section.passes):
        plan[f"pass-{p}"] = Planned(section.partial_sums, pass_)
        plan[f"basis-{p}"] = Planned(1, one)
    project = Cost(task=_ZARR + PROJECT_ROWS * (row + 16 * width), shared=tall + indptr)
    plan["project"] = Planned(section.partial_sums, project)
    plan["rotation"] = Planned(1, Cost(task=one.task + 8 * MIB))
    return plan


def _stored(settings: Config, shapes: Shapes) -> int:
    """Bytes of the train matrix as it is stored."""
    return (shapes.value_bytes + (2 if shapes.n_items <= 2**16 else 4)) * _n_train(settings, shapes)


def biases(settings: Config, shapes: Shapes) -> Plan:
    """The matrix as it is stored; pieces of whole users; what is added up for users and films."""
    piece = 64 * min(BIAS_RATINGS + shapes.most_ratings, shapes.n_ratings)
    stored = _stored(settings, shapes)
    return {"fit": Planned(1, Cost(task=_ZARR + stored + piece + 40 * (shapes.n_users + shapes.n_items)))}


def item_neighbors(settings: Config, shapes: Shapes) -> Plan:
    """A few films against a few: cosines, what they are multiplied by, an order; the nearest of a block."""
    section, items = settings.item_neighbors, shapes.n_items
    dims = _dims(settings, shapes)
    block = min(section.items_per_task, items) * (4 * dims + 8 * BEST_ROOM + 48 * section.k)
    compare = 24 * min(NEAR_ITEMS, items) * (min(TILE_ITEMS, items) + section.k)
    search = Cost(task=_ZARR + compare + block, shared=(12 * dims + 24) * items)
    layout = _ZARR + 8 * items + 8 * shapes.n_users + 16 * READ_RATINGS
    ranking_k = min(section.ranking_k, section.k)
    inverted = min(section.items_per_task, items) * (16 * section.k + 48 * ranking_k)
    return {
        "layout": Planned(1, Cost(task=layout)),
        "search": Planned(_chunks(_n_columns(shapes), section.items_per_task), search),
        "near": Planned(1, Cost(task=_ZARR + 4 * MIB + (8 * ranking_k + 32) * items + inverted)),
    }


def predict(settings: Config, shapes: Shapes) -> Plan:
    """All films' neighbours; a block of users' ratings, a few users' spread over all films, their pairs' neighbours."""
    section, items, k = settings.predict, shapes.n_items, settings.item_neighbors.k
    block = min(section.users_per_task, shapes.n_users)
    pairs = min(PREDICT_PAIRS, shapes.n_ratings)
    task = _ZARR + 8 * PREDICT_USERS * items + 40 * pairs * k + block * 16 * shapes.ratings_per_user
    shared = (8 * k + 4) * items + 4 * min(settings.item_neighbors.items_per_task, items) * k + 24 * shapes.n_users
    return {"users": Planned(_chunks(shapes.n_users, section.users_per_task), Cost(task=task, shared=shared))}


def _dims(settings: Config, shapes: Shapes) -> int:
    return min(settings.factors.dims, shapes.n_users, shapes.n_items)


def _graph(settings: Config, shapes: Shapes) -> int:
    """Bytes of a shard: vectors, 2 M links at the bottom and a few above, labels, locks."""
    users = min(settings.index.shard_users, shapes.n_users)
    return users * (4 * _dims(settings, shapes) + 8 * settings.index.m + 100)


def _clusters(settings: Config, shapes: Shapes) -> int:
    return _chunks(shapes.n_users, settings.index.users_per_cluster)


def index(settings: Config, shapes: Shapes) -> Plan:
    """Build a graph from the vectors of its shard; or sort users by cluster, a chunk and then a group at a time."""
    dims = _dims(settings, shapes)
    vector = 4 * dims + 8
    method, _ = choose(settings.index.method, shapes.n_users)
    plan = {"choose": Planned(1, Cost(task=_ZARR))}
    if method == "hnsw":
        users = min(settings.index.shard_users, shapes.n_users)
        build = Cost(task=_ZARR + _HNSW_LOADED + 4 * users * dims + _graph(settings, shapes))
        plan["build"] = Planned(_chunks(shapes.n_users, settings.index.shard_users), build)
    elif method == "pruned":
        clusters = _clusters(settings, shapes)
        sample = min(shapes.n_users, CENTRE_SAMPLE * clusters)
        chunk = min(settings.factors.users_per_chunk, shapes.n_users)
        n_chunks = _chunks(shapes.n_users, settings.factors.users_per_chunk)
        products = 4 * min(QUERY_USERS, chunk) * clusters
        centres = 4 * clusters * dims
        find = _ZARR + 2 * vector * sample + 3 * centres + products + vector * chunk
        plan["centres"] = Planned(1, Cost(task=find))
        plan["sort"] = Planned(n_chunks, Cost(task=_ZARR + 3 * vector * chunk + products, shared=centres))
        plan["edges"] = Planned(1, Cost(task=16 * n_chunks * clusters))
        group = min(GROUP_USERS, shapes.n_users)
        collect = Cost(task=4 * MIB + 2 * vector * group + 32 * chunk, shared=32 * n_chunks * clusters)
        plan["collect"] = Planned(_chunks(shapes.n_users, GROUP_USERS), collect)
    return plan


def neighbors(settings: Config, shapes: Shapes) -> Plan:
    """Search for a block of users: one shard at a time, or one tile at a time."""
    dims, k = _dims(settings, shapes), settings.neighbors.k
    block = min(settings.neighbors.users_per_chunk, shapes.n_users)
    method, _ = choose(settings.index.method, shapes.n_users)
    tasks = _chunks(shapes.n_users, settings.neighbors.users_per_chunk)
    # A product, what is merged of it with its codes and order, and a group of tiles.
    compare = 24 * min(QUERY_USERS, block) * (min(TILE_USERS, shapes.n_users) + k) + 8 * GROUP_USERS * (dims + 2)
    clusters = _clusters(settings, shapes)
    shared = 4 * clusters * (dims + 2) if method == "pruned" else 0
    if method == "hnsw":
        search = Cost(task=_ZARR + _HNSW_LOADED + block * (4 * dims + 60 * (k + 1)) + _graph(settings, shapes))
    else:
        # Of a tenth of the clusters, more than was ever seen: numbers of user and cluster, and their order.
        probing = 20 * min(QUERY_USERS, block) * clusters + 40 * block * _chunks(clusters, 10)
        rows = block * (4 * dims + 8 * (k + BEST_ROOM) + 32 * k)
        search = Cost(task=_ZARR + rows + compare + (probing if method == "pruned" else 0), shared=shared)
    some = _chunks(min(settings.neighbors.sample_users, shapes.n_users), SAMPLE_TASKS)
    sample = some * (4 * dims + 24 * k + 48 * clusters) + 24 * some * (TILE_USERS + k) + 8 * GROUP_USERS * (dims + 2)
    chunk = 4 * dims * min(settings.factors.users_per_chunk, shapes.n_users)
    plan = {"layout": Planned(1, Cost(task=_ZARR))}
    if method == "pruned":
        plan["sample"] = Planned(SAMPLE_TASKS, Cost(task=_ZARR + sample + chunk + 12 * shapes.n_users, shared=shared))
        plan["reach"] = Planned(1, Cost(task=_ZARR + 8 * MIB + 16 * settings.neighbors.probe_users * k))
    plan["search"] = Planned(tasks, search)
    plan["recall"] = Planned(SAMPLE_TASKS, Cost(task=_ZARR + sample + chunk, shared=shared))
    return plan


def _near_bytes(shapes: Shapes) -> int:
    """Of a near film as it is stored: its column and its similarity."""
    return 4 + (2 if shapes.n_items <= 2**16 else 4)


def _measured_bytes(settings: Config) -> int:
    """Of what is measured of a user: counts and errors, and of each of two lists its size, novelty and hits."""
    return 44 + 2 * (12 + _chunks(settings.evaluate.k, 8))


def evaluate(settings: Config, shapes: Shapes) -> Plan:
    """Score batches of users; a batch is as many as its multiply-adds allow."""
    block = min(settings.evaluate.users_per_task, shapes.n_users)
    n_train, stored = _n_train(settings, shapes), _stored(settings, shapes)
    flags = min(SCORE_USERS, block) * shapes.n_items
    near, own = 0, 0
    if settings.evaluate.model == "votes":
        near = min(settings.item_neighbors.ranking_k, settings.item_neighbors.k)
        own = shapes.ratings_per_user
    work = shapes.ratings_per_user * settings.neighbors.k + own * near
    ask = min(ASK_USERS, block) * (16 * settings.neighbors.k + 40 * shapes.ratings_per_user)
    users = Cost(
        task=_ZARR
        + flags
        + ask
        + min(READ_USERS, block) * (8 * settings.neighbors.k + 12 * shapes.ratings_per_user)
        + 16 * shapes.n_items
        + (40 + _measured_bytes(settings)) * block
        + SCORE_USERS * (32 * shapes.ratings_per_user + 40 * settings.evaluate.k),
        shared=stored + 20 * shapes.n_users + (_near_bytes(shapes) * near + 32) * shapes.n_items,
        row=32 + _chunks(64, settings.neighbors.k),  # sorting the users' own ratings, one for each neighbour's
        max_rows=min(SCORE_WORK, block * work),
        min_rows=min(LEAST_SCORE_WORK, block * work),
        cache=8 * (n_train + near * shapes.n_items) - stored + 6 * READ_RATINGS if n_train < 2**31 else 0,
    )
    tasks = _chunks(shapes.n_users, settings.evaluate.users_per_task)
    # A table as it is made and as it is written; figures of each number of films; running sums over the ranks.
    n_lengths = len(settings.evaluate.lengths)
    table = (_measured_bytes(settings) + 128 + 256 * n_lengths) * block
    ranks = 48 * settings.evaluate.k * min(RANK_USERS, block)
    ids = 16 * shapes.n_users + 2 * shapes.user_text_bytes
    mean = Cost(task=_POLARS_LOADED + _POLARS // 2 + table + ranks + ids + 32 * shapes.n_items)
    return {"users": Planned(tasks, users), "mean": Planned(1, mean)}


def recommend(settings: Config, section: Recommend, shapes: Shapes) -> Plan:
    """Score batches of users as evaluate does; predict the ratings of what is best; join."""
    block, items = min(section.users_per_task, shapes.n_users), shapes.n_items
    lists = block * min(section.k, items)
    scored = evaluate(settings, shapes)["users"].cost
    rank = replace(scored, task=scored.task + 8 * items + 96 * lists + 16 * block * shapes.ratings_per_user, cache=0)
    near = settings.item_neighbors
    ids = 32 * (shapes.n_users + items) + 2 * (shapes.user_text_bytes + shapes.item_text_bytes)
    few = 8 * PREDICT_USERS * items + 40 * min(PREDICT_PAIRS, lists) * near.k + block * 16 * shapes.ratings_per_user
    films = (8 * near.k + 4) * items + 4 * min(near.items_per_task, items) * near.k + 24 * shapes.n_users
    predicted = 0 if settings.evaluate.model == "notebook" else few
    shared = _POLARS_LOADED + _POLARS // 2 + ids + (films if predicted else 0)
    n_tasks = _chunks(shapes.n_users, section.users_per_task)
    return {
        "rank": Planned(n_tasks, rank),
        "predict": Planned(n_tasks, Cost(task=_ZARR + predicted + 120 * lists, shared=shared)),
        # The allocator keeps some of what the rounds before freed in the same process.
        "join": Planned(1, Cost(task=_POLARS_LOADED + _POLARS_STREAM + 24 * MIB)),
    }


COSTS: Mapping[str, Callable[[Config, Shapes], Plan]] = {
    "ingest": ingest,
    "split": split,
    "matrix": matrix,
    "factors": factors,
    "index": index,
    "neighbors": neighbors,
    "biases": biases,
    "item_neighbors": item_neighbors,
    "predict": predict,
    "evaluate": evaluate,
}


def disk(settings: Config, shapes: Shapes) -> dict[str, int]:
    """Bytes each stage writes at most, temporary files included; what compression saves is not counted on."""
    n, users = shapes.n_ratings, shapes.n_users
    rating = 8 + shapes.value_bytes
    dims = _dims(settings, shapes)
    return {
        "ingest": 24 * n + rating * n + 16 * n * settings.ingest.times + (shapes.source_bytes if shapes.texts else 0),
        "split": rating * n + n // 8,
        "matrix": (4 + shapes.value_bytes) * n + 16 * users,
        "factors": _decomposed_bytes(settings.factors, shapes) + 4 * users * dims,
        "index": _index_bytes(settings, shapes),
        "neighbors": 8 * users * settings.neighbors.k,
        "biases": 4 * (users + shapes.n_items),
        "item_neighbors": 16 * shapes.n_items * (settings.item_neighbors.k + 1),
        "predict": 5 * _n_test(settings, shapes),
        "evaluate": _evaluated_bytes(settings, shapes),
    }


def _evaluated_bytes(settings: Config, shapes: Shapes) -> int:
    user = _measured_bytes(settings) + 64 + 40 * len(settings.evaluate.lengths)
    counts = (16 * _chunks(shapes.n_users, settings.evaluate.users_per_task) + 8) * shapes.n_items
    return user * shapes.n_users + shapes.user_text_bytes + counts


def recommend_disk(section: Recommend, shapes: Shapes) -> int:
    """As `disk`, of the lists for every user."""
    ids = 16 + (shapes.user_text_bytes + shapes.item_text_bytes) // max(1, min(shapes.n_users, shapes.n_items))
    return (24 + 2 * (28 + ids)) * shapes.n_users * min(section.k, shapes.n_items)


def _decomposed_bytes(section: Factors, shapes: Shapes) -> int:
    width = min(section.dims + section.oversamples, shapes.n_users, shapes.n_items)
    return (section.passes + section.partial_sums + 1) * 4 * shapes.n_items * width + 4 * shapes.n_items


def _index_bytes(settings: Config, shapes: Shapes) -> int:
    method, _ = choose(settings.index.method, shapes.n_users)
    if method == "hnsw":
        return _chunks(shapes.n_users, settings.index.shard_users) * _graph(settings, shapes)
    if method == "pruned":
        vector = 4 * _dims(settings, shapes) + 4
        clusters = _clusters(settings, shapes)
        counts = 8 * clusters * _chunks(shapes.n_users, settings.factors.users_per_chunk)
        return 2 * vector * shapes.n_users + clusters * (vector + 8) + counts
    return 0
