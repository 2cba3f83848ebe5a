"""Items taken together, against plain loops in float32."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chunked.csr import NarrowRows
from engine.kernels.cooccurrence import find_together
from tests.kernels.cases import dense, quick, rows_of, seeds, value_types

N_USERS, N_ITEMS = 12, 20


def other_way_round(rows: NarrowRows, items: list[int]) -> NarrowRows:
    """Ratings of some items, these x users."""
    at = [np.flatnonzero(rows.indices == item) for item in items]
    users = np.repeat(np.arange(N_USERS), np.diff(rows.indptr)).astype(np.uint32)
    found = np.concatenate([*at, np.empty(0, np.int64)])
    return NarrowRows(np.cumsum([0, *map(len, at)]), users[found], rows.data[found], N_USERS, rows.value_step)


def case(seed: int, dtype: str = "uint8") -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    rows = rows_of(rng, N_USERS, N_ITEMS, dtype)
    items = sorted(rng.permutation(N_ITEMS)[: rng.integers(N_ITEMS + 1)].tolist())
    return {
        "rows": rows,
        "of_items": other_way_round(rows, items),
        "items": np.array(items, dtype=np.int32),
        "user_weights": rng.choice(np.array([0, 0.25, 1], dtype=np.float32), N_USERS),
        "item_weights": rng.choice(np.array([0.5, 1], dtype=np.float32), N_ITEMS),
        "liked_from": 3.0,
        "disliked": float(np.float32(rng.choice([0, 0.3]))),
    }


@quick
@given(seeds, st.integers(1, 25), value_types)
def test_what_goes_together_is_that_of_a_plain_loop_to_the_last_bit(seed: int, k: int, dtype: str) -> None:
    asked = case(seed, dtype)
    ids, similarities = find_together(**asked, k=k)
    ratings = dense(asked["rows"])
    votes = np.where(ratings >= 3, np.float32(1), np.float32(asked["disliked"]))
    for row, item in enumerate(asked["items"].tolist()):
        sums = np.zeros(N_ITEMS, dtype=np.float32)
        for user in np.flatnonzero(~np.isnan(ratings[:, item])).tolist():
            weight = asked["user_weights"][user] * votes[user, item]
            there = ~np.isnan(ratings[user])
            sums[there] += weight * votes[user, there]
        sums *= asked["item_weights"]
        sums[item] = 0
        best = sorted(np.flatnonzero(sums > 0).tolist(), key=lambda other: (-sums[other], other))[:k]
        assert ids[row].tolist() == best + [-1] * (k - len(best))
        assert similarities[row].tolist() == sums[best].tolist() + [0] * (k - len(best))


@pytest.mark.parametrize(
    "broken",
    [
        {"items": np.zeros(99, np.int32)},
        {"user_weights": np.ones(N_USERS - 1, np.float32)},
        {"item_weights": np.ones(N_ITEMS - 1, np.float32)},
        {"of_items": lambda rows: replace(rows, indices=rows.indices + np.uint32(N_USERS))},
        {"of_items": lambda rows: replace(rows, indices=rows.indices.astype(np.int32))},
        {"of_items": lambda rows: replace(rows, data=rows.data.astype(np.float32))},
        {"of_items": lambda rows: replace(rows, indptr=rows.indptr * 9)},
    ],
)
def test_no_array_leads_out_of_another(broken: dict[str, Any]) -> None:
    asked = case(1)
    assert len(asked["items"])
    changed = {name: change(asked[name]) if callable(change) else change for name, change in broken.items()}
    with pytest.raises((ValueError, IndexError, TypeError)):
        find_together(**(asked | changed), k=3)
