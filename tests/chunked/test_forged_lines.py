"""Text of others that looks like what the program says itself: it is told within its own line, and does nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine import cli
from engine.chunked.errors import ProgramError
from engine.chunked.journal import StageRecord
from engine.chunked.sealed import write_sealed
from engine.chunked.storage import locate
from engine.cli.showing import complain

pytestmark = pytest.mark.usefixtures("here")

FORGED = "\x1b[31mx\nengine: fine"
ESCAPED = r"\x1b[31mx\nengine: fine"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(list(arguments))
    out, err = capsys.readouterr()
    for line in (out + err).splitlines():
        assert "\x1b" not in line
        assert line != "engine: fine"
    return code, out, err


@pytest.mark.parametrize("command", ["status", "verify"])
def test_a_task_is_named_in_its_line(where: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    (stage,) = where.glob("stages/toy-*")
    write_sealed(locate(stage / "records" / "stage.json"), StageRecord([FORGED]))
    code, out, err = said(capsys, command, str(where))
    assert (code, len(err.splitlines())) == (5, 1)
    assert ESCAPED in (err if command == "status" else out)


def test_a_file_that_is_no_tasks_is_named_in_its_line(where: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stage,) = where.glob("stages/toy-*")
    (stage / FORGED).write_text("x")
    code, out, err = said(capsys, "verify", str(where))
    assert (code, len(out.splitlines()), len(err.splitlines())) == (5, 1, 1)
    assert f"{ESCAPED}: belongs to no task" in out


def test_a_link_is_named_in_one_line(where: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (where / "stages" / f"{FORGED}-1").symlink_to("x")
    code, _, err = said(capsys, "status", str(where))
    assert (code, len(err.splitlines())) == (5, 1)
    assert ESCAPED in err


@pytest.mark.parametrize("field", ["pid", "host", "since"])
def test_who_holds_a_work_directory_is_told_in_one_line(
    where: Path, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with locate(where / "lock").hold():
        (where / "lock").write_text(json.dumps({"pid": 7, "host": "h", "since": "s", field: FORGED}))
        code, out, err = said(capsys, "clean", str(where), "--yes")
        assert (code, len(err.splitlines())) == (4, 1)
        assert ESCAPED in err
        code, out, err = said(capsys, "status", str(where))
        assert (code, err) == (0, "")
        assert (ESCAPED in out) == (field == "pid")


def test_no_line_of_a_traceback_looks_like_the_programs_own(capsys: pytest.CaptureFixture[str]) -> None:
    complain(f"a fault:\n{FORGED}", ProgramError.__name__)
    assert capsys.readouterr().err == "engine: a fault:\n  \\x1b[31mx\n  engine: fine\n"
