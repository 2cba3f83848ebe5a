"""What all memory models are made with: what is known of the data, and what libraries hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.chunked.budget import MIB
from engine.chunked.task import Planned
from engine.config import Config
from engine.model.counting import n_parts, n_ranges
from engine.model.index import nearest_kept
from engine.model.sizes import PART_USER

# Dimensions of refined vectors are a multiple of that (`engine.kernels.refinement.LANES`).
LANES = 16
# Bytes of what is there once for all tasks: streaming buffers and pools of Polars (and without streaming), of Zarr.
POLARS_STREAM = 56 * MIB
POLARS = 32 * MIB
ZARR = 8 * MIB
# What NumPy copies of an array at once where it writes several into one file.
ZIPPED = 16 * MIB
# What allocators keep for a round of what those before it in the same process took; in larger rounds it is used again.
BEFORE = 8 * MIB
# Polars itself, where a stage loads it late; hnswlib.
POLARS_LOADED = 48 * MIB
HNSW_LOADED = 4 * MIB


@dataclass(frozen=True)
class Shapes:
    """What is known of the data: from the source's size alone at first, all of it once it is profiled.

    Attributes
    ----------
    source_bytes : int
        Size of the ratings files.
    compressed, columnar : bool
        Whether it is gzip or zstd, or Parquet.
    group_bytes : int
        Of a Parquet file's largest row group, decoded.
    n_pieces : int
        That ratings files are converted in.
    n_files : int
        Of ratings.
    parsed : bool
        Whether times or ratings are read as text and then taken apart.
    counted : bool
        Whether ratings of a pair are added up.
    implicit : bool
        Whether no ratings are predicted: the pairs are implicit feedback.
    texts : bool
        Whether users or items go by text.
    n_rows : int
        Of the file.
    n_ratings, n_users, n_items : int
        Pairs, at most: repeats count once. Distinct users, distinct items.
    most_ratings : int
        Of one user, at most.
    most_of_users : tuple of int
        Of 1, 2, 4 ... consecutive users together, at most.
    value_bytes : int
        Of one stored rating.
    user_text_bytes, item_text_bytes : int
        Of the distinct ids, where they are text; about.
    user_ranges, item_ranges : int
        That their ids are put together in, as the survey has it; 0 while there is none.
    n_partitions, n_columns, n_train, n_test : int or None
        Partitions of users, items with a column, and stored ratings; none while they are not counted.
    weighs_latent, weighs_together : bool
        Whether residuals and cooccurrence are needed; true while weights are not chosen.
    """

    source_bytes: int
    compressed: bool = False
    columnar: bool = False
    group_bytes: int = 0
    texts: bool = False
    parsed: bool = False
    counted: bool = False
    n_pieces: int = 1
    n_files: int = 1
    implicit: bool = False
    n_rows: int = 0
    n_ratings: int = 0
    n_users: int = 0
    n_items: int = 0
    most_ratings: int = 0
    most_of_users: tuple[int, ...] = ()
    value_bytes: int = 1
    user_text_bytes: int = 0
    item_text_bytes: int = 0
    user_ranges: int = 0
    item_ranges: int = 0
    n_partitions: int | None = None
    n_columns: int | None = None
    n_train: int | None = None
    n_test: int | None = None
    weighs_latent: bool = True
    weighs_together: bool = True

    def weighed(self, chosen: Mapping[str, Any]) -> Shapes:
        """The same with the weights that calibrate chose."""
        latent, together = chosen["rating"]["weights"]["latent"], chosen["ranking"]["weights"]["together"]
        return replace(self, weighs_latent=latent > 0, weighs_together=together > 0)

    def laid_out(self, layout: Mapping[str, Any]) -> Shapes:
        """The same with what matrix's layout found."""
        return replace(self, n_columns=layout["n_columns"], n_train=layout["train"][-1], n_test=layout["test"][-1])

    def profiled(self, profile: Mapping[str, Any]) -> Shapes:
        """The same with what ingest's profile found."""
        rows, users, items = profile["n_rows"], profile["n_users"], profile["n_items"]
        return replace(
            self,
            n_rows=rows,
            n_ratings=min(rows, users * items),
            n_users=users,
            n_items=items,
            most_ratings=min(profile["most_ratings_of_a_user"], items),
            most_of_users=tuple(
                min(most, items * 2**power) for power, most in enumerate(profile["most_ratings_of_users"])
            ),
            n_partitions=len(profile["first_users"]),
            value_bytes={"uint8": 1, "float32": 4, "float64": 8}[profile["rating_dtype"]],
        )

    def surveyed(self, survey: Mapping[str, Any]) -> Shapes:
        """The same with what ingest's survey found: the number of ratings, and about that of users and items."""
        return replace(
            self,
            n_rows=survey["n_rows"],
            n_ratings=survey["n_rows"],
            n_users=survey["about_n_users"],
            n_items=survey["about_n_items"],
            user_text_bytes=survey["user_text_bytes"],
            item_text_bytes=survey["item_text_bytes"],
            user_ranges=n_ranges(survey["about_n_users"]),
            item_ranges=n_ranges(survey["about_n_items"]),
        )

    def ratings_of(self, users: int) -> int:
        """Of so many consecutive users together, at most."""
        power = max(0, users - 1).bit_length()
        if self.most_of_users:
            return self.most_of_users[min(power, len(self.most_of_users) - 1)]
        return min(self.n_ratings, max(users * self.ratings_per_user, self.most_ratings))

    @property
    def ratings_per_user(self) -> int:
        """Mean, rounded up."""
        return -(-self.n_ratings // max(1, self.n_users))


Plan = dict[str, Planned]


def total(**arrays: int) -> int:
    """Bytes of arrays that are there together, or of one entry of each; every one by its name.

    Examples
    --------
    >>> total(codes=4, ratings=1) * 1000
    5000
    """
    return sum(arrays.values())


def chunks(n: int, size: int) -> int:
    """Pieces of a size that ``n`` things make, the last one may be smaller."""
    return -(-n // size)


def n_partitions(settings: Config, shapes: Shapes) -> int:
    """Partitions, at most while that is not known."""
    if shapes.n_partitions is not None:
        return shapes.n_partitions
    return chunks(shapes.n_ratings, settings.ingest.ratings_per_partition)


def counting_parts(shapes: Shapes) -> int:
    """Parts of the rows that ids are counted by."""
    return n_parts(max(shapes.n_rows, shapes.n_ratings), shapes.source_bytes * shapes.texts)


def id_ranges(shapes: Shapes) -> tuple[int, int]:
    """Ranges that the ids of users and of items are put together in."""
    return shapes.user_ranges or n_ranges(shapes.n_users), shapes.item_ranges or n_ranges(shapes.n_items)


def partition_rows(settings: Config, shapes: Shapes) -> int:
    """Ratings of a partition, at most: its last user is taken whole."""
    return min(settings.ingest.ratings_per_partition + shapes.most_ratings, shapes.n_ratings)


def read_rows(settings: Config, shapes: Shapes) -> int:
    """Rows of the file that a partition is made of, at most; some may be of the same pair."""
    rows = max(shapes.n_rows, shapes.n_ratings)
    return min(partition_rows(settings, shapes) + rows - shapes.n_ratings, rows)


def n_test(settings: Config, shapes: Shapes) -> int:
    """Test ratings, about."""
    last = settings.split.leave_last
    if settings.split.method == "given":
        return shapes.n_ratings // 2  # not known yet
    if settings.split.method == "leave-last" and last is not None:
        return min(shapes.n_ratings, last * shapes.n_users)
    return int(shapes.n_ratings * settings.split.test_share)


def n_test_of(settings: Config, ratings: int, users: int) -> int:
    """Test ratings among so many ``ratings`` of some users, at most."""
    if not settings.split.tests:
        return 0
    if settings.split.method not in ("notebook", "random"):
        return ratings
    return min(ratings, int(ratings * settings.split.test_share) + users)


def n_train(settings: Config, shapes: Shapes) -> int:
    """Train ratings, at most."""
    if settings.split.method in ("global-time", "given") or settings.split.leave_last is not None:
        return shapes.n_ratings  # ratings of the same second stay together, and users with few stay in train
    return min(shapes.n_ratings, int((1 - settings.split.test_share) * shapes.n_ratings) + shapes.n_users)


def bias_parts(settings: Config, shapes: Shapes) -> int:
    """Parts of the users that biases are fitted by."""
    return chunks(n_train(settings, shapes) + PART_USER * shapes.n_users, settings.biases.ratings_per_part)


def column_bytes(shapes: Shapes) -> int:
    """Of a column's number as matrices store it."""
    return 2 if shapes.n_items <= 2**16 else 4


def wide_values(settings: Config, shapes: Shapes) -> int:
    """Of a chunk of ratings as it is packed and unpacked, beyond the byte a rating that `ZARR` has."""
    chunk = min(settings.matrix.ratings_per_chunk, shapes.n_ratings)
    return total(packed=1, unpacked=1) * (shapes.value_bytes - 1) * chunk


def scaled_value(settings: Config) -> int:
    """Of a rating as it is decomposed, beside the one stored."""
    return 4 if settings.factors.ratings == "scaled" else 0


def stored_train(settings: Config, shapes: Shapes) -> int:
    """Bytes of the train matrix as it is stored, without row pointers."""
    return total(data=shapes.value_bytes, indices=column_bytes(shapes)) * n_train(settings, shapes)


def dims_of(settings: Config, shapes: Shapes) -> int:
    """Of user and item vectors: no more than the matrix has rows or columns."""
    return min(settings.factors.dims, shapes.n_users, shapes.n_items)


def n_near_users(settings: Config, shapes: Shapes) -> int:
    """Neighbours that are kept of a user."""
    return nearest_kept(settings.neighbors.k, shapes.n_users)


def n_near_items(settings: Config, shapes: Shapes) -> int:
    """The same of an item."""
    return nearest_kept(settings.item_neighbors.k, shapes.n_items)


def n_together(settings: Config, shapes: Shapes) -> int:
    """Items that are kept of an item as taken together with it."""
    return nearest_kept(settings.cooccurrence.k, shapes.n_items)


def n_ranking_items(settings: Config, shapes: Shapes) -> int:
    """Those of them that items are ranked by."""
    return min(settings.item_neighbors.ranking_k, n_near_items(settings, shapes))


def refines(settings: Config) -> bool:
    """Whether vectors are refined."""
    return settings.evaluate.model != "notebook" and settings.refine.sweeps > 0


def target_bytes(settings: Config, shapes: Shapes) -> int:
    """Of what vectors are fitted to, a rating."""
    weighed = settings.refine.alpha > 0 and shapes.implicit
    confidences = total(logarithms=4, confidences=4, as_double=8) * weighed
    return confidences + total(targets=4, values=4, compared=1, rows=8, of_rows=4, of_columns=4)


def calibrates(settings: Config) -> bool:
    """Whether the weights of the model's parts are chosen by the run."""
    return settings.evaluate.model != "notebook" and settings.calibrate.method == "validation"


def parts(settings: Config) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Steps of parts that may weigh something, beside those that are always there: for ratings, and for lists.

    Where a run chooses weights all are steps of it; those that turn out to weigh nothing have no tasks.
    """
    if settings.evaluate.model == "notebook":
        return (), ()
    residuals, together = settings.predict.latent_weight > 0, settings.evaluate.together_weight > 0
    chooses = calibrates(settings)
    of_ratings = ("residuals",) if chooses or residuals else ()
    refined = ("refine",) if refines(settings) else ()
    return of_ratings, (*refined, *(("cooccurrence",) if chooses or together else ()))


def comparing_centres(dims: int, clusters: int) -> int:
    """Bytes that comparing rows with all centres takes: these once more, and products and bits of eight rows."""
    return total(laid_out=4 * dims, products=8 * 4, bits=1) * clusters


def users_per_chunk(settings: Config) -> int:
    """Of the vectors that neighbours are found with."""
    return settings.refine.users_per_chunk if refines(settings) else settings.factors.users_per_chunk


def vector_dims(settings: Config, shapes: Shapes) -> int:
    """Of the user vectors that neighbours are found with: those of the SVD, or as many as kernels take."""
    dims = dims_of(settings, shapes)
    return filled_up(dims) if refines(settings) else dims


def residual_dims(settings: Config, shapes: Shapes) -> int:
    """Of the item vectors that ratings are predicted with."""
    dims = min(settings.residuals.dims, dims_of(settings, shapes))
    return filled_up(dims)


def width_of(settings: Config, shapes: Shapes) -> int:
    """Columns of the bases that the SVD works with."""
    return min(settings.factors.dims + settings.factors.oversamples, shapes.n_users, shapes.n_items)


def filled_up(width: int) -> int:
    """Columns that kernels take so many in."""
    return chunks(width, LANES) * LANES


def graph_bytes(settings: Config, shapes: Shapes) -> int:
    """Of a shard of hnswlib's."""
    vector = 4 * vector_dims(settings, shapes)
    links = 2 * settings.index.m * 4  # at the bottom
    user = total(vector=vector, bottom_links=links, upper_links_labels_and_locks=100)
    return min(settings.index.shard_users, shapes.n_users) * user


def clusters_of(settings: Config, shapes: Shapes) -> int:
    """Clusters of users that the index has with ``pruned``."""
    return chunks(shapes.n_users, settings.index.users_per_cluster)


def measured_bytes(settings: Config, shapes: Shapes) -> int:
    """Of what is measured of a user, the fields of `engine.model.evaluation.per_user`."""
    counts, errors = 3 * 4, 2 * 2 * 8
    one_list = total(n_items=4, novelty=8, hits=chunks(min(settings.evaluate.k, shapes.n_items), 8))
    return counts + errors + 2 * one_list
