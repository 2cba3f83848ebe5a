"""The figures of ``metrics.json`` as tables: a row for each figure, with the run's value and the baselines'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

OURS = "this run"
EVALUATED = "the evaluated run"
"""What a refit, which has no figures of its own, calls the run whose figures it shows."""
_MODEL = "model"
_RATINGS = ("rmse", "mae", "coverage")
_LOWER = ("rmse", "mae")
_NEITHER = ("coverage", "novelty", "item_coverage", "gini")
_NAMES = {"rmse": "RMSE", "mae": "MAE", "ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "gini": "Gini"}
_DEFINITIONS = {
    "rmse": "root of the mean squared error over the test ratings whose item occurs in train.",
    "mae": "mean absolute error over the same ratings.",
    "coverage": "share of these ratings predicted from near items, or, with the notebook's model, from neighbours.",
    "recall": "mean share of a user's liked test items that is among the first K recommended.",
    "capped_recall": "the same, but divided by K for a user with more than K liked test items.",
    "precision": "mean share of the first K that is a liked test item.",
    "ndcg": "sum of 1 / log2(rank + 1) over the hits, divided by the highest possible sum.",
    "map": "sum of the precision at the rank of each hit, divided by the highest possible number of hits.",
    "mrr": "mean of 1 / rank of the first hit, 0 without one.",
    "hit_rate": "share of users with any hit.",
    "novelty": "mean over the recommended items of -log2 of the share of users who rated them, in bits.",
    "item_coverage": "share of items recommended to anybody.",
    "gini": "how unequally recommendations are spread over items. 0: all items equally often; 1: one item only.",
}


class Value(NamedTuple):
    """What a figure is for one model, and its standard error where it is known."""

    value: float
    error: float | None = None

    @property
    def text(self) -> str:
        """The value as it is printed."""
        return f"{self.value:.4f}"


@dataclass(frozen=True)
class Row:
    """One figure: its values for the run and for the baselines that have it.

    Attributes
    ----------
    key : str
        As in ``metrics.json``.
    better : str
        ``lower``, ``higher``, or empty where neither is better.
    over : str
        What the run's value is the mean over, such as ``655 users``.
    values : dict of str to Value
        By model: the run's first, under the name `OURS` or `EVALUATED`; then the baselines'.
    """

    key: str
    better: str
    over: str
    values: dict[str, Value]

    @property
    def name(self) -> str:
        """The figure's name for people."""
        kind, length = _parts(self.key)
        name = _NAMES.get(kind) or kind.replace("_", " ").capitalize()
        return f"{name}@{length}" if length else name

    @property
    def best(self) -> float | None:
        """The best value; None where there is only one, or neither lower nor higher is better."""
        if len(self.values) < 2 or not self.better:
            return None
        return (min if self.better == "lower" else max)(value.value for value in self.values.values())

    @property
    def baselines(self) -> dict[str, Value]:
        """Values of the models other than the run's."""
        return dict(list(self.values.items())[1:])


class Table(NamedTuple):
    """Figures of one kind. A table of less interest is ``more``."""

    title: str
    rows: list[Row]
    more: bool = False

    @property
    def models(self) -> list[str]:
        """Names of all models that have one of these figures, the run's first."""
        return list(dict.fromkeys(name for row in self.rows for name in row.values))


def read_rows(metrics: Mapping[str, Any], ours: str = OURS) -> list[Row]:
    """Read the content of ``metrics.json``; figures that could not be computed are left out."""
    if not metrics.get("figures", True):
        return []
    k = metrics["config"]["evaluate"]["k"]
    models = [_MODEL, *(name for name in _figures(metrics, k) if name != _MODEL)]
    figures = {name: dict(_computed(_figures(metrics, k)[name])) for name in models}
    return [
        Row(
            key,
            "" if _parts(key)[0] in _NEITHER else "lower" if key in _LOWER else "higher",
            _over(key, metrics, figures[_MODEL][key]),
            {
                ours if name == _MODEL else name.replace("_", " "): Value(of[key]["value"], of[key]["standard_error"])
                for name, of in figures.items()
                if key in of
            },
        )
        for key in figures[_MODEL]
    ]


def make_tables(rows: Sequence[Row], k: int) -> list[Table]:
    """Sort rows into tables by what their figures measure; tables without rows are left out."""
    at_lengths = [row for row in rows if _parts(row.key)[1]]
    of_whole_lists = [row for row in rows if not _parts(row.key)[1] and row.key not in _RATINGS]
    at_k = [row for row in at_lengths if _parts(row.key)[1] == str(k)]
    shorter = [row for row in at_lengths if _parts(row.key)[1] != str(k)]
    tables = [
        Table("Predicted ratings", [row for row in rows if row.key in _RATINGS]),
        Table(f"Lists of {k} recommended items", at_k + of_whole_lists),
        Table("Shorter lists", shorter, more=True),
    ]
    return [table for table in tables if table.rows]


def definitions(rows: Sequence[Row], liked_from: float | str | None) -> dict[str, str]:
    """Definitions of the figures, a sentence each, by name."""
    kinds = dict.fromkeys(_parts(row.key)[0] for row in rows)
    by_name = {Row(kind, "", "", {}).name: _DEFINITIONS[kind] for kind in kinds if kind in _DEFINITIONS}
    liked = (
        "every test item: the feedback is implicit" if liked_from is None else f"a test item rated {liked_from} or more"
    )
    return by_name | {"Liked": f"{liked}. Rankings are measured over users who have one."}


def _figures(metrics: Mapping[str, Any], k: int) -> Mapping[str, Mapping[str, Any]]:
    """Figures of the model and of the baselines; of runs without baselines, the two figures that they have."""
    if "figures" in metrics:
        return dict(metrics["figures"])
    return {
        _MODEL: {
            key: {"value": metrics[key], "standard_error": None, "n_users": metrics["n_users_with_liked"]}
            for key in ("rmse", f"recall_at_{k}")
        }
    }


def _computed(figures: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((key, figure) for key, figure in figures.items() if figure["value"] is not None)


def _over(key: str, metrics: Mapping[str, Any], figure: Mapping[str, Any]) -> str:
    if key in _RATINGS:
        return f"{metrics['n_test_scored']:,} ratings"
    return f"{figure['n_users']:,} users"


def _parts(key: str) -> tuple[str, str]:
    """``recall_at_50`` is ``recall`` and ``50``."""
    kind, _, length = key.partition("_at_")
    return kind, length
