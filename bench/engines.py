"""The examples beside Polars, Dask and Cubed, each inside memory limits that the kernel enforces.

``python -m bench.engines`` writes ``bench/results/engines.json`` and the table in ``docs/engine.md``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.cgroup import NotPermittedError, limit
from bench.measure import HERE, read_result, write_result
from bench.report import table, where
from engine.chunked.budget import format_size, parse_size
from engine.chunked.memory import Sampler, tree_bytes

GUIDE = HERE.parent / "docs" / "engine.md"
EXAMPLES = HERE.parent / "examples"
PATIENCE = 120.0

POLARS = """
import sys, polars as pl
value = pl.col("value")
figures = [pl.len().alias("rows"), value.mean().alias("mean")]
figures += [value.quantile(q, "linear").alias(f"q{q:g}") for q in (0.05, 0.5, 0.95)]
pl.scan_parquet(sys.argv[1]).group_by("key").agg(figures).sink_parquet(sys.argv[2], engine="streaming")
print(pl.read_parquet(sys.argv[2])["q0.5"].sum())
"""
# The mean is computed first: in one graph with the products, Dask would keep all of the array until the mean is known.
DASK = """
import sys, dask.array as da, numpy as np
x = da.from_zarr(sys.argv[1]).astype("float64")
mean = x.mean(axis=0).compute()
centred = x - mean
covariance = (centred.T @ centred / (len(x) - 1)).compute()
variances, vectors = np.linalg.eigh(covariance)
(centred @ vectors[:, ::-1][:, :8]).to_zarr(sys.argv[2])
print(variances[::-1][0] / variances.sum())
"""
CUBED = """
import sys, cubed, cubed.array_api as xp, numpy as np
spec = cubed.Spec(work_dir=sys.argv[2], allowed_mem=int(sys.argv[3]), reserved_mem=0)
x = xp.astype(cubed.from_zarr(sys.argv[1], spec=spec), xp.float64)
mean = xp.mean(x, axis=0).compute()
centred = x - cubed.from_array(mean, spec=spec)
covariance = np.asarray((xp.matmul(xp.matrix_transpose(centred), centred) / (x.shape[0] - 1)).compute())
variances, vectors = np.linalg.eigh(covariance)
first = cubed.from_array(np.ascontiguousarray(vectors[:, ::-1][:, :8]), spec=spec)
cubed.to_zarr(xp.matmul(centred, first), sys.argv[2] + "/scores.zarr")
print(variances[::-1][0] / variances.sum())
"""
OURS = "this engine"
PEERS = {"quantiles": ["Polars"], "principal_components": ["Dask", "Cubed"]}
RESUMES = {OURS: "yes, by task", "Polars": "no", "Dask": "no", "Cubed": "by array, says its documentation"}
# What a Cubed task may take of a limit: beside it the libraries, and a second task.
CUBED_RESERVES = parse_size("160MiB")


def command(task: str, engine: str, data: Path, out: Path, size: str) -> list[str]:
    """How an engine is started on a task."""
    if engine == OURS:
        script = str(EXAMPLES / f"{task}.py")
        return [sys.executable, script, str(data), "--workdir", str(out), "--memory", size, "--workers", "2"]
    code = {"Polars": POLARS, "Dask": DASK, "Cubed": CUBED}[engine]
    more = [str((parse_size(size) - CUBED_RESERVES) // 2)] if engine == "Cubed" else []
    return [sys.executable, "-c", code, str(data), str(out), *more]


def run_in(size: str, arguments: list[str]) -> dict[str, Any]:
    """Run a command inside a limit; tell time, resident peak of all its processes, and how it ended."""
    start, environment = time.monotonic(), {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with limit(parse_size(size)) as limited:
        process = subprocess.Popen(
            limited.command(arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        with process, Sampler(lambda: tree_bytes(process.pid)) as sampler:
            try:
                printed, errors = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return {"ended": f"not done after {PATIENCE:.0f} s"}
        seconds = round(time.monotonic() - start, 1)
        found = {"seconds": seconds, "peak": max((size for _, size in sampler.samples), default=0)}
        if limited.kills():
            return found | {"ended": "killed"}
    if process.returncode:
        print(errors.strip()[-1000:], file=sys.stderr)
        refused = "exceeds allowed_mem" in errors or "are allowed" in errors
        return found | {"ended": "refused" if refused else "failed"}
    print(printed.strip().splitlines()[-1])
    return found | {"ended": "done"}


def data_for(task: str, rows: int, features: int) -> Path:
    """A sample, made on first use and kept."""
    name, how = (
        ("table", f"{rows}") if task == "quantiles" else ("matrix", f"{rows}, {features}")
    )  # functions of examples/samples.py
    path = HERE / "data" / f"{name}-{how.replace(', ', '-')}"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        code = f"import sys, pathlib; sys.path.insert(0, {str(EXAMPLES)!r}); import samples; "
        begun = path.with_name(f"begun-{path.name}")
        subprocess.run([sys.executable, "-c", f"{code}samples.{name}(pathlib.Path({str(begun)!r}), {how})"], check=True)
        begun.rename(path)
    return path


def bytes_of(path: Path) -> int:
    """What data takes on the disk."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)


def ended(run: dict[str, Any]) -> list[str]:
    """Time, peak and end of a run, in words."""
    if "seconds" not in run:
        return ["", "", run["ended"]]
    return [f"{run['seconds']:.1f}", format_size(run["peak"]), run["ended"]]


def section(results: dict[str, Any]) -> str:
    """The tables."""
    parts = [
        f"On {where(results)}; other work ran on the machine at the same time, so compare times within a table only. "
        "Each run was inside a memory cgroup of the limit; *killed* is by the kernel. Peaks are resident memory of all "
        "processes, sampled; pages of files that the kernel counted elsewhere can lift them above the limit.",
        "This engine ran with 2 workers and `--memory` as the limit, Polars and Dask with their defaults; a task of "
        "Cubed was allowed half of what the limit has beyond 160 MiB, and smaller chunks of the array would let it run "
        "in less. Each engine also wrote its result to the disk: for the components, a score of every row.",
    ]
    for task in results["tasks"]:
        rows = [[run["limit"], run["engine"], *ended(run), RESUMES[run["engine"]]] for run in task["runs"]]
        head = ["limit", "engine", "seconds", "peak", "end", "goes on after a kill"]
        parts += [f"**{task['title']}**", table(head, rows), task["verdict"]]
    parts.append("Written by `python -m bench.engines`, from `bench/results/engines.json`.")
    return "\n\n".join(parts)


def verdict(runs: list[dict[str, Any]]) -> str:
    """Who was fastest where, in words, from the figures."""
    lines = []
    for size in dict.fromkeys(run["limit"] for run in runs):
        done = [run for run in runs if run["limit"] == size and run["ended"] == "done"]
        if not done:
            lines.append(f"In {size} none was done.")
            continue
        best = min(done, key=lambda run: float(run["seconds"]))
        ours = next((run for run in done if run["engine"] == OURS), None)
        if len(done) == 1:
            lines.append(f"In {size} only {best['engine']} got done.")
        elif ours is None or best is ours:
            lines.append(f"In {size} {best['engine']} was the fastest.")
        else:
            lines.append(
                f"In {size} {best['engine']} took {best['seconds'] / ours['seconds']:.2f} of this engine's time."
            )
    return " ".join(lines)


def paste(content: str) -> None:
    """Put the tables between the markers of the guide."""
    text = GUIDE.read_text()
    head, rest = text.split("<!-- engines -->\n", 1)
    tail = rest.split("<!-- end -->", 1)[1]
    GUIDE.write_text(f"{head}<!-- engines -->\n\n{content}\n\n<!-- end -->{tail}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limits", nargs="+", default=["192MiB", "256MiB", "512MiB", "1GiB"], metavar="SIZE")
    parser.add_argument("--table-rows", type=int, default=20_000_000)
    parser.add_argument("--matrix-rows", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--tasks", nargs="+", choices=list(PEERS), default=list(PEERS), help="others stay as they are")
    parser.add_argument("--paste-only", action="store_true", help="write the table again from the kept results")
    options = parser.parse_args()
    kept = read_result("engines") or {"tasks": []}
    tasks = {task["name"]: task for task in kept["tasks"]}
    if options.paste_only:
        paste(section(kept))
        return
    for task in options.tasks:
        engines = PEERS[task]
        here = [name for name in engines if importlib.util.find_spec(name.lower()) is not None]
        data = data_for(task, options.table_rows if task == "quantiles" else options.matrix_rows, options.features)
        shape = (
            f"{options.table_rows:,} rows" if task == "quantiles" else f"{options.matrix_rows:,} x {options.features}"
        )
        runs: list[dict[str, Any]] = []
        for size in options.limits:
            for engine in [OURS, *here]:
                out = HERE / "data" / "engines-out"
                shutil.rmtree(out, ignore_errors=True)
                out.unlink(missing_ok=True)
                try:
                    found = run_in(size, command(task, engine, data, out, size))
                except NotPermittedError as error:
                    raise SystemExit(f"this machine lets us make no memory cgroup ({error})") from None
                runs.append({"limit": size, "engine": engine} | found)
                print(json.dumps(runs[-1]), flush=True)
                shutil.rmtree(out, ignore_errors=True) if out.is_dir() else out.unlink(missing_ok=True)
        title = f"{task.replace('_', ' ')}: {shape}, {format_size(bytes_of(data))} on disk"
        tasks[task] = {"name": task, "title": title, "runs": runs, "verdict": verdict(runs)}
    write_result("engines", {"tasks": [tasks[name] for name in PEERS if name in tasks]})
    paste(section(read_result("engines") or {}))


if __name__ == "__main__":
    main()
