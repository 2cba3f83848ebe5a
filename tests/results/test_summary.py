"""The figures of a run as they are printed."""

from __future__ import annotations

from engine.results.summary import _aligned, _row


def test_columns_of_large_figures_do_not_run_together() -> None:
    large = {"value": 312345678901.25, "standard_error": 15494.0935}
    rows = [("ratings predicted", "model", "bias model", "of 5"), _row("capped Recall@100000", large, large, "meaning")]
    head, line = _aligned(rows)
    assert line.split() == ["capped", "Recall@100000", *["312345678901.2500", "±15494.0935"] * 2, "meaning"]
    assert head.index("bias model") == line.rindex("312345678901.2500")


def test_columns_of_usual_figures_have_their_usual_places() -> None:
    small = {"value": 0.25, "standard_error": 0.001}
    assert _aligned([_row("RMSE", small, None, "x")]) == ["  RMSE              0.2500 ±0.0010    -                 x"]
