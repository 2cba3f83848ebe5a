"""A model of all ratings: nothing is held out, and figures are those of the run whose parameters it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine import cli
from engine.chunked import publishing
from engine.chunked.csr import CsrReader
from engine.chunked.errors import UsageError
from engine.config import load
from engine.results import summary
from engine.results.report import content, write
from engine.results.report.tables import read_rows
from engine.serving.compare import compare
from engine.serving.comparison_page import render
from engine.serving.lists import measure_lists
from engine.serving.tuning import tune
from tests.support.ratings import synthetic_ratings, write_ratings

pytestmark = pytest.mark.usefixtures("here")

SMALL: dict[str, Any] = {
    "factors": {"dims": 12, "oversamples": 4, "passes": 2, "partial_sums": 2},
    "neighbors": {"k": 9},
    "item_neighbors": {"k": 5},
    "evaluate": {"k": 6},
}


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ratings(tmp_path_factory.mktemp("refit"), synthetic_ratings(80, 50))


@pytest.fixture(scope="module")
def runs(ratings: Path) -> tuple[engine.RunResult, engine.RunResult]:
    """An evaluated run, and its refit."""
    resources = {"dataset": str(ratings), "workdir": str(ratings.parent / "w"), "memory": "1GiB"}
    evaluated = engine.run(load(resources, SMALL))
    return evaluated, engine.run(load(resources), refit=True)


def test_a_refit_has_the_parameters_of_the_evaluated_run_and_learns_from_all_ratings(
    runs: tuple[engine.RunResult, engine.RunResult], ratings: Path
) -> None:
    evaluated, refitted = runs
    only_there = ("calibrate", "predict", "evaluate")
    assert [stage.stage for stage in refitted.stages] == [
        stage.stage for stage in evaluated.stages if stage.stage not in only_there and not stage.idle
    ]
    assert [stage.stage for stage in refitted.stages if stage.skipped and not stage.idle] == ["ingest"]
    train, test = (CsrReader(refitted.artifacts["matrix"], kind) for kind in ("train", "test"))
    assert (train.nnz, test.nnz) == (synthetic_ratings(80, 50).height, 0)
    for stage in refitted.stages:
        before = next(each for each in evaluated.stages if each.stage == stage.stage)
        assert stage.params | {"method": 0} == before.params | {"method": 0}
    assert all(stage.measured <= stage.projected for stage in refitted.stages)
    for kind in ("rating", "ranking"):
        assert refitted.metrics["weights"][kind]["weights"] == evaluated.metrics["weights"][kind]["weights"]
    assert refitted.metrics["weights"]["chosen"] is False
    with engine.Recommender.open(refitted.workdir) as recommender:
        found = recommender.recommend(recommender.users, 4)
        assert not found.is_empty()
        assert recommender.recommend(recommender.users, 4, include_test=True).equals(found)
    every = engine.recommend_all(refitted.workdir, ratings.parent / "all.parquet", k=4)
    assert every.n_items == found.height


def test_its_figures_are_those_of_the_evaluated_run(runs: tuple[engine.RunResult, engine.RunResult]) -> None:
    evaluated, refitted = runs
    metrics = refitted.metrics
    assert (metrics["rmse"], metrics["recall_at_6"], metrics["figures"], metrics["n_test"]) == (None, None, {}, 0)
    assert metrics["evaluated"] == evaluated.metrics
    said = summary.describe(metrics)
    assert "no figures: split.method is none" in said
    table = summary.describe(evaluated.metrics).partition("ratings predicted")[2]
    assert said.endswith(f"ratings predicted{table}")
    page = content.collect(refitted.workdir)
    assert page.recall is None
    assert page.popularity is None
    assert read_rows(page.measured) == read_rows(evaluated.metrics)
    pytest.importorskip("altair")
    written = write(refitted.workdir).read_text()
    assert "the run with the same parameters that was evaluated" in written
    for untrue in ("this run</th>", "an earlier version made it", "There is no recall:"):
        assert untrue not in written
    for told in ("the evaluated run</th>", '<div class="note">the evaluated run; bias model', "and counted none"):
        assert told in written
    again = publishing.names(refitted.workdir)
    assert len(again) == 2


def test_a_refit_leaves_the_evaluated_run_to_be_compared_and_tuned(
    runs: tuple[engine.RunResult, engine.RunResult], ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated, refitted = runs
    other = engine.run(load({"dataset": str(ratings), "workdir": str(tmp_path / "o"), "memory": "1GiB"}, SMALL))
    found = compare([refitted.workdir, other.workdir])
    figures = {each.name: each.values[0] for each in found.figures}
    assert figures["rmse"] == pytest.approx(evaluated.metrics["rmse"])
    told = f"{refitted.workdir}: its newest run held nothing out; compared is the last evaluated"
    assert found.notes == [told]
    assert told in render(found)
    assert cli.main(["compare", str(other.workdir), str(refitted.workdir)]) == 0
    assert f"note: {told}" in capsys.readouterr().err
    assert tune(refitted.workdir, minutes=0, memory="1GiB").by == "recall"
    lists = tmp_path / "lists.csv"
    lists.write_text("user,item,rank\n1,1,1\n")
    assert measure_lists(refitted.workdir, lists).figures


def test_a_refit_says_what_answers_and_figures_are_of(ratings: Path, tmp_path: Path, capsys: Any) -> None:
    command = ["run", str(ratings), f"--workdir={tmp_path / 'w'}", "--memory=1GiB", "--quiet"]
    sections = [f"--set={name}.{key}={value}" for name in SMALL for key, value in SMALL[name].items()]
    assert cli.main([*command, *sections]) == 0
    assert "refitted" not in capsys.readouterr().err
    assert cli.main([*command, "--refit"]) == 0
    assert "note: answers come from the refitted model now; figures" in capsys.readouterr().err


def test_of_work_directories_without_an_evaluated_run_there_is_no_comparison(ratings: Path, tmp_path: Path) -> None:
    run = engine.run(
        load(
            {"dataset": str(ratings), "workdir": str(tmp_path / "w"), "memory": "1GiB"},
            SMALL,
            {"split": {"method": "none"}},
        )
    )
    with pytest.raises(UsageError, match="held nothing out"):
        compare([run.workdir, run.workdir])


def test_a_refit_takes_no_parameters_and_needs_an_evaluated_run(
    runs: tuple[engine.RunResult, engine.RunResult], ratings: Path, tmp_path: Path
) -> None:
    evaluated, _ = runs
    there = {"dataset": str(ratings), "workdir": str(evaluated.workdir), "memory": "1GiB"}
    for own in ({"neighbors": {"k": 5}}, {"preset": "notebook"}):
        with pytest.raises(UsageError, match="a refit has the parameters of the evaluated run"):
            engine.run(load(there, own), refit=True)
    again = engine.run(load(there), refit=True)  # the newest run is a refit itself
    assert all(stage.skipped for stage in again.stages)
    assert again.metrics["evaluated"] == evaluated.metrics
    with pytest.raises(UsageError, match="no finished run with figures"):
        engine.run(load(there, {"workdir": str(tmp_path / "new")}), refit=True)


@pytest.mark.parametrize("preset", ["default", "notebook"])
def test_without_a_split_there_are_no_figures_and_everything_says_so(
    preset: str, ratings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sections = [f"--set={name}.{key}={value}" for name in SMALL for key, value in SMALL[name].items()]
    where = str(tmp_path / "w")
    notebook = ["--preset", preset, "--set=index.method=exact", "--set=split.method=none"]
    assert cli.main(["run", str(ratings), "--workdir", where, "--memory=1GiB", "--quiet", *notebook, *sections]) == 0
    said = capsys.readouterr().out
    assert "no figures: split.method is none, so the model learned from all ratings, and none was held out" in said
    assert "RMSE" not in said
    assert read_rows(content.collect(where).measured) == []
    pytest.importorskip("altair")
    assert "split.method is none" in write(where).read_text()
    recommender = engine.Recommender.open(where)
    rated = synthetic_ratings(80, 50).group_by("userId").agg("movieId")
    for user, items in rated.iter_rows():
        assert not set(recommender.recommend([user], 50)["item"]) & set(items)
    known = recommender.predict(recommender.users.head(5), recommender.items.head(5))["predicted"]
    assert np.isfinite(known.to_numpy()).all()
