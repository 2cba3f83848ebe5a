"""Most-popular lists against a plain loop down the order of popularity."""

from __future__ import annotations

import doctest

import numpy as np
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.model.popularity
from engine.model.popularity import Popularity, popular_lists

N_ITEMS = 9


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(1, 4), min_size=N_ITEMS, max_size=N_ITEMS),
    watched=st.lists(st.sets(st.integers(0, N_ITEMS - 1)), min_size=1, max_size=6),
    k=st.integers(1, N_ITEMS + 2),
    shuffle=st.booleans(),
)
def test_lists_are_those_of_a_plain_loop(counts: list[int], watched: list[set[int]], k: int, shuffle: bool) -> None:
    columns = [sorted(items, reverse=shuffle) for items in watched]
    indptr = np.cumsum([0, *map(len, columns)]).astype(np.int32)
    indices = np.array([item for items in columns for item in items], dtype=np.int32)
    parts = (np.ones(len(indices), dtype=np.float32), indices, indptr)
    rows, found = popular_lists(
        Popularity.of(np.array(counts)), scipy.sparse.csr_matrix(parts, shape=(len(watched), N_ITEMS)), k
    )
    expected = []
    for user, items in enumerate(watched):
        order = sorted(set(range(N_ITEMS)) - items, key=lambda item: (-counts[item], item))
        expected += [(user, item) for item in order[:k]]
    assert list(zip(rows.tolist(), found.tolist(), strict=True)) == expected


def test_examples_in_docstrings() -> None:
    found = doctest.testmod(engine.model.popularity)
    assert found.attempted
    assert not found.failed
