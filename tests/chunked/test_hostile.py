"""Files of a work directory that somebody has replaced: damage that is named, never waited for, never read whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest

from engine import cli
from engine.chunked import overview, upkeep, workdir
from engine.chunked.errors import DamagedError, EngineError
from engine.chunked.journal import Journal, Record
from engine.chunked.sealed import read_sealed, write_sealed
from engine.chunked.storage import base, locate
from engine.chunked.storage.folders import Folder, Kind
from engine.chunked.store import FileEntry
from engine.results.report import content
from engine.serving.finished import open_finished
from tests.support.replaced import deep, deep_object, folder, huge, pipe, socket_
from tests.support.toy import run_toy

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
                run_toy(where)
            shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
        assert overview.status(where)["running"] is None
    else:
        assert overview.status(where)["stages"]
        (fault, *_) = upkeep.verify(where).values()
        assert str(victim) in fault
    run_toy(where)
    assert upkeep.verify(where) == {}
    assert upkeep.clean(where) == []


FOLDERS = ("stages", "stages/toy-*", "stages/*/records", "finished")


@pytest.mark.parametrize("replace", [huge, pipe, socket_], ids=lambda replace: replace.__name__)
@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_in_the_place_of_a_folder_is_damage_and_healed(
    where: Path, name: str, replace: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    before = _contents(where)
    (victim,) = where.glob(name)
    shutil.rmtree(victim)
    replace(victim)
    for command in ("status", "verify"):
        assert cli.main([command, str(where)]) == 5
        assert str(victim) in "".join(capsys.readouterr())
    run_toy(where)
    assert upkeep.verify(where) == {}
    assert _contents(where) == before


@pytest.mark.parametrize("name", FOLDERS)
def test_a_link_in_the_place_of_a_folder_is_refused_and_left(where: Path, name: str, tmp_path: Path) -> None:
    (victim,) = where.glob(name)
    shutil.move(victim, tmp_path / "elsewhere")
    victim.symlink_to(tmp_path / "elsewhere")
    before = sorted((tmp_path / "elsewhere").rglob("*"))
    with pytest.raises(DamagedError, match="a symbolic link"):
        run_toy(where)
    assert victim.is_symlink()
    assert sorted((tmp_path / "elsewhere").rglob("*")) == before


def _contents(where: Path) -> dict[str, bytes]:
    """What stages left beside their records, which say how long it took."""
    found = [path for path in where.glob("stages/*/**/*") if path.is_file() and path.parent.name != "records"]
    return {str(path.relative_to(where)): path.read_bytes() for path in found}


def test_a_folder_made_meanwhile_stays(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = locate(where).enclosed() / "stages" / "x-1"
    stage.put(b"no folder")
    unlink = Kind.unlink

    def late(folder: Folder, name: str) -> None:
        """Somebody else has made the folder since it was seen that there is none."""
        if name == "x-1":
            (where / "stages" / name).unlink()
            (where / "stages" / name).mkdir()
            (where / "stages" / name / "theirs").write_bytes(b"1")
        unlink(folder, name)  # type: ignore[arg-type]

    monkeypatch.setattr(Kind, "unlink", late)
    (stage / "mine").put(b"2")
    assert stage.names() == ["mine", "theirs"]


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
    assert len(said.out.splitlines()) in (3, 4)  # the last says what "earlier" is, where something is
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
    run_toy(where)
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
    run_toy(where)
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
