"""The ablation goes from the notebook's model to the default one, and says how sure its differences are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import ablation, measure, report
from engine.chunked.errors import UsageError
from engine.config import Config, load
from tests.support.pipeline import STEPS
from tests.support.ratings import synthetic_ratings, write_ratings

pytestmark = pytest.mark.usefixtures("here")


def test_parameters_are_set_as_on_the_command_line() -> None:
    found = ablation.settings({"neighbors.k": 7, "index.method": "hnsw"}, split={"seed": 3})
    assert found == load({"neighbors": {"k": 7}, "index": {"method": "hnsw"}, "split": {"seed": 3}})
    with pytest.raises(UsageError, match=r"neighbors\.kk"):
        ablation.settings({"neighbors.kk": 7})


def test_the_way_leads_from_the_notebooks_model_to_the_default_one() -> None:
    steps = ablation.way()
    first, last = (ablation.settings(values) for _, values in (steps[0], steps[-1]))
    notebook = load({"preset": "notebook"})
    assert last == Config()
    for name in ("factors", "index", "neighbors"):
        assert getattr(first, name) == getattr(notebook, name)
    assert first.evaluate.model == notebook.evaluate.model
    assert [len(values) for _, values in steps] == list(range(len(steps) - 1, -1, -1))
    assert all(
        ablation.settings(values) != Config() for values in (*ablation.WITHOUT.values(), *ablation.OTHER.values())
    )


def test_a_small_ablation_and_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_ratings(tmp_path, synthetic_ratings(40, 30))
    monkeypatch.setattr(measure, "RESULTS", tmp_path / "results")
    monkeypatch.setattr("sys.argv", ["ablation", str(path), "--name", "ciao", "--work", str(tmp_path / "a")])
    steps: list[tuple[str, dict[str, Any]]] = ablation.way()
    monkeypatch.setattr(ablation, "way", lambda: [steps[0], steps[4], steps[-1]])
    monkeypatch.setattr(ablation, "WITHOUT", {"near items": ablation.WITHOUT["near items"]})
    monkeypatch.setattr(ablation, "OTHER", {})
    ablation.main()
    found = json.loads((tmp_path / "results/ablation-ciao.json").read_text())
    assert [row["what"] for row in found["way"]] == [steps[0][0], steps[4][0], steps[-1][0]]
    first, second, last = (row["rmse"] for row in found["way"])
    assert (first["difference"], first["error"]) == (0, 0)
    assert second["difference"] == pytest.approx(second["value"] - first["value"])
    assert second["difference"] < 0  # the notebook's predictions are that bad
    assert second["error"] > 0
    without = found["without"][0]["rmse"]
    assert without["difference"] == pytest.approx(without["value"] - last["value"])
    monkeypatch.setattr(report, "read_result", lambda name: found if name == "ablation-ciao" else None)
    page = report.model_page()
    assert page is not None
    assert f"| {without['value']:.4f} |" in page
    assert f"{without['difference']:+.4f} ±{without['error']:.4f}" in page
    assert f"| ciao | {last['value']:.4f} | " in page


def test_the_page_of_benchmarks_says_of_every_step_what_bounds_it() -> None:
    assert list(report.BOUNDS) == [step.name for step in STEPS]
