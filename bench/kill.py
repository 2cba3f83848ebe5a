"""Kill runs with SIGKILL, go on, and compare what is left with an undisturbed run, byte for byte.

``python -m bench.kill --kills 200`` takes about ten minutes. A run is killed with all its processes: in turn at
a random moment, a few milliseconds after a random task began, and at a random point of the commit protocol (see
``killed/sitecustomize.py``). Every restart draws another budget and number of workers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# Small chunks, so that every stage has several tasks.
SETTINGS: dict[str, Any] = {
    "ingest": {"ratings_per_partition": 2500},
    "matrix": {"ratings_per_chunk": 3000},
    "factors": {"dims": 16, "oversamples": 4, "passes": 2, "partial_sums": 3, "users_per_chunk": 60},
    "item_neighbors": {"k": 10, "items_per_task": 40},
    "predict": {"users_per_task": 60},
    "index": {"method": "pruned", "users_per_cluster": 30, "shard_users": 90},
    "neighbors": {"k": 10, "ef": 60, "users_per_chunk": 40, "probe_users": 30, "sample_users": 50},
    "evaluate": {"users_per_task": 40},
}
BUDGETS = ("220MiB", "400MiB", "1GiB")

# Until a process is killed, at most: tasks, calls of the commit protocol. Seconds in which a task works and commits.
_TASKS = 12
_CALLS = 60
_TASK_SECONDS = 0.01


def write_ratings(path: Path, n_users: int = 240, n_items: int = 150) -> None:
    """A small file of random half-star ratings, a few hundred of them rated twice."""
    rng = np.random.default_rng(1)
    lines = ["userId,movieId,rating"]
    for user in range(n_users):
        items = rng.integers(0, n_items, rng.integers(20, 80))
        lines += [f"{user},{item},{rng.integers(1, 11) / 2}" for item in items]
    path.write_text("\n".join(lines) + "\n")


def contents(workdir: Path) -> dict[str, str]:
    """Digests of the files that a run left, by name; those of records leave out times and peaks."""
    digests = {}
    for path in sorted(path for path in workdir.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.parent.name == "records":
            record = json.loads(content)
            content = json.dumps({key: record.get(key) for key in ("task", "tasks", "files", "result")}).encode()
        elif path.name == "run.json" or path.parent.name == "finished":
            last = json.loads(content)
            last = last.get("run", last)
            folders = [stage["folder"] for stage in last["stages"]]
            content = json.dumps([last["figures"], folders]).encode()
        elif path.name == "lock":
            content = b""
        digests[path.relative_to(workdir).as_posix()] = hashlib.sha256(content).hexdigest()
    return digests


@dataclass
class Report:
    """What the kills led to."""

    kills: int = 0
    runs: int = 0
    differing: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    redone: list[int] = field(default_factory=list)
    too_much_redone: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether every run ended with the same bytes and no more than a task per worker was redone at a kill."""
        return not (self.differing or self.failures or self.too_much_redone)


class Rig:
    """Runs on one small ratings file in a folder of their own."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        folder.mkdir(parents=True, exist_ok=True)
        write_ratings(folder / "ratings.csv")
        self.report = Report()
        start = time.monotonic()
        self._start("undisturbed", "1GiB", 2).wait()
        self._usual_seconds = time.monotonic() - start
        self.expected = contents(folder / "undisturbed")

    def _start(self, name: str, memory: str, workers: int, **kill: object) -> subprocess.Popen[bytes]:
        """Start a run in a process group of its own; ``kill`` as in ``killed/sitecustomize.py``."""
        root = Path(__file__).parent.parent
        environment = {**os.environ, "PYTHONPATH": f"{root / 'bench' / 'killed'}:{root}"}
        environment["KILLED_LOG"] = str(self._folder / f"{name}.log")
        environment |= {f"KILLED_{key.upper()}": str(value) for key, value in kill.items()}
        command = [sys.executable, "-m", "engine", "run", str(self._folder / "ratings.csv"), "--quiet"]
        command += ["--workdir", str(self._folder / name), "--memory", memory, "--workers", str(workers)]
        command += [
            f"--set={section}.{key}={value}" for section, keys in SETTINGS.items() for key, value in keys.items()
        ]
        with (self._folder / f"{name}.err").open("wb") as errors:
            return subprocess.Popen(
                command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=errors, cwd=root
            )

    def disturb(self, kills: int) -> None:
        """Run from nothing to the end with up to ``kills`` kills on the way, and compare."""
        name = f"run-{self.report.runs}"
        ways = (self._kill_by_call, self._kill_by_task, self._kill_by_time)
        allowed_again = 0
        for i in range(kills):
            workers = self._random.choice((1, 2))
            if ways[i % len(ways)](name, self._random.choice(BUDGETS), workers):
                self.report.kills += 1
                allowed_again += workers
        code = self._start(name, self._random.choice(BUDGETS), self._random.choice((1, 2))).wait()
        self.report.runs += 1
        if code:
            self.report.failures.append(f"{name}: {(self._folder / f'{name}.err').read_text()}")
            return
        self._compare(name, allowed_again)
        shutil.rmtree(self._folder / name)

    def _kill_by_time(self, name: str, memory: str, workers: int) -> bool:
        process = self._start(name, memory, workers)
        try:
            process.wait(self._random.uniform(0.2, self._usual_seconds * 0.8))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait() == -signal.SIGKILL

    def _kill_by_task(self, name: str, memory: str, workers: int) -> bool:
        kill = {"at_task": self._random.randint(1, _TASKS), "after": self._random.uniform(0, _TASK_SECONDS)}
        return self._start(name, memory, workers, **kill).wait() == -signal.SIGKILL

    def _kill_by_call(self, name: str, memory: str, workers: int) -> bool:
        kill = {"at_call": self._random.randint(1, _CALLS)}
        return self._start(name, memory, workers, **kill).wait() == -signal.SIGKILL

    def _compare(self, name: str, allowed_again: int) -> None:
        digests = contents(self._folder / name)
        names = {*digests, *self.expected}
        self.report.differing += [f"{name}: {file}" for file in names if digests.get(file) != self.expected.get(file)]
        usual = Counter((self._folder / "undisturbed.log").read_text().split())
        begun = Counter((self._folder / f"{name}.log").read_text().split())
        redone = (begun - usual).total()
        self.report.redone.append(redone)
        if redone > allowed_again or set(begun) != set(usual):
            self.report.too_much_redone.append(f"{name}: {redone} redone, {allowed_again} at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="at least (default: 200)")
    parser.add_argument("--per-run", type=int, default=8, help="kills in a run at most (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder), options.seed)
        while rig.report.kills < options.kills and rig.report.sound:
            rig.disturb(options.per_run)
        report = rig.report
    print(f"{report.kills} kills in {report.runs} runs; {sum(report.redone)} tasks begun again")
    for fault in (*report.failures, *report.differing, *report.too_much_redone):
        print(f"FAULT {fault}")
    raise SystemExit(0 if report.sound else 1)


if __name__ == "__main__":
    main()
