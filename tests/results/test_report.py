from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine import cli, config
from engine.chunked import upkeep, workdir
from engine.chunked.budget import MIB, parse_size
from engine.chunked.errors import DamagedError, UsageError
from engine.chunked.storage import locate
from engine.results import report
from engine.results.report import content as contents
from engine.results.report.content import collect, popularity_of, recall_over_users
from engine.results.report.page import render
from engine.results.report.reproduce import command
from engine.results.report.tables import OURS, make_tables, read_rows
from engine.results.verdict import baselines_that_win
from tests.support.pipeline import STEPS
from tests.support.ratings import synthetic_ratings, write_ratings
from tests.support.report_content import NAME, content, metrics


class Page(HTMLParser):
    """Headings, charts and text of a page, and every reference for which it would ask a network."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.headings: list[int] = []
        self.labels: list[str] = []
        self.references: list[str] = []
        self.specs: list[dict[str, Any]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.tags.append(tag)
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append(int(tag[1]))
        if "id" in given:
            self.ids.append(str(given["id"]))
        if given.get("role") == "img":
            self.labels.append(given.get("aria-label") or "")
        self.references += [
            str(value) for name, value in attributes if name in ("src", "href", "srcset", "data", "action")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"] and data.startswith("{"):
            self.specs.append(json.loads(data))
        elif self.open[-1:] not in (["script"], ["style"]):
            self.text += data


@pytest.fixture(scope="module")
def html() -> str:
    return render(content())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a run on few ratings."""
    folder = tmp_path_factory.mktemp("report")
    ratings = write_ratings(folder, synthetic_ratings(60, 80))
    engine.run(engine.Config(dataset=str(ratings), workdir=str(folder / "run"), memory="4GiB"))
    return folder / "run"


def test_the_page_is_well_formed_and_asks_for_nothing(html: str) -> None:
    page = Page(html)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(reference == "data:," or reference.removeprefix("#") in page.ids for reference in page.references)
    assert page.tags.count("script") == len(page.specs) + 1
    assert "default-src 'none'" in html
    assert "url(" not in html[: html.index("</style>")]


def test_what_the_run_chose_is_drawn_with_its_worth_and_said() -> None:
    page = Page(render(content()))
    assert {"worth-of-ratings", "worth-of-lists"} <= {*page.ids}
    said = "Parts of lists: vectors weighs 1, votes weighs 0.25, items taken together weighs 0, popularity weighs 0"
    assert said in page.labels
    assert "+0.0037 ±0.0013" in page.text
    given = metrics() | {"weights": {"rating": {"weights": {}}, "ranking": {"weights": {}}, "chosen": False}}
    assert "worth-of-lists" not in Page(render(content(metrics=given))).ids


def test_headings_are_in_order_and_charts_have_words_and_numbers(html: str) -> None:
    page = Page(html)
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert page.tags.count("figure") == page.tags.count("figcaption") == len(page.specs) == 11
    assert len(page.labels) == 11
    assert all(label and ":" in label for label in page.labels)


def test_what_is_said_is_there_and_escaped(html: str) -> None:
    page = Page(html)
    assert NAME in page.text
    assert "<i>" not in html.replace("<i>default</i>", "")
    for words in (
        *("0.8612", "0.8774", "0.4275", "0.2490", "synthetic ratings", "3 rows <skipped>", "most popular", "NDCG@50"),
        *("Promise kept", "512 MiB", "item_neighbors", "260 MiB", "engine run 'a b.csv' --memory 512MiB"),
        *("b4239649fbf90ebf", "popularity_penalty"),
    ):
        assert words in page.text, words


def test_a_broken_promise_is_said() -> None:
    stages = content().stages
    over = [*stages[:-1], replace(stages[-1], measured=stages[-1].projected + 1)]
    assert "Promise broken: evaluate took more" in Page(render(content(stages=over))).text
    assert "Promise broken: evaluate took more" in Page(render(content(allowed=stages[-2].measured))).text


def test_what_a_run_lacks_is_said_and_the_rest_shown() -> None:
    bare = {step: replace(stage, measured=0, samples=[]) for step, stage in enumerate(content().stages)}
    page = Page(
        render(content(metrics=metrics(baselines=False), recall=None, popularity=None, stages=list(bare.values())))
    )
    for words in ("measured no baselines", "not keep the recall", "not count what it", "Memory was not measured"):
        assert words in page.text
    assert page.tags.count("figure") == 1
    page = Page(render(content(stages=[], unknown=["ingest", "split"])))
    assert "memory and time not known: ingest, split" in page.text


def test_a_run_without_test_ratings_says_why_it_has_no_figures() -> None:
    why = {
        "rmse": None,
        "recall_at_50": None,
        "why_no_rmse": "nobody has 5 ratings",
        "why_no_recall": "nobody likes any",
    }
    page = Page(render(content(metrics=metrics(baselines=False) | why, recall=None)))
    assert "Nobody has 5 ratings." in page.text
    assert "There is no recall: nobody likes any." in page.text


def test_a_budget_far_above_is_not_drawn() -> None:
    far = Page(render(content(allowed=1 << 40)))
    assert "far above this chart" in far.text
    top = next(spec for spec in far.specs if "MiB" in json.dumps(spec))
    assert "1048576" not in json.dumps(top)


def test_figures_are_read_with_their_baselines_and_errors() -> None:
    rows = {row.key: row for row in read_rows(metrics())}
    assert list(rows["rmse"].values) == [OURS, "bias model"]
    assert rows["rmse"].values[OURS] == (0.8612, 0.0123)
    assert (rows["rmse"].best, rows["recall_at_50"].best, rows["gini"].best) == (0.8612, 0.4275, None)
    assert (rows["rmse"].over, rows["recall_at_50"].over) == ("19,075 ratings", "655 users")
    assert "ndcg_at_10" not in rows
    assert rows["surprise_at_10"].name == "Surprise@10"
    assert [row.key for table in make_tables(list(rows.values()), 50) for row in table.rows] == [
        *("rmse", "coverage", "recall_at_50", "ndcg_at_50", "gini", "surprise_at_10")
    ]
    assert [row.name for row in read_rows(metrics(baselines=False))] == ["RMSE", "Recall@50"]


@given(st.lists(st.none() | st.fractions(0, 1, max_denominator=40).map(float), max_size=60))
def test_recall_is_counted_as_by_hand(recall: list[float | None]) -> None:
    values = [value for value in recall if value is not None]
    distribution = recall_over_users(pl.LazyFrame({"recall": recall}, schema={"recall": pl.Float64}))
    if distribution is None:
        assert not values
        return
    assert (distribution.users, distribution.none, distribution.all) == (len(values), values.count(0), values.count(1))
    assert distribution.mean == pytest.approx(sum(values) / len(values))
    for place, bin_ in enumerate(distribution.bins):
        inside = [
            value for value in values if min(int(value * contents.RECALL_BINS), contents.RECALL_BINS - 1) == place
        ]
        assert bin_.users == len(inside)


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 3000)), min_size=1, max_size=60))
def test_popularity_is_counted_as_by_hand(items: list[tuple[int, int]]) -> None:
    rated, recommended = np.array(items).T
    popularity = popularity_of(rated, recommended)

    def inside(n: int, name: str) -> bool:
        low, _, high = name.replace("k", "000").partition("–")
        return int(low) <= n < int(high) if "k" in name else int(low) <= n <= int(high or low)

    for share in popularity.shares:
        of_share = [(n, times) for n, times in items if inside(n, share.rated)]
        assert share.n_items == len(of_share)
        assert share.ratings == pytest.approx(sum(n for n, _ in of_share) / rated.sum())
        assert share.recommended * recommended.sum() == pytest.approx(sum(times for _, times in of_share))
    for cell in popularity.cells:
        assert cell.n_items == sum(inside(n, cell.rated) and inside(times, cell.recommended) for n, times in items)
    assert (
        sum(share.n_items for share in popularity.shares)
        == sum(cell.n_items for cell in popularity.cells)
        == len(items)
    )
    assert {cell.rated for cell in popularity.cells} == set(popularity.rated)
    assert {cell.recommended for cell in popularity.cells} <= set(popularity.recommended)
    assert popularity.n_recommended == sum(times > 0 for _, times in items)
    assert popularity.top_ratings == pytest.approx(rated.max() / rated.sum())


@given(
    dataset=st.none() | st.just("my ratings/it's.csv"),
    preset=st.sampled_from(sorted(config.PRESETS)),
    k=st.integers(1, 200),
    penalty=st.floats(0, 4),
    cutoffs=st.lists(st.integers(1, 50), max_size=3),
    method=st.sampled_from(["auto", "exact", "pruned", "hnsw"]),
    memory=st.none() | st.just("400MiB") | st.just(10**9),
    columns=st.none() | st.just(("who", "what", "how much")),
    workers=st.none() | st.just(3),
)
def test_the_command_makes_the_same_configuration(
    dataset: str | None, memory: str | int | None, workers: int | None, columns: Any, preset: str, **keys: Any
) -> None:
    sections = {
        "neighbors": {"k": keys["k"]},
        "index": {"method": keys["method"]},
        "evaluate": {"popularity_penalty": keys["penalty"], "cutoffs": keys["cutoffs"]},
    }
    top = {"dataset": dataset, "memory": memory, "workers": workers, "columns": columns, "preset": preset}
    settings = config.load({"workdir": "runs/a b"}, top, sections)
    words = shlex.split(command(settings, "ml-25m", 777 * MIB))
    again = cli.parsing.settings(cli.parser().parse_args(words[1:]))
    assert parse_size(str(again.memory)) == (777 * MIB if memory is None else parse_size(memory))
    assert again.dataset == (dataset or "ml-25m")
    assert msgspec.structs.replace(again, memory=settings.memory, dataset=dataset) == settings


def test_a_finished_run_is_reported(finished: Path, tmp_path: Path) -> None:
    assert report.write(finished) == locate(finished / "report.html")
    assert cli.main(["report", str(finished), "--out", str(tmp_path / "a" / "b.html")]) == 0
    assert (tmp_path / "a" / "b.html").read_bytes() == (finished / "report.html").read_bytes()
    assert upkeep.verify(finished) == {}
    collected = collect(finished)
    page = (finished / "report.html").read_text()
    lost = baselines_that_win(collected.metrics)
    assert page.count('<p class="lost"') == len(lost)
    assert all(sentence in page for sentence in lost)
    users = pl.read_parquet(finished / "stages" / "evaluate-*" / "users" / "*.parquet")
    assert collected.recall is not None
    assert collected.recall.mean == pytest.approx(collected.metrics["recall_at_50"])
    assert collected.recall.users == collected.metrics["n_users_with_liked"] == (users["n_liked"] > 0).sum()
    assert collected.popularity is not None
    n_items = collected.metrics["n_items"]
    assert collected.popularity.n_items == n_items
    assert (
        collected.popularity.n_recommended / n_items == collected.metrics["figures"]["model"]["item_coverage"]["value"]
    )
    assert np.load(next(finished.glob("stages/evaluate-*/recommended.npy"))).sum() == users["n_recommended"].sum()
    assert sum(share.n_items for share in collected.popularity.shares) == n_items
    idle = {stage["stage"] for stage in json.loads((finished / "run.json").read_text())["stages"] if stage["idle"]}
    assert [stage.name for stage in collected.stages] == [step.name for step in STEPS if step.name not in idle]
    assert idle
    assert not collected.unknown
    assert f"{collected.metrics['rmse']:.4f}" in Page((finished / "report.html").read_text()).text


def test_what_cannot_be_reported_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no work directory"):
        report.write(tmp_path)
    published = (finished / workdir.PUBLISHED).read_bytes()
    (finished / workdir.PUBLISHED).write_bytes(published + b" ")
    with pytest.raises(DamagedError, match="altered"):
        report.write(finished)
    (finished / workdir.PUBLISHED).unlink()
    last = workdir.last_run(finished)
    assert last is not None
    workdir.write_last_run(finished, msgspec.structs.replace(last, figures=""))
    with pytest.raises(UsageError, match="not finished"):
        report.write(finished)
    (finished / workdir.PUBLISHED).write_bytes(published)
    with locate(finished / workdir.LOCK).hold():
        assert report.write(finished, finished / "while-running.html").is_file()  # the next is in progress
    workdir.write_last_run(finished, last)


@pytest.mark.parametrize("name", ["altair", "jinja2", "vl_convert"])
def test_a_missing_library_is_named_with_what_installs_it(
    name: str, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("engine.results.report.page", "engine.results.report.charts"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        UsageError, match=rf"made with {name.replace('_', '-')}.*: .* -m pip install 'recsys-engine\[report\]'"
    ):
        report.write(finished)
