"""A peer: `implicit`'s ALS, all in memory. Fit, recommend to all users, Recall@50, on a run's own train and test.

``python -m bench.peer_implicit WORKDIR --json OUT``
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from implicit.als import AlternatingLeastSquares

from engine.chunked.csr import CsrReader

FACTORS = 128
ITERATIONS = 15
K = 50
_USERS = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    (matrix,) = options.workdir.glob("stages/matrix-*")
    readers = [CsrReader(matrix, name) for name in ("train", "test")]
    train, test = (reader.read(0, reader.shape[0]).widen() for reader in readers)
    start = time.perf_counter()
    model = AlternatingLeastSquares(
        factors=FACTORS, iterations=ITERATIONS, num_threads=options.threads, random_state=0, use_gpu=False
    )
    model.fit(train, show_progress=False)
    fitted = time.perf_counter()
    hits = liked_users = 0.0
    measuring = 0.0
    for first in range(0, train.shape[0], _USERS):
        users = np.arange(first, min(first + _USERS, train.shape[0]))
        items, _ = model.recommend(users, train[users], N=K, filter_already_liked_items=True)
        begun = time.perf_counter()
        for row, user in enumerate(users.tolist()):
            rated = slice(test.indptr[user], test.indptr[user + 1])
            liked = test.indices[rated][test.data[rated] >= 4.0]
            if len(liked):
                hits += len(np.intersect1d(liked, items[row])) / len(liked)
                liked_users += 1
        measuring += time.perf_counter() - begun
    recommended = time.perf_counter() - measuring
    result = {
        "fit_seconds": round(fitted - start, 2),
        "recommend_seconds": round(recommended - fitted, 2),
        "recall_at_50": hits / liked_users,
    }
    options.json.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
