"""The report in a real browser: Chromium, without a window. Where there is none these tests are skipped; those in
``test_report.py`` look at the structure of the page without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.results.report.page import render
from tests.support.browser import WIDTHS
from tests.support.pipeline import STEPS
from tests.support.report_content import content, metrics

THEMES = ("light", "dark")

# Text and marks that do not stand out from what is behind them, by the contrast of WCAG 2.2.
FAINT = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = parts(colour).slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (parts(colour)[3] !== 0) return colour;
    }
  };
  const faint = [];
  const look = (element, colour, least) => {
    const found = contrast(colour, behind(element));
    if (!(found >= least)) faint.push(`${element.tagName} ${element.textContent}: ${found.toFixed(2)}`);
  };
  const texts = "h1, h2, h3, p, a, i, dt, dd, th, td, strong, figcaption, summary, code, span:not(.key)";
  const seen = Array.from(document.querySelectorAll(texts)).filter((each) => each.checkVisibility());
  for (const each of seen) look(each, getComputedStyle(each).color, 4.5);
  for (const each of document.querySelectorAll(".chart svg text")) look(each, getComputedStyle(each).fill, 4.5);
  for (const each of document.querySelectorAll(".key")) {
    const css = getComputedStyle(each);
    look(each.parentElement, each.classList.contains("allowed") ? css.borderTopColor : css.backgroundColor, 3);
  }
  const bars = document.querySelectorAll(".mark-rect.role-mark path[fill^=var]:not([opacity])");
  for (const each of bars) look(each, getComputedStyle(each).fill, 3);
  return [seen.length, bars.length, faint];
}"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of a report of everything, and of one of a run that lacks what a run can lack."""
    folder = tmp_path_factory.mktemp("pages")
    reports = {
        "whole": content(),
        "bare": content(metrics=metrics(baselines=False), recall=None, popularity=None),
    }
    for name, each in reports.items():
        (folder / f"{name}.html").write_text(render(each))
    return {name: (folder / f"{name}.html").as_uri() for name in reports}


@pytest.fixture
def show(browser: Any, pages: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """Open a page, wait until it is drawn, and afterwards see that it had nothing to complain of or to ask for."""
    said: list[str] = []
    contexts = []

    def open_page(name: str, theme: str, width: int) -> Any:
        context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 800}, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if request.url != pages[name] else None)
        page.goto(pages[name])
        page.wait_for_selector("html.drawn", timeout=30_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [words for words in said if not words.startswith("data:")] == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("name", "n_charts"), [("whole", 11), ("bare", 3)])
def test_every_chart_is_drawn_and_nothing_sticks_out(
    name: str, n_charts: int, theme: str, width: int, show: Callable[..., Any]
) -> None:
    page = show(name, theme, width)
    assert page.locator("h1").is_visible()
    assert page.locator("h2").count() == (8 if name == "whole" else 7)
    charts = page.locator("figure .chart svg")
    assert charts.count() == n_charts
    for chart in charts.all():
        box = chart.bounding_box()
        assert box["width"] > 0.6 * min(width, 540)
        assert box["height"] > 50
        assert chart.locator(".role-mark path, .role-mark rect, .role-mark line").count() > 0
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert (
        page.evaluate(
            "Array.from(document.querySelectorAll('.scroll')).filter((e) => e.scrollWidth > e.clientWidth).length"
        )
        == 0
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Text of a chart is as large as it was meant to be, not shrunk with it.
    assert (
        page.evaluate("Math.min(...Array.from(document.querySelectorAll('.chart svg'), (s) => s.getScreenCTM().a))")
        == 1
    )


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_marks_stand_out(theme: str, show: Callable[..., Any]) -> None:
    page = show("whole", theme, 1280)
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    n_texts, n_bars, faint = page.evaluate(FAINT)
    assert faint == []
    assert n_texts > 200
    assert n_bars > 40


def test_themes_differ_and_paper_is_always_light(show: Callable[..., Any]) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light, dark = show("whole", "light", 1280), show("whole", "dark", 1280)
    assert light.evaluate(background) != dark.evaluate(background)
    ink = "getComputedStyle(document.querySelector('h1')).color"
    dark.emulate_media(media="print")
    assert dark.evaluate(ink) == light.evaluate(ink)


def test_measured_memory_is_drawn_below_the_projected_and_the_allowed(show: Callable[..., Any]) -> None:
    figure = show("whole", "light", 1280).locator("figure[aria-labelledby=memory-over-time]")
    tops = "(e) => Array.from(e.querySelectorAll('%s'), (mark) => mark.getBoundingClientRect().top)"
    areas, rules = (
        figure.evaluate(tops % f".role-mark.mark-{kind} {tag}") for kind, tag in (("area", "path"), ("rule", "line"))
    )
    assert len(areas) >= len(STEPS)
    assert len(rules) == len(STEPS) + 1
    assert min(areas) > max(rules) > min(rules)


def test_a_tooltip_has_the_numbers(show: Callable[..., Any]) -> None:
    page = show("whole", "light", 1280)
    # The middle of the chart of memory over time is a stage.
    page.locator("figure[aria-labelledby=memory-over-time] svg").hover()
    tooltip = page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for(timeout=5000)
    assert "projected" in tooltip.inner_text()
    assert "MiB" in tooltip.inner_text()
