"""The promise itself: a run inside a cgroup of its budget, the limit enforced by the kernel."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bench.cgroup import NotPermittedError, limit, run_limited
from engine.chunked.budget import MIB
from engine.ratings.twin import write_twin

BUDGET = 208 * MIB
# A second fold is a second task like the first, and a stage that takes longer than all others together.
ONE_FOLD = "--set=calibrate.folds=1"


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twin")
    write_twin(folder, scale=0.03)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _needs_a_cgroup() -> None:
    try:
        with limit(BUDGET):
            pass
    except NotPermittedError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")


def test_a_process_beyond_the_limit_is_killed() -> None:
    done, _, kills = run_limited([sys.executable, "-c", "x = bytearray(300 << 20)"], BUDGET)
    assert done.returncode != 0
    assert kills == 1


def run_within(budget: int, data: Path, workdir: Path, *options: str) -> dict[str, Any]:
    """Run in a cgroup of the budget, in which nothing may be killed; what ``run.json`` says then."""
    command = [sys.executable, "-m", "engine", "run", str(data), "--workdir", str(workdir), "--memory", str(budget)]
    done, peak, kills = run_limited([*command, *options], budget)
    assert (done.returncode, kills) == (0, 0), done.stderr
    assert peak is None or peak <= budget
    told: dict[str, Any] = json.loads((workdir / "run.json").read_text())
    return told


@pytest.fixture(scope="module")
def tight_run(twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work directory of a run in the budget."""
    workdir = tmp_path_factory.mktemp("tight") / "w"
    run_within(BUDGET, twin, workdir, ONE_FOLD)
    return workdir


def test_a_run_fits_a_cgroup_of_its_budget_and_its_projections(tight_run: Path) -> None:
    stages = [each for each in json.loads((tight_run / "run.json").read_text())["stages"] if not each["idle"]]
    assert len(stages) > 10
    for stage in stages:
        assert 0.5 <= stage["measured"] / stage["projected"] <= 1, stage
        assert stage["measured"] <= BUDGET, stage


def test_the_budget_does_not_change_the_figures(twin: Path, tight_run: Path, tmp_path: Path) -> None:
    """In ample memory all stages share a process, and in the tight budget they do not."""
    told = run_within(1024 * MIB, twin, tmp_path / "ample", "--workers", "1", ONE_FOLD)
    digests = []
    for workdir in (tight_run, tmp_path / "ample"):
        records = sorted(workdir.glob("stages/*/records/*.json"))
        kept = [json.loads(path.read_text()) for path in records]
        digests.append(
            [(path.name, record.get("files"), record.get("result")) for path, record in zip(records, kept, strict=True)]
        )
    assert digests[0] == digests[1]
    assert all(stage["measured"] <= stage["projected"] for stage in told["stages"])


def test_ids_that_are_text_and_in_no_order_fit_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = np.array([f"{user:012d}".rjust(200, "x") for user in rng.integers(0, 10**12, 30_000)])
    n = 500_000
    columns = {"user": rng.choice(ids, n), "item": rng.integers(0, 500, n), "rating": rng.integers(1, 11, n) / 2}
    pl.DataFrame(columns).write_csv(tmp_path / "ratings.csv")
    budget = 256 * MIB
    small = {"factors.dims": 8, "factors.passes": 2, "neighbors.k": 5, "evaluate.users_per_task": 1024}
    sets = [f"--set={key}={value}" for key, value in small.items()]
    for stage in run_within(budget, tmp_path, tmp_path / "w", *sets, ONE_FOLD)["stages"]:
        assert stage["measured"] <= stage["projected"] <= budget, stage


def many_files(folder: Path) -> Path:
    """200 files, compressed every other one."""
    rng = np.random.default_rng(1)
    for k in range(200):
        rows = pl.DataFrame({"user": rng.integers(0, 3000, 800), "item": rng.integers(0, 2000, 800), "rating": 3.5})
        content = rows.with_columns(rating=rng.integers(1, 11, 800) / 2).write_csv().encode()
        name = f"{k:03}.csv" + ".gz" * (k % 2)
        (folder / name).write_bytes(gzip.compress(content) if k % 2 else content)
    return folder


def wide_parquet(folder: Path) -> Path:
    """One row group, in which 100 columns are not needed."""
    rng, n = np.random.default_rng(2), 150_000
    digits = (pl.int_range(n, eager=True) % 9973).cast(pl.String).str.zfill(40)
    columns: dict[str, Any] = {f"text {k}": f"{k} " + digits for k in range(50)}
    columns |= {f"number {k}": rng.random(n) for k in range(50)}
    columns |= {
        "user": rng.integers(0, 3000, n),
        "item": rng.integers(0, 2000, n),
        "rating": rng.integers(1, 11, n) / 2,
    }
    pl.DataFrame(columns).write_parquet(folder / "ratings.parquet", row_group_size=n)
    return folder / "ratings.parquet"


def long_ids_of_many_items(folder: Path) -> Path:
    """300 000 items; all ids are of 64 characters."""
    rng, n = np.random.default_rng(3), 300_000
    items = pl.Series(rng.permutation(n)).cast(pl.String).str.zfill(64)
    users = pl.Series(rng.integers(0, 5000, n)).cast(pl.String).str.pad_start(64, "u")
    pl.DataFrame({"user": users, "item": items, "rating": rng.integers(1, 11, n) / 2}).write_csv(folder / "r.csv")
    return folder / "r.csv"


def very_long_ids(folder: Path) -> Path:
    """Whose texts are put together by ranges of a few, which the allocator still holds when the next round begins."""
    rng, n = np.random.default_rng(4), 60_000
    users = pl.Series(rng.integers(0, 20_000, n)).cast(pl.String).str.pad_start(3000, "u")
    columns = {"user": users, "item": rng.integers(0, 500, n), "rating": rng.integers(1, 11, n) / 2}
    pl.DataFrame(columns).write_csv(folder / "r.csv")
    return folder / "r.csv"


@pytest.mark.parametrize("make", [many_files, wide_parquet, long_ids_of_many_items, very_long_ids])
def test_other_peoples_data_fit_too(make: Callable[[Path], Path], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    data, budget = make(tmp_path / "data"), 448 * MIB
    small = {"factors.dims": 8, "factors.passes": 1, "refine.sweeps": 1, "neighbors.k": 5, "calibrate.method": "fixed"}
    sets = [f"--set={key}={value}" for key, value in small.items()]
    for stage in run_within(budget, data, tmp_path / "w", *sets, "--workers", "2")["stages"]:
        assert stage["measured"] <= stage["projected"] <= budget, stage
