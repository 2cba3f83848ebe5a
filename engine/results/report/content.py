"""The content of a report, collected from a finished work directory: plain values, without charts or a page."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.artifacts.doubts import doubted
from engine.artifacts.readers import Matrix, read_times
from engine.artifacts.tables import measured_users
from engine.chunked import publishing
from engine.chunked.journal import Committed
from engine.chunked.pipeline import STAGES
from engine.chunked.storage import Place, locate
from engine.config import Config
from engine.model.sizes import READ_RATINGS
from engine.results import recorded
from engine.results.report.reproduce import changed, command

RECALL_BINS = 20
"""Bins of the distribution of recall over users, equally wide."""
# Above this many times the memory of the largest stage, the budget is not drawn.
_FAR = 5


@dataclass(frozen=True)
class Stage:
    """What a stage took; sizes in bytes, samples as in `engine.chunked.workdir.StageEntry`."""

    name: str
    seconds: float
    measured: int
    projected: int
    samples: Sequence[tuple[float, int]]


class Bin(NamedTuple):
    """Users whose recall is at least ``low`` and below ``high``; 1 is in the last bin."""

    low: float
    high: float
    users: int

    @property
    def label(self) -> str:
        """The range in per cent."""
        return f"{self.low:.0%} to {self.high:.0%}"


@dataclass(frozen=True)
class Recall:
    """Distribution of recall over the users with a liked test item."""

    bins: list[Bin]
    users: int
    none: int
    """Users who were recommended none of their liked test items."""
    all: int
    """Users who were recommended all of them."""
    mean: float


class Cell(NamedTuple):
    """Number of items in a range of train ratings and a range of times recommended."""

    rated: str
    recommended: str
    n_items: int


class Share(NamedTuple):
    """The items whose number of train ratings is in a range, and their shares of all ratings and recommendations."""

    rated: str
    n_items: int
    ratings: float
    recommended: float


@dataclass(frozen=True)
class Popularity:
    """How often items are recommended, against how often they were rated."""

    shares: list[Share]
    cells: list[Cell]
    rated: list[str]
    recommended: list[str]
    """The ranges of both counts, ascending."""
    n_items: int
    n_recommended: int
    """Items recommended to anybody."""
    top: float
    """Of the 1 % of items with most ratings: their share of the recommendations."""
    top_ratings: float
    """Of the same items: their share of the train ratings."""


@dataclass(frozen=True)
class Content:
    """Everything on the page."""

    metrics: Mapping[str, Any]
    settings: Config
    allowed: int
    workers: int
    stages: list[Stage]
    unknown: list[str]
    """Stages done by an earlier run, whose memory and time are not known."""
    recall: Recall | None
    popularity: Popularity | None
    command: str
    changed: dict[str, Any]
    ratings_bytes: int
    ratings_sha256: str

    @property
    def liked_from(self) -> float | str | None:
        """From which rating on items are liked, None where all are; earlier versions left that to the configuration."""
        settled: float | str | None = self.metrics.get("liked_from", self.settings.evaluate.liked_from)
        return settled

    @property
    def measured(self) -> Mapping[str, Any]:
        """The content of ``metrics.json`` of the run whose figures these are: this one, or one evaluated before."""
        evaluated: Mapping[str, Any] = self.metrics.get("evaluated", self.metrics)
        return evaluated

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        """The configuration's sections of this run's stages: keys and values by stage."""
        sections: dict[str, dict[str, Any]] = {k: v for k, v in self.metrics["config"].items() if isinstance(v, dict)}
        return sections

    @property
    def seconds(self) -> float:
        """Seconds of all stages together."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def peak(self) -> Stage:
        """The stage that took most memory."""
        return max(self.stages, key=lambda stage: stage.measured)

    @property
    def allowed_is_far(self) -> bool:
        """Whether the budget is so much more than the stages took that it is not drawn."""
        return self.allowed > _FAR * max(max(stage.projected, stage.measured) for stage in self.stages)

    @property
    def over(self) -> list[str]:
        """Stages that took more memory than was projected or allowed."""
        return [
            stage.name for stage in self.stages if stage.measured > min(stage.projected or self.allowed, self.allowed)
        ]


def collect(place: Place) -> Content:
    """Read the newest finished run of a work directory, though a later one is in progress or was interrupted.

    Raises
    ------
    UsageError
        Where it is no work directory, or no run of it is finished.
    DamagedError
        Where it cannot be read.
    """
    where = locate(place).enclosed()
    finished = publishing.opened(where)
    last, metrics = finished.run, recorded.read_figures(finished, where)
    of = recorded.read(last, where)
    stages = {entry.stage: Committed(where / STAGES / entry.folder) for entry in last.stages}
    evaluate = stages.get("evaluate")
    with doubted(lambda: stages):
        return Content(
            metrics=metrics,
            settings=of.settings,
            allowed=last.allowed,
            workers=last.workers,
            stages=[
                Stage(entry.stage, entry.seconds, entry.measured, entry.projected, entry.samples)
                for entry in last.stages
                if entry.seconds
            ],
            unknown=[entry.stage for entry in last.stages if not entry.seconds and not entry.idle],
            recall=None if evaluate is None else _recall(evaluate, of.settings.evaluate.k),
            popularity=None if evaluate is None else _popularity(evaluate, stages["matrix"]),
            command=command(of.settings, metrics["dataset"], last.allowed),
            changed=dict(changed(of.settings)),
            ratings_bytes=of.ratings_bytes,
            ratings_sha256=of.identity[1],
        )


def recall_over_users(recall: pl.LazyFrame) -> Recall | None:
    """Distribution of recall.

    Parameters
    ----------
    recall : LazyFrame
        One row for each user, with a column ``recall``: null for users without a liked test item.

    Returns
    -------
    Recall or None
        None where no user has a liked test item.
    """
    value = pl.col("recall")
    place = (value * RECALL_BINS).floor().cast(pl.Int64).clip(upper_bound=RECALL_BINS - 1)
    # Users are counted into few groups as they are read: memory does not grow with their number.
    grouped = (
        recall.drop_nulls()
        .group_by(place.alias("place"))
        .agg(users=pl.len(), none=(value == 0).sum(), all=(value == 1).sum(), total=value.sum())
        .collect(engine="streaming")
    )
    users = int(grouped["users"].sum())
    if not users:
        return None
    counts = dict(grouped.select("place", "users").iter_rows())
    bins = [Bin(i / RECALL_BINS, (i + 1) / RECALL_BINS, counts.get(i, 0)) for i in range(RECALL_BINS)]
    return Recall(
        bins, users, int(grouped["none"].sum()), int(grouped["all"].sum()), float(grouped["total"].sum()) / users
    )


def popularity_of(rated: NDArray[np.int64], recommended: NDArray[np.int64]) -> Popularity:
    """How often items are recommended, against how often they were rated.

    Parameters
    ----------
    rated, recommended : int arrays, shape (items,)
        Train ratings of each item (at least 1), and users it is recommended to.
    """
    edges = _edges(int(max(rated.max(initial=1), recommended.max(initial=1))))
    labels = [_range(low, high) for low, high in itertools.pairwise(edges)]
    by_rated = np.searchsorted(edges, rated, side="right") - 1
    by_recommended = np.searchsorted(edges, recommended, side="right") - 1
    n = len(labels)
    n_items = np.bincount(by_rated * n + by_recommended, minlength=n * n).reshape(n, n)
    of_ratings = np.bincount(by_rated, rated, minlength=n) / max(1, rated.sum())
    of_recommended = np.bincount(by_rated, recommended, minlength=n) / max(1, recommended.sum())
    shares = [
        Share(labels[i], int(n_items[i].sum()), float(of_ratings[i]), float(of_recommended[i]))
        for i in range(n)
        if n_items[i].any()
    ]
    most = np.argsort(-rated, kind="stable")[: max(1, len(rated) // 100)]
    return Popularity(
        shares=shares,
        cells=[Cell(labels[i], labels[j], int(n_items[i, j])) for i, j in zip(*n_items.nonzero(), strict=True)],
        rated=[label for i, label in enumerate(labels) if n_items[i].any()],
        recommended=labels[: int(by_recommended.max(initial=0)) + 1],
        n_items=len(rated),
        n_recommended=int((recommended > 0).sum()),
        top=float(recommended[most].sum() / max(1, recommended.sum())),
        top_ratings=float(rated[most].sum() / max(1, rated.sum())),
    )


def _edges(largest: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, 50 and so on, the last more than the largest."""
    edges = [0, 1]
    while edges[-1] <= largest:
        edges += [edges[-1] * 2, edges[-1] * 5, edges[-1] * 10]
    return edges[: next(i for i, edge in enumerate(edges) if edge > largest) + 1]


def _range(low: int, high: int) -> str:
    """A range of counts, the upper end excluded."""
    if high - low == 1:
        return str(low)
    return f"{low}–{high - 1}" if low < 1000 else f"{low // 1000}k–{high // 1000}k"


def _recall(evaluate: Committed, k: int) -> Recall | None:
    """None also where the run kept none of each user."""
    column = f"recall_at_{k}"
    users = pl.scan_parquet(measured_users(evaluate), glob=False)
    return recall_over_users(users.select(recall=column)) if column in users.collect_schema() else None


def _popularity(evaluate: Committed, matrix: Committed) -> Popularity | None:
    """None where the run kept no record of what is recommended."""
    times = read_times(evaluate)
    return None if times is None else popularity_of(Matrix(matrix).train.count_columns(READ_RATINGS), times)
