"""What the examples have in common: arguments, data to try them on, errors told in a line."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine import chunked

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's own keeps much of what is freed


def arguments(name: str, description: str, rows: int) -> argparse.ArgumentParser:
    """Those that every example has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, help="what to read; none: a sample, made in data/")
    parser.add_argument("--rows", type=int, default=rows, help="of the sample")
    parser.add_argument("--memory", metavar="SIZE", default="256MiB", help="that all processes together may use")
    parser.add_argument("--workers", metavar="N", type=int, help="tasks at a time, at most; none: one a processor")
    parser.add_argument("--executor", choices=("local", "dask"), default="local", help="who runs the tasks")
    parser.add_argument(
        "--workdir", metavar="FOLDER", default=f"runs/{name}", help="of the run; run again with the same one to go on"
    )
    return parser


def made(sample: str, name: str, *how: Any) -> Path:
    """Make a sample, unless it is there, in a process of its own: this one shall stay small."""
    path = Path("data") / name
    if not path.exists():
        print(f"making {path}", file=sys.stderr)
        path.parent.mkdir(parents=True, exist_ok=True)
        begun = path.with_name(f"begun-{path.name}")
        call = f"import samples, pathlib; samples.{sample}(pathlib.Path({str(begun)!r}), *{how})"
        where = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        if subprocess.run([sys.executable, "-c", call], env=where).returncode:
            raise chunked.EngineError(f"{path} could not be made")
        begun.rename(path)
    return path


@contextmanager
def told() -> Iterator[None]:
    """Tell what the user can mend in one line, in terms of the command line, and leave with its exit code."""
    try:
        yield
    except chunked.EngineError as error:
        print(error.told("--memory {}"), file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped; run again to go on", file=sys.stderr)
        sys.exit(chunked.Interrupted.exit_code)


def run(pipeline: chunked.Pipeline, options: argparse.Namespace) -> chunked.RunResult:
    """Run a pipeline as the arguments say, and print what it took."""
    with chunked.process_claimed(), chunked.Progress() as progress:
        result = chunked.run(
            pipeline,
            options.workdir,
            memory=options.memory,
            workers=options.workers,
            executor=options.executor,
            on_event=progress,
        )
    print(chunked.describe(result))
    print("results:", *result.artifacts.values())
    return result


def to_arrow(values: Any) -> Any:
    """Like ``pa.array``, which loads Pandas where there is one, and with it 30 MiB that nobody has counted."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])
