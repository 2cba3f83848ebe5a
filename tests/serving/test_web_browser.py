"""The served page in a real browser: Chromium, without a window. Where there is none these tests are skipped."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import WIDTHS
from tests.support.ratings import synthetic_ratings
from tests.support.recommender import run

uvicorn = pytest.importorskip("uvicorn", reason="serves the page")

OVERFLOWS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A served run."""
    with served(tmp_path_factory.mktemp("page")) as found:
        yield found


@contextmanager
def served(folder: Path, **settings: Any) -> Iterator[str]:
    """Serve a run, and tell its address."""
    from engine.serving.web.app import make_app
    from engine.serving.web.current import Current

    titles = [f'{7 * item + 1},"Item <b>{item}</b> of the many, with a long title"' for item in range(40)]
    folder.joinpath("movies.csv").write_text("\n".join(["movieId,title", *titles]) + "\n")
    where: Path = run(folder, synthetic_ratings(60, 40), **settings)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = make_app(Current(where, "4GiB"), hosts=["127.0.0.1"])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(10)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_somebody_types_likes_and_sees_recommendations_with_reasons(
    browser: Any, address: str, width: int, theme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    # By keyboard alone: type, go to the first title found, choose it.
    page.keyboard.type("many")
    page.locator("#found button").first.wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.evaluate("look()")  # what is found comes again, such as for a sign more, while somebody is in the list
    assert page.evaluate("document.activeElement.closest('#found') !== null")
    page.keyboard.press("Enter")
    page.locator("#best li").first.wait_for()
    assert "recommendations" in page.locator("#status").inner_text()
    why = page.locator("#best .why").first.inner_text()
    assert re.fullmatch(
        r"(\d+ of the \d+ people nearest to you|popular: \d+ people) rated it.*|like .+|fits your taste .+", why
    )
    heights = page.evaluate("[...document.querySelectorAll('#best button')].map(button => button.offsetHeight)")
    assert max(heights) < 60  # a word on one line
    assert page.locator("b").count() == 0  # what others wrote is text
    assert page.evaluate("document.activeElement.id") == "text"
    first = page.locator("#best li span").first.inner_text()
    page.locator("#best button").first.click()
    page.wait_for_function("document.querySelectorAll('#liked li').length === 2")
    page.wait_for_function("first => document.querySelector('#best li span').textContent !== first", arg=first)
    assert not page.evaluate(OVERFLOWS)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (theme == "dark")
    page.locator("#liked button").first.click()
    page.locator("#liked button").first.click()
    page.wait_for_function("document.querySelector('#best-part').hidden")
    page.locator("#text").fill("5")
    page.locator("#found button", has_text="for user 5").click()
    page.locator("#best-head", has_text="For user 5").wait_for()
    page.locator("#text").fill("no such title")
    page.keyboard.press("Enter")
    page.locator("#status", has_text="no user no such title").wait_for()
    assert all(url.startswith(address) for url in asked)
    assert [told for told in wrong if "404" not in told] == []
    context.close()


def test_reasons_fit_where_nobody_rated(browser: Any, tmp_path: Path) -> None:
    with served(tmp_path, matrix={"feedback": "implicit"}) as address:
        page = browser.new_page()
        page.goto(address)
        page.locator("#text").fill("5")
        page.locator("#found button", has_text="for user 5").click()
        page.locator("#best li").first.wait_for()
        told = page.locator("#best .why").all_inner_texts()
        assert any("took it" in each for each in told)
        assert not any("rated it" in each for each in told)
        page.close()
