"""The charts of a report, as Vega-Lite specifications.

Colours are names of CSS variables: the page's style sheet defines them for light, dark and paper. A chart is as wide as
the page, so that text keeps its size on a narrow one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import altair as alt

from engine.chunked.budget import MIB, format_size
from engine.results.report.content import Bin, Popularity, Share, Stage
from engine.results.report.tables import Value
from engine.results.weights import Part

_ACCENT, _OTHER, _ALLOWED = "var(--accent)", "var(--other)", "var(--allowed)"
_INK, _MUTED, _QUIET, _GRID = "var(--ink)", "var(--muted)", "var(--muted-2)", "var(--grid)"
# A stage's name is written into the chart where the stage takes at least this share of the time.
_ROOM_FOR_NAME = 0.035
# The chart is this many times as high as the highest projection, so that the name has room above it.
_ABOVE = 1.35

_FEW = alt.Axis(tickCount=6)

Spec = dict[str, Any]


def memory_over_time(stages: Sequence[Stage], allowed: int | None) -> Spec:
    """Memory of all processes, stage after stage, with each stage's projection, and a line at ``allowed`` bytes."""
    starts = list(accumulate((stage.seconds for stage in stages), initial=0.0))
    highest = max(max(stage.projected, stage.measured) for stage in stages)
    top = max(1.05 * (allowed or 0), _ABOVE * highest) / MIB
    seconds = alt.Scale(domain=[0, starts[-1]], nice=False)
    x = alt.X("second:Q", title="seconds", axis=_FEW, scale=seconds)
    shade = alt.Color("shade:N", scale=alt.Scale(domain=[0, 1], range=[_ACCENT, "var(--accent-2)"]), legend=None)
    y = alt.Y("memory:Q", title="MiB", stack=None, axis=_FEW, scale=alt.Scale(domain=[0, top], nice=False))
    area = (
        _chart(_samples(stages, starts))
        .mark_area(interpolate="step", opacity=0.75)
        .encode(x=x, y=y, color=shade, detail="stage:N")
    )
    of_span = _chart(_spans(stages, starts))
    projected = of_span.mark_rule(color=_OTHER, strokeWidth=2.5).encode(x="start:Q", x2="end:Q", y="projected:Q")
    names = of_span.transform_calculate(middle="(datum.start + datum.end) / 2").mark_text(
        angle=270, align="left", baseline="middle", dx=5, color=_MUTED, fontSize=11
    )
    names = names.encode(x="middle:Q", y="projected:Q", text="name:N")
    of_run = _chart([{"allowed": allowed / MIB}] if allowed else [])
    line = of_run.mark_rule(color=_ALLOWED, strokeDash=[6, 4], strokeWidth=1.5).encode(y="allowed:Q")
    hover = of_span.mark_rect(color=_INK, opacity=0).encode(
        x="start:Q",
        x2="end:Q",
        tooltip=_tooltip(stage="stage", measured_text="measured", projected_text="projected", took="time"),
    )
    return _spec(alt.layer(area, projected, line, names, hover), height=320)


def _samples(stages: Sequence[Stage], starts: Sequence[float]) -> list[dict[str, Any]]:
    """Memory at moments of the whole run; neighbouring stages differ in shade."""
    return [
        {
            "stage": stage.name,
            "shade": place % 2,
            "second": start + min(second, stage.seconds),
            "memory": size / MIB,
        }
        for place, (stage, start) in enumerate(zip(stages, starts, strict=False))
        for second, size in [*((0.0, size) for _, size in stage.samples[:1]), *stage.samples]
    ]


def _spans(stages: Sequence[Stage], starts: Sequence[float]) -> list[dict[str, Any]]:
    """When each stage began and ended, and the texts of its tooltip."""
    return [
        {
            "stage": stage.name,
            "start": start,
            "end": end,
            "name": stage.name if stage.seconds >= _ROOM_FOR_NAME * starts[-1] else "",
            "projected": stage.projected / MIB,
            "measured_text": format_size(stage.measured),
            "projected_text": format_size(stage.projected),
            "took": f"{stage.seconds:.1f} s",
        }
        for stage, (start, end) in zip(stages, pairwise(starts), strict=True)
    ]


def memory_by_stage(stages: Sequence[Stage]) -> Spec:
    """Measured memory of each stage beside the projected."""
    rows = [
        {
            "stage": stage.name,
            "measured": stage.measured / MIB,
            "projected": stage.projected / MIB,
            "of": f"{format_size(stage.measured)} of {format_size(stage.projected)}",
        }
        for stage in stages
    ]
    base = _chart(rows).encode(y=_by_stage(stages), tooltip=_tooltip(stage="stage", of="measured of projected"))
    bars = base.mark_bar(color=_ACCENT, height={"band": 0.55}).encode(x=alt.X("measured:Q", title="MiB", axis=_FEW))
    ticks = base.mark_tick(color=_OTHER, opacity=1, thickness=3, height={"band": 0.85}).encode(x="projected:Q")
    return _spec(alt.layer(bars, ticks), height=26 * len(rows))


def time_by_stage(stages: Sequence[Stage]) -> Spec:
    """Seconds of each stage."""
    rows = [{"stage": stage.name, "seconds": stage.seconds, "took": f"{stage.seconds:.1f} s"} for stage in stages]
    base = _chart(rows).encode(y=_by_stage(stages), tooltip=_tooltip(stage="stage", took="time"))
    longest = max(stage.seconds for stage in stages)
    x = alt.X("seconds:Q", title="seconds", axis=_FEW, scale=alt.Scale(domain=[0, longest * 1.3 or 1], nice=False))
    bars = base.mark_bar(color=_ACCENT, height={"band": 0.55}).encode(x=x)
    labels = base.mark_text(align="left", dx=4, color=_INK, fontSize=11).encode(x="seconds:Q", text="took:N")
    return _spec(alt.layer(bars, labels), height=26 * len(rows))


def compared(models: Mapping[str, Value]) -> Spec:
    """One figure of all models, the run first, with one standard error to either side."""
    values = [
        {
            "model": name,
            "value": value.value,
            "low": value.value - (value.error or 0),
            "high": value.value + (value.error or 0),
            "text": value.text,
            "ours": place == 0,
        }
        for place, (name, value) in enumerate(models.items())
    ]
    y = alt.Y("model:N", sort=list(models), title=None)
    base = _chart(values).encode(y=y, tooltip=_tooltip(model="model", text="value"))
    top = max(value.value + (value.error or 0) for value in models.values()) or 1
    x = alt.X("value:Q", title=None, axis=_FEW, scale=alt.Scale(domain=[0, top * 1.25], nice=False))
    color = alt.Color("ours:N", scale=alt.Scale(domain=[True, False], range=[_ACCENT, _QUIET]), legend=None)
    bars = base.mark_bar(height={"band": 0.6}).encode(x=x, color=color)
    errors = base.mark_rule(color=_INK, strokeWidth=1.5).encode(x="low:Q", x2="high:Q")
    labels = base.mark_text(align="left", dx=6, color=_INK).encode(x="high:Q", text="text:N")
    return _spec(alt.layer(bars, errors, labels), height=30 * len(models))


def worth_of(parts: Sequence[Part]) -> Spec:
    """What each part is worth that has a weight, with one standard error to either side."""
    rows: list[dict[str, Any]] = [
        {
            "part": part.name,
            "gain": part.gain or 0.0,
            "low": (part.gain or 0.0) - (part.error or 0.0),
            "high": (part.gain or 0.0) + (part.error or 0.0),
            "weight": f"weight {part.weight:g}",
            "text": part.worth,
        }
        for part in parts
    ]
    y = alt.Y("part:N", sort=[part.name for part in parts], title=None)
    base = _chart(rows).encode(y=y, tooltip=_tooltip(part="part", weight="weight", text="worth"))
    top, low = max((row["high"] for row in rows), default=0) or 1e-4, min((0.0, *(row["low"] for row in rows)))
    x = alt.X("gain:Q", title=None, axis=_FEW, scale=alt.Scale(domain=[low, low + (top - low) * 1.35], nice=False))
    bars = base.mark_bar(color=_ACCENT, height={"band": 0.6}).encode(x=x)
    errors = base.mark_rule(color=_INK, strokeWidth=1.5).encode(x="low:Q", x2="high:Q")
    labels = base.mark_text(align="left", dx=6, color=_INK).encode(x="high:Q", text="weight:N")
    return _spec(alt.layer(bars, errors, labels), height=30 * len(rows))


def recall_distribution(bins: Sequence[Bin], mean: float) -> Spec:
    """Number of users by their recall; the line is the mean."""
    rows = [
        {"low": bin_.low, "high": bin_.high, "users": bin_.users, "range": bin_.label, "count": f"{bin_.users:,}"}
        for bin_ in bins
    ]
    x = alt.X("low:Q", title="recall of the user", axis=alt.Axis(values=[0, 0.2, 0.4, 0.6, 0.8, 1], format="%"))
    bars = (
        _chart(rows)
        .mark_rect(color=_ACCENT, stroke="var(--paper)", strokeWidth=1)
        .encode(
            x=x,
            x2="high:Q",
            y=alt.Y("users:Q", title="users", scale=alt.Scale(zero=True)),
            y2=alt.datum(0),
            tooltip=_tooltip(range="recall", count="users"),
        )
    )
    rule = _chart([{"mean": mean, "label": f"mean {mean:.3f}"}])
    line = rule.mark_rule(color=_OTHER, strokeWidth=2).encode(x="mean:Q")
    label = rule.mark_text(align="left", dx=5, dy=-6, color=_OTHER, fontWeight="bold").encode(
        x="mean:Q", y=alt.value(0), text="label:N"
    )
    return _spec(alt.layer(bars, line, label), height=240)


def popularity_shares(shares: Sequence[Share]) -> Spec:
    """Shares of the ratings and of the recommendations that fall on items, by number of train ratings."""
    names = ("of train ratings", "of recommendations")
    rows = [
        {"rated": share.rated, "share": value, "of": name, "text": f"{value:.1%}"}
        for share in shares
        for name, value in zip(names, (share.ratings, share.recommended), strict=True)
    ]
    order = [share.rated for share in shares]
    color = alt.Color(
        "of:N",
        scale=alt.Scale(domain=list(names), range=[_QUIET, _ACCENT]),
        legend=alt.Legend(title=None, orient="top"),
    )
    chart = (
        _chart(rows)
        .mark_bar()
        .encode(
            x=alt.X("rated:N", sort=order, title="train ratings of the item", axis=alt.Axis(labelAngle=-45)),
            xOffset=alt.XOffset("of:N", sort=list(names)),
            y=alt.Y("share:Q", title="share", axis=alt.Axis(format="%")),
            color=color,
            tooltip=_tooltip(rated="train ratings", of="share", text="value"),
        )
    )
    return _spec(chart, height=240)


def popularity_cells(popularity: Popularity) -> Spec:
    """Number of items by train ratings and by how often they are recommended."""
    rows = [
        {"rated": cell.rated, "recommended": cell.recommended, "items": cell.n_items, "count": f"{cell.n_items:,}"}
        for cell in popularity.cells
    ]
    opacity = alt.Opacity("items:Q", scale=alt.Scale(type="log", range=[0.12, 1]), legend=None)
    chart = (
        _chart(rows)
        .mark_rect(color=_ACCENT)
        .encode(
            x=alt.X(
                "rated:N",
                sort=popularity.rated,
                scale=alt.Scale(domain=popularity.rated),
                title="train ratings of the item",
                axis=alt.Axis(labelAngle=-45),
            ),
            y=alt.Y(
                "recommended:N",
                sort=popularity.recommended[::-1],
                scale=alt.Scale(domain=popularity.recommended[::-1]),
                title="times recommended",
            ),
            opacity=opacity,
            tooltip=_tooltip(rated="train ratings", recommended="times recommended", count="items"),
        )
    )
    return _spec(chart, height=266)


def _chart(rows: Sequence[Mapping[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=[dict(row) for row in rows]))


def _tooltip(**titles: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in titles.items()]


def _by_stage(stages: Sequence[Stage]) -> alt.Y:
    return alt.Y("stage:N", sort=[stage.name for stage in stages], title=None)


def _spec(chart: alt.TopLevelMixin, height: int) -> Spec:
    axis = {
        "domainColor": _GRID,
        "gridColor": _GRID,
        "tickColor": _GRID,
        "labelColor": _MUTED,
        "titleColor": _MUTED,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelLimit": 130,
    }
    legend = {"labelColor": _INK, "titleColor": _INK, "labelFontSize": 12}
    font = "system-ui, sans-serif"
    sized = chart.properties(
        width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    )
    configured = sized.configure(
        background="transparent", font=font, axis=axis, legend=legend, view=alt.ViewConfig(stroke=None)
    )
    spec: Spec = configured.to_dict()
    return spec
