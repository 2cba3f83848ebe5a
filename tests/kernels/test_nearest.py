"""The most similar, against sorting everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.kernels import Best, dot_products, near_centres, nearest_centres, whole_products
from engine.model.neighbors import shortfall
from tests.kernels.cases import quick, seeds

sizes = st.integers(1, 40)


def coarse(rng: np.random.Generator, n: int, dims: int) -> NDArray[np.float32]:
    """Vectors of few distinct values, so that ties are the rule and every product is exact."""
    return rng.integers(-2, 3, (n, dims)).astype(np.float32)


@quick
@given(seeds, sizes, sizes, st.integers(1, 9))
def test_products_are_sums_in_the_order_of_the_dimensions(seed: int, n: int, m: int, dims: int) -> None:
    rng = np.random.default_rng(seed)
    rows, others = (rng.standard_normal((count, dims), dtype=np.float32) for count in (n, m))
    expected = np.zeros((n, m), dtype=np.float32)
    for d in range(dims):
        expected += rows[:, d, None] * others[None, :, d]
    assert dot_products(rows, others).tobytes() == expected.tobytes()


@quick
@given(seeds, st.integers(0, 40), sizes, st.sampled_from([4, 16]), st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0, np.inf]))
def test_near_centres_are_those_little_behind_the_nearest(seed: int, n: int, m: int, dims: int, reach: float) -> None:
    rng = np.random.default_rng(seed)
    rows, centres = coarse(rng, n, dims), coarse(rng, m, dims)
    rows[rng.random(n) < 0.2] = 0
    cosines = dot_products(rows, centres)
    near = shortfall(cosines) <= reach
    near[~rows.any(axis=1)] = False
    near[np.arange(n), cosines.argmax(axis=1)] = False
    nearest, bits = near_centres(rows, centres, reach)
    np.testing.assert_array_equal(nearest, cosines.argmax(axis=1))
    np.testing.assert_array_equal(nearest, nearest_centres(rows, centres))
    np.testing.assert_array_equal(bits, np.packbits(near, axis=0).T)


def test_nobody_needs_no_centres() -> None:
    nearest, bits = near_centres(np.empty((0, 16), dtype=np.float32), np.empty((0, 16), dtype=np.float32), 0.5)
    assert (nearest.shape, bits.shape) == ((0,), (0, 0))
    with pytest.raises(ValueError, match="centres of another shape"):
        nearest_centres(np.ones((1, 16), dtype=np.float32), np.empty((0, 16), dtype=np.float32))


@quick
@given(seeds, sizes, sizes)
def test_products_of_whole_numbers_are_exact_up_to_the_greatest(seed: int, n: int, dims: int) -> None:
    rng = np.random.default_rng(seed)
    most = int(np.sqrt((2**31 - 1) // dims))
    rows, other = (rng.choice([-most, most, 0, 1], shape).astype(np.int16) for shape in ((n, dims), dims))
    np.testing.assert_array_equal(whole_products(rows, other), rows.astype(np.int64) @ other.astype(np.int64))


def test_products_of_whole_numbers_of_another_shape_are_refused() -> None:
    for shape in ((3, 4), (3, 6)):
        with pytest.raises(ValueError, match="another shape"):
            whole_products(np.ones(shape, dtype=np.int16), np.ones(5, dtype=np.int16))


@quick
@given(seeds, sizes, st.integers(1, 12), st.lists(st.integers(0, 40), max_size=5), st.booleans(), st.booleans())
def test_the_best_are_the_first_of_all_sorted_whatever_the_tiles(
    seed: int, n: int, k: int, cuts: list[int], trusted: bool, floored: bool
) -> None:
    rng = np.random.default_rng(seed)
    vectors, codes = coarse(rng, n, 3), rng.permutation(n).astype(np.int32)
    trust = rng.choice(np.array([0.25, 0.5, 1], dtype=np.float32), n) if trusted else None
    if trusted:
        vectors /= 4  # of at most unit length, and every product still exact
    floor = 0.0 if floored else -np.inf
    best = Best(codes, vectors, k, floor, trust)
    tiles = list(itertools.pairwise(sorted({0, n, *(min(cut, n) for cut in cuts)})))
    for first, last in rng.permutation(tiles).tolist():
        some = slice(first, last)
        for asking in np.array_split(rng.permutation(n), 2):
            best.offer(asking, codes[some], vectors[some], None if trust is None else trust[some])
    ids, similarities = best.result()
    cosines = vectors @ vectors.T
    if trust is not None:
        cosines *= np.minimum(trust[:, None], trust)
    for row in range(n):
        others = [other for other in range(n) if other != row and cosines[row, other] > floor]
        order = sorted(others, key=lambda other: (-cosines[row, other], codes[other]))[:k]
        assert ids[row].tolist() == codes[order].tolist() + [-1] * (k - len(order))
        expected = np.append(cosines[row, order], [np.nan] * (k - len(order)))
        np.testing.assert_array_equal(similarities[row], expected)


def test_vectors_that_are_no_numbers_are_nobodys_neighbours() -> None:
    vectors = np.ones((6, 3), dtype=np.float32)
    vectors[2] = np.nan
    codes = np.arange(6, dtype=np.int32)
    best = Best(codes, vectors, 5)
    best.offer(np.arange(6), codes, vectors)
    ids, _ = best.result()
    assert ids[0].tolist() == [1, 3, 4, 5, -1]
    assert (ids[2] == -1).all()


@pytest.mark.parametrize("dtype", [np.float64, np.int32])
def test_other_types_and_rows_out_of_range_are_refused(dtype: type) -> None:
    vectors, codes = np.ones((4, 3), dtype=np.float32), np.arange(4, dtype=np.int32)
    best = Best(codes, vectors, 2)
    with pytest.raises(TypeError):
        best.offer(np.arange(4), codes, vectors.astype(dtype))
    for rows in ([4], [-1]):
        with pytest.raises(IndexError):
            best.offer(np.array(rows), codes, vectors)
    with pytest.raises(ValueError, match="another shape"):
        best.offer(np.arange(4), codes[:-1], vectors)
    with pytest.raises(ValueError, match="another shape"):
        best.offer(np.arange(4), codes, vectors[:, :2].copy())
