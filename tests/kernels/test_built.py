"""A module of other sources than those beside it is refused: its functions may take something else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import engine.kernels
from engine.chunked.errors import EngineError
from engine.kernels import _native
from engine.kernels.built import refuse_other

SOURCES = Path(engine.kernels.__file__).parent / "src"


def test_a_module_of_other_sources_is_refused(tmp_path: Path) -> None:
    refuse_other("", tmp_path)  # installed without any
    if not SOURCES.is_dir():
        pytest.skip("the package is installed without its sources")
    sources = shutil.copytree(SOURCES, tmp_path / "src")
    refuse_other(_native.BUILT_OF, sources)
    with (sources / "scoring.cpp").open("a") as file:
        file.write("// another\n")
    with pytest.raises(EngineError, match="build them again; in a clone: make pipeline"):
        refuse_other(_native.BUILT_OF, sources)
