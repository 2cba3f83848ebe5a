"""Runs side by side, against plain loops over their tables of users."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine import cli
from engine.chunked.errors import UsageError
from engine.serving.compare import Comparison, Figure, as_mapping, compare, describe
from engine.serving.comparison_page import render
from tests.support.browser import WIDTHS
from tests.support.pipeline import SMALL, finish_run
from tests.support.ratings import synthetic_ratings, write_ratings

SECTIONS: dict[str, Any] = {"preset": "default", "factors": SMALL, "neighbors": {"k": 7}, "evaluate": {"k": 6}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("compare")
    path = write_ratings(folder, synthetic_ratings(60, 40))
    others: dict[str, dict[str, Any]] = {
        "one": {},
        "other": {"predict": {"shrink": 9.0}, "evaluate": {"k": 6, "amplification": 1.0}},
        "split": {"split": {"seed": 5}},
        "liked": {"evaluate": {"k": 6, "liked_from": 2.0}},
    }
    return {name: finish_run(path, folder / name, **(SECTIONS | more)) for name, more in others.items()}


def table(run: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted(run.glob("stages/evaluate-*/users/*"))])


def test_figures_and_differences_are_those_of_plain_loops(runs: dict[str, Path]) -> None:
    found = compare([runs["one"], runs["other"]])
    one, other = table(runs["one"]), table(runs["other"])
    figures = {each.name: each for each in found.figures}
    n, pairs = one["n_test"].to_list(), int(one["n_test"].sum())
    assert (found.n_users, found.n_pairs) == (60, pairs)
    for run, value in zip((one, other), figures["rmse"].values, strict=True):
        assert value == pytest.approx(math.sqrt(float(run["squared_error"].sum()) / pairs))
    recall = [run["recall_at_6"].drop_nulls().to_numpy() for run in (one, other)]
    assert figures["recall_at_6"].values == pytest.approx([each.mean() for each in recall])
    differences = recall[1] - recall[0]
    assert figures["recall_at_6"].differences == [pytest.approx(differences.mean())]
    expected = differences.std(ddof=1) / math.sqrt(len(differences))
    assert figures["recall_at_6"].standard_errors == [pytest.approx(expected)]
    # Leaving out one user at a time gives about the same error of the difference of the roots.
    squares = [run["squared_error"].to_numpy() for run in (one, other)]
    left = [
        np.sqrt(np.delete(squares[1], u).sum() / (pairs - n[u]))
        - np.sqrt(np.delete(squares[0], u).sum() / (pairs - n[u]))
        for u in range(60)
    ]
    jackknife = math.sqrt(59 / 60 * ((np.array(left) - np.mean(left)) ** 2).sum())
    assert figures["rmse"].standard_errors[0] == pytest.approx(jackknife, rel=0.15)


def test_what_configuration_differs_is_told(runs: dict[str, Path]) -> None:
    found = compare([runs["one"], runs["other"]])
    assert found.settings == {"predict.shrink": [2.0, 9.0], "evaluate.amplification": [4.0, 1.0]}
    said = describe(found)
    assert "predict.shrink" in said
    assert "Recall@6" in said
    assert as_mapping(found)["runs"] == [str(runs["one"]), str(runs["other"])]
    same = compare([runs["one"], runs["one"]])
    assert not same.settings
    assert all(each.differences == [0] and each.standard_errors == [0] for each in same.figures)


def test_runs_stand_one_below_the_other_and_fit_80_columns() -> None:
    figure = Figure("recall_at_50", [0.25, 0.5, 0.125, 0.375], [0.25, -0.125, 0.125], [0.0625, 0.0312, 0.0156])
    settings = {"evaluate.popularity_penalty": [0.25, 0.5, 0.125, 0.375]}
    told = describe(Comparison(["a", "b", "c", "d"], 1234, 5678, [figure], settings)).splitlines()
    assert max(map(len, told)) <= 80
    rows = [line.split() for line in told if line.startswith("Recall@50")]
    assert [row[1:5] for row in rows] == [
        ["0.2500", "0.5000", "+0.2500", "±0.0625"],
        ["0.2500", "0.1250", "-0.1250", "±0.0312"],
        ["0.2500", "0.3750", "+0.1250", "±0.0156"],
    ]
    assert [line.split()[:2] for line in told if "so it is" in line] == [["[1]", "[2]"], ["[1]", "[3]"], ["[1]", "[4]"]]


def test_runs_of_other_splits_or_ratings_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="split otherwise"):
        compare([runs["one"], runs["split"]])
    other = finish_run(write_ratings(tmp_path, synthetic_ratings(20, 40)), tmp_path / "run", **SECTIONS)
    with pytest.raises(UsageError, match="of other ratings"):
        compare([runs["one"], other])
    with pytest.raises(UsageError, match="two work directories"):
        compare([runs["one"]])


def test_where_other_items_are_liked_only_ratings_are_compared(runs: dict[str, Path]) -> None:
    found = compare([runs["one"], runs["liked"]])
    assert [each.name for each in found.figures] == ["rmse", "mae"]


def test_the_command_prints_it(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(runs["one"]), str(runs["other"])]) == 0
    told = capsys.readouterr().out
    assert "differences from [1]" in told
    assert max(map(len, told.partition("differences")[2].splitlines())) <= 80
    assert cli.main(["compare", str(runs["one"]), str(runs["one"]), "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {(row["difference"], row["verdict"]) for row in rows} == {("", ""), ("0.0", "the same")}
    assert cli.main(["compare", str(runs["one"]), str(runs["split"])]) == 2


def made(values: list[float], difference: float, error: float, name: str = "recall_at_6") -> Comparison:
    figure = Figure(name, values, [difference], [error])
    return Comparison(["<one>", "other\x1b[2J"], 1234, 5678, [figure], {"neighbors.k": [20, 50]})


@pytest.mark.parametrize(
    ("name", "difference", "error", "verdict"),
    [
        ("recall_at_6", 0.02, 0.009, "better"),
        ("recall_at_6", -0.02, 0.009, "worse"),
        ("recall_at_6", 0.02, 0.011, "not sure"),
        ("rmse", -0.02, 0.009, "better"),
        ("rmse", 0.02, 0.009, "worse"),
        ("rmse", 0.0, 0.0, "the same"),
        ("rmse", 0.0, 0.01, "not sure"),
    ],
)
def test_it_is_told_what_is_better_only_beyond_two_standard_errors(
    name: str, difference: float, error: float, verdict: str
) -> None:
    found = made([0.4, 0.4 + difference], difference, error, name)
    (row,) = [line for line in describe(found).splitlines() if f" ±{error:.4f}" in line]
    assert row.endswith(f"  {verdict}")
    assert as_mapping(found)["figures"][name]["verdicts"] == [verdict]
    page = render(found)
    said = [word for word in ("better", "worse", "not sure", "the same") if f">{word}</td>" in page]
    assert said == [verdict]


def test_the_page_draws_each_difference_to_its_own_scale_and_better_to_the_right() -> None:
    figures = [
        Figure("rmse", [0.8, 0.79, 0.8024, 3.1], [-0.01, 0.0024, 2.3], [0.001, 0.0006, 0.01]),
        Figure("recall_at_6", [0.4, 0.41, 0.39, 0.4], [0.01, -0.01, 0.0], [0.001, 0.001, 0.02]),
    ]
    page = render(Comparison(["first", "better", "worse", "far worse"], 12, 34, figures, {}))
    drawn = re.findall(r'<line class="(sure better|sure worse|unsure)" x1="([-\d.]+)" x2="([-\d.]+)"', page)
    assert [kind for kind, *_ in drawn] == ["sure better"] * 2 + ["sure worse"] * 3 + ["unsure"]
    for kind, *ends in drawn:
        low, high = sorted(map(float, ends))
        assert max(abs(low), abs(high)) == 48  # as far as the drawing goes, however little it is
        assert high - low >= 0.8
        assert (low > 0) == (kind == "sure better")
        assert (high < 0) == (kind == "sure worse")


def test_the_page_escapes_names_and_has_no_script() -> None:
    page = render(made([0.4, 0.5], 0.1, 0.01))
    assert "&lt;one&gt;" in page
    assert "\x1b" not in page
    assert "<script" not in page
    assert "1,234 users with 5,678 test ratings" in page


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_its_window(browser: Any, runs: dict[str, Path], tmp_path: Path, width: int) -> None:
    out = tmp_path / "page.html"
    assert cli.main(["compare", str(runs["one"]), str(runs["other"]), "--html", str(out)]) == 0
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(out.as_uri())
    assert page.locator("tbody tr").count() >= 6
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    verdict = page.locator("tbody tr").first.locator("td").last
    assert verdict.inner_text() in ("not sure", "better", "worse", "the same")
    assert verdict.bounding_box()["x"] + verdict.bounding_box()["width"] <= width  # seen without scrolling
    page.close()
