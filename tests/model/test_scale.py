"""The range of ratings, from where on they are liked, and ratings in a unit of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.model.scale import range_of, scaled, scaled_values
from engine.model.sizes import SCALED_HIGH, SCALED_LOW, SCALED_RATINGS, SCALED_STEP

SCALES: dict[str, tuple[NDArray[Any], float]] = {
    "half stars": (np.arange(1, 11) / 2, 4.0),
    "1 to 5": (np.arange(1, 6), 4.0),
    "1 to 10": (np.arange(1, 11), 8.0),
    "10 to 100": (np.arange(10, 101, 10), 80.0),
    "-10 to 10": (np.arange(-10, 11), 5.0),
    "-10 to 10, few": (np.array([-10, -3, 4, 6, 10]), 6.0),
    "0 and 1": (np.array([0, 1]), 1.0),
    "tenths": (np.arange(1, 6) / 10, 0.4),
    "one rating": (np.array([0]), 0.0),
}


@pytest.mark.parametrize("name", SCALES)
def test_the_top_quarter_of_a_scale_is_liked(name: str) -> None:
    ratings, liked_from = SCALES[name]
    pieces = np.array_split(np.random.default_rng(0).permutation(np.repeat(ratings, 3)).astype(np.float32), 4)
    found = range_of(lambda: iter(pieces))
    assert found == (ratings.min(), ratings.max(), liked_from)


def test_without_ratings_the_range_is_nothing() -> None:
    assert range_of(lambda: [np.empty(0, np.float32)]) == (0.0, 0.0, 0.0)


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=60), st.sampled_from([0.5, 2, 3, 0.1]), st.integers(-9, 9))
def test_neither_the_unit_nor_the_zero_makes_a_difference(halves: list[int], unit: float, zero: int) -> None:
    ratings = np.array(halves) / 2
    others = (ratings * unit + zero).astype(np.float32).astype(np.float64)
    one, other = (range_of(lambda: [each.astype(np.float32)]) for each in (ratings, others))  # noqa: B023
    np.testing.assert_array_equal(ratings >= one.liked_from, others.astype(np.float32) >= other.liked_from)
    found = scaled_values(ratings, one.low, one.high)
    again = scaled_values(others, other.low, other.high)
    if unit == 0.1:  # in single precision such ratings are not exact
        np.testing.assert_allclose(again, found, atol=SCALED_STEP)
    else:
        assert again.tobytes() == found.tobytes()
    if one.low < one.high:
        assert (found.min(), found.max()) == (SCALED_LOW, SCALED_HIGH)


def rows(data: NDArray[Any], step: float) -> NarrowRows:
    return NarrowRows(np.array([0, len(data)]), np.arange(len(data), dtype=np.uint32), data, len(data), step)


def test_half_stars_stay_what_they_are() -> None:
    half_stars = rows(np.arange(1, 11, dtype=np.uint8), 0.5)
    assert scaled(half_stars, 0.5, 5.0) is half_stars


def test_ratings_scale_the_same_in_every_type_and_block() -> None:
    stored = np.random.default_rng(0).integers(2, 21, SCALED_RATINGS + 7, dtype=np.uint8)
    expected = np.interp(stored / 2, [1, 10], [SCALED_LOW, SCALED_HIGH])
    for data, step in ((stored, 0.5), ((stored / 2).astype(np.float32), 1.0), (stored / 2, 1.0)):
        found = scaled(rows(data, step), 1.0, 10.0)
        assert found.data.dtype == np.float32
        np.testing.assert_allclose(found.values(), expected, atol=SCALED_STEP)


def test_one_rating_alone_counts_as_the_highest() -> None:
    assert scaled(rows(np.array([3, 3], dtype=np.uint8), 1.0), 3.0, 3.0).values().tolist() == [SCALED_HIGH] * 2
