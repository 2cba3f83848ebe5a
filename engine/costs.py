"""The memory of every stage: integer arithmetic from shapes and configuration to bytes, one page.

Each function returns, for every round of its stage, how many tasks it has and what they cost. Nothing here
loads a library or touches a file, so that a whole run can be planned before any of it starts. The constants
that no shape explains (what Polars, Zarr and the allocator hold while they work) were measured:
``run.json`` has projected and measured memory of every stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.chunked.budget import MIB, Cost
from engine.config import Config
from engine.methods import choose

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
    n_ratings, n_users, n_items : int
        Rows, distinct users, distinct films.
    most_ratings : int
        Of one user.
    value_bytes : int
        Of one stored rating.
    """

    source_bytes: int
    compressed: bool = False
    columnar: bool = False
    n_ratings: int = 0
    n_users: int = 0
    n_items: int = 0
    most_ratings: int = 0
    value_bytes: int = 1

    def profiled(self, profile: Mapping[str, Any]) -> Shapes:
        """The same with what ingest's profile found."""
        return Shapes(
            self.source_bytes,
            self.compressed,
            self.columnar,
            profile["n_rows"],
            profile["n_users"],
            profile["n_items"],
            profile["most_ratings_of_a_user"],
            {"uint8": 1, "float32": 4, "float64": 8}[profile["rating_dtype"]],
        )

    @property
    def ratings_per_user(self) -> int:
        """Mean, rounded up."""
        return -(-self.n_ratings // max(1, self.n_users))


class Planned(NamedTuple):
    """A round's number of tasks and their cost."""

    n_tasks: int
    cost: Cost


Plan = dict[str, Planned]


def _chunks(n: int, size: int) -> int:
    return -(-n // size)


def _partition_rows(settings: Config, shapes: Shapes) -> int:
    return settings.ingest.ratings_per_partition + shapes.most_ratings


def ingest(settings: Config, shapes: Shapes) -> Plan:
    """Stream the source, look at it, cut it into partitions."""
    stream = _POLARS_STREAM + 8 * MIB + 48 * MIB * shapes.compressed + 128 * MIB * shapes.columnar
    rows = min(_partition_rows(settings, shapes), shapes.n_ratings)
    ids = 16 * (shapes.n_users + shapes.n_items)
    partitions = _chunks(shapes.n_ratings, settings.ingest.ratings_per_partition)
    return {
        "convert": Planned(1, Cost(task=stream)),
        "profile": Planned(1, Cost(task=_POLARS_STREAM + 8 * MIB + shapes.source_bytes // 32)),
        "partition": Planned(partitions, Cost(task=8 * MIB + 74 * rows, shared=_POLARS_STREAM + ids)),
    }


def split(settings: Config, shapes: Shapes) -> Plan:
    """Draw the held-out rows, write train and test."""
    rows = min(_partition_rows(settings, shapes), shapes.n_ratings)
    partitions = _chunks(shapes.n_ratings, settings.ingest.ratings_per_partition)
    return {
        "draw": Planned(1, Cost(task=_POLARS + 10 * rows)),
        "split": Planned(partitions, Cost(task=4 * MIB + 62 * rows, shared=_POLARS)),
    }


def matrix(settings: Config, shapes: Shapes) -> Plan:
    """Lay the matrices out, fill them chunk by chunk."""
    rows = min(_partition_rows(settings, shapes), shapes.n_ratings)
    chunk = min(settings.matrix.ratings_per_chunk, shapes.n_ratings)
    n_test = int(shapes.n_ratings * settings.split.test_fraction)
    layout = _POLARS + 4 * MIB + 32 * shapes.n_users + 40 * shapes.n_items + 16 * rows
    fill = Cost(task=4 * MIB + 16 * chunk + 24 * rows, shared=_POLARS + _ZARR + 40 * shapes.n_items)
    size = settings.matrix.ratings_per_chunk
    return {
        "layout": Planned(1, Cost(task=layout)),
        "train": Planned(_chunks(shapes.n_ratings - n_test, size), fill),
        "test": Planned(_chunks(n_test, size), fill),
    }


# Stored ratings read at a time where all are gone through.
READ_RATINGS = 2**20
# Users multiplied at a time where a sum's order must not depend on the budget, and at most where it does not.
PROJECT_ROWS = 1024
PASS_ROWS = 4096


def factors(settings: Config, shapes: Shapes) -> Plan:
    """Passes over the matrix with a tall basis (films x width), a partial sum of its size per task."""
    section = settings.factors
    smaller = min(shapes.n_users, shapes.n_items)
    width = min(section.dims + section.oversamples, smaller)
    dims = min(section.dims, smaller)
    tall = 4 * shapes.n_items * width
    indptr = 8 * shapes.n_users + 4 * shapes.n_items
    # Stored, widened and SciPy's own copies of a user's ratings; the user's row of the product.
    row = 24 * shapes.ratings_per_user + 4 * width
    pass_ = Cost(task=_ZARR + tall, shared=tall + indptr, row=row, max_rows=PASS_ROWS, min_rows=64)
    one = Cost(task=_ZARR + 2 * tall + 4096 * width * 8)
    chunk = min(section.users_per_chunk, shapes.n_users)
    vectors = _ZARR + chunk * (20 * shapes.ratings_per_user + 12 * dims)
    plan = {"order": Planned(1, Cost(task=_ZARR + 28 * shapes.n_items + 12 * READ_RATINGS))}
    for p in range(section.passes):
        plan[f"pass-{p}"] = Planned(section.partial_sums, pass_)
        plan[f"basis-{p}"] = Planned(1, one)
    project = Cost(task=_ZARR + PROJECT_ROWS * (row + 16 * width), shared=tall + indptr)
    plan["project"] = Planned(section.partial_sums, project)
    plan["rotation"] = Planned(1, Cost(task=one.task + 8 * MIB))
    loadings = Cost(task=vectors, shared=4 * shapes.n_items * dims + indptr)
    plan["vectors"] = Planned(_chunks(shapes.n_users, section.users_per_chunk), loadings)
    return plan


def _dims(settings: Config, shapes: Shapes) -> int:
    return min(settings.factors.dims, shapes.n_users, shapes.n_items)


def _graph(settings: Config, shapes: Shapes) -> int:
    """Bytes of a shard: vectors, 2 M links at the bottom and a few above, labels, locks."""
    users = min(settings.index.shard_users, shapes.n_users)
    return users * (4 * _dims(settings, shapes) + 8 * settings.index.m + 100)


# Users in a group of tiles, which is read at once; in a tile, which is multiplied at once; queries multiplied at once.
# Fixed, because the last bits of a product may depend on its shape.
GROUP_USERS = 8192
TILE_USERS = 1024
QUERY_USERS = 256
# Places each query has for what is found between two selections of its best.
BEST_ROOM = 64
# Users looked at for each cluster's centre. Tasks that samples of users are shared out among.
CENTRE_SAMPLE = 16
SAMPLE_TASKS = 4


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


# Users scored at a time at most; beyond that their flags, a byte for each film, leave the processor's cache.
SCORE_USERS = 256


def evaluate(settings: Config, shapes: Shapes) -> Plan:
    """Score batches of users; a batch is as many as its multiply-adds allow."""
    block = min(settings.evaluate.users_per_task, shapes.n_users)
    n_train = min(shapes.n_ratings, int((1 - settings.split.test_fraction) * shapes.n_ratings) + shapes.n_users)
    stored = (shapes.value_bytes + (2 if shapes.n_items <= 2**16 else 4)) * n_train
    flags = min(SCORE_USERS, block) * shapes.n_items
    work = shapes.ratings_per_user * settings.neighbors.k
    users = Cost(
        task=_ZARR + flags + 160 * block + 32 * SCORE_USERS * shapes.ratings_per_user,
        shared=stored + 16 * shapes.n_users,
        row=32,
        max_rows=min(2**21, block * work),
        min_rows=min(2**18, block * work),
        cache=8 * n_train - stored + 6 * READ_RATINGS if n_train < 2**31 else 0,
    )
    tasks = _chunks(shapes.n_users, settings.evaluate.users_per_task)
    mean = Cost(task=_POLARS_LOADED + _POLARS // 2 + 64 * block)
    return {"users": Planned(tasks, users), "mean": Planned(1, mean)}


COSTS: Mapping[str, Callable[[Config, Shapes], Plan]] = {
    "ingest": ingest,
    "split": split,
    "matrix": matrix,
    "factors": factors,
    "index": index,
    "neighbors": neighbors,
    "evaluate": evaluate,
}


def disk(settings: Config, shapes: Shapes) -> dict[str, int]:
    """Bytes each stage writes at most, temporary files included; what compression saves is not counted on."""
    n, users = shapes.n_ratings, shapes.n_users
    rating = 8 + shapes.value_bytes
    smaller = min(users, shapes.n_items)
    width = min(settings.factors.dims + settings.factors.oversamples, smaller)
    dims = _dims(settings, shapes)
    tall = 4 * shapes.n_items * width
    return {
        "ingest": 24 * n + rating * n,
        "split": rating * n + n // 8,
        "matrix": (4 + shapes.value_bytes) * n + 16 * users,
        "factors": (settings.factors.passes + settings.factors.partial_sums + 1) * tall
        + 4 * (users * dims + shapes.n_items),
        "index": _index_bytes(settings, shapes),
        "neighbors": 8 * users * settings.neighbors.k,
        "evaluate": 40 * users,
    }


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
