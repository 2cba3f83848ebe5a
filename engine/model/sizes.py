"""How much is gone through at a time, and the other sizes that are fixed here and not configured.

In two halves. Some decide bytes of a result: a product's last bits may depend on its shape, a sum's on its order, and a
file's layout is part of it. Whoever changes one of those raises the versions of the steps that `DECIDING` names beside
it (``Step.version`` in ``engine/pipeline.py``), or results of before and after would pass for the same. The others are
free: they decide how much memory and time is taken, and nothing else.

Nothing is imported here that takes memory: `engine.costs` plans with these where no numerical library is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping

# What decides bytes.

INGEST_ROW_GROUP = 2**17
"""ingest: ratings in a row group of Parquet: small enough to stream, large enough that its header costs nothing."""
INGEST_ROW_GROUP_BYTES = 2**22
"""ingest: bytes of text in a row group, about, where ids are text."""
INGEST_LEAST_ROW_GROUP = 1024
"""ingest: ratings in such a row group at least."""
INGEST_PIECE_BYTES = 2**26
"""ingest: of a text file that a task converts, at most: few files for others to open, and enough tasks to share out."""
INGEST_BLOCK_BYTES = 2**22
"""ingest: of a piece of a text file that are parsed at once, about."""
INGEST_BLOCK_RATINGS = 5 * 2**15
"""ingest: ratings of a piece that are parsed at once, about, at most: as many as in 4 MiB of ml-25m."""
SURVEY_BITS = 4
"""ingest: of the survey's estimates, in its record: one id in two to this power is in the sample."""
PROJECT_ROWS = 1024
"""factors: users whose Gram product is added at once, and columns whose loadings are multiplied at once."""
GRAM_ROWS = 4096
"""factors: rows of a tall matrix that are widened to float64, and multiplied, at once."""
EXACT_USERS = 32768
"""index: up to so many users ``auto`` compares everybody with everybody: a few seconds, growing with the square."""
EXACT_ITEMS = 4096
"""item_neighbors: so many items, those with most ratings, are compared with all; where there are up to four times as
many, each is."""
CENTRE_SAMPLE = 16
"""index, item_neighbors: users or items looked at for each cluster's centre."""
CENTRE_ROUNDS = 5
"""index, item_neighbors: times that users or items are assigned to centres, and centres moved."""
GROUP_USERS = 8192
"""index: users in a file of tiles, which is read at once; no tile reaches into two."""
SAMPLE_TASKS = 4
"""neighbors: tasks that samples of users are shared out among; each leaves a record."""
NOISE = 4e-6
"""item_neighbors, evaluate, recommend: similarities up to this are none. Rounding to single precision makes a cosine of
vectors at right angles as large as its epsilon, 1.2e-7, times the root of the dimensions: with 128 three times less."""
LIKED_SHARE = 0.75
"""matrix: of the range of the ratings, what is below those liked, where that is not set."""
SCALED_LOW = 0.5
SCALED_HIGH = 5.0
"""factors, refine: what the least and the greatest rating count where they are scaled; half stars stay as they are."""
SCALED_STEP = 2.0**-12
"""factors, refine: scaled ratings are multiples of that, so that rounding in another unit makes no difference."""
POPULAR_ITEMS = 128
"""calibrate, evaluate, recommend: of the most popular items so many that are new to a user are candidates."""
FOLD_STEPS = 10
"""refine, predict, recommend: steps of conjugate gradients for the vector of a user that is kept or predicted with, or
of a newcomer."""
BIAS_RATINGS = 2**18
"""biases: ratings whose sums are added at once."""
PART_USER = 16
"""biases, refine, residuals: what a user counts beside the ratings where users are cut into parts, so that none has too
many users. cooccurrence: of so many ratings one user is drawn at most."""
PIECE_RATINGS = 2**18
"""refine, residuals: ratings of users whose vectors are fitted, and added to sums, at once."""
PIECE_USERS = 4096
"""refine, residuals: such users."""
FEW_RANGES = 4
"""refine, residuals: ranges that items are cut into, at most, where users are one part."""
TABLE_USERS = 2**15
"""evaluate: users whose tables a task makes, at least those of a block: it goes through what all tasks measured."""
RECOMMEND_ROW_GROUP = 2**17
"""recommend: rows of the result that are written together."""

DECIDING: Mapping[str, tuple[str, ...]] = {
    "INGEST_ROW_GROUP": ("ingest",),
    "INGEST_ROW_GROUP_BYTES": ("ingest",),
    "INGEST_LEAST_ROW_GROUP": ("ingest",),
    "INGEST_PIECE_BYTES": ("ingest",),
    "INGEST_BLOCK_BYTES": ("ingest",),
    "INGEST_BLOCK_RATINGS": ("ingest",),
    "SURVEY_BITS": ("ingest",),
    "PROJECT_ROWS": ("factors", "calibrate"),
    "GRAM_ROWS": ("factors", "calibrate"),
    "EXACT_USERS": ("index",),
    "EXACT_ITEMS": ("item_neighbors",),
    "CENTRE_SAMPLE": ("index", "item_neighbors"),
    "CENTRE_ROUNDS": ("index", "item_neighbors"),
    "GROUP_USERS": ("index",),
    "SAMPLE_TASKS": ("neighbors",),
    "NOISE": ("item_neighbors", "calibrate", "evaluate", "recommend"),
    "LIKED_SHARE": ("matrix",),
    "SCALED_LOW": ("factors", "refine", "residuals", "calibrate"),
    "SCALED_HIGH": ("factors", "refine", "residuals", "calibrate"),
    "SCALED_STEP": ("factors", "refine", "residuals", "calibrate"),
    "POPULAR_ITEMS": ("calibrate", "evaluate", "recommend"),
    "FOLD_STEPS": ("refine", "predict", "calibrate", "recommend"),
    "BIAS_RATINGS": ("biases", "calibrate"),
    "PART_USER": ("biases", "refine", "residuals", "cooccurrence"),
    "PIECE_RATINGS": ("refine", "residuals"),
    "PIECE_USERS": ("refine", "residuals"),
    "FEW_RANGES": ("refine", "residuals"),
    "TABLE_USERS": ("evaluate",),
    "RECOMMEND_ROW_GROUP": ("recommend",),
}
"""Steps whose version is raised when a constant changes. Steps that read theirs follow by their fingerprint."""

# What is free.

READ_RATINGS = 2**20
"""Stored ratings read at a time where all are gone through: counted, copied, or each multiplied by itself."""
HELD_IDS = 2**17
"""Ids that pieces hold before they are merged, or twice as many as after the last time."""
COUNT_GROUPS = 16
"""ingest: row groups of the converted ratings that a task counts the ids of, where there are more; more of them, fewer
files to put together."""
RANGE_IDS = 2**19
"""ingest: distinct ids, about, that a task puts together the counts of, where there are more."""
RANGE_SAMPLE = 2**9
"""ingest: ids in the sample that such a range's bounds are found by, about."""
SUMMED_USERS = 2**16
"""ingest: users whose ratings are added up at once."""
FEW_PARTITIONS = 8
"""matrix: of so many partitions, at most, one task counts the users' ratings."""
CUT_BINS = 2**16
"""Bins a range of times is counted in at a time: more of them, fewer passes to the same moment."""
JOINED_RATINGS = 2**19
"""cooccurrence: ratings of items that are put together at a time."""
SCALED_RATINGS = 2**16
"""Ratings that are scaled at once."""
PASS_ROWS = 4096
"""Users in a batch of a pass at most; their products are added row by row."""
LEAST_PASS_RATINGS = 2**14
"""Ratings of such a batch at least."""
PASS_AT_ONCE = 2**21
"""Up to so many train ratings one task makes a pass of the SVD, a user counting as `PART_USER` more."""
VECTOR_RATINGS = 2**19
"""Ratings that are multiplied at a time for user vectors, each row by itself."""
TILE_USERS = 1024
"""Others in a tile of users."""
TILE_ITEMS = 1024
"""Items in a tile."""
SMALL_ITEMS = 4096
"""calibrate: items whose nearest are looked for at once."""
PREDICT_USERS = 2048
"""Users whose pairs are predicted at once."""
PREDICT_RATINGS = 2**20
"""Their ratings and pairs together, at most, unless one user has more; twice as many are read at once."""
SCORE_USERS = 768
"""Users read and scored at once, since a read unpacks whole chunks of many more."""
GATHER_RATINGS = 2**25
"""Ratings of neighbours that a task holds at a time, at most, where the budget has room for so many."""
RANGE_RATINGS = 2**23
"""evaluate: ratings that a task goes through where it puts together what a group of users needs."""
LEAST_GATHERED = 2**20
"""The same, at least."""
GATHERED_ROW = 32
"""What a neighbour's row counts there beside its ratings: what is noted of it takes as much memory."""
ASK_RATINGS = 2**20
"""Ratings of neighbours that are read at a time where few users are asked about."""
RANK_USERS = 1024
"""Users whose hits are gone through at a time, rank by rank."""


FREE = (
    "TILE_USERS",
    "TILE_ITEMS",
    "SMALL_ITEMS",
    "PREDICT_USERS",
    "PREDICT_RATINGS",
    "SCORE_USERS",
    "GATHER_RATINGS",
    "RANGE_RATINGS",
    "LEAST_GATHERED",
    "GATHERED_ROW",
    "ASK_RATINGS",
    "READ_RATINGS",
    "HELD_IDS",
    "COUNT_GROUPS",
    "RANGE_IDS",
    "RANGE_SAMPLE",
    "SUMMED_USERS",
    "FEW_PARTITIONS",
    "CUT_BINS",
    "JOINED_RATINGS",
    "SCALED_RATINGS",
    "PASS_ROWS",
    "LEAST_PASS_RATINGS",
    "PASS_AT_ONCE",
    "VECTOR_RATINGS",
    "RANK_USERS",
)
"""The others."""
