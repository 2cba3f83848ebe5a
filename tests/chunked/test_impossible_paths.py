"""Paths that cannot be, or may not be gone: what records say of them is damage, and the whole path is named."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from engine import cli
from engine.chunked import upkeep, workdir
from engine.chunked.journal import StageRecord
from engine.chunked.sealed import write_sealed
from engine.chunked.storage import locate
from tests.support.toy import run_toy

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize("name", ["a\0b", "\0", "\0/../x", "../\0/x", "a\ud800b"])
@pytest.mark.parametrize("form", ["{}", "file://{}", "{}/"])
def test_what_can_be_no_path_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    place = locate(form.format(name))
    assert not place.exists()
    assert not place.is_file()
    assert not place.is_dir()
    assert place.names() == []
    for read in (place.state, place.digest, place.read_bytes, place.absolute().state):
        with pytest.raises(FileNotFoundError) as raised:
            read()
        assert place.name in str(raised.value.filename)


@pytest.mark.parametrize("name", ["a-" + "b" * 5000, "a-" + "é" * 200])
def test_a_folder_of_no_possible_name_is_none_of_a_run(where: Path, name: str) -> None:
    last = workdir.last_run(where)
    assert last is not None
    stages = [msgspec.structs.replace(last.stages[0], folder=name)]
    write_sealed(locate(where / "run.json"), msgspec.structs.replace(last, stages=stages))
    assert workdir.last_run(where) is None
    assert "run.json" in upkeep.verify(where)
    run_toy(where)
    assert upkeep.verify(where) == {}


def test_a_task_of_no_possible_name_is_damage(where: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stage,) = where.glob("stages/toy-*")
    write_sealed(locate(stage / "records" / "stage.json"), StageRecord(["b" * 5000]))
    for command in ("status", "verify"):
        assert cli.main([command, str(where)]) == 5
        said = "".join(capsys.readouterr())
        assert f"{stage / 'records'}: no record of task bbb" in said
        assert len(said) < 2000
    run_toy(where)
    assert upkeep.verify(where) == {}


# What the system says where somebody may not: here everything may be, so that it is said in its place.
@pytest.fixture(params=["open", "stat", "mkdir", "rmdir", "listdir", "scandir"])
def _refused(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    whole = getattr(os, request.param)

    def refuse(path: object, *given: object, **named: object) -> object:
        if path == "x" or (isinstance(path, int) and Path(f"/proc/self/fd/{path}").readlink().name == "deep"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return whole(path, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, request.param, refuse)
        yield


@pytest.mark.skipif(sys.platform != "linux", reason="what is open is asked of /proc")
@pytest.mark.usefixtures("_refused")
def test_what_is_not_allowed_is_named_whole(tmp_path: Path) -> None:
    deep = locate(tmp_path).enclosed() / "deep"
    with pytest.raises(PermissionError) as raised:  # noqa: PT012  (which of them fails depends on what is refused)
        (deep / "y").put(b"y")
        (deep / "x").make()
        (deep / "x" / "z").put(b"z")
        deep.names()
        deep.sizes()
        (deep / "x").remove()
    assert raised.value.filename in (str(deep), str(deep / "x"))


def test_a_folder_that_may_not_be_entered_is_named_whole(where: Path, tmp_path: Path) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None and os.getuid() == 0:
        pytest.skip("nobody can be kept out here")
    (stage,) = where.glob("stages/toy-*")
    (stage / "squares").mkdir(exist_ok=True)
    (stage / "squares").chmod(0)
    command = [sys.executable, "-m", "engine", "status", str(where)]
    if os.getuid() == 0:
        command = [setpriv or "", "--bounding-set=-dac_override,-dac_read_search,-fowner", *command]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    (stage / "squares").chmod(0o755)
    assert f"Permission denied: '{stage}/squares': mend that" in told.stderr


def test_a_current_folder_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    code = "import os, sys; os.rmdir(os.getcwd()); from engine.cli import main; sys.exit(main(['doctor']))"
    root = str(Path(cli.__file__).parents[2])
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "gone",
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert "engine: the current folder cannot be found" in told.stderr


@pytest.mark.parametrize(
    ("url", "what"),
    [
        *((url, "bucket") for url in ("s3://", "s3:///a/b", "gs://", "s3:////", "memory://")),
        *((url, "server") for url in ("http://", "https:///a.csv")),
    ],
)
def test_a_url_that_names_no_bucket_or_server_is_refused_as_that(
    url: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (
        ["status", url],
        ["run", url],
        ["run", "sample", "--workdir", url],
        ["recommend", url, "--user", "1"],
    ):
        assert cli.main(arguments) == 2
        assert (
            capsys.readouterr().err.splitlines()[-1].startswith(f"engine: {url} names no {what}: give a path, or a URL")
        )
