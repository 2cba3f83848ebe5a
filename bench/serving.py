"""How fast an open run answers: ``python -m bench.serving runs/ml-25m --memory 300MiB``.

One user at a time, batches of users in one thread and in several, a newcomer; and the memory of the process. The work
directory is that of a finished run; ``python -m bench.run`` makes one of ml-25m's size.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads are those that ask
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from engine import Recommender
from engine.chunked import memory

BATCH = 2048


def milliseconds(ask: Callable[[Any], object], asked: list[Any]) -> dict[str, float]:
    """Of each request, one after the other: the median, and what 95 and 99 of 100 stay below."""
    took = []
    for each in asked:
        start = time.perf_counter()
        ask(each)
        took.append(1000 * (time.perf_counter() - start))
    return {f"p{share}": round(float(np.percentile(took, share)), 2) for share in (50, 95, 99)}


def users_a_second(recommender: Recommender, users: list[Any], threads: int) -> float:
    """Of lists for batches of users, asked by some threads at the same time."""
    batches = [users[at : at + BATCH] for at in range(0, len(users), BATCH)]
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(recommender.recommend, batches))
    return round(len(users) / (time.perf_counter() - start))


def measure(workdir: str, held: str | None, n_single: int, n_batched: int) -> dict[str, Any]:
    """Everything, for one work directory and what may be held in memory."""
    start = time.perf_counter()
    recommender = Recommender.open(workdir, memory=held)
    opened = time.perf_counter() - start
    rng = np.random.default_rng(0)
    users = recommender.users.gather(rng.integers(0, len(recommender.users), n_batched)).to_list()
    likes = [recommender.items.gather(rng.integers(0, len(recommender.items), 5)).to_list() for _ in range(n_single)]
    recommender.recommend(users[:1])
    recommender.likes(likes[0])
    return {
        "users": len(recommender.users),
        "items": len(recommender.items),
        "memory": held,
        "seconds_to_open": round(opened, 2),
        "one_user_ms": milliseconds(lambda user: recommender.recommend([user]), users[:n_single]),
        "newcomer_ms": milliseconds(lambda items: recommender.recommend(recommender.likes(items)), likes),
        "similar_users_ms": milliseconds(recommender.similar_users, users[:n_single]),
        "users_a_second": {threads: users_a_second(recommender, users, threads) for threads in (1, 2, 4)},
        "peak_mib": memory.peak_bytes() >> 20,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", help="of a finished run")
    parser.add_argument("--memory", default="300MiB", help="what may be held in memory, or none (default: 300MiB)")
    parser.add_argument("--single", type=int, default=300, help="requests for one user (default: 300)")
    parser.add_argument("--batched", type=int, default=16384, help="users in batches (default: 16384)")
    options = parser.parse_args()
    held = None if options.memory == "none" else options.memory
    print(json.dumps(measure(options.workdir, held, options.single, options.batched), indent=1))


if __name__ == "__main__":
    main()
