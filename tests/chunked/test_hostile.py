"""Files of a work directory that somebody has replaced: damage that is named, never waited for, never read whole."""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import numcodecs
import numpy as np
import polars as pl
import pytest

import engine
from bench.kill import SETTINGS, contents, write_ratings
from engine import chunked, cli, driver
from engine.chunked import arrays, csr, overview, publishing, upkeep, workdir
from engine.chunked.errors import DamagedError, EngineError
from engine.chunked.journal import Journal, Record
from engine.chunked.sealed import read_sealed, write_sealed
from engine.chunked.storage import base, locate
from engine.chunked.store import FileEntry, StageStore
from engine.config import Config, load
from engine.results import report
from engine.results.report import content
from engine.serving.finished import open_finished
from tests.support.toy import toy_pipeline

pytestmark = pytest.mark.usefixtures("here")

KEPT = (
    "run.json",
    "workdir.json",
    "metrics.json",
    "published.json",
    "finished/*.json",
    "lock",
    "stages/*/records/total.00000.json",
)


def run(where: Path) -> object:
    return chunked.run(toy_pipeline(where.parent / "calls"), where, memory="200MiB")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("hostile") / "w"
    run(where)
    return where


@pytest.fixture
def where(finished: Path, tmp_path: Path) -> Path:
    """A finished run of the toy."""
    shutil.copytree(finished, tmp_path / "w")
    return tmp_path / "w"


def deep(path: Path) -> None:
    path.write_text("[" * 200_000 + "]" * 200_000)


def deep_object(path: Path) -> None:
    path.write_text('{"a":' * 200_000 + "1" + "}" * 200_000)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**30)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "x").write_text("x")


def socket_(path: Path) -> None:
    os.mknod(path, 0o140644)


REPLACED: list[Callable[[Path], None]] = [deep, deep_object, huge, pipe, folder, socket_]


def tell(arguments: list[str]) -> tuple[int, str]:
    """How a command ends, and what it complains of: in a process of its own, which is small and has a minute."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({2**31}, {2**31}))"
    code = f"{limit}\nimport sys\nfrom engine.cli import main\nsys.exit(main({arguments!r}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return ran.returncode, ran.stderr


@pytest.mark.parametrize("replace", REPLACED, ids=lambda replace: replace.__name__)
@pytest.mark.parametrize("name", KEPT)
def test_what_is_in_the_place_of_a_file_is_damage_and_healed(
    where: Path, name: str, replace: Callable[[Path], None]
) -> None:
    (victim,) = where.glob(name)
    victim.unlink()
    replace(victim)
    if name == "lock":
        if replace in (pipe, folder, socket_):
            assert list(upkeep.verify(where)) == ["lock"]
            with pytest.raises(DamagedError, match="lock: no regular file"):
                run(where)
            shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
        assert overview.status(where)["running"] is None
    else:
        assert overview.status(where)["stages"]
        (fault, *_) = upkeep.verify(where).values()
        assert str(victim) in fault
    run(where)
    assert upkeep.verify(where) == {}
    assert upkeep.clean(where) == []


def test_every_command_ends_soon_and_in_one_line(where: Path) -> None:
    (record,) = where.glob("stages/*/records/total.00000.json")
    for victim, replace in ((record, deep), (record, huge), (record, pipe), (where / "run.json", huge)):
        content = victim.read_bytes()
        victim.unlink()
        replace(victim)
        code, said = tell(["verify", str(where)])
        assert (code, len(said.splitlines())) == (5, 1), said
        victim.unlink()
        victim.write_bytes(content)


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize("replace", [deep, spoil, pipe, folder])
@pytest.mark.parametrize("name", KEPT)
def test_status_tells_of_damage_of_what_it_reads(
    where: Path, name: str, replace: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["status", str(where), "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["damaged"] == []
    if name == "lock" and replace in (deep, spoil):
        return  # may say anything
    (victim,) = where.glob(name)
    if replace is not spoil:
        victim.unlink()
    replace(victim)
    assert cli.main(["status", str(where)]) == 5
    said = capsys.readouterr()
    assert f"engine: 1 damaged, the first is {victim}: " in said.err
    assert len(said.out.splitlines()) == 3
    assert (": finished" in said.out) == (name not in ("run.json", "metrics.json"))
    with locate(where / "lock").hold() if name != "lock" else nullcontext():
        assert (overview.status(where)["damaged"] == []) == (name != "lock")


@pytest.mark.parametrize("name", ["metrics.json", "stages/*/records/stage.json", "stages/toy-*"])
def test_status_tells_what_is_gone(where: Path, name: str) -> None:
    (victim,) = where.glob(name)
    shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    (fault,) = overview.status(where)["damaged"]
    assert f"{victim.name}" in fault
    assert "missing" in fault
    assert not overview.status(where)["finished"]


def test_every_command_that_needs_the_last_run_tells_that_it_is_damaged(where: Path) -> None:
    spoil(where / "run.json")
    with pytest.raises(DamagedError, match=r"run\.json: altered"):
        upkeep.clean(where)
    spoil(where / "published.json")
    for command in (upkeep.clean, open_finished, content.collect):
        with pytest.raises(DamagedError, match=r"published\.json: cannot be read"):
            command(where)


FOREIGN = [
    "/dev/zero",
    "../../../vic",
    "half-0.txt/../../../../vic",
    "records/stage.json",
    ".",
    "",
    "a\0b",
    "pipe",
    "sub",
    "x" * 300,
]


@pytest.mark.parametrize("name", FOREIGN)
def test_a_record_that_names_what_is_no_file_of_its_stage_is_damaged(where: Path, name: str) -> None:
    vic = where.parent / "vic"
    vic.write_bytes(b"precious")
    (stage,) = where.glob("stages/toy-*")
    os.mkfifo(stage / "pipe")
    (stage / "sub").mkdir()
    journal = Journal(stage)
    path = stage / "records" / "halves.00000.json"
    entry = FileEntry(name, 8, hashlib.sha256(b"precious").hexdigest())
    before = read_sealed(locate(path), Record)
    write_sealed(locate(path), msgspec.structs.replace(before, files=[*before.files, entry]))
    assert list(journal.damaged()) == ["halves.00000"]
    assert "halves.00000" in " ".join(upkeep.verify(where))
    run(where)
    assert upkeep.verify(where) == {}
    assert vic.read_bytes() == b"precious"


def test_a_last_run_that_names_folders_elsewhere_is_none(where: Path) -> None:
    last = workdir.last_run(where)
    assert last is not None
    for folder_ in ("../../vic-1", "/vic-1", "a-1/b", "", ".."):
        stages = [msgspec.structs.replace(last.stages[0], folder=folder_)]
        write_sealed(locate(where / "run.json"), msgspec.structs.replace(last, stages=stages))
        assert workdir.last_run(where) is None
        assert "run.json" in upkeep.verify(where)
    run(where)
    assert upkeep.verify(where) == {}


def test_what_would_not_be_read_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.chunked.storage.local.SMALL", 1000)
    monkeypatch.setattr(base, "SMALL", 1000)
    Journal(tmp_path / "a-1").write(Record("a.00000", [], {"text": "x" * 500}))
    assert Journal(tmp_path / "a-1").result("a.00000") == {"text": "x" * 500}
    with pytest.raises(EngineError, match="let tasks write into files"):
        Journal(tmp_path / "a-1").write(Record("a.00001", [], {"text": "x" * 1000}))


@pytest.mark.parametrize("pid", ["1", 0, -1, 2**80, None, {"a": 1}])
def test_a_lock_may_say_anything(where: Path, pid: object) -> None:
    who = msgspec.json.encode({"pid": str(pid) if isinstance(pid, dict) else 7, "host": pid if pid != 2**80 else "x"})
    who = who.replace(b'"pid":7', b'"pid":' + str(2**80).encode()) if pid == 2**80 else who
    (where / "lock").write_bytes(who)
    assert overview.status(where)["running"] is None
    with locate(where / "lock").hold():
        (where / "lock").write_bytes(who)
        with pytest.raises(EngineError, match="in use"):
            upkeep.clean(where)


def write_array(root: Path, shape: tuple[int, ...] = (12, 2)) -> Path:
    store = StageStore(root)
    scratch = store.new_scratch("layout.00000")
    arrays.create_array(scratch, "a", shape=shape, chunks=(5, 2), dtype="float32", fill=0)
    store.commit(scratch)
    scratch = store.new_scratch("fill.00000")
    arrays.write_rows(root, scratch, "a", 0, np.ones(shape, np.float32))
    store.commit(scratch)
    return root / "a" / "zarr.json"


BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def promise(path: Path, **altered: Any) -> None:
    """Let metadata say something else."""
    path.write_bytes(msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), **altered}))


@pytest.mark.parametrize("rows", [10**7, 671 * 10**9])
def test_an_array_that_promises_what_is_not_there_is_damaged(tmp_path: Path, rows: int) -> None:
    promise(write_array(tmp_path), shape=[rows, 2])
    with pytest.raises(DamagedError, match=r"/a: not what it says it is .*last chunk is missing"):
        arrays.open_array(tmp_path, "a")


def test_one_chunk_that_promises_too_much_is_damaged(tmp_path: Path) -> None:
    grid = {"name": "regular", "configuration": {"chunk_shape": [671 * 10**9, 2]}}
    promise(write_array(tmp_path), shape=[671 * 10**9, 2], chunk_grid=grid)
    array = arrays.open_array(tmp_path, "a")
    with pytest.raises(DamagedError, match=r"/a: not what it says it is"):
        arrays.read_rows(array, 0, array.shape[0])


@pytest.mark.parametrize("rows", [1, 4, 6, 10**7])
def test_a_chunk_that_becomes_more_than_it_should_is_not_unpacked(tmp_path: Path, rows: int) -> None:
    (write_array(tmp_path).parent / "c/0/0").write_bytes(numcodecs.Zstd().encode(bytes(8 * rows)))
    array = arrays.open_array(tmp_path, "a")
    tracemalloc.start()
    with pytest.raises(DamagedError, match=rf"/a: not what it says it is \(a chunk of {8 * rows} bytes, where 40 "):
        arrays.read_rows(array, 0, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20


@pytest.mark.parametrize("n", [1, 10, 255, 256, 257, 65_791, 65_792, 10**6])
def test_what_a_chunk_becomes_is_known_before(tmp_path: Path, n: int) -> None:
    store, rows = StageStore(tmp_path), np.random.default_rng(0).integers(256, size=n).astype(np.uint8)
    scratch = store.new_scratch("layout.00000")
    arrays.create_array(scratch, "a", shape=(n,), chunks=(n,), dtype="uint8", fill=0)
    store.commit(scratch)
    scratch = store.new_scratch("fill.00000")
    arrays.write_rows(tmp_path, scratch, "a", 0, rows)
    store.commit(scratch)
    np.testing.assert_array_equal(arrays.hold(arrays.open_array(tmp_path, "a")), rows)


@pytest.mark.parametrize("content", [b"", b"x", b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\x00\x58\x00\x00"])
def test_a_chunk_that_does_not_say_what_it_becomes_is_damage(tmp_path: Path, content: bytes) -> None:
    (write_array(tmp_path).parent / "c/0/0").write_bytes(content)
    with pytest.raises(DamagedError, match="/a: not what it says it is"):
        arrays.read_rows(arrays.open_array(tmp_path, "a"), 0, 1)


@pytest.mark.parametrize(
    "altered",
    [
        {"codecs": [BYTES, {"name": "gzip", "configuration": {"level": 1}}]},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [13, 2]}}},
    ],
)
def test_an_array_cut_or_packed_as_none_here_is_damage(tmp_path: Path, altered: dict[str, Any]) -> None:
    promise(write_array(tmp_path), **altered)
    with pytest.raises(DamagedError, match=r"/a: not what it says it is \((its chunks are packed|chunks \(13, 2\))"):
        arrays.open_array(tmp_path, "a")


@pytest.mark.parametrize(
    "altered", [{"shape": [-1, 2]}, {"shape": "x"}, {"data_type": "x"}, {"codecs": []}, {"zarr_format": 9}, {"a": 1}]
)
def test_metadata_that_are_none_are_damage(tmp_path: Path, altered: dict[str, Any]) -> None:
    promise(write_array(tmp_path), **altered)
    with pytest.raises(DamagedError, match=r"/a: not what it says it is"):
        arrays.open_array(tmp_path, "a")


def test_deep_metadata_are_damage(tmp_path: Path) -> None:
    deep(write_array(tmp_path))
    with pytest.raises(DamagedError, match="/a: not what it says it is"):
        arrays.open_array(tmp_path, "a")


@pytest.mark.parametrize(
    ("name", "replace"), [("c/0/0", pipe), ("c/0/0", socket_), ("c/of nobody", pipe), ("zarr.json", socket_)]
)
def test_what_is_no_file_of_an_array_is_told_before_anybody_waits_for_it(
    tmp_path: Path, name: str, replace: Callable[[Path], None]
) -> None:
    """Zarr opens whatever is there."""
    victim = write_array(tmp_path).parent / name
    victim.unlink(missing_ok=True)
    replace(victim)
    with pytest.raises(DamagedError, match=f"/a/{name}: no regular file"):
        arrays.open_array(locate(tmp_path).enclosed(), "a")


def write_matrix(root: Path) -> Path:
    store = StageStore(root)
    scratch = store.new_scratch("layout.00000")
    indptr = np.array([0, 2, 2, 5])
    csr.create(scratch, "m", indptr=indptr, n_columns=4, value_dtype="uint8", value_step=0.5, chunk=2)
    for name in ("indices", "data"):
        arrays.open_array(locate(scratch), f"m/{name}", mode="r+")[:] = np.array([0, 3, 1, 2, 3], dtype=np.uint8)
    store.commit(scratch)
    return root / "m"


@pytest.mark.parametrize("part", ["indptr", "indices", "data"])
@pytest.mark.parametrize("n", [4000, 671 * 10**9])
def test_a_matrix_whose_parts_promise_what_is_not_there_is_damaged(tmp_path: Path, part: str, n: int) -> None:
    promise(write_matrix(tmp_path) / part / "zarr.json", shape=[n])
    with pytest.raises(DamagedError, match="not what it says it is"):
        csr.CsrReader(tmp_path, "m")


@pytest.mark.parametrize("shape", [[3, 671 * 10**9], [671 * 10**9, 4], [3], None, ["x", 4]])
def test_a_matrix_of_another_shape_is_damaged(tmp_path: Path, shape: object) -> None:
    metadata = write_matrix(tmp_path) / "zarr.json"
    attributes = msgspec.json.decode(metadata.read_bytes())["attributes"]
    promise(metadata, attributes={**attributes, "shape": shape})
    with pytest.raises(DamagedError, match="/m: not what it says it is"):
        csr.CsrReader(tmp_path, "m")


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
