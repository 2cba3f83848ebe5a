"""Time and memory of the pipeline, of the notebook's own code and of a peer, on synthetic ratings.

``python -m bench.run`` (scale 0.1, a few minutes), ``python -m bench.run --scale 1 --curve 0.1 0.3 4`` (hours).
Each case runs in a process of its own; the pipeline's are repeated and the median is kept. Results go to
``bench/results/run-SCALE.json``, from which ``python -m bench.report`` writes docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from bench.measure import HERE, make_twin, measure, median, write_result
from engine.chunked.budget import format_size

WORK = HERE / "data" / "run"


def pipeline(twin: Path, memory: str, *options: str) -> dict[str, Any]:
    """Run the whole pipeline, from nothing."""
    shutil.rmtree(WORK, ignore_errors=True)
    command = [sys.executable, "-m", "engine", "run", str(twin), "--workdir", str(WORK), "--memory", memory, *options]
    measured = measure(command)
    metrics = json.loads((WORK / "metrics.json").read_text())
    stages = json.loads((WORK / "run.json").read_text())["stages"]
    kept = ("stage", "seconds", "projected", "measured")
    return measured | {
        "rmse": metrics["rmse"],
        "recall_at_50": metrics["recall_at_50"],
        "neighbors": metrics["neighbors"],
        "model": metrics["config"]["evaluate"]["model"],
        "n_ratings": metrics["n_ratings"],
        "n_users": metrics["n_users"],
        "stages": [{key: stage[key] for key in kept} for stage in stages],
    }


def repeated(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The first run, with the medians of the times and the largest peak of all."""
    stages = []
    for same in zip(*(run["stages"] for run in runs), strict=True):
        seconds, measured = ([stage[key] for stage in same] for key in ("seconds", "measured"))
        stages.append(same[0] | {"seconds": median(seconds), "measured": max(measured)})
    seconds = [run["seconds"] for run in runs]
    return runs[0] | {
        "seconds": median(seconds),
        "all_seconds": seconds,
        "peak": max(run["peak"] for run in runs),
        "stages": stages,
    }


def notebook(twin: Path, users_sampled: int) -> dict[str, Any]:
    """Time the notebook's code, its two loops over users on a sample of them and scaled."""
    result = HERE / "data" / "notebook.json"
    sampled = ["--users-sampled", str(users_sampled), "--json", str(result)]
    measured = measure([sys.executable, "-m", "bench.notebook", str(twin / "ratings.csv"), *sampled])
    printed = json.loads(result.read_text())
    return {
        "seconds": printed["seconds_total"],
        "seconds_as_run": measured["seconds"],
        "users_sampled": users_sampled,
        "peak": measured["peak"],
        "rmse": printed["rmse"],
        "recall_at_50": printed["recall@50"],
        "steps": printed["seconds"],
    }


def implicit_als() -> dict[str, Any]:
    """Time implicit's ALS on the train matrix of the pipeline's last run."""
    if importlib.util.find_spec("implicit") is None:
        return {"absent": "implicit is not installed: pip install -e '.[bench]'"}
    result = HERE / "data" / "implicit.json"
    command = [sys.executable, "-m", "bench.peer_implicit", str(WORK), "--json", str(result)]
    measured = measure(command, OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    printed: dict[str, Any] = json.loads(result.read_text())
    return printed | {"seconds": printed["fit_seconds"] + printed["recommend_seconds"], "peak": measured["peak"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1, help="times the users of ml-25m (default: 0.1)")
    parser.add_argument("--budgets", nargs="+", default=["256MiB", "512MiB", "2GiB"], metavar="SIZE")
    parser.add_argument("--methods", nargs="*", default=["exact", "hnsw"], help="of neighbours, beside the default")
    parser.add_argument("--curve", nargs="*", type=float, default=[], metavar="SCALE", help="other scales, at 512MiB")
    parser.add_argument("--repeats", type=int, default=3, help="runs of the pipeline (default: 3)")
    parser.add_argument("--users-sampled", type=int, default=300, help="users in the notebook's loops (default: 300)")
    options = parser.parse_args()
    twin = make_twin(options.scale)
    budgets: dict[str, list[dict[str, Any]]] = {budget: [] for budget in options.budgets}
    for _ in range(options.repeats):  # budgets in turn, so that a slow minute of the machine slows all of them
        for budget, runs in budgets.items():
            runs.append(show(budget, pipeline(twin, budget)))
    results: dict[str, Any] = {"scale": options.scale, "repeats": options.repeats}
    results["budgets"] = {budget: repeated(runs) for budget, runs in budgets.items()}
    results["implicit"] = show("implicit ALS", implicit_als())
    methods = {name: pipeline(twin, "1GiB", "--set", f"index.method={name}") for name in options.methods}
    results["methods"] = {name: show(f"neighbours: {name}", case) for name, case in methods.items()}
    curve = {f"{scale:g}": pipeline(make_twin(scale), "512MiB") for scale in options.curve}
    results["curve"] = {scale: show(f"scale {scale}", case) for scale, case in curve.items()}
    results["notebook"] = show("the notebook", notebook(twin, options.users_sampled))
    write_result(f"run-{options.scale:g}", results)
    print(f"the notebook's loops were run on {options.users_sampled} users and scaled")


def show(name: str, case: dict[str, Any]) -> dict[str, Any]:
    """Print a case as soon as it is done."""
    if "absent" in case:
        print(f"{name:<20} {case['absent']}", flush=True)
        return case
    shown = (("rmse", "RMSE"), ("recall_at_50", "Recall@50"))
    figures = "".join(f"  {label} {case[key]:.4f}" for key, label in shown if key in case)
    print(f"{name:<20}{case['seconds']:>9.1f} s{format_size(case['peak']):>10}{figures}", flush=True)
    return case


if __name__ == "__main__":
    main()
