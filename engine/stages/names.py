"""What stages leave for one another is found under these names.

Apart from the stages, so that reading another stage's output does not load the libraries it was made with.
"""

from __future__ import annotations

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
