from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chunked.errors import DamagedError
from engine.chunked.journal import Journal, Record, fingerprint
from engine.chunked.sealed import read_sealed, write_sealed
from engine.chunked.storage import locate
from engine.chunked.store import FileEntry, StageStore


def test_a_commit_moves_files_and_says_what_they_are(tmp_path: Path) -> None:
    store = StageStore(tmp_path / "stage")
    scratch = store.new_scratch("a.00000")
    (scratch / "folder").mkdir()
    (scratch / "folder/x").write_bytes(b"abc")
    (scratch / "y").write_bytes(b"")
    entries = store.commit(scratch)
    assert entries == [
        FileEntry("folder/x", 3, hashlib.sha256(b"abc").hexdigest()),
        FileEntry("y", 0, hashlib.sha256(b"").hexdigest()),
    ]
    assert store.path("folder/x").read_bytes() == b"abc"
    assert not scratch.exists()


def test_leftovers_are_swept_and_unowned_files_removed(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    for name in ("keep", "drop", "deep/drop", "records/a.json"):
        locate(tmp_path / name).put(b"")
    (store.new_scratch("a.00000") / "half").write_bytes(b"")
    store.sweep()
    store.keep_only(["keep"])
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()) == [
        "keep",
        "records/a.json",
    ]


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = locate(tmp_path / "file")
    target.put(b"old")

    def fail(descriptor: int) -> None:
        raise OSError("no")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no"):
        target.put(b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_bytes() == b"old"


def test_only_a_record_says_done(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    record = Record("a.00000", [FileEntry("x", 1, "00")], {"n": 3}, 1.5, 7)
    assert not journal.done("a.00000")
    journal.write(record)
    assert journal.done("a.00000")
    record = msgspec.structs.replace(record, stage=tmp_path.name)
    assert journal.read("a.00000") == record
    assert journal.records() == [record]
    assert not journal.finished()
    journal.finish(["a.00000"])
    assert journal.finished()
    journal.forget("a.00000")
    assert not journal.finished()


def test_an_unreadable_record_is_damage(tmp_path: Path) -> None:
    locate(tmp_path / "records/a.00000.json").put(b'{"task": ')
    with pytest.raises(DamagedError, match=r"a\.00000\.json"):
        Journal(tmp_path).read("a.00000")


def test_fingerprints_differ_where_anything_does() -> None:
    base = fingerprint("s", 1, {"k": 1, "m": 2}, ["up"])
    assert base == fingerprint("s", 1, {"m": 2, "k": 1}, ["up"])
    others = [("t", 1, {"k": 1, "m": 2}, ["up"]), ("s", 2, {"k": 1, "m": 2}, ["up"])]
    others += [("s", 1, {"k": 2, "m": 2}, ["up"]), ("s", 1, {"k": 1, "m": 2}, ["down"])]
    assert len({base, *(fingerprint(*other) for other in others)}) == 5


class Sealed(msgspec.Struct):
    name: str
    sizes: list[int] = []
    share: float = 0.0


@settings(max_examples=200)
@given(data=st.data())
def test_any_altered_byte_of_a_sealed_file_is_noticed(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = locate(Path(folder) / "x.json")
        write_sealed(path, Sealed("names", [1, 2**40], 0.1))
        assert read_sealed(path, Sealed) == Sealed("names", [1, 2**40], 0.1)
        content = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
        path.put(bytes(content))
        with pytest.raises(DamagedError, match=r"x\.json"):
            read_sealed(path, Sealed)
