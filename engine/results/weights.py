"""What the parts of a model weigh, and what each is worth: of ``metrics.json``, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

_NAMES = {
    "latent": "vectors",
    "near": "near items",
    "products": "vectors",
    "votes": "votes",
    "together": "items taken together",
    "popularity": "popularity",
}


class Part(NamedTuple):
    """A part of how ratings are predicted, or items ranked.

    Attributes
    ----------
    name : str
        For people.
    weight : float
    gain, error : float or None
        By how much the mean squared error is less with it, or recall more, and the standard error; None where that was
        not measured.
    """

    name: str
    weight: float
    gain: float | None
    error: float | None

    @property
    def worth(self) -> str:
        """What it brings, for people; empty where that was not measured."""
        return "" if self.gain is None else f"{self.gain:+.4f} ±{self.error:.4f}"


def chosen_parts(metrics: Mapping[str, Any], kind: Literal["rating", "ranking"]) -> list[Part]:
    """The parts whose weights the run chose, those of 0, too; none where weights were given, or there are no parts.

    A run that measured nothing has those of the evaluated run.
    """
    weights = metrics.get("evaluated", metrics).get("weights")
    if not weights or not weights["chosen"]:
        return []
    chosen = weights[kind]
    return [
        Part(_NAMES[part], weight, *chosen["worth"].get(part, (None, None)))
        for part, weight in chosen["weights"].items()
    ]
