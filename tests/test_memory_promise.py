"""The promise itself: a run inside a cgroup of its budget, the limit enforced by the kernel."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.cgroup import NotPermittedError, limit, run_limited
from engine.chunked.budget import MIB
from engine.ratings.twin import write_twin

BUDGET = 208 * MIB


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


def test_a_run_fits_a_cgroup_of_its_budget_and_its_projections(twin: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "engine", "run", str(twin), "--workdir", str(tmp_path / "w")]
    done, peak, kills = run_limited([*command, "--memory", str(BUDGET)], BUDGET)
    assert done.returncode == 0, done.stderr
    assert kills == 0
    assert peak is None or peak <= BUDGET
    for stage in json.loads((tmp_path / "w/run.json").read_text())["stages"]:
        assert 0.5 <= stage["measured"] / stage["projected"] <= 1, stage
        assert stage["measured"] <= BUDGET, stage


def test_the_budget_does_not_change_the_figures(twin: Path, tmp_path: Path) -> None:
    digests = []
    for name, budget, workers in (("tight", BUDGET, "1"), ("ample", 1024 * MIB, "2")):
        workdir = tmp_path / name
        command = [sys.executable, "-m", "engine", "run", str(twin), "--workdir", str(workdir), "--workers", workers]
        done, _, _ = run_limited([*command, "--memory", str(budget)], budget)
        assert done.returncode == 0, done.stderr
        records = sorted(workdir.glob("stages/*/records/*.json"))
        kept = [json.loads(path.read_text()) for path in records]
        digests.append(
            [(path.name, record.get("files"), record.get("result")) for path, record in zip(records, kept, strict=True)]
        )
    assert digests[0] == digests[1]


def test_ids_that_are_text_and_in_no_order_fit_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = np.array([f"{user:012d}".rjust(200, "x") for user in rng.integers(0, 10**12, 30_000)])
    n = 500_000
    columns = {"user": rng.choice(ids, n), "item": rng.integers(0, 500, n), "rating": rng.integers(1, 11, n) / 2}
    pl.DataFrame(columns).write_csv(tmp_path / "ratings.csv")
    budget = 256 * MIB
    command = [sys.executable, "-m", "engine", "run", str(tmp_path), "--workdir", str(tmp_path / "w")]
    sets = ["--set", "factors.dims=8", "--set", "neighbors.k=5", "--set", "evaluate.users_per_task=1024"]
    done, _, kills = run_limited([*command, "--memory", str(budget), *sets], budget)
    assert (done.returncode, kills) == (0, 0), done.stderr
    for stage in json.loads((tmp_path / "w/run.json").read_text())["stages"]:
        assert stage["measured"] <= stage["projected"] <= budget, stage
