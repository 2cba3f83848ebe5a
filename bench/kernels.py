"""Small benchmarks of the kernels, so that a slower one is seen without a whole run: ``make bench-kernels``.

Sizes are those of a batch at ml-25m's scale; matrices are random with films as unevenly popular as there.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as in a worker, and before NumPy is loaded

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.sparse import csr_matrix

from engine.chunked.csr import NarrowRows
from engine.knn import Best, merge_nearest
from engine.linalg import add_gram_product, orthonormalise
from engine.scoring import distance_weights, weighted_sums
from engine.stages.evaluate import measure_batch
from engine.topk import top_per_row

N_ITEMS = 56_000
PER_USER = 120
K = 50


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def train(rng: np.random.Generator) -> NarrowRows:
    """Ratings of 16 384 users."""
    n_users = 16_384
    popularity = 1 / np.arange(20, N_ITEMS + 20)
    drawn = rng.choice(N_ITEMS, (n_users, PER_USER), p=popularity / popularity.sum())
    rows = [np.unique(row) for row in drawn]
    indptr = np.cumsum([0, *map(len, rows)])
    values = rng.integers(1, 11, indptr[-1]).astype(np.uint8)
    return NarrowRows(indptr, np.concatenate(rows).astype(np.uint16), values, N_ITEMS, 0.5)


@pytest.fixture(scope="module")
def neighbors(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Of 256 users."""
    ids = rng.integers(0, 16_384, (256, K)).astype(np.int32)
    return ids, distance_weights(rng.uniform(0.5, 1, (256, K)).astype(np.float32))


def test_svd_pass(benchmark: BenchmarkFixture, train: NarrowRows, rng: np.random.Generator) -> None:
    rows = train.part(0, 4096).widen()
    basis = rng.standard_normal((N_ITEMS, 138), dtype=np.float32)
    total = np.zeros_like(basis)
    benchmark(add_gram_product, rows, basis, total)


def test_orthonormalise(benchmark: BenchmarkFixture, rng: np.random.Generator) -> None:
    basis = rng.standard_normal((N_ITEMS, 138), dtype=np.float32)
    benchmark(orthonormalise, basis)


@pytest.mark.parametrize("wide", [False, True], ids=["narrow", "wide"])
def test_score(
    benchmark: BenchmarkFixture, train: NarrowRows, neighbors: tuple[np.ndarray, np.ndarray], wide: bool
) -> None:
    benchmark(weighted_sums, train.widen() if wide else train, *neighbors)


def scores_of(train: NarrowRows, neighbors: tuple[np.ndarray, np.ndarray]) -> csr_matrix:
    return weighted_sums(train, *neighbors)


def test_measure(benchmark: BenchmarkFixture, train: NarrowRows, neighbors: tuple[np.ndarray, np.ndarray]) -> None:
    scores = scores_of(train, neighbors)
    watched, test = train.part(0, 256).widen(), train.part(256, 512).widen()
    flags = np.zeros(256 * N_ITEMS, dtype=np.uint8)
    benchmark(measure_batch, scores, watched, test, flags, K, 4.0)


def test_top_per_row(benchmark: BenchmarkFixture, train: NarrowRows, neighbors: tuple[np.ndarray, np.ndarray]) -> None:
    scores = scores_of(train, neighbors)
    benchmark(top_per_row, scores.indptr, scores.indices, scores.data, K)


def test_compare_with_tiles(benchmark: BenchmarkFixture, rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((9216, 128), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codes = np.arange(9216, dtype=np.int32)

    def search() -> None:
        best = Best(codes[:1024], vectors[:1024], K)
        for start in range(0, 9216, 1024):
            best.offer(np.arange(1024), codes[start : start + 1024], vectors[start : start + 1024])

    benchmark(search)


def test_merge_neighbours(benchmark: BenchmarkFixture, rng: np.random.Generator) -> None:
    users = np.arange(8192, dtype=np.int32)
    best, found = (
        (rng.integers(0, 10**6, (8192, K)).astype(np.int32), rng.random((8192, K), dtype=np.float32)) for _ in range(2)
    )
    benchmark(merge_nearest, users, best, found)
