"""The memory promise: the whole pipeline inside kernel-limited cgroups of several sizes, from nothing.

``python -m bench.memory --scale 1 --budgets 512MiB 384MiB 256MiB``; a thousand million ratings, killed three times:
``python -m bench.memory --scale 40 --budgets 1GiB --kills 400 700 1000``. What is interrupted itself goes on, too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from bench.cgroup import NotPermittedError, run_limited
from bench.measure import HERE, LARGE, make_twin, write_result
from bench.plots import memory_over_time
from engine.chunked.budget import format_size, parse_size


def run_in(budget: str, scale: float, deaths: list[float]) -> dict[str, Any]:
    """Run the pipeline in a cgroup of the budget's size; return what happened.

    A run that somebody has interrupted is gone on with. ``attempts.jsonl`` beside it says how long each took.

    Parameters
    ----------
    budget : str
    scale : float
    deaths : list of float
        The first attempts are killed after so many seconds.
    """
    workdir = HERE / "data" / f"limited-{scale:g}-{budget}"
    known = workdir.with_suffix(".attempts.jsonl")
    if not known.exists():
        shutil.rmtree(workdir, ignore_errors=True)
    preset = "large" if scale >= LARGE else "default"
    options = ["--workdir", str(workdir), "--memory", budget, "--preset", preset]
    command = [sys.executable, "-m", "engine", "run", str(make_twin(scale)), *options]
    while True:
        attempts = _attempts(known)
        dies_after = deaths[len(attempts)] if len(attempts) < len(deaths) else None
        start = time.monotonic()
        done, peak, kills = run_limited(command, parse_size(budget), dies_after)
        attempt = {
            "seconds": round(time.monotonic() - start, 1),
            "peak": peak,
            "killed": kills,
            "exit": done.returncode,
        }
        with known.open("a") as file:
            print(json.dumps(attempt), file=file, flush=True)
        print(f"{budget}: {attempt}", flush=True)
        if done.returncode != -signal.SIGKILL or dies_after is None:
            break
    attempts = _attempts(known)
    run: dict[str, Any] = {
        "budget": budget,
        "exit_code": done.returncode,
        "seconds": round(sum(each["seconds"] for each in attempts), 1),
        "attempts": attempts,
        "kernel_peak": max(each["peak"] or 0 for each in attempts) or None,
        "killed": sum(each["killed"] for each in attempts),
    }
    if done.returncode:
        return run | {"message": (done.stderr.strip().splitlines() or ["nothing said"])[-1]}
    known.unlink()
    last = json.loads((workdir / "run.json").read_text())
    metrics = json.loads((workdir / "metrics.json").read_text())
    figures = {name: metrics[name] for name in ("rmse", "recall_at_50")}
    return run | figures | {"allowed": last["allowed"], "stages": last["stages"], "preset": preset}


def _attempts(known: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in known.read_text().splitlines()] if known.exists() else []


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
    kills = "kill all processes by SIGKILL after so many seconds, go on, kill again after the next"
    parser.add_argument("--kills", nargs="+", type=float, default=[], metavar="SECONDS", help=kills)
    options = parser.parse_args()
    make_twin(options.scale)
    try:
        runs = []
        for budget in options.budgets:
            runs.append(run_in(budget, options.scale, options.kills))
            show(runs[-1])
    except NotPermittedError as error:
        print(f"skipped: this machine lets us make no memory cgroup ({error})")
        return
    ended = [run for run in runs if not run["exit_code"]]
    target = write_result(f"memory-{options.scale:g}", {"scale": options.scale, "runs": ended})
    if ended:
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
