"""Records of a recommender's run that somebody wrote who knows how: what is wrong is told in a line."""

from __future__ import annotations

import copy
import hashlib
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

import engine
from bench.kill import SETTINGS, contents, write_ratings
from engine import cli, driver
from engine.chunked import publishing, upkeep, workdir
from engine.chunked.errors import DamagedError
from engine.chunked.journal import Record
from engine.chunked.sealed import read_sealed, write_sealed
from engine.chunked.storage import locate
from engine.chunked.store import FileEntry
from engine.config import Config, load
from engine.results import report
from tests.support.replaced import deep, huge, promise

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder_ = tmp_path_factory.mktemp("recommender")
    write_ratings(folder_ / "ratings.csv")
    where = {"dataset": str(folder_ / "ratings.csv"), "workdir": str(folder_ / "run"), "memory": "1GiB"}
    settings = load({**where, **SETTINGS})
    engine.run(settings)
    return settings


def reseal(where: Path, path: Path) -> None:
    """Rewrite the record that has a file, as somebody does who knows how."""
    (stage,) = (folder for folder in where.glob("stages/*") if path.is_relative_to(folder))
    for record in (stage / "records").glob("*.json"):
        if record.name != "stage.json":
            found = read_sealed(locate(record), Record)
            files = [
                FileEntry(entry.path, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
                if stage / entry.path == path
                else entry
                for entry in found.files
            ]
            write_sealed(locate(record), msgspec.structs.replace(found, files=files))


def test_a_run_tells_of_promises_its_records_vouch_for(recommender: Config, tmp_path: Path) -> None:
    where = tmp_path / "run"
    shutil.copytree(recommender.workdir or "", where)
    (pointers,) = where.glob("stages/matrix-*/train/indptr/zarr.json")
    promise(pointers, shape=[671 * 10**9])
    reseal(where, pointers)
    assert upkeep.verify(where) == {}
    (evaluate,) = where.glob("stages/evaluate-*")
    shutil.rmtree(evaluate)
    settings = load({"dataset": recommender.dataset, "workdir": str(where), "memory": "1GiB", **SETTINGS})
    with pytest.raises(DamagedError, match="indptr: not what it says it is"):
        engine.run(settings)
    (where / "run.json").unlink()
    shutil.copy(Path(recommender.workdir or "") / "run.json", where / "run.json")
    shutil.copytree(Path(recommender.workdir or "") / "stages" / evaluate.name, evaluate)
    shutil.copy(Path(recommender.workdir or "") / "metrics.json", where / "metrics.json")
    with pytest.raises(DamagedError, match="indptr: not what it says it is"):
        engine.Recommender.open(where)
    engine.run(settings, fresh=True)
    assert contents(where) == contents(Path(recommender.workdir or ""))


@pytest.mark.parametrize("name", ["ingest-*/users.parquet", "matrix-*/columns.parquet"])
def test_more_ids_than_there_are_is_told_before_they_are_read(
    recommender: Config, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / "run"
    shutil.copytree(recommender.workdir or "", where)
    (path,) = where.glob(f"stages/{name}")
    pl.concat([pl.read_parquet(path)] * 2).write_parquet(path)
    reseal(where, path)
    read, given = pl.read_parquet, list[Path]()

    def noting(path: Path, **how: Any) -> pl.DataFrame:
        given.append(path)
        return read(path, **how)

    monkeypatch.setattr(pl, "read_parquet", noting)
    with pytest.raises(DamagedError, match=rf"{path.name}: \d+ rows, where \d+ should be"):
        engine.Recommender.open(where)
    assert path not in given


def test_figures_that_are_no_figures_are_damage(recommender: Config, tmp_path: Path) -> None:
    pytest.importorskip("altair")
    where = tmp_path / "run"
    shutil.copytree(recommender.workdir or "", where)
    (finished,) = (where / "finished").iterdir()
    deep(finished)
    with pytest.raises(DamagedError, match=finished.name):
        report.write(where)


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "no source": lambda details: details.update(source=None),
    "files of no kind": lambda details: details["source"].update(files="x"),
    "no files": lambda details: details["source"].update(files=[]),
    "too few columns": lambda details: details["source"]["files"][0].update(columns=["a"]),
    "contents of no kind": lambda details: details.update(contents=7),
    "no identity": lambda details: details.update(identity=[]),
    "an identity of no kind": lambda details: details.update(identity="x"),
    "no settings": lambda details: details.update(settings=None),
    "nothing": lambda details: details.clear(),
}


def say(where: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Let a run say something else of itself."""
    (path,) = (where / "finished").iterdir()
    found = read_sealed(locate(path), publishing.Finished)
    details = msgspec.to_builtins(found.run.details)
    change(details)
    last = msgspec.structs.replace(found.run, details=details)
    write_sealed(locate(path), msgspec.structs.replace(found, run=last))
    write_sealed(locate(where / "run.json"), last)


@pytest.mark.parametrize("what", WRONG)
def test_a_run_that_says_nonsense_of_itself_is_told_in_a_line(
    recommender: Config, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sealed as the program does it, by somebody who knows how."""
    where = tmp_path / "run"
    shutil.copytree(recommender.workdir or "", where)
    say(where, WRONG[what])
    for command in (["verify"], ["status"], ["clean", "--yes"], ["report"], ["recommend", "--user", "1"]):
        code = cli.main([command[0], str(where), *command[1:]])
        assert code in (0, 5)
        assert len(capsys.readouterr().err.splitlines()) <= 1 + (code == 0)


@pytest.mark.parametrize("scheme", ["http", "https", "ftp"])
def test_no_server_is_asked_that_a_record_names(
    recommender: Config, tmp_path: Path, scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = tmp_path / "run"
    shutil.copytree(recommender.workdir or "", where)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/x.csv"

        def name_it(details: dict[str, Any]) -> None:
            details["source"]["titles"] = details["source"]["files"][0]["path"] = url

        say(where, name_it)
        for command in ("status", "verify"):
            assert cli.main([command, str(where)]) == 0
            assert f"only a run asks for {url}" in capsys.readouterr().out
        assert cli.main(["recommend", str(where), "--user", "1"]) == 0
        assert "only a run asks" in capsys.readouterr().err
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("url", ["simplecache::local:///etc/passwd", "s3://a::local://b/c"])
def test_a_record_that_names_a_store_within_a_store_is_damage(
    recommender: Config, tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = tmp_path / "run"
    shutil.copytree(recommender.workdir or "", where)
    say(where, lambda details: details["source"].update(titles=url))
    assert cli.main(["recommend", str(where), "--user", "1"]) == 5
    assert f"{url}: a store within a store" in capsys.readouterr().err
    assert cli.main(["run", url, "--workdir", str(where)]) == 2


def test_ratings_of_another_size_are_not_read_to_know_that_they_have_changed(
    recommender: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, other = tmp_path / "run", tmp_path / "r.csv"
    shutil.copytree(recommender.workdir or "", where)
    shutil.copy(str(recommender.dataset), other)
    say(where, lambda details: details["source"]["files"][0].update(path=str(other)))
    assert driver.ratings_changed(where) is None  # another file, the same content
    huge(other)
    monkeypatch.setattr("engine.chunked.storage.local.Local.digest", lambda self: pytest.fail(f"{self} was read"))
    assert "have changed" in (driver.ratings_changed(where) or "")


NONSENSE: dict[str, Callable[[dict[str, Any]], object]] = {
    "text for a figure": lambda metrics: metrics["figures"]["model"]["rmse"].update(value="x"),
    "a list for an error": lambda metrics: metrics["figures"]["bias_model"]["mae"].update(standard_error=[1.0]),
    "a negative error": lambda metrics: metrics["figures"]["model"]["rmse"].update(standard_error=-1.0),
    "a figure that is none": lambda metrics: metrics["figures"]["most_popular"].update(gini=3),
    "a figure of no users": lambda metrics: metrics["figures"]["model"]["gini"].pop("n_users"),
    "none of the model": lambda metrics: metrics["figures"].pop("model"),
    "no figures": lambda metrics: metrics.pop("figures"),
    "a negative count": lambda metrics: metrics.update(n_ratings=-1),
    "half a user": lambda metrics: metrics.update(n_users=0.5),
    "a count that is null": lambda metrics: metrics.update(n_test=None),
    "a part of no kind": lambda metrics: metrics["weights"]["ranking"]["weights"].update(luck=1.0),
    "a worth without error": lambda metrics: metrics["weights"]["rating"]["worth"].update(near=[1.0]),
    "notes that are none": lambda metrics: metrics.update(notes=[{}]),
    "lists of nothing": lambda metrics: metrics["config"]["evaluate"].update(k=0),
    "evaluated by nobody": lambda metrics: metrics.update(evaluated={}),
    "evaluated by itself": lambda metrics: metrics.update(evaluated={**metrics, "evaluated": {**metrics}}),
    "nothing": lambda metrics: metrics.clear(),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_figures_of_a_wrong_kind_are_damage(
    recommender: Config, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("altair")
    where = tmp_path / "run"
    shutil.copytree(recommender.workdir or "", where)
    (path,) = (where / "finished").iterdir()
    found = read_sealed(locate(path), publishing.Finished)
    metrics = copy.deepcopy(found.metrics)
    NONSENSE[what](metrics)
    write_sealed(locate(path), msgspec.structs.replace(found, metrics=metrics))
    assert cli.main(["report", str(where)]) == 5
    assert "its figures are another version's, or altered" in capsys.readouterr().err
    refit = ["run", str(recommender.dataset), "--workdir", str(where), "--refit"]
    assert cli.main(refit) == (5 if metrics.get("figures") else 2)
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert cli.main(["recommend", str(where), "--user", "1"]) == 0


@pytest.mark.parametrize(
    "odd", [{"measured": -1}, {"seconds": -0.5}, {"samples": [(0.0, -1)]}, {"rounds": [("a", -1)]}]
)
def test_what_a_stage_took_is_no_less_than_nothing(recommender: Config, tmp_path: Path, odd: dict[str, Any]) -> None:
    where = tmp_path / "run"
    shutil.copytree(recommender.workdir or "", where)
    for path in (where / "run.json", *(where / "finished").iterdir()):
        kind = workdir.LastRun if path.name == "run.json" else publishing.Finished
        found: Any = read_sealed(locate(path), kind)
        last = found if path.name == "run.json" else found.run
        last = msgspec.structs.replace(last, stages=[msgspec.structs.replace(last.stages[0], **odd), *last.stages[1:]])
        write_sealed(locate(path), last if path.name == "run.json" else msgspec.structs.replace(found, run=last))
    assert cli.main(["report", str(where)]) == 5
    assert cli.main(["status", str(where)]) == 5
