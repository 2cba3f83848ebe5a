"""What all benchmarks share: synthetic ratings, processes measured from outside, results with their machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from engine.chunked.memory import Sampler, tree_bytes

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LARGE = 10
"""Scale from which on ratings are some hundreds of millions."""


def make_twin(scale: float, version: int = 2) -> Path:
    """Synthetic ratings at a scale, made on first use and kept; from `LARGE` on as several files of Parquet."""
    written = ("--file-format", "parquet" if scale >= LARGE else "csv")
    return _made(f"twin-{version}-{scale:g}", "--scale", f"{scale:g}", "--version", str(version), *written)


def make_shape(users: int, items: int, ratings: int) -> Path:
    """Synthetic ratings of another shape than ml-25m's, made on first use and kept."""
    asked = ("--users", str(users), "--items", str(items), "--ratings", str(ratings))
    return _made(f"twin-{users}-{items}-{ratings}", *asked)


def _made(name: str, *options: str) -> Path:
    folder = HERE / "data" / name
    if not (folder / "synthetic.json").exists():
        command = [sys.executable, "-m", "engine", "data", "twin", "--out", str(folder), *options]
        subprocess.run(command, check=True)
    return folder


def measure(command: list[str], **environment: str) -> dict[str, Any]:
    """Run a command; return seconds and the peak, in bytes, of all its processes' resident memory.

    Raises
    ------
    RuntimeError
        Where it fails; with the last line it printed.
    """
    start = time.monotonic()
    with (
        subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
        ) as process,
        Sampler(lambda: tree_bytes(process.pid)) as sampler,
    ):
        _, errors = process.communicate()
    if process.returncode:
        last = (errors.strip().splitlines() or ["nothing printed"])[-1]
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}: {last}")
    return {"seconds": round(time.monotonic() - start, 2), "peak": max(size for _, size in sampler.samples)}


def machine() -> dict[str, Any]:
    """Where a figure was measured."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass  # not Linux
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"processor": model, "processors": len(os.sched_getaffinity(0)), "memory": memory}


def commit() -> str | None:
    """The commit that is measured, or None outside a repository."""
    command = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    printed = subprocess.run(command, capture_output=True, text=True)
    return printed.stdout.strip() or None


def median(values: list[float]) -> float:
    """The median, to two decimals."""
    return round(statistics.median(values), 2)


def write_result(name: str, content: dict[str, Any]) -> Path:
    """Keep a result, with the machine, in ``bench/results/``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), "commit": commit(), **content}) + "\n")
    return path


def read_result(name: str) -> dict[str, Any] | None:
    """A kept result, or None."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None
