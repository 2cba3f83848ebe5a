"""The main figures of a run in words, beside what is free to have: the bias model, and the most popular items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Shares below this are 0 % when rounded.
_HARDLY = 0.005


def in_words(metrics: Mapping[str, Any]) -> list[str]:
    """What the model does, a sentence for ratings and one for lists, from the content of ``metrics.json``.

    Examples
    --------
    >>> figures = {"model": {"rmse": {"value": 0.9}}, "bias_model": {"rmse": {"value": 1.0}}, "most_popular": {}}
    >>> in_words({"figures": figures, "config": {"evaluate": {"k": 50}}})
    ['predicts ratings 10 % better than the bias model does (RMSE 0.900, not 1.000)']
    """
    told = []
    model, bias = _both(metrics, "rmse", "bias_model")
    if model is not None and bias:
        told.append(f"predicts ratings {_compared(model, bias)} the bias model does (RMSE {model:.3f}, not {bias:.3f})")
    k = metrics["config"]["evaluate"]["k"]
    model, popular = _both(metrics, f"recall_at_{k}", "most_popular")
    if model is not None and popular is not None:
        told.append(
            f"finds {model:.0%} of what people went on to like, in {k} items; the {k} most popular items "
            f"find {popular:.0%}"
        )
    return [text.replace("%", " %") for text in told]


def _compared(model: float, bias: float) -> str:
    """How much better an error is than the bias model's, where a share says something."""
    share = (bias - model) / bias
    if abs(share) < _HARDLY:
        return "about as well as"
    if share < -1:
        return "much worse than"
    return f"{abs(share):.0%} {'better' if share > 0 else 'worse'} than"


def baselines_that_win(metrics: Mapping[str, Any]) -> list[str]:
    """A sentence for each baseline that does better than the model."""
    won = []
    model, bias = _both(metrics, "rmse", "bias_model")
    if model is not None and bias is not None and bias < model:
        won.append(f"The bias model predicts ratings better than this model: its RMSE is {bias:.3f}, not {model:.3f}.")
    k = metrics["config"]["evaluate"]["k"]
    model, popular = _both(metrics, f"recall_at_{k}", "most_popular")
    if model is not None and popular is not None and popular > model:
        won.append(
            f"The most popular items are better lists than those of this model: their Recall@{k} is {popular:.3f}, "
            f"not {model:.3f}."
        )
    return won


def _both(metrics: Mapping[str, Any], name: str, baseline: str) -> tuple[float | None, float | None]:
    """A figure of the model, and of a baseline."""
    ours, theirs = (metrics.get("figures", {}).get(which, {}).get(name) or {} for which in ("model", baseline))
    return ours.get("value"), theirs.get("value")
