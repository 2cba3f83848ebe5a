"""The search sees no test rating and finds what is best; the ablation goes from one model to the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bench import ablation, measure, report, search, trials
from bench.search import Trial
from engine.chunked.errors import UsageError
from engine.config import Config, load
from tests.support.pipeline import read_partitions, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

pytestmark = pytest.mark.usefixtures("here")


def made_up(values: trials.Values) -> Trial:
    """Best at 64 dimensions and, with those, at 7 neighbours."""
    dims, k = values["factors.dims"], values["neighbors.k"]
    error = abs(dims - 64) + abs(k - (7 if dims == 64 else 200)) / 100
    return Trial(values, [{"rmse": error + seed, "recall_at_50": -error} for seed in range(3)])


@pytest.mark.parametrize("figure", list(trials.FIGURES))
def test_the_best_value_of_each_parameter_is_kept_for_the_next(figure: str) -> None:
    tried: list[trials.Values] = []

    def run(values: trials.Values) -> Trial:
        tried.append(values)
        return made_up(values)

    space = {"neighbors.k": (7, 200), "factors.dims": (16, 64)}
    once = search.search(space, figure, run)
    assert tried[0] == {"neighbors.k": 50, "factors.dims": 64}  # the defaults
    assert once[0].values == {"neighbors.k": 7, "factors.dims": 64}
    assert len(tried) == len({tuple(values.values()) for values in tried}) == len(once)
    means = [trial.mean(figure) for trial in once]
    assert means == sorted(means, reverse=figure == "recall_at_50")


def test_gains_are_of_the_same_split() -> None:
    start, other = (Trial({"a.b": n}, [{"rmse": s - n, "recall_at_50": s * n} for s in (1.0, 3.0)]) for n in (1, 2))
    found = other.summary(start)
    assert found["rmse"] == {"all": [-1, 1], "mean": 0, "error": 1, "gain": -1, "gain_error": 0}
    assert (found["recall_at_50"]["gain"], found["recall_at_50"]["gain_error"]) == (2, 1)


def test_parameters_are_set_as_on_the_command_line() -> None:
    found = trials.settings({"neighbors.k": 7, "index.method": "hnsw"}, split={"seed": 3})
    assert found == load({"neighbors": {"k": 7}, "index": {"method": "hnsw"}, "split": {"seed": 3}})
    with pytest.raises(UsageError, match=r"neighbors\.kk"):
        trials.settings({"neighbors.kk": 7})


@pytest.mark.parametrize("key", [key for space in search.SPACES.values() for key in space])
def test_every_parameter_searched_has_a_default_that_is_tried(key: str) -> None:
    (values,) = (space[key] for space in search.SPACES.values() if key in space)
    assert trials.default(key) in values
    assert all(trials.settings({key: value}) for value in values)


def test_the_train_part_is_a_ratings_file_without_test_ratings(tmp_path: Path) -> None:
    path = write_ratings(tmp_path, synthetic_ratings(40, 30))
    target = tmp_path / "out/train.parquet"
    n = search.write_train(str(path), tmp_path / "w", target, memory="1GiB")
    run = run_stages(path, tmp_path / "run", "split")
    assert pl.read_parquet(target).equals(read_partitions(run, "split", "train"))
    assert n == pl.read_parquet(target).height


def test_a_small_search_and_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_ratings(tmp_path, synthetic_ratings(40, 30))
    monkeypatch.setattr(measure, "RESULTS", tmp_path / "results")
    given = [
        str(path),
        "--figure",
        "rmse",
        "--vary",
        "predict.shrink=2,9",
        "--seeds",
        "2",
        "--work",
        str(tmp_path / "s"),
    ]
    monkeypatch.setattr("sys.argv", ["search", *given])
    search.main()
    found = json.loads((tmp_path / "results/search-rmse.json").read_text())
    assert sorted(trial["values"]["predict.shrink"] for trial in found["trials"]) == [2, 9]
    assert {len(trial["rmse"]["all"]) for trial in found["trials"]} == {2}
    usual = next(trial for trial in found["trials"] if trial["values"] == {"predict.shrink": 2})
    assert usual["rmse"]["gain"] == usual["rmse"]["gain_error"] == 0
    section = report.search_section(found)
    assert "| the defaults |" in section
    assert "| `predict.shrink=9` |" in section


def test_the_way_leads_from_the_notebooks_model_to_the_default_one() -> None:
    steps = ablation.way()
    first, last = (trials.settings(values) for _, values in (steps[0], steps[-1]))
    notebook = load({"preset": "notebook"})
    assert last == Config()
    for name in ("factors", "index", "neighbors"):
        assert getattr(first, name) == getattr(notebook, name)
    assert first.evaluate.model == notebook.evaluate.model
    assert [len(values) for _, values in steps] == list(range(len(steps) - 1, -1, -1))
    assert all(trials.settings(values) != Config() for values in (*ablation.WITHOUT.values(), *ablation.OTHER.values()))


def test_a_small_ablation_and_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_ratings(tmp_path, synthetic_ratings(40, 30))
    monkeypatch.setattr(measure, "RESULTS", tmp_path / "results")
    monkeypatch.setattr("sys.argv", ["ablation", str(path), "--work", str(tmp_path / "a")])
    steps: list[tuple[str, dict[str, Any]]] = ablation.way()
    kept = {"near items": ablation.WITHOUT["near items"]}
    monkeypatch.setattr(ablation, "way", lambda: [steps[0], steps[3], steps[-1]])
    monkeypatch.setattr(ablation, "WITHOUT", kept)
    monkeypatch.setattr(ablation, "OTHER", {})
    ablation.main()
    found = json.loads((tmp_path / "results/ablation.json").read_text())
    assert [row["what"] for row in found["way"]] == [steps[0][0], steps[3][0], steps[-1][0]]
    assert found["way"][0]["rmse"] > found["way"][-1]["rmse"]  # the notebook's predictions are that bad
    monkeypatch.setattr(report, "read_result", lambda name: found if name == "ablation" else None)
    page = report.model_page()
    assert page is not None
    assert f"{found['without'][0]['rmse']:.4f}" in page
