"""The figures in words, and whether a baseline wins."""

from __future__ import annotations

from typing import Any

import pytest

from engine.results.verdict import baselines_that_win, in_words


def metrics(rmse: float | None, bias: float | None, recall: float | None, popular: float | None) -> dict[str, Any]:
    figures = {
        "model": {"rmse": {"value": rmse}, "recall_at_50": {"value": recall}},
        "bias_model": {"rmse": {"value": bias}},
        "most_popular": {"recall_at_50": {"value": popular}},
    }
    return {"figures": figures, "config": {"evaluate": {"k": 50}}}


def test_a_model_that_wins_is_told_in_words() -> None:
    found = metrics(0.8507, 0.8774, 0.4594, 0.2490)
    assert in_words(found) == [
        "predicts ratings 3 % better than the bias model does (RMSE 0.851, not 0.877)",
        "finds 46 % of what people went on to like, in 50 items; the 50 most popular items find 25 %",
    ]
    assert baselines_that_win(found) == []


def test_baselines_that_win_are_told() -> None:
    found = metrics(3.171, 0.877, 0.2, 0.25)
    assert "predicts ratings much worse than the bias model does (RMSE 3.171, not 0.877)" in in_words(found)
    assert baselines_that_win(found) == [
        "The bias model predicts ratings better than this model: its RMSE is 0.877, not 3.171.",
        "The most popular items are better lists than those of this model: their Recall@50 is 0.250, not 0.200.",
    ]
    assert len(baselines_that_win(metrics(1, 2, 0.2, 0.25))) == len(baselines_that_win(metrics(2, 1, 0.3, 0.25))) == 1


@pytest.mark.parametrize("found", [metrics(None, None, None, None), {"figures": {}, "config": {"evaluate": {"k": 50}}}])
def test_what_was_not_measured_is_not_told(found: dict[str, Any]) -> None:
    assert in_words(found) == baselines_that_win(found) == []


@pytest.mark.parametrize(
    ("rmse", "words"),
    [
        (0.9504, "about as well as"),
        (0.9510, "about as well as"),
        (0.9550, "about as well as"),
        (0.9450, "1 % better than"),
        (0.9700, "2 % worse than"),
        (1.9000, "100 % worse than"),
        (1.9100, "much worse than"),
    ],
)
def test_a_share_is_told_where_it_says_something(rmse: float, words: str) -> None:
    assert in_words(metrics(rmse, 0.951, None, None))[0].startswith(f"predicts ratings {words} the bias model does")
