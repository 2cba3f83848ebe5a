"""What tasks returned, as others read it from their records.

Each is read from what its step has committed, with ``of`` or a function beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar

import msgspec

from engine.artifacts import names
from engine.chunked.errors import DamagedError
from engine.chunked.journal import Committed
from engine.chunked.storage import Location
from engine.model.parameters import RankingChoice, RankingParameters, RatingChoice, RatingWeights

R = TypeVar("R", bound=msgspec.Struct)


def _one(stage: Committed, task_id: str, kind: type[R]) -> R:
    return _converted(stage, stage.result(task_id), kind)


def _each(stage: Committed, round_name: str, kind: type[R]) -> list[R]:
    return [_converted(stage, result, kind) for result in stage.results(round_name)]


def _converted(stage: Committed, result: Any, kind: type[R]) -> R:
    return converted(stage.root, result, kind)


def converted(root: Location, result: Any, kind: type[R]) -> R:
    """A result as this version reads it; steps of a run never meet another's, but who opens a finished run may.

    Raises
    ------
    DamagedError
        Where it is no such result, naming the step's folder ``root``.
    """
    try:
        return msgspec.convert(result, kind)
    except msgspec.ValidationError as error:
        raise DamagedError(
            f"{root}: another version of this program left it, or it was altered ({error}): begin afresh"
        ) from None


class Surveyed(msgspec.Struct, frozen=True):
    """ingest: the number of rows, about how many users and items there are, and what their texts take."""

    n_rows: int
    about_n_users: int
    about_n_items: int
    user_text_bytes: int
    item_text_bytes: int
    rating_min: float
    rating_max: float


def implicit_because(feedback: str, values: str, rating_min: float, rating_max: float) -> str:
    """Why ratings are implicit feedback: an ``of`` for people, empty where they are none."""
    if feedback == "implicit":
        return "as configured"
    if feedback == "explicit":
        return ""
    if values != "ratings":
        return "the file has counts" if values == "counts" else "the file has users and items alone"
    return "all ratings are equal" if rating_min == rating_max else ""


class Profile(msgspec.Struct, frozen=True):
    """ingest: how large everything is.

    ``rating_step`` is the unit that ratings of ``rating_dtype`` are multiples of; ``rating_min`` and ``rating_max`` are
    in ratings' own units. ``most_ratings_of_users`` are those of 1, 2, 4 ... consecutive users together.
    ``first_users`` has the code of each partition's first user, ascending from 0. ``values`` says what the file had:
    ratings, counts, or users and items alone, which count 1 each. Counts of a pair that repeats are added up, while
    ``rating_max`` is the largest of a row. Times are 0 where they are not kept.
    """

    n_rows: int
    n_users: int
    n_items: int
    rating_dtype: str
    rating_step: float
    rating_min: float
    rating_max: float
    sorted_by_user: bool
    most_ratings_of_users: list[int]
    first_users: list[int]
    values: Literal["ratings", "counts", "pairs"] = "ratings"
    time_min: int = 0
    time_max: int = 0

    def implicit_because(self, feedback: str) -> str:
        """Why this is implicit feedback, by ``matrix.feedback``; empty where it is none."""
        return implicit_because(feedback, self.values, self.rating_min, self.rating_max)

    @classmethod
    def of(cls, ingest: Committed) -> Profile:
        """Read it; raises DamagedError where there is none."""
        return _one(ingest, names.PROFILE, cls)

    @property
    def bounds(self) -> list[int]:
        """Code of the first user of each partition, and the number of users."""
        return [*self.first_users, self.n_users]


class PartitionCounts(msgspec.Struct, frozen=True):
    """ingest: ratings of a partition, and how many were left out because their pair came again.

    ``n_in_train`` are pairs of a test part made elsewhere that were left out, since they are in train; ``n_not_taken``
    are rows that were, since their count is 0.
    """

    n_ratings: int
    n_repeated: int
    n_in_train: int = 0
    n_not_taken: int = 0


def partition_counts(ingest: Committed) -> list[PartitionCounts]:
    """Of each partition."""
    return _each(ingest, names.PARTITIONED, PartitionCounts)


class SplitCounts(msgspec.Struct, frozen=True):
    """split: ratings of a partition that are train's, test's, and neither's.

    ``n_unknown_users`` are users with ratings in a test part made elsewhere, and none in train.
    """

    n_train: int
    n_test: int
    n_left_out: int
    n_unknown_users: int = 0


def split_counts(split: Committed) -> list[SplitCounts]:
    """Of each partition."""
    return _each(split, names.SPLIT, SplitCounts)


class MatrixLayout(msgspec.Struct, frozen=True):
    """matrix: where each partition's ratings start in the flat arrays of train and of test, and the end; columns."""

    train: list[int]
    test: list[int]
    n_columns: int

    @classmethod
    def of(cls, matrix: Committed) -> MatrixLayout:
        """Read it; raises DamagedError where there is none."""
        return _one(matrix, names.LAYOUT, cls)

    def offsets(self, kind: str) -> list[int]:
        """Those of `names.TRAIN` or `names.TEST`."""
        return self.train if kind == names.TRAIN else self.test


class Scale(msgspec.Struct, frozen=True):
    """matrix: the least and the greatest train rating, and the least that is liked; in ratings' own units.

    With implicit feedback ``low`` and ``high`` are the same, since all pairs are alike, and all are liked.
    """

    low: float
    high: float
    liked_from: float
    implicit: bool = False

    @classmethod
    def of(cls, matrix: Committed) -> Scale:
        """Read it; raises DamagedError where there is none."""
        return _one(matrix, names.SCALE, cls)


def is_implicit(matrix: Committed) -> bool:
    """Whether users took items only, and rated none."""
    return any(scale.implicit for scale in _each(matrix, "scale", Scale))


def settled_liked_from(setting: float | str | None, matrix: Committed) -> float:
    """From which rating on items are liked: what is set, or what was found where that is ``auto``; all if implicit."""
    if is_implicit(matrix):
        return -math.inf
    return float(setting) if isinstance(setting, int | float) else Scale.of(matrix).liked_from


class FactorsLayout(msgspec.Struct, frozen=True):
    """factors: the shape of the user vectors, and whether ratings were scaled for them."""

    dims: int
    n_users: int
    scaled: bool = False

    @classmethod
    def of(cls, factors: Committed) -> FactorsLayout:
        """Read it; raises DamagedError where there is none."""
        return _one(factors, names.LAYOUT, cls)


class IndexChoice(msgspec.Struct, frozen=True):
    """index: how neighbours are searched (``exact``, ``pruned`` or ``hnsw``), and why, for people."""

    method: str
    why: str

    @classmethod
    def of(cls, index: Committed) -> IndexChoice:
        """Read it; raises DamagedError where there is none."""
        return _one(index, names.CHOICE, cls)


class Shard(msgspec.Struct, frozen=True):
    """index: users ``start`` to ``stop`` of a graph."""

    start: int
    stop: int


def shards(index: Committed) -> list[Shard]:
    """In order; none but with ``hnsw``."""
    return _each(index, names.BUILT, Shard)


class Looked(msgspec.Struct, frozen=True):
    """neighbors: pairs of a user and a cluster that it was compared with; 0 where there are no clusters."""

    clusters_looked_at: int


def looked(neighbors: Committed) -> list[Looked]:
    """Of each block of users."""
    return _each(neighbors, names.SEARCHED, Looked)


class Found(msgspec.Struct, frozen=True):
    """neighbors: how many true neighbours some users have, and how many of them were found."""

    n_found: int
    n_true: int


def found(neighbors: Committed) -> list[Found]:
    """Of each part of the sample."""
    return _each(neighbors, names.COMPARED, Found)


class Fit(msgspec.Struct, frozen=True):
    """biases: the mean, and the least and greatest of the ratings, in their own units."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, biases: Committed) -> Fit:
        """Read it; raises DamagedError where there is none."""
        return _one(biases, names.BIASES, cls)


class Fitted(msgspec.Struct, frozen=True):
    """residuals: the unit that vectors are fitted in, in units of ratings, and how strongly they are regularised."""

    unit: float
    strength: float

    @classmethod
    def of(cls, residuals: Committed) -> Fitted:
        """Read it; raises DamagedError where there is none."""
        return _one(residuals, names.COLLECTED, cls)


class Calibrated(msgspec.Struct, frozen=True):
    """calibrate: weights of the model's parts, and what they were chosen on.

    Attributes
    ----------
    rating, ranking : RatingChoice, RankingChoice
    n_users : int
        Lists that recall was measured on: users, times folds.
    n_ratings : int
        Ratings that were held out of train and predicted.
    """

    rating: RatingChoice
    ranking: RankingChoice
    n_users: int
    n_ratings: int

    @classmethod
    def of(cls, calibrate: Committed) -> Calibrated:
        """Read it; raises DamagedError where there is none."""
        return _one(calibrate, names.CHOICE, cls)


def chosen_ranking(given: RankingParameters, stages: Mapping[str, Committed]) -> RankingParameters:
    """How items are ranked: with the weights that calibrate chose, if it is among the stages."""
    if "calibrate" not in stages:
        return given
    return replace(given, blend=Calibrated.of(stages["calibrate"]).ranking.weights)


def chosen_rating(given: RatingWeights, stages: Mapping[str, Committed]) -> RatingWeights:
    """What the parts of a predicted rating weigh: as `chosen_ranking`."""
    return Calibrated.of(stages["calibrate"]).rating.weights if "calibrate" in stages else given


class PredictedBlock(msgspec.Struct, frozen=True):
    """predict: a block is of users ``first_user`` to ``last_user``, the last excluded."""

    first_user: int
    last_user: int


def predicted_blocks(predict: Committed) -> list[PredictedBlock]:
    """In order."""
    return _each(predict, names.PREDICTED, PredictedBlock)


class Means(msgspec.Struct, frozen=True):
    """evaluate: the two figures of the notebook, None where they are of nothing, what they are of, and all figures.

    ``n_liked`` are the liked ones of the test ratings; the notebook's model does not count them.
    """

    rmse: float | None
    recall: float | None
    n_test_scored: int
    n_test_covered: int
    n_users_with_liked: int
    figures: dict[str, Any]
    n_liked: int | None = None

    @classmethod
    def of(cls, evaluate: Committed) -> Means:
        """Read it; raises DamagedError where there is none."""
        return _one(evaluate, names.MEANS, cls)


class Joined(msgspec.Struct, frozen=True):
    """recommend: rows of the table, an item each, users of the run, and those of them who get what is popular."""

    n_items: int
    n_users: int
    n_popular: int

    @classmethod
    def of(cls, recommend: Committed) -> Joined:
        """Read it; raises DamagedError where there is none."""
        return _one(recommend, names.JOINED, cls)
