"""What looking further for neighbours costs, and what it brings: seconds, Recall@50 and RMSE by the recall asked for.

``python -m bench.recall DATASET ...`` takes data sets as ``engine run`` does, and scales of the synthetic twin such as
``twin:0.3``. What comes before neighbours is made once. Seconds are of one run: compare them within a data set.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.measure import HERE, make_twin, write_result

STEPS = ("index", "neighbors", "item_neighbors")
"""Steps whose seconds are shown."""
RECALLS = (0.9, 0.95, 0.98, 0.99)


def path_of(dataset: str) -> str:
    """Where a data set is; a twin is made on first use."""
    name, _, scale = dataset.partition(":")
    return str(make_twin(float(scale))) if name == "twin" and scale else dataset


def run(dataset: str, workdir: Path, memory: str, settings: list[str]) -> dict[str, Any]:
    """Run what is left of the pipeline; the figures, and seconds of the steps that had to run."""
    command = [sys.executable, "-m", "engine", "run", dataset, "--workdir", str(workdir), "--memory", memory, "--quiet"]
    assigned = [word for setting in settings for word in ("--set", setting)]
    subprocess.run([*command, *assigned], check=True, stdout=subprocess.DEVNULL)
    metrics = json.loads((workdir / "metrics.json").read_text())
    stages = {each["stage"]: each["seconds"] for each in json.loads((workdir / "run.json").read_text())["stages"]}
    return {
        "found": metrics["neighbors"]["recall"],
        "rmse": metrics["rmse"],
        "recall_at_50": metrics["recall_at_50"],
        "seconds": {step: stages.get(step) for step in STEPS},
    }


def cases(recalls: list[float]) -> dict[str, list[str]]:
    """What is set, by what is shown: users' neighbours, then items'."""
    by_users = {f"users {share:g}": ["index.method=pruned", f"neighbors.recall={share}"] for share in recalls}
    by_items = {f"items {share:g}": ["index.method=pruned", f"item_neighbors.recall={share}"] for share in recalls}
    return {"users exact": ["index.method=exact"]} | by_users | by_items


def main() -> None:
    """Print a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", metavar="DATASET")
    parser.add_argument("--recalls", nargs="+", type=float, default=list(RECALLS))
    parser.add_argument("--memory", default="1GiB")
    options = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    for number, dataset in enumerate(options.datasets):
        path, workdir = path_of(dataset), HERE / "data" / f"recall-{number}"
        print(f"\n{dataset}\n{'':<16}{'found':>9}{'Recall@50':>11}{'RMSE':>9}" + "".join(f"{s:>16}" for s in STEPS))
        found[dataset] = {}
        for name, settings in cases(options.recalls).items():
            case = found[dataset][name] = run(path, workdir, options.memory, settings)
            took = "".join(f"{'' if each is None else f'{each:.1f} s':>16}" for each in case["seconds"].values())
            print(f"{name:<16}{case['found']:>9.4f}{case['recall_at_50']:>11.4f}{case['rmse']:>9.4f}{took}", flush=True)
    write_result("recall", {"memory": options.memory, "datasets": found})


if __name__ == "__main__":
    main()
