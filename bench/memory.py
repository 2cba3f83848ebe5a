"""The memory promise: the whole pipeline inside kernel-limited cgroups of several sizes, from nothing.

``python -m bench.memory --scale 1 --budgets 512MiB 384MiB 256MiB``
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from bench.cgroup import NotPermittedError, run_limited
from bench.measure import HERE, make_twin, write_result
from bench.plots import memory_over_time
from engine.chunked.budget import format_size, parse_size


def run_in(budget: str, twin: Path) -> dict[str, Any]:
    """Run the pipeline in a cgroup of the budget's size; return what happened."""
    workdir = HERE / "data" / "limited"
    shutil.rmtree(workdir, ignore_errors=True)
    command = [sys.executable, "-m", "engine", "run", str(twin), "--workdir", str(workdir), "--memory", budget]
    start = time.monotonic()
    done, peak, kills = run_limited(command, parse_size(budget))
    run: dict[str, Any] = {
        "budget": budget,
        "exit_code": done.returncode,
        "seconds": round(time.monotonic() - start, 1),
        "kernel_peak": peak,
        "killed": kills,
    }
    if done.returncode:
        return run | {"message": done.stderr.strip().splitlines()[-1]}
    last = json.loads((workdir / "run.json").read_text())
    metrics = json.loads((workdir / "metrics.json").read_text())
    figures = {name: metrics[name] for name in ("rmse", "recall_at_50")}
    return run | figures | {"allowed": last["allowed"], "stages": last["stages"]}


def broken_promises(run: dict[str, Any]) -> list[str]:
    """Stages that took more than was projected or allowed."""
    return [
        f"{run['budget']}: {stage['stage']} took {format_size(stage['measured'])}"
        for stage in run["stages"]
        if stage["measured"] > min(stage["projected"], run["allowed"])
    ]


def show(run: dict[str, Any]) -> None:
    """Print one run."""
    if run["exit_code"]:
        print(f"{run['budget']}: exit code {run['exit_code']}, {run['killed']} killed: {run['message']}")
        return
    print(
        f"{run['budget']}: {run['seconds']} s, {run['killed']} killed, "
        f"RMSE {run['rmse']!r}, Recall@50 {run['recall_at_50']!r}"
    )
    for stage in run["stages"]:
        share = stage["measured"] / max(1, stage["projected"])
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
    ended = [run for run in runs if not run["exit_code"]]
    target = write_result(f"memory-{options.scale:g}", {"scale": options.scale, "runs": ended})
    memory_over_time(ended, target.with_suffix(".svg"))
    faults = [fault for run in ended for fault in broken_promises(run)]
    faults += [f"{run['budget']}: exit code {run['exit_code']}" for run in runs if run["exit_code"]]
    figures = {(run["rmse"], run["recall_at_50"]) for run in ended}
    if len(figures) > 1:
        faults.append(f"the figures differ between budgets: {figures}")
    print("\n".join(f"BROKEN {fault}" for fault in faults) or f"every promise kept; see {os.path.relpath(target)}")
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
