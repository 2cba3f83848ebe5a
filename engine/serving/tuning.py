"""What a run does not choose by itself, such as dimensions and regularisation, tried on ratings held out of train.

A configuration is judged as the step ``calibrate`` judges weights: a small model is fitted to some users' train
ratings without a part of them, and asked for that part. Users and parts are the same for every configuration, so that
gains are taken user by user. Only that step is run, beside the finished run: a configuration tried stays in the work
directory, and is not tried again. Nothing of test is read.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Unpack

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import costs
from engine.artifacts.readers import read_held_out
from engine.artifacts.records import Calibrated, settled_liked_from
from engine.chunked.errors import BudgetError, UsageError
from engine.chunked.events import OnEvent, ignore
from engine.chunked.journal import Committed
from engine.chunked.loop import Resources, run_beside
from engine.chunked.storage import Place
from engine.config import Config
from engine.config.loading import validated
from engine.model.calibration import mean_over_pairs, squared_errors
from engine.model.parameters import Worth, blends
from engine.pipeline import pipeline_from
from engine.serving.finished import FinishedRun, damage_told, open_measured

By = Literal["recall", "rmse"]
Values = Mapping[str, Any]

SPACES: Mapping[By, Mapping[str, Sequence[Any]]] = {
    "recall": {
        "factors.dims": (32, 64, 128),
        "refine.regularisation": (0.005, 0.015, 0.05),
        "refine.sweeps": (2, 3, 5),
        "refine.unseen_weight": (300.0, 600.0, 1200.0),
        "neighbors.k": (25, 50, 100),
        "evaluate.amplification": (2.0, 4.0, 6.0),
        "evaluate.popularity_penalty": (0.0, 0.1, 0.2),
        "evaluate.disliked_vote": (0.0, 0.3, 1.0),
        "evaluate.liked_share": (0.4, 0.8, 1.6),
        "item_neighbors.ranking_k": (15, 50),
        "cooccurrence.item_power": (0.2, 0.5),
        "factors.user_scaling": (0.0, 0.25, 0.5),
        "factors.item_scaling": (0.0, 0.1, 0.2),
    },
    "rmse": {
        "residuals.dims": (16, 32, 64),
        "residuals.strength": (0.5, 1.0, 2.0),
        "residuals.sweeps": (1, 2, 4),
        "biases.user_damping": (2.0, 5.0, 10.0),
        "biases.item_damping": (1.0, 3.0, 6.0),
        "item_neighbors.k": (25, 50, 100),
        "item_neighbors.shrink": (3.0, 10.0, 30.0),
        "item_neighbors.min_ratings": (1, 3, 5),
        "predict.shrink": (1.0, 2.0, 4.0),
    },
}
"""For each figure the parameters that bear on it, in the order they are varied, and the values tried."""


@dataclass(frozen=True)
class Trial:
    """A configuration that was tried.

    Attributes
    ----------
    changed : dict
        Keys and values that are not the run's.
    value : float or None
        Its figure, with the weights it chose; None where it does not fit the budget.
    gain : Worth
        By how much that is better than the run's configuration, and the standard error of this.
    before : bool
        Whether it had been tried before.
    why_not : str
        Why it could not be tried.
    """

    changed: Values
    value: float | None
    gain: Worth
    before: bool
    why_not: str = ""


@dataclass(frozen=True)
class Tuned:
    """What was tried, in order; the first is the run's own configuration.

    Attributes
    ----------
    by : str
        ``recall`` or ``rmse``.
    k : int
        Items of the lists that recall is of.
    trials : list of Trial
    best : Trial
        The last that was better than the best before it by more than the standard error of the difference.
    left : int
        Configurations there was no time for, if nothing else turns out to be better; 0 where nothing is left to try.
    run : FinishedRun
        The run whose configuration is the first.
    settings : Config
        The best.
    """

    by: By
    k: int
    trials: list[Trial]
    best: Trial
    left: int
    run: FinishedRun
    settings: Config

    @property
    def complete(self) -> bool:
        """Whether nothing is left to try; else there was no time."""
        return not self.left


@dataclass(frozen=True)
class _Figure:
    """Of each user a total, and of how many ratings: squared errors, or one recall each, better the greater it is."""

    by: By
    totals: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def value(self) -> float:
        mean = float(self.totals.sum() / self.counts.sum())
        return math.sqrt(mean) if self.by == "rmse" else mean

    def gain_over(self, other: _Figure) -> Worth:
        """By how much it is better, in units of the figure."""
        paired = mean_over_pairs(self.totals - other.totals, self.counts)
        if self.by == "recall":
            return paired
        # By the delta method: a difference of roots has the error of that of the squares over twice the root.
        return Worth(other.value - self.value, paired.error / (2 * max(other.value, 1e-12)))


def tune(
    where: Place, *, minutes: float, by: By = "recall", on_event: OnEvent = ignore, **resources: Unpack[Resources]
) -> Tuned:
    """Try other configurations than a finished run's, one parameter after the other, as long as there is time.

    The best value of a parameter is kept for those that follow, where it is better by more than its error. The order
    is always the same, and the run's own configuration is the first.

    Parameters
    ----------
    where : path or URL
        The work directory.
    minutes : float
        None is begun after that; the first is always measured.
    by : {"recall", "rmse"}
        What configurations are judged by.
    on_event : callable
        Told what happens, for progress.
    **resources
        ``memory``, ``workers``, ``executor``, ``scheduler``: see `engine.chunked.loop.Resources`.

    Raises
    ------
    UsageError
        Where the run has no validation part, or no such figure; and as `engine.serving.finished.open_measured`.
    BudgetError, LockedError, DamagedError, Interrupted
        See `engine.chunked.errors`; BudgetError where the run's own configuration does not fit, or the disk is full.
    """
    if not minutes >= 0:
        raise UsageError(f"{minutes} minutes: give 0 or more")
    end = time.monotonic() + 60 * minutes
    run = open_measured(where, "calibrate")
    if not costs.calibrates(run.settings):
        raise UsageError(
            f"{run.workdir}: this run held no ratings out of train that configurations could be compared by: run it "
            "with the default preset and --set calibrate.method=validation"
        )
    figure, before = _measure(run, {}, by, on_event, resources)
    trials = [Trial({}, figure.value, Worth(0.0, 0.0), before)]
    start, best, best_figure, done = figure, trials[0], figure, {_key(run.settings)}
    space, last = [(key, value) for key, values in SPACES[by].items() for value in values], None

    def tuned(left: int) -> Tuned:
        return Tuned(by, run.settings.evaluate.k, trials, best, left, run, _with(run.settings, best.changed))

    while last is not best:  # until all parameters were gone through without a change
        last = best
        for key, value in space:
            changed = {**best.changed, key: value}
            settings = _with(run.settings, changed)
            if _key(settings) in done:
                continue
            if time.monotonic() >= end:
                others = {_key(_with(run.settings, {**best.changed, key: value})) for key, value in space}
                return tuned(left=len(others - done))
            done.add(_key(settings))
            try:
                figure, before = _measure(run, changed, by, on_event, resources)
            except BudgetError as error:
                if error.enough is None:  # it is the disk that is too small
                    raise
                trials.append(Trial(changed, None, Worth(0.0, 0.0), False, str(error)))
                continue
            trials.append(Trial(changed, figure.value, figure.gain_over(start), before))
            if figure.gain_over(best_figure).is_real:
                best, best_figure = trials[-1], figure
    return tuned(left=0)


def _key(settings: Config) -> bytes:
    return msgspec.json.encode(settings)


def _with(settings: Config, values: Values) -> Config:
    """A configuration with some keys changed."""
    for key, value in values.items():
        section, name = key.split(".")
        changed = msgspec.structs.replace(getattr(settings, section), **{name: value})
        settings = msgspec.structs.replace(settings, **{section: changed})
    return validated(settings)


def _measure(
    run: FinishedRun, changed: Values, by: By, on_event: OnEvent, resources: Resources
) -> tuple[_Figure, bool]:
    """The figure of a configuration, and whether it was there already."""
    settings = _with(run.settings, changed)
    pipeline = pipeline_from(settings, run.source, run.identity)
    with damage_told(run):
        made = run_beside(pipeline, "calibrate", run.workdir, on_event=on_event, **resources)
        return _figure(run, settings, made.committed("calibrate"), by), made.stages[0].skipped


def _figure(run: FinishedRun, settings: Config, calibrate: Committed, by: By) -> _Figure:
    chosen, held = Calibrated.of(calibrate), read_held_out(calibrate, settings.calibrate.folds)
    if by == "rmse":
        weights = np.array([chosen.rating.weights.latent, chosen.rating.weights.near])
        totals = np.concatenate([squared_errors(sums, weights) for sums in held.sums])
        counts = np.concatenate(held.counts)
    else:
        liked_from = settled_liked_from(settings.evaluate.liked_from, run.stages["matrix"])
        tried = blends(settings.evaluate.ranking_parameters(liked_from).blend, settings.refine.sweeps > 0)
        totals = held.recalls[:, tried.index(chosen.ranking.weights)].astype(np.float64)
        counts = np.ones(len(totals), dtype=np.int64)
    if not counts.sum():
        raise UsageError(
            f"{run.workdir}: no ratings were held out of train to judge {by} by: there are too few, or users rated "
            "nothing (then tune by recall)"
        )
    return _Figure(by, totals, counts)
