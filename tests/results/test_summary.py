"""The figures of a run as they are printed."""

from __future__ import annotations

from engine.results.summary import _COVERAGE, _OF_LISTS, _OF_RATINGS, _aligned, _row, describe


def test_columns_of_large_figures_do_not_run_together() -> None:
    large = {"value": 312345678901.25, "standard_error": 15494.0935}
    rows = [("ratings predicted", "model", "bias model", "of 5"), _row("capped Recall@100000", large, large, "meaning")]
    head, line = _aligned(rows)
    assert line.split() == ["capped", "Recall@100000", *["312345678901.2500", "±15494.0935"] * 2, "meaning"]
    assert head.index("bias model") == line.rindex("312345678901.2500")


def test_a_baseline_that_wins_comes_first() -> None:
    figures = {"model": {"rmse": {"value": 2.0}}, "bias_model": {"rmse": {"value": 1.0}}}
    section = {"split": {"method": "notebook"}, "evaluate": {"k": 50, "liked_from": 4.0, "model": "votes"}}
    metrics = {
        "dataset": "d",
        "synthetic": False,
        "n_users": 1,
        "n_items": 1,
        "n_train": 1,
        "n_test": 1,
        "n_left_out": 0,
    }
    metrics |= {"n_repeated": 0, "sorted_by_user": True, "notes": [], "neighbors": {"recall": None}, "config": section}
    metrics |= {
        "feedback": "explicit",
        "rmse": None,
        "why_no_rmse": "",
        "recall_at_50": None,
        "why_no_recall": "",
        "figures": figures,
    }
    assert describe(metrics).startswith("\nThe bias model predicts ratings better than this model: its RMSE is 1.000")


def test_columns_of_usual_figures_have_their_usual_places() -> None:
    small = {"value": 0.25, "standard_error": 0.001}
    assert _aligned([_row("RMSE", small, None, "x")]) == ["  RMSE              0.2500 ±0.0010  -               x"]


def test_the_tables_fit_80_columns() -> None:
    figure = {"value": 0.25, "standard_error": 0.001}
    for key, label, text in [*_OF_RATINGS, *_OF_LISTS, *(("", "coverage", text) for text in _COVERAGE.values())]:
        if "{coverage}" not in text:
            (line,) = _aligned([_row(label.format(k=50), figure, figure, text.format(k=50))])
            assert len(line) <= 80, key
