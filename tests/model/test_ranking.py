"""The score that items are ranked by, against its formula in a plain loop."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from engine.chunked.csr import NarrowRows
from engine.config import Evaluate
from engine.kernels.nearest import Best
from engine.kernels.rows import Lists, lists_of
from engine.model.item_neighbors import near_rows, significance
from engine.model.ranking import Ranking

N_USERS, N_ITEMS, K, NEAREST = 12, 30, 4, 3


def test_an_items_score_is_its_mean_vote_and_its_likeness_to_liked_items_among_its_own_nearest() -> None:
    rng = np.random.default_rng(3)
    dense = np.where(rng.random((N_USERS, N_ITEMS)) < 0.4, rng.integers(1, 6, (N_USERS, N_ITEMS)), 0)
    ratings = csr_matrix(dense.astype(np.float32))
    counts = (dense > 0).sum(axis=0)
    vectors = rng.standard_normal((N_ITEMS, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    trust = significance(counts, 10.0)
    everything = np.arange(N_ITEMS, dtype=np.int32)
    nearest_of = Best(everything, vectors, NEAREST, 0.0, trust)
    nearest_of.offer(np.arange(N_ITEMS), everything, vectors, trust)
    near = near_rows(N_ITEMS, [nearest_of.result()])
    neighbors = np.array([rng.choice(np.delete(np.arange(N_USERS), u), K, replace=False) for u in range(N_USERS)])
    cosines = rng.random((N_USERS, K)).astype(np.float32)
    section = Evaluate()
    ranking = Ranking.of(section.ranking_parameters(4.0), counts, near)
    indices = ratings.indices.astype(np.uint8)
    rows = NarrowRows(ratings.indptr.astype(np.int64), indices, ratings.data, N_ITEMS, 1.0)
    wanted = Lists(np.arange(0, N_USERS * N_ITEMS + 1, N_ITEMS), np.tile(everything, N_USERS))
    found = ranking.rank(rows, neighbors.astype(np.int32), cosines, rows, lists_of(rows), 5, wanted)
    scores = found.wanted.reshape(N_USERS, N_ITEMS)

    def likeness(item: int, other: int) -> float:
        n = min(counts[item], counts[other])
        return float(vectors[item] @ vectors[other] * n / (n + 10.0))

    nearest = []
    for item in range(N_ITEMS):
        others = sorted((-likeness(item, other), other) for other in range(N_ITEMS) if other != item)
        nearest.append([other for minus, other in others[:NEAREST] if minus < 0])
    mutual = 0
    for user in range(N_USERS):
        liked = [item for item in range(N_ITEMS) if dense[user, item] >= 4]
        for item in range(N_ITEMS):
            votes = weights = 0.0
            for neighbor, cosine in zip(neighbors[user], cosines[user], strict=True):
                weights += float(cosine) ** 4
                if dense[neighbor, item]:
                    votes += float(cosine) ** 4 * (1 if dense[neighbor, item] >= 4 else 0.3)
            bonus = sum(likeness(item, other) for other in liked if other in nearest[item])
            expected = votes / weights + 0.8 * bonus / max(1, len(liked))
            np.testing.assert_allclose(scores[user, item], expected, atol=1e-5)
            mutual += all((other in nearest[item]) == (item in nearest[other]) for other in liked)
        new = [item for item in range(N_ITEMS) if scores[user, item] and not dense[user, item]]
        best = sorted(new, key=lambda item: (-scores[user, item], item))[:5]
        assert found.items[user].tolist() == best + [-1] * (5 - len(best))
    assert mutual < N_USERS * N_ITEMS  # the other way round it would be another formula
