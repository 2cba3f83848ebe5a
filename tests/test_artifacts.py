"""What steps leave is read in one place, which loads no more than it needs."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import engine
from engine.artifacts.sound import faults
from engine.chunked.errors import DamagedError
from engine.chunked.journal import Record
from engine.chunked.sealed import read_sealed, write_sealed
from engine.chunked.storage import locate
from engine.config import load
from engine.serving.everybody import recommend_all

ROOT = Path(engine.__file__).parent
HEAVY = ("numpy", "scipy", "polars", "zarr", "pyarrow", "hnswlib")


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("engine.driver", ()),
        ("engine.costs", ()),
        ("engine.results.figures", ()),
        ("engine.serving.everybody", ()),
        ("engine.artifacts.records", ()),
        ("engine.artifacts.tables", ()),
        ("engine.artifacts.readers", ("numpy", "zarr")),
        ("engine.stages.split", ("numpy", "polars")),
        ("engine.stages.evaluate", ("numpy", "zarr", "scipy")),
        ("engine.stages.recommend", ("numpy", "zarr", "scipy")),
    ],
)
def test_a_module_loads_only_these_libraries(module: str, allowed: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*sorted({set(HEAVY)} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) <= set(allowed)


def imports(path: Path) -> list[str]:
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return [node.module or "" for node in nodes]


# What stages share: what they are constructed with, a table written, rows sorted by item, rows
# of neighbours, how ratings of a block are predicted, how an index is gone through.
_SHARED = (
    "engine.stages.alternating",
    "engine.stages.by_item",
    "engine.stages.gathered",
    "engine.stages.gathering",
    "engine.stages.predicting",
    "engine.stages.tables",
    "engine.stages.index.tiles",
    "engine.stages.index.graphs",
)
STAGES = sorted((ROOT / "stages").rglob("*.py"))


@pytest.mark.parametrize("path", STAGES, ids=lambda path: "-".join(path.relative_to(ROOT / "stages").parts))
def test_a_stage_reads_no_other_by_its_module(path: Path) -> None:
    own = "engine.stages." + path.relative_to(ROOT / "stages").parts[0].removesuffix(".py")
    foreign = [name for name in imports(path) if name.startswith("engine.stages.") and not name.startswith(own)]
    assert set(foreign) <= set(_SHARED)


@pytest.mark.parametrize("folder", ["serving", "results"])
def test_who_reads_a_run_knows_no_stage(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert not [name for name in imports(path) if name.startswith("engine.stages")], path


def test_tasks_are_not_named_anywhere_else() -> None:
    for path in (each for folder in ("stages", "serving", "results") for each in (ROOT / folder).rglob("*.py")):
        values = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        assert not [value for value in values if isinstance(value, str) and value.endswith(".00000")], path


def test_what_another_version_left_is_told_in_a_sentence(default_run: Path, tmp_path: Path) -> None:
    where = tmp_path / "run"
    shutil.copytree(default_run, where)
    (path,) = where.glob("stages/calibrate-*/records/choose.00000.json")
    record = read_sealed(locate(path), Record)
    assert record.result is not None
    del record.result["ranking"]["weights"]["votes"]
    write_sealed(locate(path), record)
    with pytest.raises(DamagedError, match=r"another version of this program left it, .*votes.*begin afresh"):
        engine.Recommender.open(where)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("record", "key", "value"),
    [
        ("calibrate-*/records/choose.00000.json", "rating", "x"),
        ("calibrate-*/records/choose.00000.json", "ranking", {}),
        ("matrix-*/records/layout.00000.json", "train", "x"),
        ("ingest-*/records/profile.00000.json", "n_users", "many"),
        ("ingest-*/records/survey.00000.json", "n_rows", None),
    ],
)
def test_plans_tell_what_another_version_left(
    default_run: Path, tmp_path: Path, record: str, key: str, value: object
) -> None:
    where = tmp_path / "run"
    shutil.copytree(default_run, where)
    (path,) = where.glob(f"stages/{record}")
    altered = read_sealed(locate(path), Record)
    assert altered.result is not None
    altered.result[key] = value
    write_sealed(locate(path), altered)
    with pytest.raises(DamagedError, match=r"another version of this program left it, .*begin afresh"):
        recommend_all(where, tmp_path / "lists.parquet", memory="1GiB")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "settings",
    [
        {"index": {"method": "pruned"}},
        {"preset": "notebook"},
        {"split": {"method": "global-time"}, "text": True},
        {"split": {"method": "none"}, "evaluate": {"together_weight": 0.5}, "calibrate": {"method": "fixed"}},
        {"matrix": {"feedback": "implicit"}, "ingest": {"ratings_per_partition": 1000}},
    ],
)
def test_what_steps_leave_is_sound(settings: dict[str, Any], tmp_path: Path) -> None:
    """A fault named where there is none would hide one of the program."""
    rng, n = np.random.default_rng(3), 3000
    columns = {name: rng.integers(0, most, n) for name, most in (("user", 150), ("item", 80), ("timestamp", 10**9))}
    ratings = pl.DataFrame(columns | {"rating": rng.integers(1, 11, n) / 2})
    if settings.pop("text", False):
        ratings = ratings.with_columns(pl.format("ä{}", "user"), pl.format("z {}", "item"))
    ratings.write_csv(tmp_path / "ratings.csv")
    result = engine.run(load({"dataset": str(tmp_path / "ratings.csv"), "workdir": str(tmp_path / "w"), **settings}))
    stages = {entry.stage: result.committed(entry.stage) for entry in result.stages}
    assert len(stages) > 7
    assert list(faults(stages)) == []
