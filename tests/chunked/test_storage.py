"""Whole runs in an S3 bucket: the bytes of a local run, after damage and interruptions as well."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import engine
from bench.kill import SETTINGS, contents, write_ratings
from engine import cli
from engine.chunked import overview, upkeep, workdir
from engine.chunked.errors import EngineError, UsageError
from engine.chunked.events import Note, TaskBegan
from engine.chunked.journal import Journal, Record
from engine.chunked.storage import Remote
from engine.chunked.store import FileEntry
from engine.config import Config, load
from tests.support.here import in_this_process

# A request takes ten milliseconds here, and a task some dozen of them.
FEWER: dict[str, Any] = {
    "factors": {"passes": 1, "partial_sums": 2},
    "refine": {"sweeps": 1},
    "neighbors": {"users_per_chunk": 80},
    "predict": {"users_per_task": 120},
}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work directory of a run on this machine; the ratings are in ``data`` beside it."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "data").mkdir()
    write_ratings(folder / "data" / "ratings.csv")
    (folder / "data" / "movies.csv").write_text(
        "movieId,title,genres\n" + "".join(f"{i},Film {i},\n" for i in range(150))
    )
    with in_this_process():
        engine.run(settings(folder / "data" / "ratings.csv", folder / "run"))
    return folder / "run"


@pytest.fixture(scope="module")
def remote(local: Path, bucket: Remote) -> Remote:
    """Work directory of a run in the bucket, of the same ratings in the bucket; it was killed halfway and went on."""
    for name in ("ratings.csv", "movies.csv"):
        (bucket / "data" / name).upload(local.parent / "data" / name)
    where = bucket / "run"
    asked = settings(bucket / "data" / "ratings.csv", where)
    kill_at_task(asked, 9)
    assert (where / workdir.LOCK).exists()  # nobody could remove it, and yet it stops nobody
    done = {(name.split("-")[0], Path(name).stem) for name in records(where)}
    begun: set[tuple[str, str]] = set()
    stage = "ingest"

    def note(event: engine.Event) -> None:
        nonlocal stage
        stage = getattr(event, "stage", stage)
        if isinstance(event, TaskBegan):
            begun.add((stage, event.task))

    result = engine.run(asked, note)
    assert len(done) >= 5
    assert not done & begun
    for entry in result.stages:
        assert entry.skipped or 0 < entry.measured <= entry.projected, entry.stage
    assert result.workdir == where
    return where


def kill_at_task(asked: Config, n: int) -> None:
    """Start a run, and end it and its children with SIGKILL when its n-th task begins."""
    code = (
        "import sys, msgspec, engine\nfrom engine.config import load\nn = 0\n"
        "def note(event):\n    global n\n    n += type(event).__name__ == 'TaskBegan'\n"
        f"    if n == {n}: print('now', flush=True)\n"
        "engine.run(load(msgspec.json.decode(sys.argv[1])), note)"
    )
    command = [sys.executable, "-c", code, msgspec.json.encode(asked).decode()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"now\n"
        os.killpg(run.pid, signal.SIGKILL)


def records(where: Remote) -> list[str]:
    """Tasks that are done, as ``stage-fingerprint/records/task.json``."""
    names = [name for name in (where / "stages").sizes() if "/records/" in name and name.endswith(".json")]
    return [name for name in names if not name.endswith("stage.json")]


def settings(dataset: Path | Remote, where: Path | Remote) -> Config:
    return load({"dataset": str(dataset), "workdir": str(where), "memory": "1GiB"}, SETTINGS, FEWER)


def left_in(where: Remote, scratch: Path) -> dict[str, str]:
    """What `bench.kill.contents` says of the stages of a run in a bucket, but for what it notes of having read."""
    where.store.get((where / "stages").key, str(scratch / "stages"), recursive=True)
    return {name: digest for name, digest in contents(scratch / "stages").items() if not name.endswith("/records/read")}


def test_a_run_in_a_bucket_leaves_the_bytes_of_a_local_one(local: Path, remote: Remote, tmp_path: Path) -> None:
    assert left_in(remote, tmp_path) == contents(local / "stages")
    assert len(records(remote)) > 40
    assert not (remote / workdir.LOCK).exists()
    assert not list(Path(tempfile.gettempdir()).glob("engine-scratch-*/.scratch/*"))


def test_it_is_looked_at_and_read_as_a_local_one(
    local: Path, remote: Remote, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, expected = overview.status(remote), overview.status(local)
    assert found["finished"]
    assert found["running"] is None
    told = ("folder", "complete", "tasks_done", "tasks_left", "used")
    assert [[each[key] for key in told] for each in found["stages"]] == [
        [each[key] for key in told] for each in expected["stages"]
    ]
    assert upkeep.verify(remote) == {}
    here, there = engine.Recommender.open(local), engine.Recommender.open(str(remote))
    assert_frame_equal(there.recommend([3, 77], k=5), here.recommend([3, 77], k=5))
    assert there.recommend([3], k=1)["title"].item().startswith("Film ")
    assert_frame_equal(there.similar_users(3, k=4), here.similar_users(3, k=4))
    me = there.fold_in([1, 2, 3], [5, 4, 1])
    assert_frame_equal(there.recommend(me, k=3), here.recommend(here.fold_in([1, 2, 3], [5, 4, 1]), k=3))
    with in_this_process():
        there_too = remote.parent / "lists" / "all.parquet"
        for where, out in (
            (local, tmp_path / "here.parquet"),
            (remote, tmp_path / "there.parquet"),
            (local, there_too),
        ):
            engine.recommend_all(str(where), str(out), memory="1GiB")
    assert (tmp_path / "there.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()
    assert there_too.read_bytes() == (tmp_path / "here.parquet").read_bytes()
    assert pl.read_parquet(tmp_path / "there.parquet").height == 2400
    with pytest.raises(UsageError, match=r"lists/all\.csv: lists for everybody .* name it s3://.*/lists/all\.parquet"):
        engine.recommend_all(str(local), str(there_too.parent / "all.csv"))
    with pytest.raises(EngineError, match=r"http://127\.0\.0\.1:9/all\.parquet"):
        engine.recommend_all(str(local), "http://127.0.0.1:9/all.parquet")
    assert cli.main(["clean", str(local), "--yes"]) == cli.main(["clean", str(remote), "--yes"]) == 0
    assert "recommend-" in capsys.readouterr().out
    assert upkeep.verify(remote) == {}
    assert not any("recommend-" in name for name in remote.sizes())


def test_a_report_of_it_is_put_beside_it(remote: Remote) -> None:
    pytest.importorskip("altair")
    assert cli.main(["report", str(remote)]) == 0
    page = (remote / "report.html").read_text()
    (remote / "report.html").remove()
    assert str(remote) in page
    assert "items" in page


def test_damage_is_found_and_healed(local: Path, remote: Remote, tmp_path: Path) -> None:
    names = sorted(remote.sizes())
    flipped, gone = (next(remote / name for name in names if kind in name) for kind in ("train/data/c/1", "/ids/c/"))
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 4
    flipped.put(bytes(content))
    gone.remove()
    faults = " ".join(upkeep.verify(remote).values())
    assert f"{flipped}: content altered" in faults
    assert f"{gone}: No such object" in faults
    assert cli.main(["verify", str(remote)]) == 5
    notes: list[str] = []
    with in_this_process():
        engine.run(
            settings(remote.parent / "data" / "ratings.csv", remote),
            lambda event: notes.append(event.text) if isinstance(event, Note) else None,
        )
    assert sum("is done again" in note for note in notes) == 2
    assert upkeep.verify(remote) == {}
    assert left_in(remote, tmp_path) == contents(local / "stages")


def test_what_a_store_says_is_as_it_was_is_read_once(bucket: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, digest, read = bucket / "once" / "s-1", Remote.digest, list[str]()

    def noted(self: Remote, size: int | None = None) -> str:
        read.append(self.name)
        return digest(self, size)

    monkeypatch.setattr(Remote, "digest", noted)
    journal = Journal(folder)
    for name in ("a", "b"):
        (folder / name).put(name.encode())
        files = [FileEntry(name, 1, hashlib.sha256(name.encode()).hexdigest())]
        journal.write(Record(f"{name}.00000", files))
    for expected in (["a", "b"], []):
        assert journal.damaged_since() == {}
        assert read == expected
        read.clear()
    (folder / "b").put(b"x")
    for _ in range(2):  # what is damaged stays so
        assert list(journal.damaged_since()) == ["b.00000"]
        assert read == ["b"]
        read.clear()
    (folder / "b").put(b"b")
    assert journal.damaged_since() == journal.damaged() == {}
    assert read == ["b", "a", "b"]  # of these, two by who reads all
    (folder / "records" / "read").put(b"{}")
    assert journal.damaged_since() == {}
    assert read[3:] == ["a", "b"]
    assert (journal.task_ids(), journal.strays()) == (["a.00000", "b.00000"], [])


def test_a_second_run_is_refused_and_changes_nothing(remote: Remote, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            lock = f'{{"pid": {other.pid}, "host": "elsewhere", "since": "{time.strftime("%Y")}"}}'
            (remote / workdir.LOCK).put(lock.encode())
            before = remote.sizes()
            ratings = str(remote.parent / "data" / "ratings.csv")
            assert cli.main(["run", ratings, "--workdir", str(remote), "--quiet"]) == 4
            assert f"remove {remote / workdir.LOCK}" in capsys.readouterr().err
            assert remote.sizes() == before
        finally:
            other.kill()
            (remote / workdir.LOCK).remove()
