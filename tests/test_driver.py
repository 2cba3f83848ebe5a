"""Where a run is kept that names no work directory, and what is in no file of it."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import cli, driver
from engine.chunked import workdir
from engine.chunked.errors import UsageError
from engine.chunked.storage import Remote
from engine.config import Config, Split
from engine.driver import default_workdir, plan, with_news
from engine.ratings.resolve import Found, resolve
from tests.support.pipeline import open_pipeline

pytestmark = pytest.mark.usefixtures("here")

RATINGS = "userId,movieId,rating\n" + "".join(
    f"{u},{i},{1 + (u * i) % 5}\n" for u in range(1, 30) for i in range(1, 12)
)


@pytest.mark.parametrize("name", ["ml-latest-small", "books", "Bücher 2024", ".hidden", "a.b-c_d", "x" * 150])
def test_names_that_can_be_folders_are_folders(name: str) -> None:
    assert default_workdir(name) == f"runs/{name}"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/", "../escaped/by", "/etc/x", "a/b", "a\0b", "a\nb\x1b[2J", "\u202eb", "\udcff", "x" * 300],
)
def test_names_that_can_not_are_made_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = Path(default_workdir(name))
    assert made.parts[0] == "runs"
    assert len(made.parts) == 2
    assert str(made).isprintable()
    made.mkdir(parents=True)
    assert (tmp_path / "runs").resolve() == made.resolve().parent


@given(st.text(max_size=400), st.text(max_size=400))
def test_other_names_have_other_folders(one: str, another: str) -> None:
    assert (default_workdir(one) == default_workdir(another)) == (one == another)
    assert len(os.fsencode(Path(default_workdir(one)).name)) <= 255


def test_a_budget_without_its_unit_is_told_before_the_ratings_are_looked_for() -> None:
    for what in (driver.plan, driver.run):
        with pytest.raises(UsageError, match=r"did you mean 512MiB\?"):
            what(Config(dataset="no-such.csv", memory=512))


def test_data_that_calls_itself_a_path_is_run_below_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    (here / "data").mkdir(parents=True)
    (here / "data" / "ratings.csv").write_text(RATINGS)
    (here / "data" / "synthetic.json").write_text('{"name": "../../escaped/by"}')
    monkeypatch.chdir(here)
    assert cli.main(["plan", "data", "--quiet", "--memory", "1GiB"]) == 0
    (made,) = (here / "runs").iterdir()
    assert made.name.startswith(".._.._escaped_by-")
    workdir.check(made)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here"]


def test_what_is_new_among_many_files_is_said(tmp_path: Path) -> None:
    def told() -> list[str]:
        pipeline = open_pipeline(tmp_path / "clicks", Config())
        notes = with_news(pipeline, str(tmp_path / "w")).notes
        last = workdir.LastRun(allowed=1, workers=1, stages=[], details=dict(pipeline.details), origin=pipeline.origin)
        workdir.write_last_run(tmp_path / "w", last)
        return [note for note in notes if note.startswith(("new", "no longer"))]

    workdir.make(tmp_path / "w")
    (tmp_path / "clicks").mkdir()
    for month in (1, 2):
        (tmp_path / f"clicks/{month}.csv").write_text(RATINGS.replace("2,", f"{month},"))
    assert told() == []
    assert told() == []
    (tmp_path / "clicks/3.csv").write_text(RATINGS)
    (tmp_path / "clicks/1.csv").unlink()
    assert told() == [
        f"new since the last run: {tmp_path}/clicks/3.csv",
        f"no longer there: {tmp_path}/clicks/1.csv",
    ]


def test_a_data_frame_is_kept_in_the_work_directory_by_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = pl.read_csv(RATINGS.encode())
    for dataset in (frame, frame.to_pandas(), frame.lazy()):
        plan(Config(dataset=dataset, memory="1GiB"))
    (made,) = (tmp_path / "runs").iterdir()
    assert made.name.startswith("frame-")
    assert [path.name for path in (made / "dataset").iterdir() if path.is_file()] == [f"{made.name}.parquet"]
    plan(Config(dataset=frame.head(100), memory="1GiB", workdir="runs/mine"))
    workdir.check(tmp_path / "runs/mine")
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_a_test_part_may_be_a_data_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train = pl.read_csv(RATINGS.encode())
    test = train.with_columns(pl.col("movieId") + 1).head(300)
    train.write_csv("train.csv")
    found: list[Found] = []

    def watched(settings: Config) -> Found:
        found.append(resolve(settings))
        return found[0]

    monkeypatch.setattr("engine.driver.resolve", watched)
    for dataset, named in ((train, None), ("train.csv", "w"), (train.lazy(), "w")):
        plan(Config(dataset=dataset, test=test.to_pandas(), memory="1GiB", workdir=named))
        files = found.pop().source.files
        assert [file.held_out for file in files] == [False, True]
        assert pl.read_parquet(files[1].local).equals(test)
        (where,) = [Path("w")] if named else Path("runs").iterdir()
        assert named or where.name == files[0].local.stem
        workdir.check(where)
    with pytest.raises(UsageError, match="test is a object: give a path"):
        plan(Config(dataset="train.csv", test=object()))
    with pytest.raises(UsageError, match="test is 7: give a name"):
        plan(Config(dataset="train.csv", test=7))
    with pytest.raises(UsageError, match=r"split.method=leave-last and test=a data frame"):
        plan(Config(dataset="train.csv", test=test, split=Split(method="leave-last")))


@pytest.mark.parametrize("dataset", [7, True, ["ratings.csv"], object()])
def test_what_is_no_data_set_is_refused(dataset: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"dataset is .*: give a (name, a )?path"):
        plan(Config(dataset=dataset))


def test_a_data_frame_is_kept_in_a_store(bucket: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan(Config(dataset=pl.read_csv(RATINGS.encode()), memory="1GiB", workdir=f"{bucket}/w"))
    assert [name for name in (bucket / "w/dataset").names() if name.startswith("frame-")]
    assert not list(tmp_path.iterdir())
