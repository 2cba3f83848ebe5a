"""Objects of any name in a store, and stores that answer badly: nothing else is removed, and the truth is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import chunked, cli
from engine.chunked import upkeep
from engine.chunked.errors import DamagedError, EngineError, UsageError
from engine.chunked.journal import Journal, Record
from engine.chunked.storage import Location, Remote
from engine.chunked.store import FileEntry, StageStore
from tests.support.bad_store import Answer, bad_store, fails, lists, sends
from tests.support.here import in_this_process
from tests.support.toy import toy_pipeline


def put_raw(bucket: Remote, name: str, content: bytes = b"") -> None:
    """Put an object of just this name, as anybody may who has the key of the store."""
    bucket.store.call_s3("put_object", Bucket=bucket.key, Key=name, Body=content)


def all_names(bucket: Remote, prefix: str) -> set[str]:
    """Names of all objects, as they are."""
    listed = bucket.store.call_s3("list_objects_v2", Bucket=bucket.key, Prefix=prefix)
    return {each["Key"] for each in listed.get("Contents", [])}


def upload(finished: Path, bucket: Remote, name: str) -> None:
    """A copy of a work directory on a disk, as a tool makes it: its empty lock is in it."""
    for path in finished.rglob("*"):
        if path.is_file() and ".scratch" not in path.parts:
            put_raw(bucket, f"{name}/{path.relative_to(finished)}", path.read_bytes())


@pytest.fixture
def where(finished: Path, bucket: Remote, tmp_path: Path) -> Remote:
    """A finished run in the bucket, in a folder of its own."""
    upload(finished, bucket, tmp_path.name)
    (bucket / tmp_path.name / "lock").remove()
    return bucket / tmp_path.name


def stage_of(where: Location) -> Location:
    """Its only step's folder."""
    (name,) = (where / "stages").names()
    return where / "stages" / name


@pytest.mark.parametrize("signs", ["run?", "run*", "run[1]", "run**"])
def test_names_with_signs_of_patterns_are_names(finished: Path, bucket: Remote, tmp_path: Path, signs: str) -> None:
    folder, neighbour = f"{tmp_path.name}/{signs}", f"{tmp_path.name}/run1"
    for name in (folder, neighbour):
        upload(finished, bucket, name)
    strays = (f"{neighbour}/stages/old-1234/precious", f"{folder}/stages/old-1234/records/stage.json")
    for name in strays:
        put_raw(bucket, name)
    before = all_names(bucket, tmp_path.name)
    assert cli.main(["clean", str(bucket / folder), "--yes"]) == 0
    assert before - all_names(bucket, tmp_path.name) == {strays[1], f"{folder}/lock"}
    assert upkeep.verify(bucket / folder) == {}


def test_a_run_in_a_folder_with_signs_of_a_pattern_removes_its_lock(bucket: Remote, tmp_path: Path) -> None:
    where = bucket / tmp_path.name / "exp[1]" / "w"
    with in_this_process():
        for _ in range(2):
            run_in(where, tmp_path)
            assert not (where / "lock").exists()
    assert upkeep.verify(where) == {}


def run_in(where: Remote, folder: Path) -> None:
    chunked.run(toy_pipeline(folder / "calls"), where, memory="200MiB")


HOSTILE = [
    # Patterns of folders, files and records.
    "stages/*-*/records/stage.json",
    "{stage}/*",
    "{stage}/records/*.json",
    # Marks of folders, as consoles make them.
    "",
    "stages/",
    "{stage}/",
    "{stage}/records/",
    # What a path leaves out or follows.
    "{stage}//half-0.txt",
    "{stage}/./half-0.txt",
    "{stage}/x/../half-0.txt",
    "{stage}/../../../x",
    # Versions and what else may follow a name in a URL; what XML cannot hold.
    "{stage}/half-0.txt?versionId=zzz",
    "{stage}/records/total.00000.json?versionId=zzz",
    "stages/x-?a=b/f",
    "stages/x-#a=b/f",
    "{stage}/half\x01-0.txt",
]


@pytest.mark.parametrize("unfinished", [False, True])
def test_objects_of_any_name_cost_no_others(unfinished: bool, where: Remote, tmp_path: Path) -> None:
    stage, bucket, prefix = stage_of(where), where.parent, f"{where.name}/"
    mine = {prefix + name for name in where.sizes()} | {f"{prefix}stages/{stage.name}/records/read"}
    hostile = {prefix + name.format(stage=f"stages/{stage.name}") for name in HOSTILE}
    if unfinished:
        (stage / "records" / "stage.json").remove()
    for name in hostile:
        put_raw(bucket, name)
    with in_this_process():
        run_in(where, tmp_path)
    assert all_names(bucket, prefix) - hostile == mine
    assert cli.main(["clean", str(where), "--yes"]) == 0
    assert all_names(bucket, prefix) - hostile == mine
    assert cli.main(["verify", str(where)]) == cli.main(["status", str(where)]) == 0


def test_a_mark_of_a_folder_leaves_what_is_in_it(where: Remote, tmp_path: Path) -> None:
    stage, before = stage_of(where), where.sizes()
    (stage / "records" / "stage.json").remove()
    put_raw(where.parent, f"{where.name}/stages/{stage.name}/")
    with in_this_process():
        run_in(where, tmp_path)
    assert where.sizes().keys() - {f"stages/{stage.name}/records/read"} == before.keys()
    assert upkeep.verify(where) == {}
    put_raw(where.parent, f"{where.name}-new/")
    assert ((where.parent / f"{where.name}-new").names(), where.parent.exists()) == ([], True)


@pytest.mark.parametrize(
    "name", ["half-0.txt?versionId=zzz", "records/total.00000.json?versionId=zzz", "records/notes", "half*"]
)
def test_what_belongs_to_no_task_is_named_and_removed(name: str, where: Remote) -> None:
    stage = stage_of(where)
    put_raw(where.parent, f"{where.name}/stages/{stage.name}/{name}")
    assert upkeep.verify(where) == {f"{stage.name}/{name}": f"{stage}/{name}: belongs to no task"}
    StageStore(stage).keep_only(entry.path for record in Journal(stage).records() for entry in record.files)
    assert upkeep.verify(where) == {}


@pytest.mark.parametrize("name", ["", ".", "..", "x/", "x//y", "./x", "x/../y", "/x"])
def test_a_name_that_stands_for_another_is_none_of_a_stage(name: str, tmp_path: Path) -> None:
    store = StageStore(tmp_path / "stage-1")
    (store.root / "x").put(b"")
    with pytest.raises(DamagedError, match="is no name of a file in there"):
        store.path(name)
    assert store.root.names() == ["x"]


@pytest.mark.parametrize("name", ["", "x//y", "./x", "x/", "/x", "records/x", "../x"])
def test_a_record_that_names_no_file_of_its_own_is_damaged(name: str, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "stage-1")
    journal.write(Record("a.00000", [FileEntry(name, 0, "")]))
    assert "which is no file of a task's" in journal.damaged()["a.00000"]


def test_more_objects_than_a_request_takes_are_removed(
    bucket: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.chunked.storage.s3._AT_ONCE", 2)
    place = bucket / tmp_path.name
    for name in ("a", "b", "\x01", "c/d", "e"):
        put_raw(bucket, f"{tmp_path.name}/{name}")
    assert len(place.sizes()) == 5
    place.remove()
    assert all_names(bucket, tmp_path.name) == set()


def test_a_removal_that_the_store_refuses_is_told(where: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    store, name = where.store, f"{where.name}/run.json"
    monkeypatch.setattr(
        store, "call_s3", lambda *_, **__: {"Errors": [{"Key": name, "Code": "AccessDenied", "Message": "no"}]}
    )
    with pytest.raises(UsageError, match=r"access denied .*run.json.* cannot be removed"):
        (where / "run.json").remove()


@pytest.mark.parametrize("content", [b"", b"{}", b"nothing", b'{"a": 1}'])
def test_a_lock_that_names_nobody_is_nobodys(content: bytes, where: Remote) -> None:
    (where / "lock").put(content)
    assert (where / "lock").holder() is None
    assert upkeep.clean(where, really=True) == []
    assert not (where / "lock").exists()


@pytest.mark.parametrize("command", ["verify", "status", "recommend", "clean"])
def test_a_store_that_fails_is_told_for_what_it_is(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("s3fs")
    with bad_store(fails(), monkeypatch):
        more = ["--user", "1"] if command == "recommend" else []
        assert cli.main([command, "s3://bad/w", *more]) == 1
    told = capsys.readouterr().err
    assert "s3://bad/w" in told
    assert "the store does not answer as it should" in told


def test_a_name_that_no_store_has_is_refused(bucket: Remote) -> None:
    with pytest.raises(UsageError, match="s3://a_B!/x: no store of this kind has such a name"):
        Remote("s3://a_B!/x").exists()


@pytest.mark.parametrize("status", [404, 500])
def test_a_web_server_that_fails_is_not_one_without_the_file(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    with bad_store(Answer(status, {}, b""), monkeypatch):
        place = Remote(f"{os.environ['AWS_ENDPOINT_URL']}/r.csv")
        if status == 404:
            assert not place.is_file()
        else:
            with pytest.raises(EngineError, match=r"r\.csv: the store does not answer as it should .*URL is right"):
                place.is_file()


UNREADABLE = {
    "a size": lists("<Contents><Key>w/stages/a-1/x</Key><Size>abc</Size></Contents>"),
    "no size": lists("<Contents><Key>w/stages/a-1/x</Key></Contents>"),
    "no token": lists("<IsTruncated>true</IsTruncated>"),
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("ask", [Remote.sizes, Remote.names, Remote.remove, Remote.is_dir])
def test_an_answer_that_cannot_be_read_is_told(
    answer: Answer, ask: Callable[[Remote], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs")
    with (
        bad_store(answer, monkeypatch),
        pytest.raises(EngineError, match=r"s3://bad/w.* answer cannot be read .* then run again"),
    ):
        ask(Remote("s3://bad/w/stages/a-1"))


SENT = {
    "cut": sends(b"half", of=b"half and half", length=13),
    "too long": sends(b"half and half", of=b"half", length=13),
    "another": sends(b"other", of=b"half"),
}


@pytest.mark.parametrize("answer", SENT.values(), ids=SENT)
@pytest.mark.parametrize("how", ["read", "digest", "local"])
def test_a_body_that_is_not_as_it_is_said_to_be_is_told(
    answer: Answer, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("s3fs")
    place = Remote("s3://bad/x")
    asks: dict[str, Callable[[], object]] = {"read": place.read_bytes, "digest": place.digest, "local": place.local}
    with bad_store(answer, monkeypatch), pytest.raises(EngineError, match="what the store sent is not what it says"):
        asks[how]()
