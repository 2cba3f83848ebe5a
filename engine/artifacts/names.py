"""Names of what steps leave: files in a step's folder, and tasks whose record has a result that others read."""

from __future__ import annotations

# Tasks.

SURVEY = "survey.00000"
"""ingest: looks at all values, and says about how many ids there are."""
PROFILE = "profile.00000"
"""ingest: finds how large everything is."""
CUT = "cut.00000"
"""split: finds the moment after which ratings are test's, where the method is ``global-time``."""
LAYOUT = "layout.00000"
"""matrix, factors, refine: creates the arrays, and says how large they are."""
SCALE = "scale.00000"
"""matrix: the range of the train ratings, where a later step needs it."""
CHOICE = "choose.00000"
"""index: says how neighbours are searched; calibrate: which weights."""
REACH = "reach.00000"
"""neighbors: settles how far to look, where the method is ``pruned``."""
BIASES = "fit.00000"
"""biases: settles them; its result has the mean and the range of the ratings."""
MEANS = "mean.00000"
"""evaluate: the figures."""
COLLECTED = "collect.00000"
"""residuals: puts the item vectors together, and says how a user's are fitted to them."""
JOINED = "join.00000"
"""recommend: how much there is."""

# Rounds all of whose tasks have such a record.

PARTITIONED = "partition"
"""ingest: ratings of each partition."""
SPLIT = "split"
"""split: how they were parted."""
BUILT = "build"
"""index: users of each shard."""
SEARCHED = "search"
"""neighbors: where was looked."""
COMPARED = "recall"
"""neighbors: how many of a sample's true neighbours were found."""
PREDICTED = "users"
"""predict: users of each block."""

# Files.

USERS = "users.parquet"
"""ingest: original ids of users, in order of code."""
ITEMS = "items.parquet"
"""ingest: original ids of items, in order of code."""
COLUMNS = "columns.parquet"
"""matrix: original ids of items, in order of column."""
TRAIN = "train"
"""matrix: the train ratings, a group of `engine.chunked.csr`; split: the folder of its partitions."""
TEST = "test"
"""As `TRAIN`, of the test ratings."""
VECTORS = "vectors"
"""factors, refine: user vectors."""
LOADINGS = "loadings.npy"
"""factors: what turns a row of ratings into a user vector."""
ITEM_FACTORS = "item-factors.npy"
"""refine, residuals: item vectors."""
SINGULAR_VALUES = "singular_values.npy"
"""factors: descending."""
CENTRES = "centres.npy"
"""index: centres of clusters."""
EDGES = "edges.npy"
"""index: where clusters begin in the order of the tiles."""
IDS = "ids"
"""neighbors, item_neighbors: codes of each one's nearest."""
PLACES = "places.npy"
"""neighbors: the row of each user in both, where users are in clusters."""
SIMILARITIES = "similarities"
"""neighbors, item_neighbors: their cosines."""
COUNTS = "counts.npy"
"""item_neighbors: train ratings of each item, in order of column."""
NEAR = "near.npz"
"""item_neighbors: of each item, the items that it is near."""
TOGETHER = "together.npz"
"""cooccurrence: of each item, those that go best together with it."""
USER_BIAS = "user-bias.npy"
"""biases: of each user."""
ITEM_BIAS = "item-bias.npy"
"""biases: of each item, in order of column."""
USER_TABLES = "users"
"""evaluate: the folder of what is measured of each user."""
TIMES = "recommended.npy"
"""evaluate: how many users each item is recommended to, in order of column."""
RECOMMENDED = "recommended.parquet"
"""recommend: the best items for every user."""


def partition_path(index: int, kind: str = "ratings") -> str:
    """ingest, split: a partition's file."""
    return f"{kind}/{index:05d}.parquet"


def shard_path(shard: int) -> str:
    """index: a shard's file."""
    return f"shard-{shard:05d}.bin"


def tile_codes_path(group: int) -> str:
    """index: codes of a group of users, by cluster."""
    return f"tile-codes-{group:05d}.npy"


def tile_vectors_path(group: int) -> str:
    """index: their vectors."""
    return f"tile-vectors-{group:05d}.npy"


def predicted_path(block: int) -> str:
    """predict: predicted ratings of a block of users' test ratings."""
    return f"predicted-{block:05d}.npy"


def covered_path(block: int) -> str:
    """predict: for each of them whether an item near it was rated by the user; 8 to a byte."""
    return f"covered-{block:05d}.npy"


def user_table_path(block: int) -> str:
    """evaluate: what is measured of a block of users."""
    return f"{USER_TABLES}/{block:05d}.parquet"


def fold_ratings_path(fold: int) -> str:
    """calibrate: sums that squared errors follow from, and ratings held out, of each user of a fold."""
    return f"ratings-{fold}.npz"


def fold_recalls_path(fold: int) -> str:
    """calibrate: recall of each user of a fold, with each choice of weights."""
    return f"recalls-{fold}.npy"
