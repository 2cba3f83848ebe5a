"""The memory promise: the whole pipeline inside kernel-limited cgroups of several sizes, from nothing.

``python -m bench.memory --scale 1 --budgets 512MiB 384MiB 256MiB``
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from bench.cgroup import NotPermittedError, run_limited
from bench.run import HERE, make_twin
from engine.chunked.budget import format_size, parse_size


def run_in(budget: str, twin: Path) -> dict[str, Any]:
    """Run the pipeline in a cgroup of the budget's size; return what happened."""
    workdir = HERE / "data" / "limited"
    shutil.rmtree(workdir, ignore_errors=True)
    command = [sys.executable, "-m", "engine", "run", str(twin), "--workdir", str(workdir), "--memory", budget]
    start = time.monotonic()
    done, peak, kills = run_limited(command, parse_size(budget))
    found: dict[str, Any] = {
        "budget": budget,
        "exit_code": done.returncode,
        "seconds": round(time.monotonic() - start, 1),
        "kernel_peak": peak,
        "killed": kills,
    }
    if done.returncode:
        return found | {"message": done.stderr.strip().splitlines()[-1]}
    stages = json.loads((workdir / "run.json").read_text())["stages"]
    metrics = json.loads((workdir / "metrics.json").read_text())
    return found | {"rmse": metrics["rmse"], "recall_at_50": metrics["recall_at_50"], "stages": stages}


def show(found: dict[str, Any]) -> None:
    """Print one run."""
    if found["exit_code"]:
        print(f"{found['budget']}: exit code {found['exit_code']}, {found['killed']} killed: {found['message']}")
        return
    print(
        f"{found['budget']}: {found['seconds']} s, {found['killed']} killed, "
        f"RMSE {found['rmse']!r}, Recall@50 {found['recall_at_50']!r}"
    )
    for stage in found["stages"]:
        share = stage["measured"] / stage["projected"]
        projected, measured = format_size(stage["projected"]), format_size(stage["measured"])
        print(f"  {stage['stage']:<12}{projected:>10}{measured:>10}{share:>7.2f}{stage['seconds']:>8.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1, help="times the users of ml-25m (default: 0.1)")
    parser.add_argument("--budgets", nargs="+", default=["512MiB", "384MiB", "256MiB"], metavar="SIZE")
    options = parser.parse_args()
    twin = make_twin(options.scale)
    try:
        runs = []
        for budget in options.budgets:
            runs.append(run_in(budget, twin))
            show(runs[-1])
    except NotPermittedError as error:
        print(f"skipped: this machine lets us make no memory cgroup ({error})")
        return
    target = HERE / "results" / f"memory-{options.scale:g}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"scale": options.scale, "runs": runs}, indent=2) + "\n")
    if any(run["exit_code"] for run in runs):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
