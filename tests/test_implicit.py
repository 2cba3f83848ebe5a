"""Users and items alone, or counts: nothing is predicted, and every test item is relevant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import engine
from engine import cli
from engine.artifacts.records import implicit_because
from engine.artifacts.tables import measured_users
from engine.chunked.errors import UsageError
from engine.results import figures, summary
from engine.results.report.tables import definitions, make_tables, read_rows
from engine.serving import answers
from engine.serving.compare import compare
from engine.serving.everybody import recommend_all
from engine.serving.finished import open_finished
from engine.serving.recommender import Recommender
from tests.support.pipeline import SMALL, finish_run, read_matrix
from tests.support.ratings import synthetic_ratings, write_ratings

pytestmark = pytest.mark.usefixtures("here")

SECTIONS: dict[str, Any] = {
    "preset": "default",
    "factors": SMALL,
    "neighbors": {"k": 7},
    "item_neighbors": {"k": 5, "ranking_k": 3},
    "evaluate": {"k": 8, "cutoffs": [5]},
}
PAIRS = synthetic_ratings(90, 60).select("userId", "movieId")
# What a file of the same pairs may have beside them.
VALUES: dict[str, list[pl.Expr]] = {
    "pairs": [],
    "equal ratings": [pl.lit(3.5).alias("rating")],
    "counts": [(1 + pl.int_range(pl.len()) % 7).alias("plays")],
}


def finished(folder: Path, rows: pl.DataFrame, **more: Any) -> Path:
    return finish_run(write_ratings(folder, rows), folder / "run", **{**SECTIONS, **more})


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("clicks"), PAIRS)


def metrics_of(where: Path) -> dict[str, Any]:
    run = open_finished(where)
    return figures.collect(run.settings, run.source, {name: stage.root for name, stage in run.stages.items()})


def everybodys_lists(where: Path) -> pl.DataFrame:
    recommender = Recommender.open(where)
    return recommender.recommend(recommender.users, 8, include_test=True)


def test_errors_are_null_with_a_reason_and_every_test_item_is_relevant(clicks: Path) -> None:
    metrics = metrics_of(clicks)
    assert metrics["rmse"] is None
    assert metrics["feedback"] == "implicit"
    assert metrics["liked_from"] is None
    assert metrics["why_no_rmse"] == "implicit feedback has no ratings to predict (the file has users and items alone)"
    of = metrics["figures"]
    assert {of[name][key]["value"] for name in ("model", "bias_model") for key in ("rmse", "mae")} == {None}
    run = open_finished(clicks)
    users = pl.read_parquet(measured_users(run.stages["evaluate"]))
    assert users["n_test"].sum() == metrics["n_test_scored"] > 0
    assert users["n_liked"].equals(users["n_test"])
    assert "squared_error" not in users.columns
    assert metrics["recall_at_8"] == pytest.approx(users["recall_at_8"].mean())
    for step in ("biases", "predict"):
        assert not run.stages[step].root.sizes().keys() - {"records/stage.json"}


@pytest.mark.parametrize("name", ["equal ratings", "counts"])
def test_what_stands_beside_the_pairs_makes_no_difference(name: str, clicks: Path, tmp_path: Path) -> None:
    where = finished(tmp_path, PAIRS.with_columns(VALUES[name]))
    assert metrics_of(where)["feedback"] == "implicit"
    assert everybodys_lists(where).equals(everybodys_lists(clicks))
    assert metrics_of(where)["figures"] == metrics_of(clicks)["figures"]


def test_ratings_may_be_taken_for_clicks_and_counts_for_ratings(clicks: Path, tmp_path: Path) -> None:
    stars = finished(tmp_path / "stars", synthetic_ratings(90, 60), matrix={"feedback": "implicit"})
    assert everybodys_lists(stars).equals(everybodys_lists(clicks))
    counts = finished(tmp_path / "counts", PAIRS.with_columns(VALUES["counts"]), matrix={"feedback": "explicit"})
    metrics = metrics_of(counts)
    assert metrics["feedback"] == "explicit"
    assert metrics["liked_from"] == 6.0
    assert metrics["rmse"] > 1


def test_repeated_pairs_are_one_with_a_count(tmp_path: Path) -> None:
    again = PAIRS.filter(pl.col("movieId") % 2 == 1)
    where = finished(tmp_path, pl.concat([PAIRS, again, again.head(10)]).sort("userId", maintain_order=True))
    metrics, run = metrics_of(where), open_finished(where)
    assert metrics["n_repeated"] == again.height + 10
    assert metrics["n_train"] + metrics["n_test"] == PAIRS.height
    counts = np.concatenate([read_matrix(run.stages, kind).data for kind in ("train", "test")])
    assert counts.sum() == PAIRS.height + again.height + 10 - (PAIRS.height - len(counts))
    assert "rows of a pair seen before, counted with it" in summary.describe(metrics)


@pytest.mark.parametrize(
    ("feedback", "values", "low", "high", "because"),
    [
        ("auto", "ratings", 1, 5, ""),
        ("auto", "ratings", 3, 3, "all ratings are equal"),
        ("auto", "counts", 1, 9, "the file has counts"),
        ("auto", "pairs", 1, 1, "the file has users and items alone"),
        ("implicit", "ratings", 1, 5, "as configured"),
        ("explicit", "pairs", 1, 1, ""),
    ],
)
def test_what_is_implicit(feedback: str, values: str, low: float, high: float, because: str) -> None:
    assert implicit_because(feedback, values, low, high) == because


def test_answers_have_scores_and_reasons_that_fit(clicks: Path, tmp_path: Path) -> None:
    recommender = Recommender.open(clicks)
    listed = recommender.recommend([2, 5], 4)
    assert listed["predicted"].null_count() == listed["mean_rating"].null_count() == listed.height
    n_users = len(recommender.users)
    shown = answers.describe_items(listed, [2, 5], n_users, recommender.predicts_ratings, recommender.implicit)
    assert "score\n" in shown
    first = listed.row(0, named=True)
    why = {
        "item": f"goes with {first['reason_item']}\n",
        "neighbors": f"{first['n_raters']} of your 7 neighbours took it\n",
    }
    assert why[first["reason"]] in shown
    assert listed["reason_rating"].null_count() == listed.height
    assert "rating" not in shown
    assert "rated" not in shown
    assert answers.items_as_mappings(listed, [2, 5])[0]["items"][0]["mean_rating"] is None
    with pytest.raises(UsageError, match="implicit feedback, which has no ratings to predict"):
        recommender.predict([2], [1])
    person = recommender.likes([1, 8, 15])
    assert recommender.recommend(person, 3).height == 3
    (tmp_path / "mine.csv").write_text("movieId\n1\n8\n15\n")
    assert recommender.recommend(recommender.read_newcomer(tmp_path / "mine.csv"), 3).equals(
        recommender.recommend(person, 3)
    )
    made = recommend_all(clicks, tmp_path / "all.parquet", k=4)
    of_all = pl.read_parquet(str(made.out)).filter(pl.col("user").is_in([2, 5]))
    assert of_all.equals(listed.drop("title").select(of_all.columns))


def test_a_count_makes_a_pair_weigh_more_if_that_is_configured(clicks: Path, tmp_path: Path) -> None:
    counted = PAIRS.with_columns(VALUES["counts"])
    weighed = finished(tmp_path / "a", counted, refine={"alpha": 3.0})
    assert not everybodys_lists(weighed).equals(everybodys_lists(clicks))
    vectors = [Recommender.open(weighed).fold_in([1, 8, 15], counts).vector for counts in ([1, 1, 1], [1, 1, 7])]
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01


def test_a_newcomer_took_whatever_they_count(tmp_path: Path) -> None:
    counted = PAIRS.with_columns(plays=5 + pl.int_range(pl.len()) % 3)
    recommender = Recommender.open(finished(tmp_path, counted))
    few, many = (recommender.recommend(recommender.fold_in([1, 8, 15], [n, n, n]), 5) for n in (1, 6))
    assert few.equals(many)


def test_ratings_taken_for_clicks_may_be_negative_a_newcomers_too(tmp_path: Path) -> None:
    signed = synthetic_ratings(90, 60).with_columns(pl.col("rating") * 4 - 10)
    recommender = Recommender.open(finished(tmp_path, signed, matrix={"feedback": "implicit"}))
    low, high = (recommender.recommend(recommender.fold_in([1, 8, 15], [n, n, n]), 5) for n in (-8, 10))
    assert low.equals(high)
    with pytest.raises(UsageError, match="the ratings of this run go from -8 to 10"):
        recommender.fold_in([1], [11])


def test_the_summary_and_the_report_say_so(clicks: Path) -> None:
    metrics = metrics_of(clicks)
    told = summary.describe(metrics)
    assert "implicit: what users took; every test item is relevant" in told
    assert "ratings predicted: no RMSE: implicit feedback has no ratings to predict" in told
    assert "users with a test item, all of which count as liked" in told
    assert "weights of lists" in told
    assert "weights of ratings" not in told
    rows = read_rows(metrics)
    assert "Predicted ratings" not in [table.title for table in make_tables(rows, 8)]
    assert definitions(rows, metrics["liked_from"])["Liked"].startswith("every test item: the feedback is implicit")


def test_runs_of_clicks_are_compared_by_their_lists(clicks: Path, tmp_path: Path) -> None:
    other = finished(tmp_path, PAIRS, neighbors={"k": 5})
    names = [figure.name for figure in compare([clicks, other]).figures]
    assert names == ["recall_at_5", "ndcg_at_5", "recall_at_8", "ndcg_at_8"]


def test_the_notebooks_model_ranks_clicks_too(tmp_path: Path) -> None:
    metrics = metrics_of(finished(tmp_path, PAIRS, preset="notebook", factors={}, index={"method": "auto"}))
    assert metrics["rmse"] is None
    assert metrics["n_users_with_liked"] > 50
    assert metrics["figures"]["model"]["recall_at_8"]["value"] > 0


def test_no_process_is_started_for_a_step_with_nothing_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_ratings(tmp_path, PAIRS)
    options = ["--set", "factors.dims=12", "--set", "factors.passes=1", "--workdir", str(tmp_path / "run")]
    assert cli.main(["run", str(path), "--memory", "1GiB", "--feedback", "implicit", *options]) == 0
    out, err = capsys.readouterr()
    assert "biases: nothing to do" in err
    assert [line.split()[1:] for line in out.splitlines() if line.startswith("predict ")] == [["nothing", "to", "do"]]
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["why_no_rmse"].endswith("(as configured)")
    again = engine.run(engine.Config(dataset=str(path), workdir=str(tmp_path / "run"), memory="1GiB"))
    entries = {stage.stage: stage for stage in again.stages}
    assert entries["ingest"].skipped
    assert engine.plan(engine.Config(dataset=str(path), workdir=str(tmp_path / "run"), memory="1GiB")).stages == []
