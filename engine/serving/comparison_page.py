"""A comparison of runs as one HTML page that needs no other file, no network and no script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from engine import __version__
from engine.chunked.printable import printable
from engine.results import report
from engine.serving.compare import Comparison, label, lower_is_better

_HERE = Path(__file__).parent
_STYLE = Path(report.__file__).parent / "report.css"
# Half the width of the drawing of an interval.
_HALF = 48


class Row(NamedTuple):
    """One figure of a run beside that of the first.

    ``low`` and ``high`` are where its interval is drawn, to the right where it is better.
    """

    label: str
    first: float
    value: float
    difference: float
    error: float
    low: float
    high: float
    verdict: str

    @property
    def sure(self) -> bool:
        """Whether it is told to be better or worse."""
        return self.verdict in ("better", "worse")


class Run(NamedTuple):
    """A run, and its figures."""

    name: str
    rows: list[Row]


def render(found: Comparison) -> str:
    """Put the page together."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, finalize=_shown
    )
    runs = [Run(name, list(_rows(found, place))) for place, name in enumerate(found.names[1:])]
    style = Markup(_STYLE.read_text(encoding="utf-8"))
    return environment.get_template("comparison.html.j2").render(
        version=__version__, found=found, runs=runs, style=style
    )


def _shown(value: Any) -> Any:
    return printable(value, "\n") if type(value) is str else value


def _rows(found: Comparison, place: int) -> Iterator[Row]:
    """The figures of the run at ``place`` among those that are compared with the first."""
    for figure in found.figures:
        difference, error = figure.differences[place], figure.standard_errors[place]
        # To a scale of its own, since one run may differ by a thousand times as much as another. Better is right.
        most, gain = abs(difference) + 2 * error or 1.0, -difference if lower_is_better(figure.name) else difference
        low, high = (round(_HALF * (gain + way * 2 * error) / most, 2) for way in (-1, 1))
        value = figure.values[place + 1]
        yield Row(
            label(figure.name),
            figure.values[0],
            value,
            difference,
            error,
            low,
            high,
            figure.verdicts[place],
        )
