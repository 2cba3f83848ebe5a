"""The figures of a run as it prints them: the model's beside the baselines', and what each means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.chunked.printable import printable
from engine.results.verdict import baselines_that_win
from engine.results.weights import Part, chosen_parts

_Cells = tuple[str, str, str, str]
# What a figure means, in 28 signs at most: tables fit 80 columns. docs/metrics.md has all of it.
_OF_RATINGS = (
    ("rmse", "RMSE", "root of mean squared error"),
    ("mae", "MAE", "mean of |predicted - rating|"),
    ("coverage", "coverage", "{coverage}"),
)
_OF_LISTS = (
    ("recall_at_{k}", "Recall@{k}", "hits / liked"),
    ("capped_recall_at_{k}", "capped Recall@{k}", "hits / min({k}, liked)"),
    ("precision_at_{k}", "Precision@{k}", "hits / {k}"),
    ("ndcg_at_{k}", "NDCG@{k}", "hits by 1 / log2(rank + 1)"),
    ("map_at_{k}", "MAP@{k}", "precision at hits, averaged"),
    ("mrr_at_{k}", "MRR@{k}", "1 / rank of the first hit"),
    ("hit_rate_at_{k}", "hit rate@{k}", "users with a hit"),
    ("novelty", "novelty", "bits: -log2(share of users)"),
    ("item_coverage", "item coverage", "share of items recommended"),
    ("gini", "Gini", "0: items alike; 1: only one"),
)
_LEFT_OUT = "earlier ratings of the same pair left out"
# By model: which pairs of user and item are covered.
_COVERAGE = {
    "votes": "pairs with a near item rated",
    "notebook": "neighbours rated it; else 0",
}


def describe(metrics: Mapping[str, Any]) -> str:
    """The content of ``metrics.json``, to be read by people."""
    name = f"{metrics['dataset']} (synthetic)" if metrics["synthetic"] else metrics["dataset"]
    lines = [
        *(f"\n{sentence}" for sentence in baselines_that_win(metrics)),
        f"\n{printable(name)}: {metrics['n_users']:,} users x {metrics['n_items']:,} items",
        f"  train / test ratings  {metrics['n_train']:,} / {metrics['n_test']:,}",
        *_weights(metrics),
        *_notes(metrics),
        "",
    ]
    measured = metrics
    if metrics["config"]["split"]["method"] == "none":
        lines.append(f"no figures: {printable(metrics['why_no_rmse'])}")
        if "evaluated" not in metrics:
            return "\n".join(lines)
        measured = metrics["evaluated"]
        of = f"{measured['n_test']:,} of {measured['n_train'] + measured['n_test']:,} ratings"
        lines += [f"the run with the same parameters that was evaluated, on {of}, has these:", ""]
    return "\n".join([*lines, *_ratings(measured), "", *_lists(measured)])


def _weights(metrics: Mapping[str, Any]) -> list[str]:
    """What the model's parts weigh, and what each is worth on ratings held out of train."""
    of_ratings, of_lists = (chosen_parts(metrics, kind) for kind in ("rating", "ranking"))
    if not of_lists:
        return []
    ratings, lists = (", ".join(_weighed(part) for part in parts if part.weight) for parts in (of_ratings, of_lists))
    of_ratings_told = (
        [] if metrics["feedback"] == "implicit" else [f"  weights of ratings    {ratings or 'the bias model alone'}"]
    )
    return [*of_ratings_told, f"  weights of lists      {lists}"]


def _weighed(part: Part) -> str:
    return f"{part.name} {part.weight:g}" + (f" ({part.worth})" if part.worth else "")


def _notes(metrics: Mapping[str, Any]) -> list[str]:
    lines = []
    neighbors = metrics["neighbors"]
    if neighbors["recall"] is not None:
        lines.append(
            f"  neighbours            {printable(neighbors['method'])} ({printable(neighbors['why'])}): "
            f"{neighbors['recall']:.2%} of the nearest found, seen on {neighbors['n_users_sampled']:,} users"
        )
    if metrics["feedback"] == "implicit":
        lines.append("  feedback              implicit: what users took; every test item is relevant")
    elif metrics["config"]["evaluate"]["liked_from"] == "auto":
        lines.append(f"  liked                 rated {metrics['liked_from']} or more: the top quarter of the scale")
    if metrics["n_left_out"]:
        lines.append(f"  left out              {metrics['n_left_out']:,} later ratings of users without earlier ones")
    if "n_test_in_train" in metrics:
        lines += _of_given(metrics)
    if metrics["n_repeated"]:
        what = "rows of a pair seen before, counted with it" if metrics["values"] != "ratings" else _LEFT_OUT
        lines.append(f"  repeated pairs        {metrics['n_repeated']:,} {what}")
    if metrics.get("n_not_taken"):
        lines.append(f"  not taken             {metrics['n_not_taken']:,} rows with a count of 0 left out")
    if not metrics["sorted_by_user"]:
        lines.append("  rows                  not sorted by user; sorted here")
    return lines + [f"  note                  {printable(note)}" for note in metrics["notes"]]


def _of_given(metrics: Mapping[str, Any]) -> list[str]:
    """What does not fit together of train and a test part made elsewhere."""
    told = (
        (metrics["n_test_in_train"], "pairs of the test part left out: they are in train"),
        (
            metrics["n_unknown_users"],
            "users of the test part without train ratings: they get the most popular items",
        ),
        (
            metrics["n_test"] - metrics["n_test_scored"],
            "test ratings of items that are not in train: not measured",
        ),
    )
    return [f"  test part             {n:,} {what}" for n, what in told if n]


def _ratings(metrics: Mapping[str, Any]) -> list[str]:
    """Of predicted ratings: the model and the bias model."""
    title = "ratings predicted"
    if metrics["rmse"] is None:
        return [f"{title}: no RMSE: {metrics['why_no_rmse']}"]
    model, bias = metrics["figures"]["model"], metrics["figures"]["bias_model"]
    coverage = _COVERAGE[metrics["config"]["evaluate"]["model"]]
    of = f"{metrics['n_test_scored']:,} test ratings by {model['rmse']['n_users']:,} users"
    rows = [
        _row(label, model.get(key), bias.get(key), text.format(coverage=coverage)) for key, label, text in _OF_RATINGS
    ]
    return [f"{title}: {of}", *_aligned([("", "model", "bias model", ""), *rows])]


def _lists(metrics: Mapping[str, Any]) -> list[str]:
    """Of recommended items: the model and the most popular."""
    title = "items recommended"
    section = metrics["config"]["evaluate"]
    if metrics[f"recall_at_{section['k']}"] is None:
        return [f"{title}: no Recall@{section['k']}: {metrics['why_no_recall']}"]
    model, popular = metrics["figures"]["model"], metrics["figures"]["most_popular"]
    of = f"to {metrics['n_users_with_liked']:,} users with a liked test item (rating {metrics['liked_from']} or more)"
    if metrics["feedback"] == "implicit":
        of = f"to {metrics['n_users_with_liked']:,} users with a test item, all of which count as liked"
    lines = [("", "model", "most popular", "")]
    for key, label, text in _OF_LISTS:
        name = key.format(k=section["k"])
        lines.append(_row(label.format(k=section["k"]), model[name], popular[name], text.format(k=section["k"])))
    return [f"{title} {of}", *_aligned(lines)]


def _row(label: str, model: Mapping[str, Any] | None, baseline: Mapping[str, Any] | None, meaning: str) -> _Cells:
    return f"  {label}", _value(model), _value(baseline), meaning


def _aligned(rows: Sequence[_Cells]) -> list[str]:
    """Lines of a table; columns are as wide as usual, or as their longest cell and a gap."""
    widths = [max(usual, *(len(row[k]) + 2 for row in rows)) for k, usual in enumerate((20, 16, 16))]
    lines = ("".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)) + row[3] for row in rows)
    return [line.rstrip() for line in lines]


def _value(figure: Mapping[str, Any] | None) -> str:
    """A value and its standard error."""
    if figure is None or figure["value"] is None:
        return "-"
    error = figure["standard_error"]
    return f"{figure['value']:.4f}" + ("" if error is None else f" ±{error:.4f}")
