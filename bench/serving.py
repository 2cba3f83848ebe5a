"""How fast an open run answers: ``python -m bench.serving runs/ml-25m --memory 300MiB``.

One user at a time, batches of users in one thread and in several, a newcomer; and the memory of the process. Then the
same of ``engine serve``, asked over HTTP by several clients at the same time. The work directory is that of a finished
run; ``python -m bench.run`` makes one of ml-25m's size.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads are those that ask
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import argparse
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any
from urllib.parse import quote

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


def over_http(workdir: str, held: str, asked: dict[str, list[str]], clients: int) -> dict[str, Any]:
    """Requests of each kind, by clients that keep their connections, and the memory of the server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "engine", "serve", workdir, "--port", str(port), "--memory", held]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()  # it says where it listens
            _wait_for(port)
            found = {kind: _requests(port, paths, clients) for kind, paths in asked.items()}
            peak = memory.peak_bytes(server.pid)
        finally:
            server.terminate()
    return {"clients": clients, **found, "server_peak_mib": peak >> 20}


def _requests(port: int, paths: list[str], clients: int) -> dict[str, Any]:
    """How many a second, and the time of each."""
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        parts = pool.map(lambda at: _client(port, paths[at::clients]), range(clients))
        took = [each for part in parts for each in part]
    seconds = time.perf_counter() - start
    return {
        "requests_a_second": round(len(paths) / seconds),
        "request_ms": {f"p{share}": round(float(np.percentile(took, share)), 2) for share in (50, 95, 99)},
    }


def _wait_for(port: int) -> None:
    for _ in range(200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit("the server did not answer within 10 s")


def _client(port: int, paths: list[str]) -> list[float]:
    """Milliseconds of each request."""
    took = []
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        for path in paths:
            start = time.perf_counter()
            connection.request("GET", path)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{answer.status}: {content[:200]!r}")
            took.append(1000 * (time.perf_counter() - start))
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", help="of a finished run")
    parser.add_argument("--memory", default="300MiB", help="what may be held in memory, or none (default: 300MiB)")
    parser.add_argument("--single", type=int, default=300, help="requests for one user (default: 300)")
    parser.add_argument("--batched", type=int, default=16384, help="users in batches (default: 16384)")
    parser.add_argument("--requests", type=int, default=2000, help="over HTTP (default: 2000)")
    parser.add_argument("--clients", type=int, default=4, help="that send them (default: 4)")
    options = parser.parse_args()
    held = None if options.memory == "none" else options.memory
    found = measure(options.workdir, held, options.single, options.batched)
    if held is not None:
        rng = np.random.default_rng(1)
        with Recommender.open(options.workdir, memory=None) as recommender:
            users, items = (
                ids.gather(rng.integers(0, len(ids), options.requests)).to_list()
                for ids in (recommender.users, recommender.items)
            )
        asked = {
            "users": [f"/recommend?user={quote(str(user))}&k=10" for user in users],
            "newcomers": [f"/recommend?like={quote(str(item))}&k=10" for item in items],
        }
        found["http"] = over_http(options.workdir, held, asked, options.clients)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
