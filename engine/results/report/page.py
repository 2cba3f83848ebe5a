"""A report as one HTML page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import vl_convert
from altair import SCHEMA_VERSION
from markupsafe import Markup

from engine import __version__
from engine.chunked.budget import format_size
from engine.chunked.printable import printable
from engine.results.report import charts
from engine.results.report.content import Content, Popularity, Recall, Stage
from engine.results.report.tables import EVALUATED, OURS, Row, definitions, make_tables, read_rows
from engine.results.verdict import baselines_that_win
from engine.results.weights import Part, chosen_parts

_HERE = Path(__file__).parent
# Figures that are drawn beside their baselines; those of lists at their whole length.
_DRAWN = ("rmse", "recall_at_{k}", "ndcg_at_{k}", "map_at_{k}")
# Figures at the top of the page.
_FIRST = ("rmse", "recall_at_{k}")


class Tile(NamedTuple):
    """A number at the top of the page."""

    name: str
    value: str
    note: str


@dataclass(frozen=True)
class Chart:
    """A chart, what it shows in words, and its numbers as a table."""

    id: str
    title: str
    alt: str
    spec: Mapping[str, Any]
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=list)


def render(content: Content) -> str:
    """Put the page together."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, finalize=_shown
    )
    k = content.settings.evaluate.k
    ours = EVALUATED if "evaluated" in content.metrics else OURS
    rows = read_rows(content.measured, ours)
    compared = [row for row in _named(rows, _DRAWN, k) if row.baselines]
    return environment.get_template("report.html.j2").render(
        version=__version__,
        content=content,
        metrics=content.metrics,
        lost=baselines_that_win(content.metrics),
        tiles=_tiles(content, _named(rows, _FIRST, k), ours),
        tables=make_tables(rows, k),
        ours=ours,
        definitions=definitions(rows, content.liked_from),
        comparisons=[(row, _comparison(row)) for row in compared],
        worths=_worths(content.metrics),
        recall=content.recall and _recall(content.recall),
        popularity=content.popularity and _popularity(content.popularity),
        memory=_memory(content) if any(stage.measured for stage in content.stages) else None,
        time=_time(content.stages) if content.stages else None,
        size=format_size,
        style=_verbatim("report.css"),
        script=_script(),
    )


def _shown(value: Any) -> Any:
    """What is put into the page: text that is not of this program may turn the text around it."""
    return printable(value, "\n") if type(value) is str else value


def _verbatim(name: str) -> Markup:
    """A file of this package, which needs no escaping."""
    return Markup((_HERE / name).read_text(encoding="utf-8"))


@cache  # bundling takes seconds
def _script() -> Markup:
    """The script that draws the charts: Vega-Lite with what it needs, then ``report.js``.

    It holds no ``</script``, which a test checks.
    """
    drawing = (_HERE / "report.js").read_text(encoding="utf-8")
    return Markup(vl_convert.javascript_bundle(drawing, vl_version=SCHEMA_VERSION.rpartition(".")[0]))


def _tiles(content: Content, first: Sequence[Row], ours: str) -> list[Tile]:
    whose = f"{ours}; " if ours == EVALUATED else ""
    tiles = [Tile(row.name, row.values[ours].text, whose + _against(row)) for row in first]
    if content.stages and content.peak.measured:
        size, share = format_size(content.peak.measured), content.peak.measured / content.allowed
        tiles.append(Tile("Peak memory", size, f"{share:.0%} of the {format_size(content.allowed)} allowed"))
    if content.stages:
        rate = content.metrics["n_ratings"] / content.seconds
        tiles.append(Tile("Time", _duration(content.seconds), f"{rate:,.0f} ratings a second"))
    return tiles


def _named(rows: Sequence[Row], keys: Sequence[str], k: int) -> list[Row]:
    by_key = {row.key: row for row in rows}
    return [by_key[key] for key in (key.format(k=k) for key in keys) if key in by_key]


def _against(row: Row) -> str:
    """The baselines, in words."""
    baselines = "; ".join(f"{name} {value.text}" for name, value in row.baselines.items())
    return baselines or f"over {row.over}"


def _duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _comparison(row: Row) -> Chart:
    alt = f"{row.name}: " + ", ".join(f"{name} {value.text}" for name, value in row.values.items())
    return Chart(f"compared-{row.key}", row.name, alt, charts.compared(row.values))


def _worths(metrics: Mapping[str, Any]) -> list[Chart]:
    """What the run chose for ratings and for lists, where parts were measured and one of them has a weight."""
    of_ratings, of_lists = (chosen_parts(metrics, kind) for kind in ("rating", "ranking"))
    titled = {"ratings": of_ratings, "lists": of_lists}
    return [_worth(title, parts) for title, parts in titled.items() if any(part.worth for part in parts)]


def _worth(title: str, parts: Sequence[Part]) -> Chart:
    rows = [(part.name, f"{part.weight:g}", part.worth) for part in parts]
    alt = f"Parts of {title}: " + ", ".join(f"{part.name} weighs {part.weight:g}" for part in parts)
    spec = charts.worth_of([part for part in parts if part.weight])
    return Chart(f"worth-of-{title}", f"Parts of {title}", alt, spec, ["part", "weight", "worth"], rows)


def _recall(recall: Recall) -> Chart:
    most = max(recall.bins, key=lambda bin_: bin_.users)
    alt = f"Histogram of recall over {recall.users:,} users: mean {recall.mean:.3f}, most users at {most.label}"
    rows = [(bin_.label, f"{bin_.users:,}", f"{bin_.users / recall.users:.1%}") for bin_ in recall.bins]
    spec = charts.recall_distribution(recall.bins, recall.mean)
    return Chart("recall-distribution", "Users by their recall", alt, spec, ["recall", "users", "share"], rows)


def _popularity(popularity: Popularity) -> tuple[Chart, Chart]:
    head = ["train ratings of the item", "items", "of train ratings", "of recommendations"]
    rows = [
        (share.rated, f"{share.n_items:,}", f"{share.ratings:.1%}", f"{share.recommended:.1%}")
        for share in popularity.shares
    ]
    shares = Chart(
        "popularity-shares",
        "Ratings and recommendations",
        "Bars: shares of the train ratings and of the recommendations, by train ratings of the item",
        charts.popularity_shares(popularity.shares),
        head,
        rows,
    )
    cells = Chart(
        "popularity-cells",
        "Items by ratings and recommendations",
        "Map: number of items by their train ratings and by how many users they are recommended to",
        charts.popularity_cells(popularity),
        ["train ratings, times recommended", "items"],
        [(f"{cell.rated}, {cell.recommended}", f"{cell.n_items:,}") for cell in popularity.cells],
    )
    return shares, cells


def _memory(content: Content) -> tuple[Chart, Chart]:
    stages = content.stages
    allowed, peak = format_size(content.allowed), content.peak
    most = f"the most is {format_size(peak.measured)}, in {peak.name}, of {allowed} allowed"
    over_time = Chart(
        "memory-over-time",
        "Over time",
        f"Areas: measured memory of all processes over {content.seconds:.0f} seconds, stage by stage; {most}",
        charts.memory_over_time(stages, None if content.allowed_is_far else content.allowed),
    )
    rows = [
        (stage.name, format_size(stage.measured), format_size(stage.projected), _share(stage.measured, stage.projected))
        for stage in stages
    ]
    by_stage = Chart(
        "memory-by-stage",
        "By stage",
        f"Bars: measured memory of each stage beside the projected; {most}",
        charts.memory_by_stage(stages),
        ["stage", "measured", "projected", "share"],
        rows,
    )
    return over_time, by_stage


def _time(stages: Sequence[Stage]) -> Chart:
    total = sum(stage.seconds for stage in stages)
    longest = max(stages, key=lambda stage: stage.seconds)
    alt = f"Bars: seconds of each stage; the longest is {longest.name}, {longest.seconds:.1f} of {total:.1f} seconds"
    rows = [(stage.name, f"{stage.seconds:.1f}", _share(stage.seconds, total)) for stage in stages]
    return Chart("time-by-stage", "By stage", alt, charts.time_by_stage(stages), ["stage", "seconds", "share"], rows)


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else ""
