"""Lists that go on with what is popular, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from engine.kernels.rows import Lists
from engine.kernels.scoring import Scored
from engine.model.popularity import fill_lists

N_USERS, N_ITEMS, K = 9, 14, 6


@pytest.mark.parametrize("per_user", [1, 3])
@pytest.mark.parametrize("n_offered", [N_ITEMS, 7])
def test_short_lists_go_on_with_popular_items_that_are_new_to_the_user(per_user: int, n_offered: int) -> None:
    rng = np.random.default_rng(per_user)
    order = rng.permutation(N_ITEMS)[:n_offered].astype(np.int32)
    taken = [np.sort(rng.choice(N_ITEMS, rng.integers(0, 8), replace=False)) for _ in range(N_USERS)]
    items = np.full((N_USERS * per_user, K), -1, dtype=np.int32)
    scores = np.zeros(items.shape, dtype=np.float32)
    expected = []
    for row in range(len(items)):
        left = np.setdiff1d(order, taken[row // per_user])
        n = rng.integers(0, min(K, len(left)) + 1)
        items[row, :n], scores[row, :n] = rng.choice(left, n, replace=False), rng.random(n)
        listed = items[row, :n].tolist()
        for item in order.tolist():
            if len(listed) < K and item not in listed and item not in taken[row // per_user]:
                listed.append(item)
        expected.append(listed + [-1] * (K - len(listed)))
    before = items.copy()
    indptr = np.concatenate([[0], np.cumsum([len(each) for each in taken])])
    found = Scored(items, scores, np.empty(0, dtype=np.float32))
    fill_lists(found, Lists(indptr, np.concatenate(taken).astype(np.int32)), order, N_ITEMS)
    assert items.tolist() == expected
    assert (np.isnan(scores) == (before < 0)).all()
