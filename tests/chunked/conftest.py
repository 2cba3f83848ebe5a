"""A finished run of the toy, which tests alter."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.toy import run_toy


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nobody writes into this one."""
    where = tmp_path_factory.mktemp("toy") / "w"
    run_toy(where)
    return where


@pytest.fixture
def where(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, in a folder of one's own."""
    shutil.copytree(finished, tmp_path / "w")
    return tmp_path / "w"
