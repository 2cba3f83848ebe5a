"""The promise itself: a run inside a cgroup of its budget, the limit enforced by the kernel."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

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
    run_within(BUDGET, twin, workdir)
    return workdir


def test_a_run_fits_a_cgroup_of_its_budget_and_its_projections(tight_run: Path) -> None:
    for stage in json.loads((tight_run / "run.json").read_text())["stages"]:
        assert 0.5 <= stage["measured"] / stage["projected"] <= 1, stage
        assert stage["measured"] <= BUDGET, stage


def test_the_budget_does_not_change_the_figures(twin: Path, tight_run: Path, tmp_path: Path) -> None:
    """In ample memory all stages share a process, and in the tight budget they do not."""
    told = run_within(1024 * MIB, twin, tmp_path / "ample", "--workers", "1")
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
    sets = ["--set", "factors.dims=8", "--set", "neighbors.k=5", "--set", "evaluate.users_per_task=1024"]
    for stage in run_within(budget, tmp_path, tmp_path / "w", *sets)["stages"]:
        assert stage["measured"] <= stage["projected"] <= budget, stage
