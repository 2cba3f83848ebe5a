"""Figures of several finished runs side by side: how much one is better than another, and how sure that is.

A difference is taken user by user: each user's figure in the one less that in the other, so that what makes a user easy
or hard to serve cancels. Its standard error is that of a mean of such differences (Cochran, Sampling Techniques, 1977,
section 6.3, for figures over pairs).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from engine import config
from engine.artifacts.tables import measured_users
from engine.chunked.errors import UsageError
from engine.chunked.printable import printable
from engine.config import Section
from engine.model.metrics import Mean
from engine.serving.finished import FinishedRun, damage_told, open_measured


@dataclass(frozen=True)
class Figure:
    """One figure of all runs.

    Attributes
    ----------
    name : str
    values : list of float
        Of each run.
    differences, standard_errors : list of float
        Of each run but the first, from the first.
    """

    name: str
    values: list[float]
    differences: list[float]
    standard_errors: list[float]

    @property
    def verdicts(self) -> list[str]:
        """Of each run but the first: ``better`` or ``worse`` by more than two standard errors; else ``not sure``.

        ``the same`` is what differs for nobody.
        """
        return [self._verdict(*each) for each in zip(self.differences, self.standard_errors, strict=True)]

    def _verdict(self, difference: float, error: float) -> str:
        if difference == error == 0:
            return "the same"
        if abs(difference) <= 2 * error or difference == 0:
            return "not sure"
        return "better" if (difference < 0) == lower_is_better(self.name) else "worse"


@dataclass(frozen=True)
class Comparison:
    """Several runs compared.

    Attributes
    ----------
    names : list of str
        The work directories.
    n_users, n_pairs : int
        Users, and their test ratings.
    figures : list of Figure
        Without those of lists where the runs do not like the same test items.
    settings : dict of str to list
        Configuration keys that differ, with their value in each run.
    notes : sequence of str
        Of which work directories it is not the newest run.
    """

    names: list[str]
    n_users: int
    n_pairs: int
    figures: list[Figure]
    settings: dict[str, list[Any]]
    notes: Sequence[str] = ()


def compare(places: Sequence[Any]) -> Comparison:
    """Compare finished runs with the first of them.

    Where the newest run of a work directory is a refit, it is the one that was evaluated before.

    Parameters
    ----------
    places : sequence of path or URL
        Work directories.

    Raises
    ------
    UsageError, DamagedError
        As `engine.serving.finished.open_measured`; UsageError, too, for fewer than two, and for runs of other ratings
        or with other test ratings, which cannot be compared.
    """
    if len(places) < 2:
        for place in places:
            open_measured(place)  # a folder of work directories is told as that
        raise UsageError("give two work directories or more")
    runs = [open_measured(place) for place in places]
    for run in runs:
        if "evaluate" not in run.stages:
            raise UsageError(f"{run.workdir}: held nothing out, so it has no figures to compare: run it with a split")
    for run in runs[1:]:
        _refuse_other_split(runs[0], run)
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(damage_told(run))
        return _compared(runs)


def _compared(runs: Sequence[FinishedRun]) -> Comparison:
    tables = [users_of(run) for run in runs]
    for run, table in zip(runs[1:], tables[1:], strict=True):
        if not table.select("user", "n_test").equals(tables[0].select("user", "n_test")):
            raise UsageError(f"{run.workdir}: other test ratings than in {runs[0].workdir}: they cannot be compared")
    earlier = [run for run in runs if run.earlier]
    return Comparison(
        [str(run.workdir) for run in runs],
        len(tables[0]),
        int(tables[0]["n_test"].sum()),
        list(figures_of(tables)),
        dict(_settings_that_differ(runs)),
        [f"{run.workdir}: its newest run held nothing out; compared is the last evaluated" for run in earlier],
    )


def _refuse_other_split(first: FinishedRun, run: FinishedRun) -> None:
    if run.identity != first.identity:
        raise UsageError(f"{run.workdir}: of other ratings than {first.workdir}: give runs of the same file")
    if run.settings.split != first.settings.split:
        raise UsageError(
            f"{run.workdir}: its ratings are split otherwise than in {first.workdir}: run one of them again with the "
            "split of the other"
        )


def users_of(run: FinishedRun) -> pl.DataFrame:
    """What was measured of each user."""
    return pl.read_parquet(measured_users(run.stages["evaluate"]), glob=False)


def figures_of(tables: Sequence[pl.DataFrame]) -> Iterator[Figure]:
    """Figures of several `users_of`, of the same users and test ratings; differences are from the first."""
    n_test = tables[0]["n_test"].to_numpy()
    rated = all("squared_error" in table.columns for table in tables)  # with implicit feedback there are no errors
    if rated and n_test.sum():
        squared = [table["squared_error"].to_numpy() for table in tables]
        mse = [Mean.over_pairs(each, n_test) for each in squared]
        roots = [math.sqrt(each.value or 0.0) for each in mse]
        differences = [Mean.over_pairs(each - squared[0], n_test) for each in squared[1:]]
        # By the delta method: a difference of roots is about that of the squares over twice the root.
        errors = [(each.standard_error or 0.0) / (2 * roots[0]) if roots[0] else 0.0 for each in differences]
        yield Figure("rmse", roots, [root - roots[0] for root in roots[1:]], errors)
        yield _of_pairs("mae", [table["absolute_error"].to_numpy() for table in tables], n_test)
    if not all(table["n_liked"].equals(tables[0]["n_liked"]) for table in tables):
        return  # what was liked in one was not in another: shares of it are of other things
    shared = set.intersection(*(set(table.columns) for table in tables))
    for name in tables[0].columns:
        if name in shared and name.startswith(("recall_at_", "ndcg_at_")):
            values = [table[name].drop_nulls().to_numpy() for table in tables]
            if len(values[0]):
                yield _of_pairs(name, values, np.ones(len(values[0]), dtype=np.int64))


def _of_pairs(name: str, totals: Sequence[Any], counts: Any) -> Figure:
    differences = [Mean.over_pairs(each - totals[0], counts) for each in totals[1:]]
    return Figure(
        name,
        [Mean.over_pairs(each, counts).value or 0.0 for each in totals],
        [each.value or 0.0 for each in differences],
        [each.standard_error or 0.0 for each in differences],
    )


def _settings_that_differ(runs: Sequence[FinishedRun]) -> Iterator[tuple[str, list[Any]]]:
    sections = {
        name: [config.to_json(getattr(run.settings, name)) for run in runs]
        for name in runs[0].settings.__struct_fields__
        if isinstance(getattr(runs[0].settings, name), Section)
    }
    if len({run.settings.preset for run in runs}) > 1:
        yield "preset", [run.settings.preset for run in runs]
    for section, values in sections.items():
        for key in dict.fromkeys(chain.from_iterable(values)):
            of_runs = [each.get(key) for each in values]
            if any(value != of_runs[0] for value in of_runs):
                yield f"{section}.{key}", of_runs


def as_mapping(found: Comparison) -> dict[str, Any]:
    """The comparison for programs, as JSON values."""
    figures = {
        each.name: {
            "values": each.values,
            "differences": each.differences,
            "standard_errors": each.standard_errors,
            "verdicts": each.verdicts,
        }
        for each in found.figures
    }
    counts = {"n_users": found.n_users, "n_test": found.n_pairs}
    return {"runs": found.names, **counts, "figures": figures, "settings": found.settings, "notes": [*found.notes]}


def describe(found: Comparison) -> str:
    """The comparison for people: a table for each run but the first, one below the other."""
    numbers = [f"[{number}]" for number in range(1, len(found.names) + 1)]
    lines = [f"{number} {printable(name)}" for number, name in zip(numbers, found.names, strict=True)]
    lines += ["", f"{found.n_users:,} users with {found.n_pairs:,} test ratings; differences from {numbers[0]}", ""]
    for place, number in enumerate(numbers[1:]):
        lines.append(f"{'':<16}{numbers[0]:>10}{number:>10}{'difference':>20}{'so it is':>10}")
        lines += [_of_run(each, place) for each in found.figures]
        lines.append("")
    lines += ["± is one standard error; better or worse is what differs by more than two"]
    lines += ["", "configuration that differs" if found.settings else "no configuration differs"]
    for key, values in found.settings.items():
        lines.append(f"  {key:<28}  " + ", ".join(f"{n} {value}" for n, value in zip(numbers, values, strict=True)))
    return "\n".join(lines)


def _of_run(figure: Figure, place: int) -> str:
    """A line of a run's table: a figure of the first run and of this, which is one of the others."""
    difference = f"{figure.differences[place]:+.4f} ±{figure.standard_errors[place]:.4f}"
    values = f"{figure.values[0]:>10.4f}{figure.values[place + 1]:>10.4f}"
    return f"{label(figure.name):<16}{values}{difference:>20}{figure.verdicts[place]:>10}"


def lower_is_better(name: str) -> bool:
    """Whether a figure is an error."""
    return name in ("rmse", "mae")


def label(name: str) -> str:
    """A figure's name for people: ``recall_at_50`` is ``Recall@50``."""
    kind, _, k = name.partition("_at_")
    shown = {"rmse": "RMSE", "mae": "MAE", "recall": "Recall", "ndcg": "NDCG"}[kind]
    return f"{shown}@{k}" if k else shown
