"""The ratios that this engine's speed is judged by, side by side: one command, which goes on where it was stopped.

``python -m bench.reach`` (hours) measures every case so many times, all in turn, so that a slow minute of the machine
slows all of them, and prints ratios of medians. What was measured at this commit is kept in ``bench/data`` and not
measured again. ``--scale 0.05 --large 0.2`` tries it out in minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.measure import HERE, commit, make_shape, make_twin, write_result
from bench.run import implicit_als, notebook, pipeline

BUDGET = "512MiB"
USERS, RATINGS = 22_000, 1_000_000
MANY, FEW = 250_000, 4_000
"""Items of two twins that have as many ratings."""

Case = Callable[[], Mapping[str, Any]]
Seconds = Mapping[str, float]


def least_budget(dataset: Path) -> Mapping[str, Any]:
    """The least budget that a plan says works, in MiB."""
    command = [sys.executable, "-m", "engine", "plan", str(dataset), "--workdir", str(HERE / "data" / "plan"), "--json"]
    printed = subprocess.run([*command, "--memory", BUDGET], check=True, capture_output=True, text=True).stdout
    return {"seconds": json.loads(printed)["floor"] / 2**20}


def scoring(run: Mapping[str, Any]) -> float:
    """Seconds of a run's stages that score."""
    return sum(float(stage["seconds"]) for stage in run["stages"] if stage["stage"] in ("predict", "evaluate"))


def beside_als(dataset: Path) -> Mapping[str, Any]:
    """A run, and implicit's ALS on its train matrix right after it."""
    return pipeline(dataset, BUDGET) | {"als": implicit_als()}


def cases(scale: float, large: float, users_sampled: int) -> dict[str, Case]:
    """What is measured, in the order of a turn."""
    twin, old = make_twin(scale), make_twin(scale, version=1)
    return {
        "least budget": lambda: least_budget(twin),
        "pipeline": lambda: beside_als(twin),
        "192MiB": lambda: pipeline(twin, "192MiB"),
        "2GiB": lambda: pipeline(twin, "2GiB"),
        "old twin": lambda: pipeline(old, BUDGET),
        "notebook, old twin": lambda: notebook(old, users_sampled),
        "large": lambda: pipeline(make_twin(large), BUDGET),
        "sample": lambda: pipeline(Path("sample"), BUDGET),
        "many items": lambda: pipeline(make_shape(USERS, MANY, RATINGS), BUDGET),
        "few items": lambda: pipeline(make_shape(USERS, FEW, RATINGS), BUDGET),
    }


def table(seconds: Seconds, scored: float, times_large: float) -> list[tuple[str, str]]:
    """Each row's name and figure, of medians."""

    def ratio(above: str, below: str) -> str:
        return f"{seconds[above] / seconds[below]:.2f}"

    return [
        ("pipeline / implicit ALS, fit and lists for all", ratio("pipeline", "implicit ALS")),
        ("the notebook's algorithm / pipeline, old twin", ratio("notebook, old twin", "old twin")),
        ("evaluate + predict", f"{scored:.1f} s, {scored / seconds['pipeline']:.0%} of the run"),
        ("192 MiB / 2 GiB", ratio("192MiB", "2GiB")),
        (f"{times_large:g} times the users / as many as are compared", ratio("large", "pipeline")),
        ("sample", f"{seconds['sample']:.1f} s"),
        ("least budget", f"{seconds['least budget']:.0f} MiB"),
        (f"{MANY:,} items / {FEW:,}, as many ratings", ratio("many items", "few items")),
    ]


def kept(path: Path, asked: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What was measured already, of the same commit with the same options."""
    if path.exists():
        before: dict[str, Any] = json.loads(path.read_text())
        if before["asked"] == asked:
            return dict(before["runs"])
    return {}


def main() -> None:
    """Measure what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--large", type=float, default=4.0, help="the larger scale (default: 4)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--users-sampled", type=int, default=300, help="users in the notebook's loops (default: 300)")
    options = parser.parse_args()
    asked = {"commit": commit(), "scale": options.scale, "large": options.large, "sampled": options.users_sampled}
    path = HERE / "data" / "reach.json"
    path.parent.mkdir(exist_ok=True)
    runs = kept(path, asked)
    for turn in range(options.repeats):
        for name, case in cases(options.scale, options.large, options.users_sampled).items():
            # The notebook's hour and the plan's figure are the same each time.
            if len(runs.setdefault(name, [])) > (0 if name in ("notebook, old twin", "least budget") else turn):
                continue
            runs[name].append(case())
            print(f"turn {turn + 1}  {name:<20}{runs[name][-1]['seconds']:>10.1f}", flush=True)
            path.write_text(json.dumps({"asked": asked, "runs": runs}))
    seconds = {name: statistics.median(run["seconds"] for run in each) for name, each in runs.items()}
    absent = float("nan")  # a peer that is not installed
    seconds["implicit ALS"] = statistics.median(run["als"].get("seconds", absent) for run in runs["pipeline"])
    rows = table(seconds, statistics.median(map(scoring, runs["pipeline"])), options.large / options.scale)
    print("\n" + "\n".join(f"{name:<60}{figure:>24}" for name, figure in rows))
    write_result("reach", {**asked, "repeats": options.repeats, "seconds": seconds, "rows": rows})


if __name__ == "__main__":
    main()
