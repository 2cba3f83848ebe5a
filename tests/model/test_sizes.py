"""Sizes that decide bytes go with the versions of the steps whose bytes they decide; the others decide nothing."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import engine.model
from engine.chunked.journal import Committed, Journal
from engine.config import Config, Recommend
from engine.model import sizes
from engine.pipeline import recommend_step
from tests.support.pipeline import SMALL, STEPS, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

# Of each step with a constant in `sizes.DECIDING`: its version, and the digest of its constants.
KNOWN = {
    "biases": (3, "3b1dfdc492c7"),
    "calibrate": (7, "f24170af263e"),
    "cooccurrence": (2, "e17ed8618237"),
    "evaluate": (14, "982a816fa126"),
    "factors": (5, "d50b4112a37c"),
    "index": (4, "9e6fcf8c6bee"),
    "ingest": (8, "0b223c9c3623"),
    "item_neighbors": (5, "f0816baed48b"),
    "matrix": (3, "691836531422"),
    "neighbors": (6, "4b29f970e1c8"),
    "predict": (4, "747e8607befa"),
    "recommend": (13, "c97d71e74f49"),
    "refine": (6, "96ea3eaea0c0"),
    "residuals": (6, "3248810c5567"),
}
VERSIONS = {step.name: step.version for step in (*STEPS, recommend_step(Config(), Recommend()))}


def digest_of(step: str) -> str:
    values = {name: getattr(sizes, name) for name, steps in sizes.DECIDING.items() if step in steps}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def test_every_size_is_in_one_of_the_halves() -> None:
    found = {name for name, value in vars(sizes).items() if name.isupper() and isinstance(value, int | float)}
    assert sorted(found) == sorted([*sizes.DECIDING, *sizes.FREE])


def test_constants_belong_to_steps_there_are() -> None:
    named = {step for steps in sizes.DECIDING.values() for step in steps}
    assert named == set(KNOWN)
    assert named <= set(VERSIONS)


@pytest.mark.parametrize("step", sorted(KNOWN))
def test_a_size_that_decides_bytes_changes_with_the_version_of_its_step(step: str) -> None:
    now, known = (VERSIONS[step], digest_of(step)), KNOWN[step]
    if now[1] != known[1]:
        assert now[0] != known[0], (
            f"a size in engine/model/sizes.py that decides bytes of {step} has changed: raise the version of {step} in "
            f'engine/pipeline.py, then write the new version and the digest "{now[1]}" into KNOWN in this file'
        )
    assert now == known, f'write "{step}": {now} into KNOWN in this file'


def records(run: dict[str, Committed]) -> dict[str, object]:
    """What every task left: digests of its files, and its result."""
    return {
        f"{name}/{record.task}": (record.files, record.result)
        for name, stage in run.items()
        for record in Journal(stage.root).records()
    }


@pytest.mark.parametrize("method", ["exact", "pruned"])
def test_free_sizes_decide_nothing(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ratings = synthetic_ratings(n_users=90, n_items=60, seed=5)
    times = np.random.default_rng(1).permutation(len(ratings)) * 1000
    path = write_ratings(tmp_path, ratings.with_columns(timestamp=pl.Series(times)))
    sections: dict[str, Any] = {
        "factors": SMALL,
        "index": {"method": method, "users_per_cluster": 20},
        "split": {"method": "global-time"},
        "evaluate": {"popularity_penalty": 0.3},
    }
    expected = records(run_stages(path, tmp_path / "one", preset="default", **sections))
    for name in sizes.FREE:
        for module in [each for key, each in sys.modules.items() if key.startswith("engine.")]:
            if hasattr(module, name):
                monkeypatch.setattr(module, name, 7)
    assert records(run_stages(path, tmp_path / "two", preset="default", **sections)) == expected


def imported(path: Path) -> set[str]:
    """Modules that a file imports, late ones, too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


MODULES = sorted(Path(next(iter(engine.model.__path__))).glob("*.py"))
# Of the program itself: arithmetic, and matrices in memory.
_MAY_IMPORT = (
    "engine.kernels.",
    "engine.model.",
    "engine.chunked.csr.NarrowRows",
    "engine.chunked.csr.narrowest",
    "engine.chunked.ranges.",
)
_FILES = ("os", "io", "pathlib", "shutil", "tempfile", "zarr", "polars", "pyarrow", "fsspec", "hnswlib", "msgspec")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_arithmetic_knows_no_configuration_no_stage_and_no_file(path: Path) -> None:
    for name in imported(path):
        assert not name.startswith("engine.") or name.startswith(_MAY_IMPORT), name
        assert name.partition(".")[0] not in _FILES, name
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert "open" not in {call.id for call in calls if isinstance(call, ast.Name)}
    assert not {"save", "load", "savez", "memmap"} & {call.attr for call in calls if isinstance(call, ast.Attribute)}
