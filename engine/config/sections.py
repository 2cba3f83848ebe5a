"""Everything a user may set, validated: one section per stage, with units in the names or the docs.

A stage's section determines its output. Keys outside the sections (memory, workers, keep, executor) never do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from engine.chunked.extras import install
from engine.model.parameters import RankingParameters, RankingWeights, RatingWeights

Positive = Annotated[int, Meta(ge=1)]
# Each is a round of tasks, or several: a plan lists them all.
Repeats = Annotated[int, Meta(ge=1, le=100)]
Fraction = Annotated[float, Meta(gt=0, lt=1)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
LikedFrom = float | Literal["auto"]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections: immutable, keywords only, unknown keys refused."""


class Ingest(Section, frozen=True):
    """From the ratings file to partitions of whole users."""

    ratings_per_partition: Positive = 2**18
    """Users whose first ratings fall into the same stretch of this many ratings share a partition."""
    times: bool = False
    """Keep the times of the ratings; always so where ``split.method`` needs them."""


class Split(Section, frozen=True):
    """Which ratings are held out for the test."""

    method: Literal["notebook", "random", "leave-last", "global-time", "given", "none"] = "notebook"
    """``notebook``: a random share of each user's ratings, all drawn in one sequence, as the notebook draws them.
    ``random``: such a share, too, but each rating's turn is settled by the seed and the ids of its pair, whatever else
    is in the file and in which order. ``leave-last``: each user's last ratings by time.
    ``global-time``: all users' ratings later than one moment. ``none``: none, so that the model learns from all ratings
    and nothing is measured. Where a user rated several items in the same second, the
    rating of the item with the greatest id counts as the last. ``global-time`` does not separate these ratings: those
    of the second of the cut are in train. ``given``: those of ``test``, a file of its own."""
    test_fraction: Fraction = 0.2
    """Share of each user's ratings that is held out, rounded down, at least one rating. ``global-time``: at most this
    share of all ratings."""
    leave_last: Positive | None = None
    """``leave-last``: number of ratings held out of each user, instead of ``test_fraction``. Users who have no more
    ratings than that stay wholly in train."""
    min_ratings: Annotated[int, Meta(ge=2)] = 5
    """Users with fewer ratings stay wholly in train. ``global-time`` ignores this."""
    seed: Seed = 42
    """``notebook``: seed of the generator that draws the held-out ratings, users in ascending order. ``random``: what
    ids are mixed with."""
    folds: Annotated[int, Meta(ge=2)] | None = None
    """``notebook``: parts that each user's ratings are shared out among at random, instead of ``test_fraction``."""
    fold: Annotated[int, Meta(ge=0)] = 0
    """Which of the ``folds`` is test, from 0: for cross-validation run them all."""

    @property
    def by_time(self) -> bool:
        """Whether the split needs the times of the ratings."""
        return self.method in ("leave-last", "global-time")

    @property
    def tests(self) -> bool:
        """Whether anything is held out, and so measured."""
        return self.method != "none"

    @property
    def test_share(self) -> float:
        """Share of the ratings that is held out, about."""
        share = self.test_fraction if self.folds is None else 1 / self.folds
        return share if self.tests else 0.0


class Matrix(Section, frozen=True):
    """Train and test as CSR."""

    ratings_per_chunk: Positive = 2**20
    """Ratings in a storage chunk."""
    feedback: Literal["auto", "explicit", "implicit"] = "auto"
    """What is known of a pair: ``explicit``, a rating; ``implicit``, that the user took the item, and maybe how often.
    Then no ratings are predicted, and every test item is relevant. ``auto``: implicit where the file has counts, or
    users and items alone, or all ratings are equal."""
    scale: bool = True
    """Settle the range of the train ratings, and from which on items are liked; always so where ``factors.ratings`` or
    ``liked_from`` needs it."""


class Factors(Section, frozen=True):
    """Truncated SVD of the train matrix, scaled (Nikolakopoulos et al. 2019, https://doi.org/10.1007/s10115-018-1197-7)."""

    dims: Positive = 64
    """Dimensions of the vectors; fewer where the matrix has fewer rows or columns."""
    ratings: Literal["scaled", "raw"] = "scaled"
    """``scaled``: the least train rating counts 0.5 and the greatest 5, so that vectors depend neither on the unit
    of the ratings nor on their zero. ``raw``: ratings count as they are."""
    oversamples: Annotated[int, Meta(ge=0)] = 10
    """Extra dimensions carried along for accuracy."""
    passes: Repeats = 5
    """Power iterations, each one pass over the matrix."""
    partial_sums: Positive = 8
    """Tasks a pass is cut into; each leaves a partial sum of items x (dims + oversamples) floats."""
    users_per_chunk: Positive = 8192
    """Users in a storage chunk of the vectors."""
    user_scaling: Annotated[float, Meta(ge=0, le=1)] = 0.25
    """A user's ratings are divided by this power of their number."""
    item_scaling: Annotated[float, Meta(ge=0, le=1)] = 0.1
    """An item's ratings are divided by this power of their number."""
    seed: Seed = 42
    """Seed of the random start."""


class Refine(Section, frozen=True):
    """Vectors refined by alternating least squares for implicit feedback (Hu, Koren and Volinsky 2008)."""

    sweeps: Annotated[int, Meta(ge=0, le=100)] = 3
    """Times that users' vectors, then items', are fitted, from those of the SVD; 0 leaves the step out."""
    steps: Repeats = 3
    """Steps of conjugate gradients for each vector of a sweep."""
    liked_from: LikedFrom | None = None
    """Ratings from there on are a preference of 1. None: ``evaluate.liked_from``."""
    disliked_preference: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """The preference that a lower rating stands for: who rates an item has chosen it, at least."""
    unseen_weight: Annotated[float, Meta(ge=0)] = 600.0
    """What all items that a user has not rated weigh together, a rating weighing 1."""
    most_unseen: Annotated[float, Meta(ge=0)] = 0.5
    """What one of them weighs at most, where items are few."""
    regularisation: Annotated[float, Meta(ge=0)] = 0.015
    """Times the number of ratings, and the weight of what is unseen (Rendle et al. 2021)."""
    regularised_users: Annotated[float, Meta(ge=0)] = 50.0
    """The weight of users who have not rated an item counts up to this for the item's regularisation."""
    alpha: Annotated[float, Meta(ge=0)] = 0.0
    """Implicit feedback: the confidence in a pair, which it weighs by, is 1 + alpha log(1 + count)."""
    ratings_per_part: Positive = 2**22
    """Ratings in a task, a user counting as 16 more. Sums of users are added in the order of the tasks."""
    items_per_task: Positive = 16384
    """Items in a task that adds up what these have found."""
    users_per_chunk: Positive = 8192
    """Users in a storage chunk of the vectors."""


class Biases(Section, frozen=True):
    """How far each user and item is from the mean."""

    passes: Repeats = 5
    """Number of times that the users' biases, then the items', are fitted."""
    user_damping: Annotated[float, Meta(ge=0)] = 5.0
    """Number of ratings equal to the mean that are added to a user's."""
    item_damping: Annotated[float, Meta(ge=0)] = 3.0
    """Number of ratings equal to the mean that are added to an item's."""
    ratings_per_part: Positive = 2**22
    """Ratings in a task, a user counting as 16 more. Sums of ratings are added in the order of the tasks."""


class Residuals(Section, frozen=True):
    """Item vectors whose products with users' say what the bias model leaves of ratings."""

    dims: Positive = 32
    """Dimensions of the vectors: the leading ones of the SVD, where they start."""
    sweeps: Repeats = 2
    """Times that users' vectors, then items', are fitted. More of them fit what is chance."""
    steps: Repeats = 2
    """Steps of conjugate gradients for each vector of a sweep."""
    strength: Annotated[float, Meta(ge=0)] = 1.0
    """Of the regularisation, times the root of the number of a vector's ratings."""
    ratings_per_part: Positive = 2**22
    """Ratings in a task, a user counting as 16 more. Sums of users are added in the order of the tasks."""
    items_per_task: Positive = 16384
    """Items in a task that adds up what these have found."""


class ItemNeighbors(Section, frozen=True):
    """Nearest items by cosine, for predicting ratings and for ranking."""

    dims: Positive = 32
    """Leading dimensions of the item vectors that are compared."""
    k: Positive = 50
    """Neighbours kept per item. Ratings are predicted from all of them."""
    ranking_k: Positive = 15
    """Items are ranked by this many of them, the nearest."""
    shrink: Annotated[float, Meta(ge=0)] = 10.0
    """A cosine is multiplied by n / (n + shrink); n is the number of ratings of the item of the two with fewer."""
    min_ratings: Positive = 3
    """Items with fewer ratings have no neighbours, and are no neighbour of another item."""
    recall: Fraction = 0.99
    """More than 16 384 items: share of the true neighbours to find, of all but the 4096 with most ratings, which are
    compared with all. It determines in how many clusters each of the others searches."""
    items_per_cluster: Positive = 512
    """The same: items in a cluster, on average."""
    probe_items: Positive = 1024
    """Items whose true neighbours are looked for, to settle that."""
    seed: Seed = 100
    """Seed of the clusters' start, and of the items in that sample."""
    items_per_task: Positive = 4096
    """Items in a task, and in a storage chunk."""


class Cooccurrence(Section, frozen=True):
    """Items that are taken together, for ranking; not looked for where they weigh nothing."""

    k: Positive = 24
    """Kept of each item: those that go best together with it."""
    user_power: Annotated[float, Meta(ge=0)] = 0.5
    """Who took two items counts, for them, the number of their ratings to minus this power."""
    item_power: Annotated[float, Meta(ge=0, le=1)] = 0.2
    """How well an item goes together with another is divided by this power of the number of its ratings, and by the
    rest to 1 of the other's: the less, the more popular items are among the best."""
    most_ratings: Positive = 1024
    """Who has more ratings is passed over: that says little of what goes together, and takes most of the time."""
    ratings: Positive = 2**24
    """Ratings looked at, at most: of users drawn at random, of all where they have no more; a 16th as many users."""
    seed: Seed = 19
    """Seed of the users drawn."""
    liked_from: LikedFrom | None = None
    """Ratings from there on count 1. None: ``evaluate.liked_from``."""
    disliked_vote: Annotated[float, Meta(ge=0, le=1)] = 0.3
    """What lower ratings count."""
    ratings_per_part: Positive = 2**19
    """Ratings that are sorted by item at once."""
    items_per_task: Positive = 4096
    """Items in a task."""


class Predict(Section, frozen=True):
    """Ratings predicted: the bias model's, and what vectors and the user's ratings of the nearest items add."""

    shrink: Annotated[float, Meta(ge=0)] = 2.0
    """Added to the sum of similarities by which the mean of what is left of these ratings is divided."""
    latent_weight: Annotated[float, Meta(ge=0)] = 0.9
    """What products of vectors weigh."""
    near_weight: Annotated[float, Meta(ge=0)] = 0.5
    """What the user's ratings of the nearest items weigh."""
    users_per_task: Positive = 4096
    """Users in a task."""

    @property
    def weights(self) -> RatingWeights:
        """What parts of a predicted rating weigh."""
        return RatingWeights(latent=self.latent_weight, near=self.near_weight)


class Index(Section, frozen=True):
    """What the search for neighbours uses."""

    method: Literal["auto", "exact", "pruned", "hnsw"] = "auto"
    """``exact`` compares each user with all users, ``pruned`` with those in near clusters only, and ``hnsw`` searches
    graphs. ``auto`` is ``exact`` for few users, else ``pruned``."""
    users_per_cluster: Positive = 512
    """``pruned``: users in a cluster, on average."""
    shard_users: Positive = 40960
    """``hnsw``: users in a graph."""
    m: Annotated[int, Meta(ge=2, le=100)] = 32
    """``hnsw``: links per node (M)."""
    ef_construction: Positive = 200
    """``hnsw``: candidates kept while building."""
    seed: Seed = 100
    """Seed of the nodes' levels, and of the clusters' start."""


class Neighbors(Section, frozen=True):
    """Nearest users by cosine."""

    k: Positive = 50
    """Neighbours kept per user."""
    recall: Fraction = 0.96
    """``pruned``: share of the true neighbours to find. It determines in how many clusters each user searches."""
    probe_users: Positive = 1000
    """``pruned``: users whose true neighbours are computed to determine that number."""
    sample_users: Positive = 2000
    """Other users whose true neighbours are computed to measure the share that the search found."""
    seed: Seed = 7
    """Seed of these samples."""
    ef: Positive = 200
    """``hnsw``: candidates kept while searching, divided among the shards; at least k + 1 in each."""
    users_per_chunk: Positive = 16384
    """Users in a task, and in a storage chunk."""


class Evaluate(Section, frozen=True):
    """How items are ranked, and what is measured: see ``docs/metrics.md``."""

    model: Literal["votes", "notebook"] = "votes"
    """``votes``: items are ranked by a weighted sum of parts, nearest users' votes being one; ratings are predicted by
    biases, vectors and nearest items.
    ``notebook``: one score for both, the mean of the nearest users' ratings, weighted by cosine distance."""
    amplification: Annotated[float, Meta(ge=0)] = 4.0
    """``votes``: the weight of a neighbour's vote is this power of the similarity."""
    popularity_penalty: Annotated[float, Meta(ge=0)] = 0.0
    """``votes``: an item's votes are divided by this power of its number of ratings."""
    disliked_vote: Annotated[float, Meta(ge=0, le=1)] = 0.3
    """``votes``: weight of a rating below ``liked_from``. Other ratings have the weight 1."""
    liked_share: Annotated[float, Meta(ge=0)] = 0.8
    """``votes``: weight of the similarity to items the user liked, which is added to the neighbours' votes."""
    products_weight: Annotated[float, Meta(ge=0)] = 1.0
    """``votes``: weight of the products of refined vectors. Candidates are ranked by a sum of parts, each standardised
    over a user's candidates."""
    votes_weight: Annotated[float, Meta(ge=0)] = 0.25
    """``votes``: weight of the votes, likeness to liked items included."""
    together_weight: Annotated[float, Meta(ge=0)] = 0.0
    """``votes``: weight of how well an item goes together with those of the user."""
    popularity_weight: Annotated[float, Meta(ge=0)] = 0.0
    """``votes``: weight of the logarithm of an item's number of ratings."""
    k: Positive = 50
    """Length of the recommended list."""
    cutoffs: tuple[Positive, ...] = (10, 20, 50)
    """Lengths at which lists are measured: those less than ``k``, and always ``k`` itself."""
    liked_from: LikedFrom = "auto"
    """A user likes an item whose rating is at least this. ``auto``: the top quarter of the scale, the smallest train
    rating that is not below min + 0.75 (max - min): 4.0 of half stars and of 1 to 5, 8 of 1 to 10."""
    users_per_task: Positive = 8192
    """Users in a task."""
    users_per_gather: Positive = 2**20
    """Users for whom the ratings that their scores need are put together in files first, in whole tasks. Where there
    are no more users than that, ratings are read where they are."""

    @property
    def tasks_per_group(self) -> int:
        """Tasks for which ratings are put together."""
        return max(1, self.users_per_gather // self.users_per_task)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths at which lists are measured, ascending; the last is ``k``."""
        return (*sorted({n for n in self.cutoffs if n < self.k}), self.k)

    @property
    def blend(self) -> RankingWeights:
        """What the parts weigh that items are ranked by."""
        return RankingWeights(self.products_weight, self.votes_weight, self.together_weight, self.popularity_weight)

    def ranking_parameters(self, liked_from: float) -> RankingParameters:
        """What of it the ranking model takes; ``liked_from`` is the settled one."""
        return RankingParameters(
            votes=self.model == "votes",
            amplification=self.amplification,
            popularity_penalty=self.popularity_penalty,
            disliked_vote=self.disliked_vote,
            liked_from=liked_from,
            liked_share=self.liked_share,
            blend=self.blend,
        )


class Calibrate(Section, frozen=True):
    """Weights of the model's parts, chosen on ratings held out of train."""

    method: Literal["validation", "fixed"] = "validation"
    """``validation``: the weights are those that do best on ratings held out of train; where nothing is better than
    ``evaluate.products_weight``, ``votes_weight``, ``together_weight`` and ``popularity_weight`` by more than its
    error, these stand.
    ``fixed``: these, ``predict.latent_weight`` and ``predict.near_weight`` are the weights."""
    folds: Positive = 2
    """Times that other ratings are held out; each is a task."""
    ratings: Positive = 2**19
    """Ratings of the users looked at, at most; all users where they have no more."""
    sample_users: Positive = 2**14
    """Users looked at, at most."""
    sample_items: Positive = 2**14
    """Items looked at, at most: those with most ratings by these users."""
    users: Positive = 2048
    """Users of a fold whose lists are measured, at most."""
    held_out: Fraction = 0.2
    """Share of each user's ratings that is held out."""
    min_ratings: Annotated[int, Meta(ge=2)] = 5
    """Users with fewer ratings have none held out."""
    seed: Seed = 17
    """Seed of the users drawn and of what is held out."""


class Calibration(Section, frozen=True):
    """All that the step calibrate depends on: the sections of the stages whose models it makes small ones of."""

    calibrate: Calibrate
    factors: Factors
    refine: Refine
    biases: Biases
    residuals: Residuals
    item_neighbors: ItemNeighbors
    cooccurrence: Cooccurrence
    neighbors: Neighbors
    predict: Predict
    evaluate: Evaluate


class Recommend(Section, frozen=True):
    """The best items for every user. `engine.serving.everybody` makes it from a run's configuration."""

    k: Positive = 10
    """Items for each user."""
    include_test: bool = False
    """Whether to recommend items of held-out test ratings, too."""
    on_empty: Literal["popular", "skip"] = "popular"
    """Whether lists for which there are too few candidates go on with the most popular items, or are shorter."""
    users_per_task: Positive = 4096
    """Users in a task."""
    ranking: Evaluate = Evaluate()
    """How items are ranked. Only the model and its parameters count."""
    prediction: Predict = Predict()
    """How ratings are predicted."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration of a run: ratings, work directory, memory, workers, and each stage's section.

    Examples
    --------
    >>> Config(dataset="sample", neighbors=Neighbors(k=80)).neighbors.k
    80
    """

    dataset: Any = None
    """``sample``, ``ml-25m``, or a path or URL of a file, of a folder, or of files by a pattern. In Python also the
    ratings themselves: a Polars, pandas or PyArrow table, a PyArrow dataset, a SciPy sparse matrix. None: ml-25m where
    it is present, else the sample."""
    columns: tuple[str, ...] | None = None
    """Names of the user, item, rating and (optionally) timestamp columns, where they are unusual. A file without
    ratings has two, or an empty third."""
    separator: str | None = None
    """What separates the columns of text: ``,``, ``tab``, ``;``, ``|``, ``::``, or another sign. None: it is found."""
    titles: str | None = None
    """A file of items and titles, a path or URL. None: one beside the ratings, such as ``movies.csv``."""
    test: Any = None
    """A test part that was made elsewhere, given as ``dataset`` is; ``split.method`` is then ``given``."""
    data_dir: str = "data"
    """Where the named data sets are."""
    workdir: str | None = None
    """The work directory, a path or URL. None: ``runs/NAME``, the name of the data set, of the file without ``.csv``
    and the like, or of the folder; ``runs/NAME-2`` and so on where that is of other data."""
    memory: str | int | None = None
    """The budget of all processes together (``dask``: of each worker): bytes, or a size like ``512MiB`` or ``512M``.
    None: half of the free memory, at most 1 GiB (on a running cluster: at most what its smallest worker works in).
    Where a program calls this library, the memory that it held before does not count."""
    workers: Annotated[int, Meta(ge=1)] | None = None
    """The most tasks at a time, or the worker processes to start. None: as many as processors."""
    keep: Annotated[int, Meta(ge=1)] | None = None
    """Finished runs that stay in the work directory, this one included. None: those of the same ratings, and the last
    one of other ratings. Folders that only older runs used are removed when this one is finished."""
    executor: Literal["local", "dask"] = "local"
    """Who runs tasks: a process here, or the workers of a Dask cluster."""
    scheduler: str | None = None
    """``dask``: the scheduler's address, such as ``tcp://10.0.0.5:8786``. None: a cluster of processes here."""
    preset: str = "default"
    """Name of the preset from which values come that are not set."""

    ingest: Ingest = Ingest()
    split: Split = Split()
    matrix: Matrix = Matrix()
    factors: Factors = Factors()
    refine: Refine = Refine()
    index: Index = Index()
    neighbors: Neighbors = Neighbors()
    biases: Biases = Biases()
    residuals: Residuals = Residuals()
    item_neighbors: ItemNeighbors = ItemNeighbors()
    predict: Predict = Predict()
    calibrate: Calibrate = Calibrate()
    cooccurrence: Cooccurrence = Cooccurrence()
    evaluate: Evaluate = Evaluate()


HNSWLIB_MISSING = (
    f"index.method hnsw, which --preset notebook has, needs hnswlib: {install('hnsw')} (most machines have "
    "to compile it), or give index.method auto"
)
"""What is said where it cannot be loaded."""

PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "default": {},
    "notebook": {
        "matrix": {"scale": False},
        "factors": {"dims": 128, "ratings": "raw", "user_scaling": 0.0, "item_scaling": 0.0},
        "index": {"method": "hnsw"},
        "neighbors": {"k": 50},
        "evaluate": {"model": "notebook", "liked_from": 4.0},
    },
    # For some hundreds of millions of ratings: fewer and larger files and tasks.
    "large": {
        "factors": {"users_per_chunk": 2**15},
        "refine": {"users_per_chunk": 2**15, "ratings_per_part": 2**24},
        "residuals": {"ratings_per_part": 2**24},
        "index": {"users_per_cluster": 1024},
        "neighbors": {"users_per_chunk": 2**16},
        "predict": {"users_per_task": 2**16},
        "evaluate": {"users_per_task": 2**16, "users_per_gather": 2**18},
    },
}
"""Presets: sections and values that differ from the defaults above."""
