"""Measured against projected memory of every round, on ratings of awkward shapes.

``python -m bench.shapes`` runs each shape of `tests.support.shapes` at the least budget its plan names and at 1 GiB,
inside a limit of that size that the kernel enforces where it can be had. It prints the rounds whose share is above 1,
or below 0.4 where that is more than a few MiB.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.cgroup import NotPermittedError, run_limited
from engine.chunked import memory
from engine.chunked.budget import MIB, enough_for, parse_size
from engine.chunked.errors import BudgetError

# A share is of no interest below so many bytes more than what is reserved.
_SMALL = 24 * MIB


@dataclass
class Row:
    """A round: bytes reserved, projected and measured."""

    stage: str
    round: str
    reserved: int
    projected: int
    measured: int = 0

    @property
    def share(self) -> float:
        """Measured over projected."""
        return self.measured / self.projected

    @property
    def wrong(self) -> bool:
        """Whether more is used than projected, or much less."""
        return self.share > 1 or (self.share < 0.4 and self.projected - self.reserved > _SMALL)


def rows_of(lines: Iterable[str]) -> list[Row]:
    """Every round that had tasks, of a run that told its events as lines of JSON."""
    rows: list[Row] = []
    stage, reserved = "before", 0
    for event in map(json.loads, lines):
        if event["event"] == "stage_began":
            stage = event["stage"]
        elif event["event"] == "worker_ready":
            reserved = event["reserved"]
        elif event["event"] == "round_began":
            nothing_to_do = event["done"] == event["tasks"]
            rows.append(Row(stage, event["round"], reserved, 0 if nothing_to_do else event["projected"]))
        elif rows and "measured" in event and event["event"] != "stage_ended":  # which has the most of all rounds
            rows[-1].measured = max(rows[-1].measured, event["measured"])
    return [row for row in rows if row.projected]


def run(dataset: str, workdir: Path, budget: int) -> tuple[list[Row], str]:
    """Run in a limit of the budget; return every round, and what the limit was.

    Raises
    ------
    RuntimeError
        Where the run fails, or the kernel kills a process of it.
    """
    command = [sys.executable, "-m", "engine", "run", dataset, "--workdir", str(workdir), "--memory", str(budget)]
    command += ["--log-format", "json"]
    try:
        ran, peak, kills = run_limited(command, budget)
        limit = "in a cgroup of it" + (f", of which {peak / MIB:.0f} MiB were touched" if peak else "")
    except NotPermittedError:
        ran, kills, limit = subprocess.run(command, capture_output=True, text=True), 0, "in no cgroup"
    if ran.returncode or kills:
        raise RuntimeError(f"{' '.join(command)}: exit code {ran.returncode}, {kills} killed: {ran.stderr[-2000:]}")
    return rows_of(line for line in ran.stderr.splitlines() if line.startswith("{")), limit


def least_budget(dataset: str, workdir: str) -> int:
    """The least budget in which every stage runs, with the margin that a plan recommends.

    Asked of a process like the one that runs: one that has this module loaded holds something else.
    """
    budget = 32 * MIB
    while True:  # the counting may need less than the rest
        command = [
            sys.executable,
            "-m",
            "engine",
            "plan",
            dataset,
            "--workdir",
            workdir,
            "--memory",
            str(budget),
            "--json",
        ]
        asked = subprocess.run(command, capture_output=True, text=True)
        if asked.returncode not in (0, BudgetError.exit_code):
            raise RuntimeError(f"{' '.join(command)}: {asked.stderr[-2000:]}")
        if asked.stdout:
            least = enough_for(max(stage["needed"] for stage in json.loads(asked.stdout)["stages"]))
        else:  # refused before it was planned
            named = re.search(r"--memory (\w+)", asked.stderr)
            least = parse_size(named[1]) if named else 2 * budget
        if least <= budget:
            return budget
        budget = least


def shapes(*arguments: str) -> list[str]:
    """Ask for names, or write ratings, in a process of its own: what that loads would count as this one's."""
    command = [sys.executable, "-m", "tests.support.shapes", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")[:-1]


def try_shape(shape: str, dataset: str, budget_named: str, folder: Path, every: bool) -> None:
    """Run a shape at a budget, and print what is wrong."""
    least = budget_named == "least"
    budget = least_budget(dataset, str(folder / "floor")) if least else parse_size(budget_named)
    try:
        rows, limit = run(dataset, folder / budget_named, budget)
    except RuntimeError as error:
        print(f"{shape}, {budget_named}: {error}", flush=True)
        return
    worst = max(rows, key=lambda row: row.share)
    share = f"{worst.stage} {worst.round} {worst.share:.2f}"
    print(f"{shape}, {budget_named}: {budget / MIB:.0f} MiB, {limit}, worst {share}", flush=True)
    for row in rows:
        if every or row.wrong:
            print(
                f"    {row.stage:<16}{row.round:<12}{row.measured / MIB:>7.0f} measured of"
                f"{row.projected / MIB:>7.0f} projected, {row.reserved / MIB:.0f} reserved: {row.share:.2f}",
                flush=True,
            )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+")
    parser.add_argument("--size", type=float, default=1.0)
    parser.add_argument("--budgets", nargs="+", default=["least", "1GiB"])
    parser.add_argument("--all", action="store_true", help="every round, not only those that are wrong")
    options = parser.parse_args()
    with memory.process_claimed():
        for shape in options.shapes or shapes():
            with tempfile.TemporaryDirectory() as folder:
                dataset = Path(folder) / "data" / "ratings.csv"
                shapes(shape, str(options.size), str(dataset))
                for budget in options.budgets:
                    try_shape(shape, str(dataset), budget, Path(folder), options.all)


if __name__ == "__main__":
    main()
