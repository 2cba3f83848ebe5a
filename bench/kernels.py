"""Small benchmarks of the kernels, so that a slower one is seen without a whole run: ``make bench-kernels``.

Sizes are those of a batch at ml-25m's scale; matrices are random with items as unevenly popular as there.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as in a worker, and before NumPy is loaded

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.sparse import csr_matrix

from engine.chunked.csr import NarrowRows
from engine.model.biases import Biases
from engine.model.evaluation import Baselines, measure_batch
from engine.model.factors import add_gram_product, orthonormalise
from engine.model.metrics import self_information
from engine.model.neighbors import Best, merge_nearest
from engine.model.popularity import Popularity, popular_lists
from engine.model.scoring import ask_neighbors, distance_weights, weighted_sums
from engine.model.topk import top_per_row

N_ITEMS = 56_000
N_USERS = 16_384
PER_USER = 120
K = 50


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def train(rng: np.random.Generator) -> NarrowRows:
    """Ratings of 16 384 users."""
    popularity = 1 / np.arange(20, N_ITEMS + 20)
    drawn = rng.choice(N_ITEMS, (N_USERS, PER_USER), p=popularity / popularity.sum())
    rows = [np.unique(row) for row in drawn]
    indptr = np.cumsum([0, *map(len, rows)])
    values = rng.integers(1, 11, indptr[-1]).astype(np.uint8)
    return NarrowRows(indptr, np.concatenate(rows).astype(np.uint16), values, N_ITEMS, 0.5)


@pytest.fixture(scope="module")
def neighbors(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Of 256 users."""
    ids = rng.integers(0, N_USERS, (256, K)).astype(np.int32)
    return ids, distance_weights(rng.uniform(0.5, 1, (256, K)).astype(np.float32))


def test_svd_pass(benchmark: BenchmarkFixture, train: NarrowRows, rng: np.random.Generator) -> None:
    rows = train.part(0, 4096).widen()
    basis = rng.standard_normal((N_ITEMS, 138), dtype=np.float32)
    total = np.zeros_like(basis)
    benchmark(add_gram_product, rows, np.ones(4096, dtype=np.float32), basis, total)


def test_orthonormalise(benchmark: BenchmarkFixture, rng: np.random.Generator) -> None:
    basis = rng.standard_normal((N_ITEMS, 138), dtype=np.float32)
    benchmark(orthonormalise, basis)


@pytest.mark.parametrize("wide", [False, True], ids=["narrow", "wide"])
def test_score(
    benchmark: BenchmarkFixture, train: NarrowRows, neighbors: tuple[np.ndarray, np.ndarray], wide: bool
) -> None:
    benchmark(weighted_sums, train.widen() if wide else train, ask_neighbors(*neighbors, N_USERS))


def scores_of(train: NarrowRows, neighbors: tuple[np.ndarray, np.ndarray]) -> csr_matrix:
    return weighted_sums(train, ask_neighbors(*neighbors, N_USERS))


def test_measure(benchmark: BenchmarkFixture, train: NarrowRows, neighbors: tuple[np.ndarray, np.ndarray]) -> None:
    scores = scores_of(train, neighbors)
    rated, test = train.part(0, 256).widen(), train.part(256, 512).widen()
    flags = np.zeros(256 * N_ITEMS, dtype=np.uint8)
    counts = np.bincount(train.indices, minlength=N_ITEMS) + 1
    biases = Biases(3.5, np.zeros(256, dtype=np.float32), np.zeros(N_ITEMS, dtype=np.float32), 0.5, 5.0)
    baselines = Baselines(Popularity.of(counts), biases, self_information(counts, 16_384))
    times = np.zeros((2, N_ITEMS), dtype=np.int64)
    benchmark(measure_batch, scores, rated, test, flags, baselines, 0, K, 4.0, times)


def test_popular_lists(benchmark: BenchmarkFixture, train: NarrowRows) -> None:
    popularity = Popularity.of(np.bincount(train.indices, minlength=N_ITEMS))
    benchmark(popular_lists, popularity, train.part(0, 256).widen(), K)


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
    best, others = (
        (rng.integers(0, 10**6, (8192, K)).astype(np.int32), rng.random((8192, K), dtype=np.float32)) for _ in range(2)
    )
    benchmark(merge_nearest, users, best, others)
