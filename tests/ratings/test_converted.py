"""Of many files only those are converted that no earlier run of the work directory has converted."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.chunked import workdir
from engine.chunked.journal import Committed
from engine.chunked.pipeline import Pipeline
from engine.ratings.converted import with_converted
from engine.ratings.scan import scan
from engine.ratings.source import RatingsFile
from tests.support.pipeline import run_stages
from tests.support.ratings import synthetic_ratings

RATINGS = synthetic_ratings(40, 30)
RunFolder = Callable[..., tuple[dict[str, Committed], list[str]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    parts = tmp_path / "parts"
    parts.mkdir()
    third = RATINGS.height // 3
    for k in range(3):
        RATINGS.slice(k * third, third).write_csv(parts / f"{k}.csv")
    return parts


@pytest.fixture
def run_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Ingest the folder in a work directory, as the next run in it; what that leaves, and the files it converts."""
    converted: list[str] = []

    def watched(file: RatingsFile, **options: Any) -> pl.LazyFrame:
        converted.append(file.path.name)
        return scan(file, **options)

    monkeypatch.setattr("engine.stages.ingest.stage.scan", watched)

    def run(where: Path, **sections: Any) -> tuple[dict[str, Committed], list[str]]:
        converted.clear()
        prepared: list[Pipeline] = []

        def prepare(pipeline: Pipeline) -> Pipeline:
            prepared.append(with_converted(pipeline, where))
            return prepared[0]

        workdir.make(where)
        left = run_stages(folder, where, "ingest", prepare=prepare, **sections)
        (pipeline,) = prepared
        entry = workdir.StageEntry(stage="ingest", folder=left["ingest"].root.name)
        last = workdir.LastRun(allowed=1, workers=1, stages=[entry], details=pipeline.json_details())
        workdir.write_last_run(where, last)
        return left, sorted(converted)

    return run


def content(left: dict[str, Committed]) -> list[bytes]:
    names = [*sorted(left["ingest"].path("ratings").iterdir()), left["ingest"].path("users.parquet")]
    return [path.read_bytes() for path in names]


def test_a_file_that_is_added_is_the_only_one_converted(folder: Path, tmp_path: Path, run_folder: RunFolder) -> None:
    assert run_folder(tmp_path / "w")[1] == ["0.csv", "1.csv", "2.csv"]
    (folder / "1.csv").rename(folder / "9.csv")
    RATINGS.head(50).write_csv(folder / "0a.csv")
    left, converted = run_folder(tmp_path / "w")
    assert converted == ["0a.csv"]
    assert content(left) == content(run_folder(tmp_path / "afresh")[0])


def test_a_file_that_is_read_otherwise_is_converted_again(folder: Path, tmp_path: Path, run_folder: RunFolder) -> None:
    run_folder(tmp_path / "w")
    RATINGS.head(50).with_columns(movieId=pl.format("x{}", "movieId")).write_csv(folder / "3.csv")
    assert run_folder(tmp_path / "w")[1] == ["0.csv", "1.csv", "2.csv", "3.csv"]
    (folder / "3.csv").unlink()
    (folder / "2.csv").unlink()
    times = {"ingest": {"times": True}}
    for path in folder.iterdir():
        pl.read_csv(path).with_columns(timestamp=5).write_csv(path)
    assert run_folder(tmp_path / "w")[1] == ["0.csv", "1.csv"]
    assert run_folder(tmp_path / "w", **times)[1] == ["0.csv", "1.csv"]


@pytest.mark.parametrize("damage", ["altered", "gone"])
def test_what_is_not_as_it_was_left_is_not_taken_over(
    damage: str, folder: Path, tmp_path: Path, run_folder: RunFolder
) -> None:
    left, _ = run_folder(tmp_path / "w")
    if damage == "altered":
        with left["ingest"].path("source/00001.parquet").open("r+b") as file:
            file.seek(100)
            file.write(b"damaged")
    else:
        left["ingest"].path("source/00001.parquet").unlink()
    RATINGS.head(50).write_csv(folder / "3.csv")
    left, converted = run_folder(tmp_path / "w")
    assert converted == ["1.csv", "3.csv"]
    assert content(left) == content(run_folder(tmp_path / "afresh")[0])


def test_of_a_single_file_nothing_stays(tmp_path: Path, folder: Path, run_folder: RunFolder) -> None:
    for name in ("1.csv", "2.csv"):
        (folder / name).unlink()
    left, _ = run_folder(tmp_path / "w")
    assert not left["ingest"].path("source/00000.parquet").exists()


def test_as_many_files_are_converted_at_once_as_there_are_workers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the first two waits for the other."""
    both, begun = threading.Barrier(2, timeout=30), itertools.count()

    def meeting(file: RatingsFile, **options: Any) -> pl.LazyFrame:
        if next(begun) < 2:
            both.wait()
        return scan(file, **options)

    monkeypatch.setattr("engine.stages.ingest.stage.scan", meeting)
    run_stages(folder, tmp_path / "two", "ingest", workers=2)
    assert not both.broken
