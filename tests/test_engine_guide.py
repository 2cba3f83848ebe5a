"""Every block of the guide to the engine does what it shows."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_tutorial import plain, said, shown

GUIDE = Path(__file__).parent.parent / "docs/engine.md"
_BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
_NAME = re.compile(r"# (\w+\.py)\n")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    python = bin_ / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(GUIDE.parent.parent)}


def test_the_guide(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    blocks = _BLOCK.findall(GUIDE.read_text())
    assert {kind for kind, _ in blocks} == {"python", "console"}
    for number, (kind, block) in enumerate(blocks):
        if kind == "console":
            steps = shown(block)
            printed = said([command for command, _ in steps], environment, folder)
            for (command, expected), got in zip(steps, printed, strict=True):
                same = doctest.OutputChecker().check_output(plain(expected), plain(got), doctest.ELLIPSIS)
                assert same, f"$ {command}\n{got}"
            continue
        name = _NAME.match(block)
        script = folder / (name[1] if name else f"block_{number}.py")
        script.write_text(block)
        begins_with_commands = len(blocks) > number + 1 and blocks[number + 1][0] == "console"
        if not begins_with_commands:
            done = subprocess.run([sys.executable, script], text=True, capture_output=True, env=environment, cwd=folder)
            assert done.returncode == 0, f"{block}\n{done.stderr}"
            assert "Traceback" not in done.stderr
