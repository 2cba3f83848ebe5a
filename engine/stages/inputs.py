"""What every stage of the recommender is constructed with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from engine.chunked.journal import Committed
from engine.config import Section
from engine.costs import Plan, Shapes
from engine.ratings.source import Source

S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class StageInputs(Generic[S]):
    """All a stage may depend on, which is what its fingerprint covers.

    Attributes
    ----------
    section : Section
        The stage's own part of the configuration.
    source : Source
        The ratings file.
    source_state : list of int
        Its `engine.ratings.source.state` when it was hashed.
    own : Committed
        What the stage itself has committed in earlier rounds.
    upstream : mapping of str to Committed
        The stages it declares to need.
    plan : callable
        What the stage's rounds cost, given the shapes known; see `engine.costs`. Depends on the whole
        configuration, as the output must not.
    shapes : Shapes
        What is known of the data when the stage starts.
    """

    section: S
    source: Source
    source_state: list[int]
    own: Committed
    upstream: Mapping[str, Committed]
    plan: Callable[[Shapes], Plan]
    shapes: Shapes
