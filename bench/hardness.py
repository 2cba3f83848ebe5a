"""How hard ratings are to find neighbours in: the synthetic twins beside real ratings.

``python -m bench.hardness [RATINGS ...]`` prints, for as many users of each: what the nearest users' cosines are, how
many clusters hold them, and how singular values fall. Real ratings are files or data sets as ``engine run`` takes them;
where they have more users, a random sample. Train is the notebook's; vectors are the SVD's, before any refinement.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.measure import write_result
from bench.notebook import split
from engine.chunked.csr import NarrowRows, narrowest_index
from engine.config import Factors, Index
from engine.kernels.nearest import dot_products, nearest_centres
from engine.kernels.products import times_dense
from engine.model.factors import unit_rows
from engine.model.neighbors import cluster_centres, reach_for_recall, shortfall
from engine.model.sizes import CENTRE_ROUNDS, CENTRE_SAMPLE
from engine.model.small import decompose, nearest
from engine.ratings.datasets import resolve
from engine.ratings.scan import scan
from engine.ratings.twin import ML25M, write_twin

RANKS = (1, 10, 50)
"""Neighbours whose cosine is shown."""
VALUES = (2, 3, 5, 9, 17, 32, 64)
"""Singular values that are shown, as shares of the first."""
DIMS = (32, 64)
"""Dimensions of the vectors that are looked at."""
RECALLS = (0.9, 0.95, 0.99)
"""Shares of the neighbours to be found in clusters."""


def sampled(ratings: pl.DataFrame, n_users: int, seed: int = 0) -> pl.DataFrame:
    """The ratings of a random sample of users, or of all."""
    users = ratings["user"].unique().sort()
    if len(users) <= n_users:
        return ratings
    return ratings.filter(pl.col("user").is_in(users.sample(n_users, seed=seed).implode()))


def train_rows(ratings: pl.DataFrame) -> NarrowRows:
    """Train as rows of users, half stars as they are."""
    held_out = split(ratings["user"].to_numpy())
    train = ratings.filter(~pl.Series(held_out)).select(
        *(pl.col(name).rank("dense").cast(pl.Int64) - 1 for name in ("user", "item")), "rating"
    )
    train = train.unique(["user", "item"], keep="last").sort("user", "item")
    counts = train.group_by("user").len().sort("user")["len"].to_numpy()
    n_items = int(train["item"].max()) + 1  # type: ignore[arg-type]
    items = train["item"].to_numpy().astype(narrowest_index(n_items))
    halves = np.round(train["rating"].to_numpy() * 2).astype(np.uint8)
    return NarrowRows(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), items, halves, n_items, 0.5)


def figures(rows: NarrowRows) -> dict[str, float]:
    """Everything that is shown of train."""
    _, values = decompose(rows, Factors(item_scaling=0.0, passes=8))
    found: dict[str, float] = {"users": len(rows.indptr) - 1, "items": rows.n_columns, "train ratings": len(rows.data)}
    for dims in DIMS:
        vectors = unit_rows(times_dense(rows, decompose(rows, Factors(dims=dims))[0]))
        found |= {f"{name}, {dims} dimensions": value for name, value in of_vectors(vectors)}
    shares = values / values[0]
    found |= {f"singular value {rank}": float(shares[rank - 1]) for rank in VALUES if rank <= len(shares)}
    return found


def of_vectors(vectors: NDArray[np.float32]) -> Iterator[tuple[str, float]]:
    """Cosines of neighbours, and how many clusters hold them."""
    n = len(vectors)
    ids, similarities = nearest(np.arange(n, dtype=np.int32), vectors, RANKS[-1])
    for rank in RANKS:
        yield f"cosine of neighbour {rank}", float(np.nanmedian(similarities[:, rank - 1]))
    section = Index()
    n_clusters = -(-n // section.users_per_cluster)
    chosen = np.random.default_rng(section.seed).choice(n, min(n, CENTRE_SAMPLE * n_clusters), replace=False)
    centres = cluster_centres(vectors[np.sort(chosen)], n_clusters, CENTRE_ROUNDS, section.seed)
    behind = shortfall(dot_products(vectors, centres))
    of_neighbors = np.take_along_axis(behind, nearest_centres(vectors, centres)[ids], axis=1).ravel()
    for recall in RECALLS:
        looked_at = float((behind <= reach_for_recall(of_neighbors, recall)).sum(axis=1).mean())
        yield f"clusters for {recall:.0%} of them, of {n_clusters}", looked_at


def read(dataset: str, n_users: int) -> pl.DataFrame:
    """Ratings of some users of a data set: user, item, rating."""
    source = resolve(dataset)
    return sampled(pl.concat([scan(file).collect() for file in source.files]), n_users)


def columns(real: list[str], versions: list[int], n_users: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Each data set's name and figures."""
    for dataset in real:
        yield Path(dataset).name, figures(train_rows(read(dataset, n_users)))
    for version in versions:
        with tempfile.TemporaryDirectory() as folder:
            made = write_twin(Path(folder), version=version, shape=replace(ML25M, users=n_users))
            yield f"twin, version {version}", figures(train_rows(read(str(made.path), n_users)))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", nargs="*", metavar="RATINGS", help="real ratings to compare with")
    parser.add_argument("--users", type=int, default=6040, help="of each, at most (default: those of ml-1m)")
    parser.add_argument("--versions", type=int, nargs="*", default=[1, 2], help="of the twin")
    options = parser.parse_args()
    found = dict(columns(options.real, options.versions, options.users))
    print(f"{'':<40}" + "".join(f"{name[:22]:>24}" for name in found))
    for row in next(iter(found.values())):
        cells = (figures.get(row, float("nan")) for figures in found.values())
        print(f"{row:<40}" + "".join(f"{value:>24,.0f}" if value > 100 else f"{value:>24.3f}" for value in cells))
    write_result("hardness", {"users": options.users, "figures": found})


if __name__ == "__main__":
    main()
