"""The split and lists of a run for other programs, and lists of other programs measured as the run's own."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine import cli
from engine.artifacts.records import Means
from engine.artifacts.tables import measured_users
from engine.chunked.errors import UsageError
from engine.serving.export import export
from engine.serving.finished import open_finished
from engine.serving.lists import as_mapping, describe, measure_lists
from engine.serving.whole import replacing
from tests.support.pipeline import SMALL, finish_run
from tests.support.ratings import synthetic_ratings, write_ratings

SECTIONS: dict[str, Any] = {
    "preset": "default",
    "factors": SMALL,
    "neighbors": {"k": 7},
    "item_neighbors": {"k": 5, "ranking_k": 3},
    "evaluate": {"k": 8, "cutoffs": [5]},
    "ingest": {"ratings_per_partition": 300},
}
RATINGS = synthetic_ratings(90, 60)


@pytest.fixture(scope="module", params=["numbers", "texts"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    text = pl.format("u{}", "userId").alias("userId")
    ratings = RATINGS if request.param == "numbers" else RATINGS.with_columns(text)
    return finish_run(write_ratings(folder, ratings), folder / "run", **SECTIONS)


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "made"
    done = export(run, out, memory="1GiB")
    assert (done.n_train, done.n_test) == tuple(
        pl.read_parquet(out / f"{kind}.parquet").height for kind in ("train", "test")
    )
    assert done.n_listed == pl.read_parquet(out / "lists.parquet").height
    return out


def test_nothing_is_written_through_a_link_that_was_there_before(run: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    out = tmp_path / "out"
    out.mkdir()
    for kind in ("train", "test", "lists"):
        (out / f".{kind}.parquet.{os.getpid()}.tmp").symlink_to(tmp_path / "victim")
        (out / f"{kind}.parquet").symlink_to(tmp_path / "victim")
    export(run, out, memory="1GiB")
    assert (tmp_path / "victim").read_text() == "precious"
    assert not [path for path in out.glob("*.parquet") if path.is_symlink()]


def test_a_file_is_never_the_one_that_somebody_has_put_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda n: "ab")
    (tmp_path / f".x.{os.getpid()}.ab.tmp").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError), replacing(tmp_path / "x"):
        pass
    assert not (tmp_path / "victim").exists()


def test_the_parts_are_the_ratings(run: Path, exported: Path) -> None:
    parts = [pl.read_parquet(exported / f"{kind}.parquet") for kind in ("train", "test")]
    assert sorted(path.name for path in exported.iterdir()) == ["lists.parquet", "test.parquet", "train.parquet"]
    both = pl.concat(parts).sort("user", "item")
    ids = (
        RATINGS["userId"]
        if both["user"].dtype == pl.Int64
        else pl.select(pl.format("u{}", RATINGS["userId"])).to_series()
    )
    expected = pl.DataFrame({"user": ids, "item": RATINGS["movieId"], "rating": RATINGS["rating"]})
    assert both.equals(expected.sort("user", "item"))
    n_test = pl.read_parquet(measured_users(open_finished(run).stages["evaluate"]))["n_test"].sum()
    known = parts[1].join(parts[0].select("item").unique(), on="item", how="semi")
    assert known.height == n_test


@pytest.mark.parametrize("form", ["parquet", "csv", "score", "order"])
def test_the_runs_own_lists_have_its_figures(form: str, run: Path, exported: Path, tmp_path: Path) -> None:
    lists, path = pl.read_parquet(exported / "lists.parquet"), tmp_path / "lists"
    if form == "parquet":
        lists.sample(fraction=1, shuffle=True, seed=0).write_parquet(path)
    elif form == "order":
        lists.sort("rank").select("item", "user").write_csv(path)
    else:
        kept = ["user", "item", "rank" if form == "csv" else "score"]
        # Equal scores, and lists of what is popular, which have none, are taken as they stand.
        lists = lists.sort("rank") if form == "score" else lists.sample(fraction=1, shuffle=True, seed=0)
        lists.select(kept).write_csv(path)
    measured = measure_lists(run, path)
    expected = Means.of(open_finished(run).stages["evaluate"]).figures
    of_ratings = ("rmse", "mae", "coverage")
    for name, figure in measured.figures["lists"].items():
        if name not in of_ratings:
            assert figure == pytest.approx(expected["model"][name]), name
    assert measured.figures["most_popular"] == expected["most_popular"]
    assert (measured.n_unknown_users, measured.n_unknown_items) == (0, 0)
    assert as_mapping(measured)["k"] == 8


def test_a_list_of_what_was_held_out_is_perfect_and_what_is_not_known_is_told(
    run: Path, exported: Path, tmp_path: Path
) -> None:
    train, test = (pl.read_parquet(exported / f"{kind}.parquet") for kind in ("train", "test"))
    liked = test.filter(pl.col("rating") >= 4).join(train.select("item").unique(), on="item", how="semi")
    liked.select("user", "item").write_parquet(tmp_path / "best")
    best = measure_lists(run, tmp_path / "best")
    assert best.figures["lists"]["ndcg_at_8"]["value"] == best.figures["lists"]["capped_recall_at_8"]["value"] == 1
    half = liked.filter(pl.col("user") != liked["user"][0]).select(pl.col("user").cast(pl.String), "item")
    others = pl.DataFrame({"user": ["nobody"], "item": [1]})
    first = half.group_by("user", maintain_order=True).first().with_columns(item=pl.lit(10**6 + 1))
    pl.concat([first, half, others], how="vertical_relaxed").write_csv(tmp_path / "worse")
    worse = measure_lists(run, tmp_path / "worse")
    n, mrr = liked["user"].n_unique(), worse.figures["lists"]["mrr_at_8"]
    assert mrr["value"] == pytest.approx(0.5 * (n - 1) / n)
    assert mrr["n_users"] == best.figures["lists"]["mrr_at_8"]["n_users"]
    assert (worse.n_unknown_users, worse.n_unknown_items) == (1, 1)
    told = describe(worse)
    assert "1 of these users are not in the run: left out" in told
    assert "1 items listed have no train rating in the run: no hits" in told
    assert np.isfinite(worse.figures["lists"]["novelty"]["value"])


@pytest.mark.parametrize(
    ("separator", "encoding"), [("\t", "utf-8"), (";", "utf-16"), ("::", "utf-8"), (",", "utf-8-sig")]
)
def test_lists_are_read_as_tolerantly_as_ratings(
    run: Path, exported: Path, tmp_path: Path, separator: str, encoding: str
) -> None:
    lists = pl.read_parquet(exported / "lists.parquet").sample(fraction=1, shuffle=True, seed=1)
    header = separator.join(("User_ID", "movieId", "Rank")) + "\n"
    rows = lists.select("user", "item", "rank").rows()
    text = header + "".join(separator.join(map(str, row)) + "\r\n" for row in rows) + "\n"
    (tmp_path / "lists.txt.gz").write_bytes(gzip.compress(text.encode(encoding)))
    found, own = measure_lists(run, tmp_path / "lists.txt.gz"), measure_lists(run, exported / "lists.parquet")
    assert found == own
    assert found.n_in_train == 0


def test_items_that_a_user_has_in_train_are_told(run: Path, exported: Path, tmp_path: Path) -> None:
    train = pl.read_parquet(exported / "train.parquet")
    seen = train.group_by("user").head(3).select("user", "item")
    seen.write_csv(tmp_path / "seen.csv")
    measured = measure_lists(run, tmp_path / "seen.csv")
    assert measured.n_in_train == seen.height
    assert measured.figures["lists"]["recall_at_8"]["value"] == 0
    assert f"{measured.n_in_train:,} places in lists are of items that the user has in train" in describe(measured)


def test_lists_that_are_none_are_refused(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "lists.csv"
    for content, problem in (
        ("user,item\n2,1\n2,1\n", "an item is twice in the list of a user"),
        ("who,what\n2,1\n", "has the columns who, what: call them user and item"),
        ("", "is empty"),
        ("user,item,rank\n2,1,first\n", "column rank: rank is no number: 'first'"),
        ("user,item\n2,1\n3,\n", "row 2: a user or an item is missing"),
    ):
        path.write_text(content)
        with pytest.raises(UsageError, match=problem):
            measure_lists(run, path)
    with pytest.raises(UsageError, match="there is no such file"):
        measure_lists(run, tmp_path / "none.csv")
    path.write_text("")
    with pytest.raises(UsageError, match="name a folder"):
        export(run, path)


def test_the_commands_write_and_measure(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(run), "--out", str(tmp_path), "--memory", "1GiB", "--quiet"]) == 0
    assert "train and " in capsys.readouterr().out
    assert cli.main(["evaluate", str(run), "--lists", str(tmp_path / "lists.parquet"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["figures"]["lists"]["ndcg_at_8"] == pytest.approx(found["figures"]["model"]["ndcg_at_8"])
    assert cli.main(["evaluate", str(run), "--lists", str(tmp_path / "lists.parquet")]) == 0
    assert "recall_at_8" in capsys.readouterr().out
