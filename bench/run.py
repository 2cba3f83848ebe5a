"""The pipeline against the notebook's own code, on synthetic ratings: time, peak memory, figures.

Each runs in a process of its own. The ratings are made once and kept in ``bench/data/``; results go to
``bench/results/``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from engine.chunked.budget import format_size
from engine.chunked.memory import Sampler, tree_bytes

HERE = Path(__file__).parent


def make_twin(scale: float) -> Path:
    """Synthetic ratings at a scale, made on first use."""
    folder = HERE / "data" / f"twin-{scale:g}"
    if not (folder / "synthetic.json").exists():
        command = [sys.executable, "-m", "engine", "data", "twin", "--out", str(folder), "--scale", f"{scale:g}"]
        subprocess.run(command, check=True)
    return folder


def measure(command: list[str]) -> dict[str, Any]:
    """Run a command; return seconds and the peak, in bytes, of all its processes' resident memory."""
    start = time.monotonic()
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL) as process,
        Sampler(lambda: tree_bytes(process.pid)) as sampler,
    ):
        code = process.wait()
    if code:
        raise SystemExit(f"{' '.join(command)}: exit code {code}")
    return {"seconds": round(time.monotonic() - start, 2), "peak": max(size for _, size in sampler.samples)}


def bench_pipeline(twin: Path, memory: str) -> dict[str, Any]:
    """Time the whole pipeline, from nothing."""
    workdir = HERE / "data" / "run"
    shutil.rmtree(workdir, ignore_errors=True)
    command = [sys.executable, "-m", "engine", "run", str(twin), "--workdir", str(workdir), "--memory", memory]
    found = measure(command)
    metrics = json.loads((workdir / "metrics.json").read_text())
    stages = json.loads((workdir / "run.json").read_text())["stages"]
    return found | {"rmse": metrics["rmse"], "recall_at_50": metrics["recall_at_50"], "stages": stages}


def bench_notebook(twin: Path, users_sampled: int) -> dict[str, Any]:
    """Time the notebook's code, its two loops over users on a sample of them and scaled."""
    result = HERE / "data" / "notebook.json"
    sampled = ["--users-sampled", str(users_sampled), "--json", str(result)]
    measured = measure([sys.executable, "-m", "bench.notebook", str(twin / "ratings.csv"), *sampled])
    found = json.loads(result.read_text())
    return {
        "seconds": found["seconds_total"],
        "seconds_as_run": measured["seconds"],
        "users_sampled": users_sampled,
        "peak": measured["peak"],
        "rmse": found["rmse"],
        "recall_at_50": found["recall@50"],
        "steps": found["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1, help="times the users of ml-25m (default: 0.1)")
    parser.add_argument("--memory", default="512MiB", help="the pipeline's budget (default: 512MiB)")
    parser.add_argument("--users-sampled", type=int, default=300, help="users in the notebook's loops (default: 300)")
    options = parser.parse_args()
    twin = make_twin(options.scale)
    results = {
        "scale": options.scale,
        "processors": len(os.sched_getaffinity(0)),
        "pipeline": bench_pipeline(twin, options.memory),
        "notebook": bench_notebook(twin, options.users_sampled),
    }
    target = HERE / "results" / f"run-{options.scale:g}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=2) + "\n")
    pipeline, notebook = results["pipeline"], results["notebook"]
    print(f"synthetic ratings at scale {options.scale:g}, {results['processors']} processors")
    print(f"{'':<12}{'seconds':>10}{'peak':>10}{'RMSE':>8}{'Recall@50':>11}")
    for name, row in (("pipeline", pipeline), ("notebook", notebook)):
        seconds, peak = row["seconds"], format_size(row["peak"])
        print(f"{name:<12}{seconds:>10.1f}{peak:>10}{row['rmse']:>8.3f}{row['recall_at_50']:>11.3f}")
    print(f"the notebook's loops were run on {options.users_sampled} users and scaled")
    print(f"written to {os.path.relpath(target)}")


if __name__ == "__main__":
    main()
