"""The tutorial does what it shows."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).parent.parent / "docs/tutorial.md"
_BLOCK = re.compile(r"```(python|console)\n(.*?)```", re.DOTALL)
_END = "-- end of what it prints --"


def plain(output: str) -> str:
    """Output without what may differ from machine to machine: numbers, the widths they are given, signs of slowness."""
    output = re.sub(r"^.* after \d+ s\n", "", output, flags=re.MULTILINE)
    return re.sub(r" +", " ", re.sub(r"\d[\d.,]*", "#", output))


def said(commands: list[str], environment: dict[str, str], folder: Path) -> list[str]:
    """What each of some commands prints, typed into one shell."""
    script = "".join(f'{command}\ncode=$?; echo "{_END}"; (exit $code)\n' for command in commands)
    done = subprocess.run(
        ["bash"], input=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=folder
    )
    return done.stdout.split(_END + "\n")[:-1]


def shown(block: str) -> list[tuple[str, str]]:
    """The commands of a block, and what it says that they print."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def test_what_is_compared() -> None:
    assert shown("$ a\nx\ny\n$ b\n$ c\nz\n") == [("a", "x\ny\n"), ("b", ""), ("c", "z\n")]
    assert plain("RMSE    1,234.5 MiB") == "RMSE # MiB"
    assert plain("a\nsums: 95 of 101 tasks after 2 s\ncounting: after 3 s\nb\n") == "a\nb\n"
    assert said(["echo 1; false", "echo $?"], dict(os.environ), Path()) == ["1\n", "1\n"]


def test_the_tutorial(tmp_path: Path) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "python").symlink_to(sys.executable)
    engine = bin_ / "engine"
    engine.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m engine "$@"\n')
    engine.chmod(0o755)
    root = str(TUTORIAL.parent.parent)
    environment = {**os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": root}
    folder = tmp_path / "work"
    folder.mkdir()
    blocks = _BLOCK.findall(TUTORIAL.read_text())
    assert len(blocks) > 8
    script = folder / "make_books.py"
    for kind, block in blocks:
        if kind == "python" and not script.exists():
            script.write_text(block)
        elif kind == "python":
            subprocess.run([sys.executable, "-c", block], check=True, env=environment, cwd=folder)
        else:
            steps = shown(block)
            for (command, expected), got in zip(
                steps, said([command for command, _ in steps], environment, folder), strict=True
            ):
                same = doctest.OutputChecker().check_output(plain(expected), plain(got), doctest.ELLIPSIS)
                assert same, f"$ {command}\n{got}"
    assert shutil.which("engine", path=environment["PATH"]) == str(engine)
