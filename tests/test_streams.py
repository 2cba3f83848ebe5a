"""What the command line does where its streams take nothing, or a shell has made an empty word of a variable."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import cli
from engine.chunked.errors import UsageError
from engine.chunked.storage import locate, on_this_machine

ENGINE = f"{sys.executable} -m engine"


def ended(command: str, folder: Path) -> tuple[int, str]:
    """The exit code of a shell's command, and what it says."""
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("command", "code"), [("--version", 0), ("data list", 0), ("status nowhere", 2)])
def test_closed_streams_change_no_exit_code(command: str, code: int, closed: str, tmp_path: Path) -> None:
    found, told = ended(f"{ENGINE} {command} {closed}", tmp_path)
    assert found == code
    assert "Traceback" not in told


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no such device here")
@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("--version >", 1, "standard output is full"),
        ("run --help >", 1, "standard output is full"),
        ("data list --json >", 1, f"standard output is full ({os.strerror(errno.ENOSPC)})"),
        ("data list --format csv >", 1, "standard output is full"),
        ("data list --format parquet >", 1, "standard output is full"),
        ("status nowhere 2>", 2, ""),
        ("status nowhere --json 2>", 2, ""),
    ],
)
def test_a_full_stream_is_told_once(command: str, code: int, words: str, tmp_path: Path) -> None:
    """Where it can be; the interpreter does not say it again as it ends."""
    found, told = ended(f"{ENGINE} {command} /dev/full", tmp_path)
    assert found == code
    assert words in told
    assert len(told.splitlines()) == bool(words)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no such device here")
@pytest.mark.parametrize("before", ["", "PYTHONUNBUFFERED=1 "])
def test_more_than_fits_into_a_buffer_is_told_the_same(before: str, tmp_path: Path) -> None:
    much = "from engine.cli import doctor, main; doctor.print_version = lambda verbose: print('x' * 10**6)"
    found, told = ended(
        f"""{before}{sys.executable} -c "{much}; raise SystemExit(main(['--version']))" > /dev/full""", tmp_path
    )
    assert (found, len(told.splitlines())) == (1, 1)
    assert "standard output is full" in told


@pytest.mark.parametrize("before", ["", "PYTHONUNBUFFERED=1 "])
def test_what_is_printed_comes_whole_and_in_order(before: str, tmp_path: Path) -> None:
    plain = ended(f"{before}{ENGINE} data list --json", tmp_path)
    assert plain == ended(f"{before}{ENGINE} data list --json > out; cat out", tmp_path)
    assert (plain[0], plain[1][0], plain[1][-2:]) == (0, "{", "}\n")
    assert ended(f"{before}{ENGINE} --help | head -1", tmp_path)[1].startswith("usage")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", ""],
        ["plan", " "],
        ["run", "sample", "--workdir", ""],
        ["run", "sample", "--titles", ""],
        ["run", "sample", "--test", ""],
        ["run", "sample", "--data-dir", ""],
        ["run", "sample", "--config", ""],
        ["run", "--set", "dataset=''"],
        ["recommend", "w", "--users", ""],
        ["recommend", "w", "--all", "--out", ""],
        ["report", "w", "--out", ""],
        ["report", "w", "--out", "file://"],
        ["compare", "w", ""],
        ["status", ""],
        ["clean", ""],
    ],
)
def test_an_empty_word_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert "is a shell variable not set?" in capsys.readouterr().err


def test_an_empty_path_is_no_place() -> None:
    for read in (locate, on_this_machine):
        with pytest.raises(UsageError, match="empty path"):
            read("")
    assert str(locate(Path())) == "."


def test_an_option_behind_two_dashes_is_told_as_that(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--", "-x", "--workdir", "d"]) == 2
    assert "--workdir is behind --" in capsys.readouterr().err
