"""What stages leave for one another is found under these names.

Apart from the stages, so that reading another stage's output does not load the libraries it was made with.
"""

from __future__ import annotations

SURVEY = "survey.00000"
"""ingest: the task that looks at all values, and says about how many ids there are."""
PROFILE = "profile.00000"
"""ingest: the task that finds how large everything is."""
CUT = "cut.00000"
"""split: the task that finds the moment after which ratings are test's, where the method is ``global-time``."""
USERS = "users.parquet"
"""ingest: original ids of users, in order of code."""
ITEMS = "items.parquet"
"""ingest: original ids of films, in order of code."""
COLUMNS = "columns.parquet"
"""matrix: original ids of films, in order of column."""
TRAIN = "train"
"""matrix: the train ratings, a group of `engine.chunked.csr`; split: the folder of its partitions."""
TEST = "test"
"""As `TRAIN`, of the test ratings."""
VECTORS = "vectors"
"""factors: user vectors."""
LOADINGS = "loadings.npy"
"""factors: what turns a row of ratings into a user vector."""
SINGULAR_VALUES = "singular_values.npy"
"""factors: descending."""
CENTRES = "centres.npy"
"""index: centres of clusters."""
EDGES = "edges.npy"
"""index: where clusters begin in the order of the tiles."""
IDS = "ids"
"""neighbors: codes of each user's nearest users."""
SIMILARITIES = "similarities"
"""neighbors: their cosines."""
COUNTS = "counts.npy"
"""item_neighbors: train ratings of each film, in order of column."""
NEAR = "near.npz"
"""item_neighbors: of each film, the films that it is near."""
USER_BIAS = "user-bias.npy"
"""biases: of each user."""
ITEM_BIAS = "item-bias.npy"
"""biases: of each film, in order of column."""
BIASES = "fit.00000"
"""biases: the task that settles them; its result has the mean and the range of the ratings."""
TIMES = "recommended.npy"
"""evaluate: how many users each film is recommended to, in order of column."""


def partition_path(index: int, kind: str = "ratings") -> str:
    """ingest, split: a partition's file."""
    return f"{kind}/{index:05d}.parquet"


def predicted_path(block: int) -> str:
    """predict: predicted ratings of a block of users' test ratings."""
    return f"predicted-{block:05d}.npy"


def covered_path(block: int) -> str:
    """predict: for each of them whether a film near it was rated by the user; 8 to a byte."""
    return f"covered-{block:05d}.npy"


RECOMMENDED = "recommended.parquet"
"""recommend: the best films for every user."""


def ranked_path(block: int) -> str:
    """recommend: the best films of a block of users, in codes."""
    return f"ranked-{block:05d}.npy"


def part_path(block: int) -> str:
    """recommend: the same with original ids and predicted ratings."""
    return f"part-{block:05d}.parquet"


def shard_path(shard: int) -> str:
    """index: a shard's file."""
    return f"shard-{shard:05d}.bin"


def tile_codes_path(group: int) -> str:
    """index: codes of a group of users, by cluster."""
    return f"tile-codes-{group:05d}.npy"


def tile_vectors_path(group: int) -> str:
    """index: their vectors."""
    return f"tile-vectors-{group:05d}.npy"
