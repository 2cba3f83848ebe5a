"""Text on a terminal is broken between words; in a pipe or a file it is as it was."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from engine.chunked.terminal import columns, fitted

ROOT = Path(__file__).parent.parent.parent


class Terminal(io.StringIO):
    """One that does not tell its size."""

    def isatty(self) -> bool:
        return True


def seen(width: int, *arguments: str, cwd: Path) -> list[str]:
    """The lines that a command leaves on a terminal."""
    master, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    command, environment = [sys.executable, "-m", "engine", *arguments], {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=cwd, env=environment, stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        told = b""
        try:
            while read := os.read(master, 2**16):
                told += read
        except OSError:  # so Linux says that there is no more
            pass
    os.close(master)
    assert process.returncode in (0, 2)
    return told.decode().replace("\r\n", "\n").splitlines()


def test_a_terminal_that_does_not_tell_its_size_has_80_columns_and_a_pipe_none() -> None:
    assert columns(Terminal()) == 80
    assert columns(io.StringIO()) is None


@pytest.mark.parametrize(
    ("line", "broken"),
    [
        ("short", ["short"]),
        ("a sentence of words " * 5, ["a sentence of words " * 4, "  a sentence of words"]),
        ("  head  one  " + "word " * 16, ["  head  one  " + "word " * 13, "             word word word"]),
        ("engine: " + "x" * 90 + " is", ["engine:", "  " + "x" * 90, "  is"]),
    ],
)
def test_a_long_line_goes_on_under_its_last_column_and_no_word_is_broken(line: str, broken: list[str]) -> None:
    assert fitted(line, Terminal()).split("\n") == [each.rstrip() for each in broken]
    assert fitted(line, io.StringIO()) == line


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize(
    "arguments",
    [
        ["doctor"],
        ["data", "list"],
        ["run", "sample", "--preset", "nothing"],
        ["run", "nowhere.csv"],
        ["plan", "sample", "--set", "calibrate.method=perhaps"],
    ],
    ids=" ".join,
)
def test_what_commands_say_fits_the_terminal(arguments: list[str], width: int, tmp_path: Path) -> None:
    lines = seen(width, *arguments, cwd=tmp_path)
    assert lines
    for line in lines:
        assert len(line) <= width or " " not in line.strip()
