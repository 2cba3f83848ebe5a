"""Nearest items, against loops that cannot go wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.model import item_neighbors as itemknn
from engine.model.factors import unit_rows
from engine.model.item_neighbors import near_rows, nearest_items, significance

quick = settings(max_examples=60, deadline=None)


@quick
@given(st.integers(1, 40), st.integers(1, 12), st.sampled_from([1, 3, 64]), st.integers(0, 2**32 - 1))
def test_nearest_items_are_the_most_similar_of_all(n_items: int, k: int, tile: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit_rows(rng.standard_normal((n_items, 4)).astype(np.float32))
    trust = rng.uniform(0, 1, n_items).astype(np.float32)
    by_trust = np.argsort(-trust).astype(np.int32)
    candidates = by_trust[rng.random(n_items) < 0.7]
    own = by_trust[rng.random(n_items) < 0.7]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(itemknn, "TILE_ITEMS", tile)
        ids, similarities = nearest_items(vectors, trust, own, candidates, k)
    for row, item in enumerate(own):
        of_item = {
            int(other): float(vectors[item] @ vectors[other]) * float(min(trust[item], trust[other]))
            for other in candidates
            if other != item
        }
        best = sorted((value for value in of_item.values() if value > 0), reverse=True)[:k]
        np.testing.assert_allclose(similarities[row, : len(best)], best, rtol=1e-4, atol=1e-6)
        assert (ids[row, len(best) :] == -1).all()
        assert (similarities[row, len(best) :] == 0).all()
        chosen = ids[row, : len(best)].tolist()
        assert len(set(chosen)) == len(best)
        np.testing.assert_allclose([of_item[other] for other in chosen], best, rtol=1e-4, atol=1e-6)


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
