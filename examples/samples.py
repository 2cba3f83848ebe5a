"""Data to try the examples on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr


def table(path: Path, rows: int) -> None:
    """A file to try it on: some keys have many rows, most have few."""
    with pq.ParquetWriter(path, pa.schema({"key": pa.string(), "value": pa.float64()})) as file:
        for start in range(0, rows, 250_000):
            rng, n = np.random.default_rng(start), min(250_000, rows - start)
            keys = [f"key-{key}" for key in (20_000 * rng.random(n) ** 2).astype(int).tolist()]
            file.write_table(pa.table({"key": keys, "value": rng.standard_normal(n)}))


def matrix(path: Path, rows: int, features: int) -> None:
    """A Zarr array whose rows are mostly sums of eight patterns, each weaker than the one before."""
    array = zarr.create_array(path, shape=(rows, features), chunks=(4096, features), dtype="float32")
    strengths = 4 * 0.6 ** np.arange(8)
    patterns = np.random.default_rng(0).standard_normal((8, features)) / features**0.5
    for start in range(0, rows, 4096):
        rng, n = np.random.default_rng([1, start]), min(4096, rows - start)
        scores = rng.standard_normal((n, 8)) * strengths
        array[start : start + n] = 3 + scores @ patterns + 0.1 * rng.standard_normal((n, features))
