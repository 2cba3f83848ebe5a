"""Nearest users by other libraries, on the vectors of one of our runs: seconds, peak memory, share found.

``python -m bench.neighbors --scale 1`` runs the pipeline first where it has not been run. Each case is a process of its
own with two threads. Those that compare all users do so for a sample, and their seconds are scaled.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measure import HERE, make_twin, measure, write_result
from engine.chunked import arrays
from engine.chunked.budget import format_size
from engine.chunked.csr import CsrReader

K = 50
SAMPLE = 4096
THREADS = 2

Found = tuple[float, NDArray[np.float32] | None]


def _vectors(workdir: Path) -> NDArray[np.float32]:
    (folder,) = workdir.glob("stages/factors-*")
    array = arrays.open_array(folder, "vectors")
    return arrays.read_rows(array, 0, array.shape[0])


def _queries(n_users: int) -> NDArray[np.int64]:
    return np.sort(np.random.default_rng(5).choice(n_users, min(SAMPLE, n_users), replace=False))


def faiss_flat(workdir: Path) -> Found:
    """All users, FAISS's IndexFlatIP."""
    import faiss

    faiss.omp_set_num_threads(THREADS)
    vectors = _vectors(workdir)
    users = _queries(len(vectors))
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    start = time.perf_counter()
    similarities, _ = index.search(vectors[users], K + 1)
    return (time.perf_counter() - start) * len(vectors) / len(users), similarities


def faiss_ivf(workdir: Path) -> Found:
    """Near clusters, FAISS's IndexIVFFlat: as many clusters as ours, 6 % of them looked at; training included."""
    import faiss

    faiss.omp_set_num_threads(THREADS)
    vectors = _vectors(workdir)
    n_clusters = -(-len(vectors) // 512)
    start = time.perf_counter()
    quantizer = faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.IndexIVFFlat(quantizer, vectors.shape[1], n_clusters, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[:: max(1, len(vectors) // (40 * n_clusters))])
    index.add(vectors)
    index.nprobe = -(-n_clusters * 6 // 100)
    similarities, _ = index.search(vectors, K + 1)
    return time.perf_counter() - start, similarities[_queries(len(vectors))]


def sklearn_brute(workdir: Path) -> Found:
    """All users, scikit-learn's NearestNeighbors."""
    from sklearn.neighbors import NearestNeighbors

    vectors = _vectors(workdir)
    users = _queries(len(vectors))
    search = NearestNeighbors(n_neighbors=K + 1, algorithm="brute", metric="cosine").fit(vectors)
    start = time.perf_counter()
    distances, _ = search.kneighbors(vectors[users])
    return (time.perf_counter() - start) * len(vectors) / len(users), (1 - distances).astype(np.float32)


def similaripy_rows(workdir: Path) -> Found:
    """Cosine of the raw rows of ratings, similaripy. Its neighbours are others, so no share of them is computed."""
    import similaripy

    (folder,) = workdir.glob("stages/matrix-*")
    reader = CsrReader(folder, "train")
    train = reader.read(0, reader.shape[0]).widen()
    users = _queries(train.shape[0])
    start = time.perf_counter()
    similaripy.cosine(train, k=K + 1, target_rows=users, num_threads=THREADS, verbose=False)
    return (time.perf_counter() - start) * train.shape[0] / len(users), None


CASES: dict[str, tuple[str, str, Callable[[Path], Found]]] = {
    "faiss-flat": ("faiss", "FAISS IndexFlatIP (sample, scaled)", faiss_flat),
    "faiss-ivf": ("faiss", "FAISS IndexIVFFlat, 6 % of as many clusters", faiss_ivf),
    "sklearn": ("sklearn", "scikit-learn NearestNeighbors, brute (sample, scaled)", sklearn_brute),
    "similaripy": ("similaripy", "similaripy cosine of raw rows (sample, scaled)", similaripy_rows),
}


def run_case(name: str, workdir: Path, result: Path) -> None:
    """Run a case in this process."""
    seconds, similarities = CASES[name][2](workdir)
    if similarities is not None:
        np.save(result.with_suffix(".npy"), similarities)
    result.write_text(json.dumps({"seconds": round(seconds, 2)}))


def share_found(similarities: NDArray[np.float32], exact: NDArray[np.float32]) -> float:
    """Share of the exact neighbours that are found. The first column of both is the user itself."""
    return float((similarities >= exact[:, -1:] - 1e-5)[:, 1:].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--case", nargs=3, metavar=("NAME", "WORKDIR", "RESULT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        run_case(options.case[0], Path(options.case[1]), Path(options.case[2]))
        return
    twin, workdir = make_twin(options.scale), HERE / "data" / f"neighbors-{options.scale:g}"
    command = [sys.executable, "-m", "engine", "run", str(twin), "--workdir", str(workdir), "--memory", "1GiB"]
    method = ["--set", "index.method=pruned"]
    subprocess.run([*command, *method, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    stages = {stage["stage"]: stage for stage in json.loads((workdir / "run.json").read_text())["stages"]}
    ours = json.loads((workdir / "metrics.json").read_text())["neighbors"]
    took = [stages[name] for name in ("index", "neighbors")]
    cases: dict[str, dict[str, Any]] = {
        "this engine, pruned, samples and writing included": {
            "seconds": round(sum(stage["seconds"] for stage in took), 2),
            "peak": max(stage["measured"] for stage in took),
            "recall": ours["recall"],
        }
    }
    exact: NDArray[np.float32] | None = None
    for name, (module, title, _) in CASES.items():
        if importlib.util.find_spec(module) is None:
            cases[title] = {"absent": f"{module} is not installed"}
            continue
        result = HERE / "data" / f"neighbors-{name}.json"
        threads = {"OMP_NUM_THREADS": str(THREADS), "OPENBLAS_NUM_THREADS": str(THREADS)}
        measured = measure(
            [sys.executable, "-m", "bench.neighbors", "--case", name, str(workdir), str(result)], **threads
        )
        cases[title] = json.loads(result.read_text()) | {"peak": measured["peak"]}
        kept = result.with_suffix(".npy")
        if kept.exists():
            similarities = np.load(kept)
            kept.unlink()
            exact = similarities if name == "faiss-flat" else exact
            if exact is not None:
                cases[title]["recall"] = share_found(similarities, exact)
    for title, case in cases.items():
        share = f"  {case['recall']:.4f} found" if "recall" in case else ""
        text = case.get("absent") or f"{case['seconds']:>9.1f} s{format_size(case['peak']):>10}{share}"
        print(f"{title:<55}{text}", flush=True)
    write_result(f"neighbors-{options.scale:g}", {"scale": options.scale, "threads": THREADS, "cases": cases})


if __name__ == "__main__":
    main()
