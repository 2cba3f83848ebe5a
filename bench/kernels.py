"""The compiled inner loops beside what this machine can do: ``make bench-kernels``.

Sizes are those of a block of users at ml-25m's scale; ratings are random, with items as unevenly popular as there. A
kernel moves bytes, or multiplies and adds; the bound is the machine's, measured here with one thread: copying a large
array, or NumPy's product of two matrices. Kernels that fetch from places here and there cannot reach that of a copy.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as in a worker, and before NumPy is loaded

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engine import kernels
from engine.chunked.csr import NarrowRows
from engine.kernels.cooccurrence import find_together
from engine.kernels.refinement import add_left, begin, solve_rows, step
from engine.kernels.rows import lists_of
from engine.kernels.scoring import Near, Votes
from engine.model.small import by_item

N_ITEMS = 56_000
N_USERS = 16_384
PER_USER = 120
BLOCK = 1024
NEIGHBORS = 50
NEAR = 30
LIKED = 60
WIDTH = 80
DIMS = 32
FITTED = 64


class Case(NamedTuple):
    """A kernel on its data: the bytes that it moves, or the floating-point operations that it does."""

    name: str
    unit: str
    work: float
    run: Callable[[], object]


def seconds(run: Callable[[], object], times: int) -> float:
    """Median of some runs."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def random_rows(rng: np.random.Generator) -> NarrowRows:
    """Ratings of users."""
    popularity = 1 / np.arange(20, N_ITEMS + 20)
    drawn = rng.choice(N_ITEMS, (N_USERS, PER_USER), p=popularity / popularity.sum())
    rows = [np.unique(row) for row in drawn]
    indptr = np.cumsum([0, *map(len, rows)])
    values = rng.integers(1, 11, indptr[-1]).astype(np.uint8)
    return NarrowRows(indptr, np.concatenate(rows).astype(np.uint16), values, N_ITEMS, 0.5)


def near_items(rng: np.random.Generator) -> NarrowRows:
    """Items near to each item."""
    indices = rng.integers(0, N_ITEMS, N_ITEMS * NEAR).astype(np.uint16)
    similarities = rng.random(len(indices), dtype=np.float32)
    return NarrowRows(np.arange(0, len(indices) + 1, NEAR), indices, similarities, N_ITEMS, 1.0)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """All kernels."""
    rows = random_rows(rng)
    own, ratings = rows.part(0, BLOCK), rows.indptr[-1] / N_USERS
    neighbors = rng.integers(0, N_USERS, (BLOCK, NEIGHBORS)).astype(np.int32)
    weights = rng.random(neighbors.shape, dtype=np.float32)
    factor, similar, taken = np.ones(N_ITEMS, dtype=np.float32), near_items(rng), lists_of(own)
    liked = kernels.Lists(np.arange(0, BLOCK * LIKED + 1, LIKED), rng.integers(0, N_ITEMS, BLOCK * LIKED).astype("i4"))
    near = Near(similar, liked, rng.random(len(liked.columns), dtype=np.float32))
    # Of each rating of a neighbour: its column and value, the item's factor, state and sum, and the sum written.
    votes, likeness = BLOCK * NEIGHBORS * ratings, BLOCK * LIKED * NEAR
    asked = (rows, neighbors, weights, factor, Votes(False, 4.0, 0.3))
    yield Case(
        "rank_items, votes", "GB", votes * (2 + 1 + 4 + 1 + 4 + 4), lambda: kernels.rank_items(*asked, None, taken, 50)
    )
    yield Case(
        "rank_items, votes and near items",
        "GB",
        votes * (2 + 1 + 4 + 1 + 4 + 4) + likeness * (2 + 4 + 1 + 4 + 4),
        lambda: kernels.rank_items(*asked, near, taken, 50),
    )
    found = kernels.rank_items(*asked, None, taken, 50).items
    yield Case("count_opinions", "GB", votes * (2 + 4), lambda: kernels.count_opinions(rows, neighbors, found))
    popular = np.arange(N_ITEMS, dtype=np.int32)
    yield Case(
        "rank_popular", "GB", BLOCK * (50 + ratings) * 9, lambda: kernels.rank_popular(popular, len(popular), taken, 50)
    )
    yield Case("find_in_rows", "GB", found.nbytes * 3, lambda: kernels.find_in_rows(taken, found))
    residuals = rng.standard_normal(len(own.data)).astype(np.float32)
    ids, likenesses = similar.indices.astype(np.int32).reshape(-1, NEAR), similar.data.reshape(-1, NEAR)
    yield Case(
        "mean_near_residuals",
        "GB",
        len(own.data) * NEAR * (4 + 4 + 1),
        lambda: kernels.mean_near_residuals(taken, residuals, N_ITEMS, taken, ids, likenesses, 2.0),
    )
    basis = rng.standard_normal((N_ITEMS, WIDTH), dtype=np.float32)
    total, order = np.zeros_like(basis), np.arange(N_ITEMS, dtype=np.int32)
    ones = np.ones(N_USERS, dtype=np.float32)
    row = 4 * WIDTH
    yield Case(
        "add_gram_product",
        "GB",
        len(rows.data) * (3 + 3 * row),
        lambda: kernels.add_gram_product(rows, order, ones, basis, total),
    )
    ends = np.array([N_USERS // 2, N_USERS])
    yield Case(
        "add_partial_sums",
        "GB",
        len(rows.data) * (3 + 3 * row),
        lambda: kernels.add_partial_sums(rows, ends, order, ones, basis, total),
    )
    yield Case("times_dense", "GB", len(rows.data) * (3 + row), lambda: kernels.times_dense(rows, basis))
    yield from fitting(rng, rows)
    vectors = rng.standard_normal((8192, DIMS), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codes = np.arange(len(vectors), dtype=np.int32)

    def search() -> None:
        best = kernels.Best(codes[:BLOCK], vectors[:BLOCK], NEIGHBORS)
        for first in range(0, len(vectors), 1024):
            best.offer(np.arange(BLOCK), codes[first : first + 1024], vectors[first : first + 1024])
        best.result()

    yield Case("Best", "GFLOP", 2.0 * BLOCK * len(vectors) * DIMS, search)
    yield Case(
        "dot_products",
        "GFLOP",
        2.0 * BLOCK * len(vectors) * DIMS,
        lambda: kernels.dot_products(vectors[:BLOCK], vectors),
    )
    yield Case(
        "near_centres",
        "GFLOP",
        2.0 * BLOCK * vectors.size,
        lambda: kernels.near_centres(vectors[:BLOCK], vectors, 0.2),
    )
    whole = (32767 * vectors).astype(np.int16)
    yield Case("whole_products", "GB", whole.nbytes, lambda: kernels.whole_products(whole, whole[0]))


def fitting(rng: np.random.Generator, rows: NarrowRows) -> Iterator[Case]:
    """Kernels of alternating least squares, and of items taken together."""
    n, dims = len(rows.data), FITTED
    users, items = (0.1 * rng.standard_normal((size, dims), dtype=np.float32) for size in (N_USERS, N_ITEMS))
    targets, gram, ridges = np.ones(n, dtype=np.float32), np.eye(dims, dtype=np.float32), np.ones(N_ITEMS, np.float32)
    # A step multiplies a vector twice with the user's, and each user's with the Gram matrix.
    yield Case(
        "solve_rows, 3 steps",
        "GFLOP",
        2.0 * dims * (n * (2 * (3 + 1) + 1) + N_USERS * dims * (3 + 1)),
        lambda: solve_rows(rows, targets, ridges[:N_USERS], items, gram, 3, np.zeros_like(users)),
    )
    sums = np.zeros_like(items)
    yield Case("add_left", "GFLOP", 2.0 * 2 * dims * n, lambda: add_left(rows, users, items, sums, targets))
    descents = begin(sums, ridges, gram, items.copy())
    yield Case("step", "GFLOP", 2.0 * N_ITEMS * dims * (dims + 5), lambda: step(sums, ridges, gram, descents))
    asked = lists_of(rows)
    yield Case("products_of_pairs", "GFLOP", 2.0 * n * dims, lambda: kernels.products_of_pairs(users, items, asked))
    some = rng.choice(N_ITEMS, BLOCK, replace=False).astype(np.int32)
    turned = by_item(rows).take(some)
    # Of each rating of a user of the item: its column and value, whether it was seen, and the sum, read and written.
    visited = float(np.diff(rows.indptr)[turned.indices].sum())
    weights = np.ones(N_USERS, dtype=np.float32)
    yield Case(
        "find_together",
        "GB",
        visited * (2 + 1 + 1 + 4 + 4),
        lambda: find_together(rows, turned, some, weights, ridges, 4.0, 0.3, 24),
    )


def bounds(rng: np.random.Generator, times: int) -> dict[str, float]:
    """What the machine does in a second with one thread: bytes copied, read and written ones, and operations."""
    large = rng.random(2**25, dtype=np.float32)
    into = np.empty_like(large)
    square = rng.random((1024, 1024), dtype=np.float32)
    return {
        "GB": 2 * large.nbytes / seconds(lambda: np.copyto(into, large), times),
        "GFLOP": 2.0 * len(square) ** 3 / seconds(lambda: square @ square, times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=7, help="median of so many runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    most = bounds(rng, options.times)
    lines = []
    print(f"bound: {most['GB'] / 1e9:.1f} GB/s copied, {most['GFLOP'] / 1e9:.1f} GFLOP/s, one thread\n")
    print(f"{'kernel':<34}{'seconds':>9}{'rate':>16}{'of the bound':>14}")
    for case in cases(rng):
        took = seconds(case.run, options.times)
        rate = case.work / took
        lines.append(
            {"kernel": case.name, "seconds": took, "rate": rate, "unit": case.unit, "share": rate / most[case.unit]}
        )
        print(f"{case.name:<34}{took:>9.4f}{rate / 1e9:>10.2f} {case.unit + '/s':<9}{rate / most[case.unit]:>10.0%}")
    if options.json:
        options.json.write_text(json.dumps({"bounds": most, "kernels": lines}, indent=1))


if __name__ == "__main__":
    main()
