"""Places on a disk, in a store in memory and in S3 behave alike."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.chunked import arrays, csr
from engine.chunked.errors import LockedError, UsageError
from engine.chunked.journal import Committed, Journal, Record, StageRecord
from engine.chunked.sealed import read_sealed, write_sealed
from engine.chunked.storage import Local, Location, Remote, locate, staging
from engine.chunked.store import FileEntry, StageStore


@pytest.fixture(params=["disk", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """An empty folder."""
    if request.param == "disk":
        return locate(tmp_path / "folder")
    if request.param == "memory":
        pytest.importorskip("fsspec")
        return locate(f"memory://{tmp_path.name}")
    bucket: Remote = request.getfixturevalue("bucket")
    return bucket / tmp_path.name


def put(root: Location, files: dict[str, bytes]) -> list[FileEntry]:
    """Commit files as a task does."""
    store = StageStore(root)
    scratch = store.new_scratch("task.00000")
    for name, content in files.items():
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).write_bytes(content)
    entries = store.commit(scratch)
    assert not scratch.exists()
    return entries


def test_what_a_user_writes_is_a_path_or_a_url(tmp_path: Path) -> None:
    assert (locate("runs/x"), str(locate("runs/x"))) == (Local("runs/x"), "runs/x")
    assert locate(tmp_path) == locate(f"file://{tmp_path}") == Local(tmp_path)
    remote = locate("s3://bucket/folder/")
    assert remote == Remote("s3://bucket/folder")
    assert str(remote / "a/b.tar.gz") == "s3://bucket/folder/a/b.tar.gz"
    below = remote / "a/b.tar.gz"
    assert isinstance(below, Remote)
    assert (below.name, below.stem, below.suffixes) == ("b.tar.gz", "b.tar", [".tar", ".gz"])
    assert below.parent.parent == remote
    assert locate(below) is below


def test_a_commit_leaves_files_and_a_record_that_says_so(place: Location) -> None:
    entries = put(place, {"folder/x": b"abc", "y": b""})
    assert entries == [
        FileEntry("folder/x", 3, hashlib.sha256(b"abc").hexdigest()),
        FileEntry("y", 0, hashlib.sha256(b"").hexdigest()),
    ]
    journal = Journal(place)
    assert not journal.done("task.00000")
    assert journal.strays() == ["folder/x", "y"]
    journal.write(Record("task.00000", entries, {"n": 3}))
    journal.finish(["task.00000"])
    assert journal.done("task.00000")
    assert journal.finished()
    assert journal.task_ids() == ["task.00000"]
    assert journal.strays() == []
    assert journal.damaged() == {}
    assert journal.fault_of_stage(complete=True) is None
    assert Committed(place).path("folder/x").read_bytes() == b"abc"
    assert Committed(place).results("task") == [{"n": 3}]
    assert read_sealed(place / "records/stage.json", StageRecord).tasks == ["task.00000"]


@pytest.mark.parametrize(
    ("content", "fault"), [(b"abd", "content altered"), (b"ab", "2 bytes, recorded are 3"), (None, "No such")]
)
def test_damage_is_told(place: Location, content: bytes | None, fault: str) -> None:
    journal = Journal(place)
    journal.write(Record("task.00000", put(place, {"x": b"abc"})))
    victim = place / "x"
    victim.remove() if content is None else victim.put(content)
    found = journal.damaged()["task.00000"]
    assert fault in found
    assert str(victim) in found
    assert (content == b"abd") == (journal.damaged(content=False) == {})
    journal.forget("task.00000")
    assert not journal.done("task.00000")
    write_sealed(place / "records/task.00000.json", Record("other.00000", []))
    assert "the record of another task" in journal.damaged()["task.00000"]


def test_large_files_are_put_in_parts(bucket: Remote, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(12_000_001)
    entry = put(bucket / "large", {"file": content})[0]
    there = bucket / "large" / "file"
    assert there.store.info(there.key)["ETag"].strip('"').endswith("-3")
    assert (entry.bytes, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert there.digest() == entry.sha256
    assert there.local().read_bytes() == content


def test_arrays_are_written_by_tasks_and_read_in_rows(place: Location) -> None:
    store = StageStore(place)
    values = np.arange(24, dtype=np.int32).reshape(12, 2)
    scratch = store.new_scratch("layout.00000")
    arrays.create_array(scratch, "a", shape=(12, 2), chunks=(5, 2), dtype="int32", fill=-1)
    store.commit(scratch)
    for start, stop in ((0, 5), (10, 12)):
        scratch = store.new_scratch(f"fill.{start:05d}")
        arrays.write_rows(place, scratch, "a", start, values[start:stop])
        store.commit(scratch)
    array = arrays.open_array(place, "a")
    expected = values.copy()
    expected[5:10] = -1  # a hole shows
    np.testing.assert_array_equal(arrays.read_rows(array, 0, 12), expected)
    np.testing.assert_array_equal(arrays.take_rows(array, np.array([1, 4, 11])), expected[[1, 4, 11]])


def test_sparse_matrices_are_read_in_rows(place: Location) -> None:
    store = StageStore(place)
    scratch = store.new_scratch("layout.00000")
    indptr = np.array([0, 2, 2, 5])
    csr.create(scratch, "m", indptr=indptr, n_columns=4, value_dtype="uint8", value_step=0.5, chunk=2)
    for name, values in (("indices", [0, 3, 1, 2, 3]), ("data", [1, 2, 3, 4, 5])):
        arrays.writable_array(scratch, f"m/{name}")[:] = np.array(values, dtype=np.uint8)
    store.commit(scratch)
    found = csr.CsrReader(place, "m").read(0, 3).widen().toarray()
    np.testing.assert_array_equal(found, [[0.5, 0, 0, 1], [0, 0, 0, 0], [0, 1.5, 2, 2.5]])


def test_a_copy_is_made_once_and_again_when_the_object_is_another(bucket: Remote) -> None:
    there = bucket / "copied" / "file.txt"
    there.put(b"one")
    copy = there.local()
    assert copy.name == "file.txt"
    assert copy.read_bytes() == b"one"
    assert there.local() == copy
    there.put(b"two")
    assert there.local().read_bytes() == b"two"
    assert locate(copy).local() == copy
    staging.clear()
    assert not copy.exists()


def test_a_copy_that_the_disk_has_no_room_for_is_refused(bucket: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    there = bucket / "no-room"
    there.put(b"x" * 5000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 4096}))
    with pytest.raises(Exception, match=r"no-room: a local copy takes 5 KiB, but 4 KiB are free in .*TMPDIR"):
        there.local()


def test_scratch_of_a_killed_process_is_removed_by_the_next_and_that_of_a_live_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os\nfrom engine.chunked.storage import staging\nprint(staging.folder(), flush=True)\n"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code + "input()\nos.abort()"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as first:
        assert first.stdout is not None
        folder = Path(first.stdout.readline().strip())
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.DEVNULL)
        assert folder.is_dir()  # the second has cleared its own only
        assert list(tmp_path.iterdir()) == [folder]
        first.kill()
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.DEVNULL)
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_dead_process_of_this_machine_is_taken_over_that_of_another_machine_is_not(
    bucket: Remote,
) -> None:
    path = bucket / "locked" / "lock"
    with subprocess.Popen(["true"]) as dead:
        pass
    path.put(json.dumps({"pid": dead.pid, "host": socket.gethostname(), "since": "then"}).encode())
    assert path.holder() is None
    with path.hold():
        assert (path.holder() or {})["pid"] == os.getpid()
    assert not path.exists()
    path.put(json.dumps({"pid": dead.pid, "host": "elsewhere", "since": "then"}).encode())
    with pytest.raises(LockedError, match=rf"on elsewhere since then.*if it is gone, remove {path}"), path.hold():
        pass
    path.remove()
    with path.hold():
        pass


def test_a_lock_taken_by_somebody_else_meanwhile_is_left_to_them(bucket: Remote) -> None:
    path = bucket / "taken" / "lock"
    with path.hold():
        path.put(b'{"pid": 1, "host": "elsewhere"}')
    assert path.exists()


def tell(code: str, **environment: str) -> str:
    """What the last line of a process's complaint is."""
    unset = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    fast = {"AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nowhere"}
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys\nfrom engine.cli import main\n{code}"],
        env=unset | fast | environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode in (1, 2)
    assert len(ran.stderr.strip().splitlines()) == 1
    return ran.stderr


STATUS = "sys.exit(main(['status', 's3://nobody/run']))"
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1"}


def test_what_is_wrong_with_a_store_is_one_line_that_says_what_to_do(bucket: Remote) -> None:
    there = {"AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"]}
    assert "no such bucket" in tell(STATUS, **KEYS, **there)
    assert "set AWS_ACCESS_KEY_ID" in tell(STATUS, **there)
    assert "AWS_ENDPOINT_URL is right" in tell(STATUS, **KEYS, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    missing = tell(f"sys.modules['s3fs'] = None\n{STATUS}", **KEYS)
    assert "pip install 'recsys-engine[s3]'" in missing
    assert "no such kind of store" in tell("sys.exit(main(['status', 'nix://nobody/run']))")


def test_an_endpoint_that_is_gone_during_a_task_is_no_fault_of_the_program() -> None:
    from engine.chunked.errors import describe

    botocore = pytest.importorskip("botocore.exceptions")
    told = describe(botocore.EndpointConnectionError(endpoint_url="http://127.0.0.1:9"))
    assert told.kind == "EngineError"
    assert "run again" in told.message


def test_a_url_without_its_object_is_refused(bucket: Remote) -> None:
    from engine.ratings.opening import open_source

    with pytest.raises(UsageError, match="does not exist: give a ratings file"):
        open_source(bucket / "none.csv")


def test_two_writers_of_one_name_do_not_share_a_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    replace = os.replace

    def note(source: str, *arguments: Any, **named: Any) -> None:
        names.append(source)
        replace(source, *arguments, **named)

    monkeypatch.setattr(os, "replace", note)
    for _ in range(2):
        locate(tmp_path / "file").put(b"")
    assert len(set(names)) == 2
