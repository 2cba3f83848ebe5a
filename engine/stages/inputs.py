"""What every stage of the recommender is constructed with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from engine.chunked.journal import Committed
from engine.config import Section
from engine.source import Source

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
    own : Committed
        What the stage itself has committed in earlier rounds.
    upstream : mapping of str to Committed
        The stages it declares to need.
    """

    section: S
    source: Source
    own: Committed
    upstream: Mapping[str, Committed]
