"""Nearest items, against loops that cannot go wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.model import item_neighbors as itemknn
from engine.model.factors import unit_rows
from engine.model.item_neighbors import cluster_items, near_rows, significance

quick = settings(max_examples=60)


@quick
@given(st.integers(0, 40), st.integers(1, 6), st.sampled_from([1, 3, 64]), st.integers(0, 2**32 - 1))
def test_items_are_sorted_by_the_cluster_of_their_nearest_centre(n: int, clusters: int, tile: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit_rows(rng.standard_normal((50, 4)).astype(np.float32))
    centres = unit_rows(rng.standard_normal((clusters, 4)).astype(np.float32))
    known = rng.permutation(50)[:n].astype(np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(itemknn, "TILE_ITEMS", tile)
        order, edges = cluster_items(vectors, known, centres)
    nearest = (vectors @ centres.T).argmax(axis=1)
    expected = [item for cluster in range(clusters) for item in known.tolist() if nearest[item] == cluster]
    assert order.tolist() == expected
    assert edges.tolist() == [sum(nearest[item] < cluster for item in expected) for cluster in range(clusters + 1)]


@quick
@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_near_rows_are_neighbours_the_other_way_round(n_items: int, k: int, block: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = np.array([rng.permutation(n_items + k)[:k] for _ in range(n_items)], dtype=np.int32)
    ids[ids >= n_items] = -1
    similarities = rng.random((n_items, k), dtype=np.float32)
    cuts = range(0, n_items, block)
    near = near_rows(n_items, [(ids[at : at + block], similarities[at : at + block]) for at in cuts])
    dense = near.widen().toarray()
    for item in range(n_items):
        expected = dict(zip(ids[item].tolist(), similarities[item].tolist(), strict=True))
        expected.pop(-1, None)
        assert (
            dict(zip(np.flatnonzero(dense[:, item]).tolist(), dense[dense[:, item] > 0, item].tolist(), strict=True))
            == expected
        )


def test_an_item_is_trusted_more_the_more_ratings_it_has() -> None:
    assert significance(np.array([0, 100, 300]), 100).tolist() == [0, 0.5, 0.75]
    assert significance(np.array([0, 7]), 0).tolist() == [0, 1]
