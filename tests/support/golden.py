"""What runs leave, as digests of contents: golden values that a change of structure must not move.

``python -m tests.support.golden`` writes them anew, for a change of results that is meant (and noted, and has raised
the version of its step).
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import zarr
from threadpoolctl import threadpool_info

import engine
from engine import config
from engine.ratings.twin import write_twin

GOLDEN = Path(__file__).parent.parent / "golden.json"
TWIN_SCALE = 0.05
# Not the newest: digests are to change with the pipeline only.
TWIN_VERSION = 1
# Variants of a run: data and what is set.
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "sample": ("sample", {}),
    "sample, notebook": ("sample", {"preset": "notebook"}),
    "sample, last by time": ("sample", {"split": {"method": "leave-last"}}),
    "twin": ("twin", {}),
    "twin, notebook": ("twin", {"preset": "notebook"}),
    "twin, clusters": ("twin", {"index": {"method": "pruned"}}),
}
# Stages whose contents no product of matrices has a part in: the same on every machine.
EXACT = ("ingest", "split", "matrix", "biases")
_FIGURES = ("rmse", "recall_at_50")


def machine() -> dict[str, str]:
    """What else contents may depend on, in their last bits: libraries, and the kernels that BLAS chose."""
    libraries = {name: version(name) for name in ("numpy", "scipy", "hnswlib")}
    return libraries | {"blas": ", ".join(sorted({each.get("architecture", "") for each in threadpool_info()}))}


def make(data: Path, folder: Path, name: str) -> dict[str, Any]:
    """Run a variant; return the digest of each stage's contents, of everybody's lists, and figures.

    Variants of the same data share a work directory: what their configurations have in common is made once.
    """
    dataset, sections = RUNS[name]
    where = folder / dataset
    asked = {"dataset": str(data / "twin") if dataset == "twin" else dataset, "data_dir": str(data)}
    result = engine.run(config.load(asked, {"workdir": str(where), "memory": "1GiB"}, sections))
    found: dict[str, Any] = {stage: digest(Path(str(at))) for stage, at in result.artifacts.items()}
    engine.recommend_all(where, where.with_suffix(".parquet"), memory="1GiB")
    found["lists for everybody"] = _hash(_parquet(where.with_suffix(".parquet")))
    return found | {figure: result.metrics[figure] for figure in _FIGURES}


def digest(folder: Path) -> str:
    """Of all that a stage left: names, contents as they are read, and what its tasks returned."""
    return _hash(_contents(folder))


def _hash(parts: Iterator[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()[:16]


def _contents(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name == "zarr.json" and "shape" in (array := json.loads(path.read_text())) and array["shape"] != []:
            yield name.encode()
            yield from _array(np.asarray(zarr.open_array(str(path.parent), mode="r")[...]))
        elif path.suffix == ".parquet":
            yield name.encode()
            yield from _parquet(path)
        elif path.suffix == ".npy":
            yield name.encode()
            yield from _array(np.load(path))
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                for key in sorted(arrays):
                    yield f"{name} {key}".encode()
                    yield from _array(arrays[key])
        elif path.parent.name == "records" and path.name != "stage.json":
            record = json.loads(path.read_text())
            yield json.dumps([name, record["result"]], sort_keys=True).encode()


def _array(values: np.ndarray[Any, Any]) -> Iterator[bytes]:
    yield f"{values.dtype} {values.shape}".encode()
    yield np.ascontiguousarray(values).tobytes()


def _parquet(path: Path) -> Iterator[bytes]:
    table = pl.read_parquet(path)
    for column in table:
        yield f"{column.name} {column.dtype} {len(column)}".encode()
        if column.dtype == pl.String:
            yield "\0".join(column.fill_null("\1").to_list()).encode()
        else:
            yield column.is_null().to_numpy().tobytes()
            yield column.fill_null(0).to_numpy().tobytes()


def write(folder: Path) -> None:
    """Write the golden values of this machine."""
    write_twin(folder / "data" / "twin", scale=TWIN_SCALE, version=TWIN_VERSION)
    runs = {name: make(folder / "data", folder, name) for name in RUNS}
    GOLDEN.write_text(json.dumps({"machine": machine(), "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
    sys.exit(0)
