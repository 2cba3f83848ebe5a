"""What a finished run says of itself, read with types: another version, or anybody, may have written it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from engine.chunked.errors import DamagedError, UsageError
from engine.chunked.publishing import Finished
from engine.chunked.storage import Location
from engine.chunked.workdir import LastRun
from engine.config import Config
from engine.ratings.source import KINDS, Source

_Count = Annotated[int, msgspec.Meta(ge=0)]
_AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
_PartOfRatings = Literal["latent", "near"]
_PartOfLists = Literal["products", "votes", "together", "popularity"]
_Worth = tuple[float, Annotated[float, msgspec.Meta(ge=0)]]


class _Figure(msgspec.Struct):
    """A figure, its standard error, and the users it is of."""

    value: float | None
    standard_error: Annotated[float, msgspec.Meta(ge=0)] | None
    n_users: _Count


class _OfRatings(msgspec.Struct):
    """What the parts of a predicted rating weigh, and are worth."""

    weights: dict[_PartOfRatings, float]
    worth: dict[_PartOfRatings, _Worth] = {}


class _OfLists(msgspec.Struct):
    """What the parts of how items are ranked weigh, and are worth."""

    weights: dict[_PartOfLists, float]
    worth: dict[_PartOfLists, _Worth] = {}


class _Weights(msgspec.Struct):
    rating: _OfRatings
    ranking: _OfLists
    chosen: bool


class _Evaluate(msgspec.Struct):
    k: _AtLeastOne


class _Sections(msgspec.Struct):
    """The configuration, of which the figures' names depend on the length of lists."""

    evaluate: _Evaluate
    preset: str


class _Metrics(msgspec.Struct):
    """The content of ``metrics.json``, as far as anything reads it of a finished run."""

    dataset: str
    synthetic: bool
    n_ratings: _Count
    n_users: _Count
    n_items: _Count
    n_train: _Count
    n_test: _Count
    n_test_scored: _Count
    n_users_with_liked: _Count
    liked_from: float | None
    weights: _Weights | None
    figures: dict[str, dict[str, _Figure]]
    notes: list[str]
    config: _Sections
    why_no_rmse: str = ""
    why_no_recall: str = ""
    evaluated: _Metrics | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True)
class Recorded:
    """What a run was of.

    Attributes
    ----------
    settings : Config
        What it was configured with.
    identity : list of str
        What identifies the ratings: their size in bytes, and digests.
    source : Source
        The ratings; they may be gone.
    """

    settings: Config
    identity: list[str]
    source: Source

    @property
    def ratings_bytes(self) -> int:
        """Size of the ratings."""
        return int(self.identity[0])


def read(last: LastRun, where: Location) -> Recorded:
    """Read what a run of the work directory ``where`` was of.

    Raises
    ------
    DamagedError
        Where it does not say so, or not as this version does.
    """
    try:
        settings = msgspec.convert(last.details["settings"], Config)
        source = Source.from_json(dict(last.details["source"]))
        size, *digests = last.details["identity"]
        if not digests or not source.files or any(len(file.columns) != len(KINDS) for file in source.files):
            raise ValueError("it does not say what it read")
        return Recorded(settings, [str(int(size)), *map(str, digests)], source)
    except UsageError as error:
        raise DamagedError(f"{where}: {error}, which its last run says it read: run it again") from None
    except (msgspec.ValidationError, TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise DamagedError(f"{where}: another version ran it, or it was altered ({error}): run it again") from None


def read_figures(found: Finished, where: Location) -> Mapping[str, Any]:
    """The content of a finished run's ``metrics.json``, in which everything that is read is of its type and range.

    Raises
    ------
    DamagedError
        Where something is not.
    """
    try:
        _refuse_odd(msgspec.convert(found.metrics, _Metrics))
    except (msgspec.ValidationError, ValueError) as error:
        raise DamagedError(f"{where}: its figures are another version's, or altered ({error}): run it again") from None
    return found.metrics


def _refuse_odd(metrics: _Metrics) -> None:
    """See that the model itself has the figures that a baseline has, and that one run was not evaluated by itself."""
    if metrics.figures and "model" not in metrics.figures:
        raise ValueError("there are none of the model")
    if metrics.evaluated is not msgspec.UNSET:
        if metrics.evaluated.evaluated is not msgspec.UNSET:
            raise ValueError("the evaluated run has one itself")
        _refuse_odd(metrics.evaluated)
