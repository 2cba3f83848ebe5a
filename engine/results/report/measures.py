"""The figures of ``metrics.json`` as rows of tables: the run's and the baselines', with standard errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

OURS = "this run"
_MODEL = "model"
_RATINGS = ("rmse", "mae", "coverage")
_LISTS = ("novelty", "item_coverage", "gini")
_LOWER = ("rmse", "mae")
_NEITHER = ("coverage", "novelty", "item_coverage", "gini")
_NAMES = {"rmse": "RMSE", "mae": "MAE", "ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "gini": "Gini"}
_DEFINITIONS = {
    "rmse": "root of the mean squared error over the test ratings whose film occurs in train.",
    "mae": "mean absolute error over the same.",
    "coverage": "share of these ratings for which something near was rated.",
    "recall": "mean share of a user's liked test films that is among the first K recommended.",
    "capped_recall": "the same, of at most K liked films.",
    "precision": "mean share of the first K that is a liked test film.",
    "ndcg": "gain of the hits, 1 / log2(rank + 1) each, over the most it could be.",
    "map": "mean of the precision at the rank of each hit, over the most hits there could be.",
    "mrr": "mean of 1 / rank of the first hit, 0 without one.",
    "hit_rate": "share of users with any hit.",
    "novelty": "mean over the recommended films of -log2 of the share of users who rated them, in bits.",
    "item_coverage": "share of films recommended to anybody.",
    "gini": "how unequally recommendations are spread over films: 0 equally, 1 all of one film.",
}


class Value(NamedTuple):
    """A figure, and its standard error where it is known."""

    value: float
    error: float | None = None

    @property
    def text(self) -> str:
        """The figure as it is printed."""
        return f"{self.value:.4f}"


@dataclass(frozen=True)
class Measure:
    """One figure, of all models that have it.

    Attributes
    ----------
    key : str
        As in ``metrics.json``.
    better : str
        ``lower``, ``higher``, or nothing where neither is.
    over : str
        What the run's is the mean over.
    values : dict of str to Value
        The run's first, under the name `OURS`; then the baselines'.
    """

    key: str
    better: str
    over: str
    values: dict[str, Value]

    @property
    def name(self) -> str:
        """For people."""
        kind, length = _parts(self.key)
        known = _NAMES.get(kind) or kind.replace("_", " ").capitalize()
        return f"{known}@{length}" if length else known

    @property
    def best(self) -> float | None:
        """The best of several values."""
        if len(self.values) < 2 or not self.better:
            return None
        return (min if self.better == "lower" else max)(each.value for each in self.values.values())

    @property
    def baselines(self) -> dict[str, Value]:
        """Of models other than the run's."""
        return {name: value for name, value in self.values.items() if name != OURS}


class Table(NamedTuple):
    """Figures of one kind; those of less interest are ``more``."""

    title: str
    rows: list[Measure]
    more: bool = False

    @property
    def models(self) -> list[str]:
        """Names of all models that have one of them, the run's first."""
        return list(dict.fromkeys([OURS, *(name for row in self.rows for name in row.values)]))


def measures(metrics: Mapping[str, Any]) -> list[Measure]:
    """Read ``metrics.json``; figures that could not be computed are left out."""
    k = metrics["config"]["evaluate"]["k"]
    known = [_MODEL, *(name for name in _figures(metrics, k) if name != _MODEL)]
    figures = {name: dict(_known(_figures(metrics, k)[name])) for name in known}
    return [
        Measure(
            key,
            "" if _parts(key)[0] in _NEITHER else "lower" if key in _LOWER else "higher",
            _over(key, metrics, figures[_MODEL][key]),
            {
                OURS if name == _MODEL else name.replace("_", " "): Value(of[key]["value"], of[key]["standard_error"])
                for name, of in figures.items()
                if key in of
            },
        )
        for key in figures[_MODEL]
    ]


def tables(found: Sequence[Measure], k: int) -> list[Table]:
    """Sort figures by what they are of; those without rows are left out."""
    cut = [each for each in found if _parts(each.key)[1]]
    plain = [each for each in found if not _parts(each.key)[1] and each.key not in _RATINGS]
    sorted_ = [
        Table("Predicted ratings", [each for each in found if each.key in _RATINGS]),
        Table(f"Lists of {k} recommended films", [each for each in cut if _parts(each.key)[1] == str(k)] + plain),
        Table("Of shorter lists", [each for each in cut if _parts(each.key)[1] != str(k)], more=True),
    ]
    return [table for table in sorted_ if table.rows]


def definitions(found: Sequence[Measure], liked_from: float) -> dict[str, str]:
    """What the figures are, in a sentence each, by name."""
    kinds = dict.fromkeys(_parts(each.key)[0] for each in found)
    said = {Measure(kind, "", "", {}).name: _DEFINITIONS[kind] for kind in kinds if kind in _DEFINITIONS}
    return said | {"Liked": f"a test film rated {liked_from} or more. Rankings are measured over users who have one."}


def _figures(metrics: Mapping[str, Any], k: int) -> Mapping[str, Mapping[str, Any]]:
    """Of the model and the baselines; of runs that measured none, the two figures they have."""
    if "figures" in metrics:
        return dict(metrics["figures"])
    return {
        _MODEL: {
            key: {"value": metrics[key], "standard_error": None, "n_users": metrics["n_users_with_liked"]}
            for key in ("rmse", f"recall_at_{k}")
        }
    }


def _known(figures: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((key, each) for key, each in figures.items() if each["value"] is not None)


def _over(key: str, metrics: Mapping[str, Any], figure: Mapping[str, Any]) -> str:
    if key in _RATINGS:
        return f"{metrics['n_test_scored']:,} ratings"
    return f"{figure['n_users']:,} users"


def _parts(key: str) -> tuple[str, str]:
    """``recall_at_50`` is ``recall`` and ``50``."""
    kind, _, length = key.partition("_at_")
    return kind, length
