"""An enemy of work directories: every file of a finished run in turn is something else, and every command is tried.

``python -m tests.support.enemy SECONDS [SEED]`` attacks at random for as long, and tells each command that did not end
soon with an exit code of its own, or reached out of the work directory. Every other file is forged: another content is
what its record says it is.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.artifacts import names
from engine.chunked.errors import DamagedError, UsageError
from tests.support.forgeries import forgeries, reseal
from tests.support.here import engine_here

RATINGS = "userId,movieId,rating\n" + "".join(f"{u},{i},{1 + u * i % 5}\n" for u in range(1, 9) for i in range(1, 9))
# What a command may end with: done, bad usage, too little memory, in use, damaged.
EXPECTED = (0, 2, 3, 4, 5)


class Enemy:
    """Attacks a copy of a finished run, which is made in ``folder``.

    Attributes
    ----------
    files : list of Path
        Of the run, relative to its work directory.
    exit_code, stderr : int, str
        Of the last command.
    """

    exit_code = 0
    stderr = ""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._ratings, self._whole, self._where = folder / "ratings.csv", folder / "whole", folder / "w"
        self._outside = folder / "outside"
        self._ratings.write_text(RATINGS)
        (self._outside / "folder").mkdir(parents=True)
        for name in ("file", "folder/file"):
            (self._outside / name).write_text("precious")
        made = engine_here("run", self._ratings, "--workdir", self._whole, "--memory", "1GiB")
        assert made.returncode == 0, made.stderr
        self._steps = [entry["stage"] for entry in json.loads((self._whole / "run.json").read_text())["stages"]]
        self.files = sorted(path.relative_to(self._whole) for path in self._whole.rglob("*") if path.is_file())
        self.commands: dict[str, list[object]] = {
            "verify": ["verify", self._where],
            "status": ["status", self._where],
            "clean": ["clean", self._where, "--yes"],
            "report": ["report", self._where],
            "recommend": ["recommend", self._where, "--user", 1],
            "similar": ["similar", self._where, "--item", 1],
            "users alike": ["similar", self._where, "--user", 1],
            "export": ["export", self._where, "--out", folder / "exported", "--memory", "1GiB"],
            "lists": ["recommend", self._where, "--all", "--out", folder / "lists.parquet", "--memory", "1GiB"],
            "compare": ["compare", self._whole, self._where],
            "plan": ["plan", self._ratings, "--workdir", self._where, "--memory", "1GiB"],
            "run": ["run", self._ratings, "--workdir", self._where, "--memory", "1GiB"],
            "refit": ["run", self._ratings, "--workdir", self._where, "--memory", "1GiB", "--refit"],
        }
        self.kinds: dict[str, Callable[[Path], object]] = {
            "gone": lambda path: None,
            "empty": lambda path: path.touch(),
            "another type": lambda path: path.write_text(self._random.choice(["[]", "{}", "null", "7", '{"a": 1}'])),
            "another file": lambda path: shutil.copy(self._whole / self._random.choice(self.files), path),
            "a folder": lambda path: (path / "deep").mkdir(parents=True),
            "a pipe": os.mkfifo,
            "a link to a file": lambda path: path.symlink_to(self._outside / "file"),
            "a link to a folder": lambda path: path.symlink_to(self._outside / "folder"),
        }

    def attack(self, file: Path, kind: str, command: str) -> str:
        """Put something else in the place of a file and run a command; return what is wrong with how that went."""
        shutil.rmtree(self._where, ignore_errors=True)
        shutil.copytree(self._whole, self._where)
        (self._where / file).unlink()
        self.kinds[kind](self._where / file)
        if told := self._tried(command, EXPECTED):
            return told
        found = {path.relative_to(self._outside).as_posix() for path in self._outside.rglob("*")}
        precious = [(self._outside / name).read_text() for name in ("file", "folder/file")]
        return "" if (found, precious) == ({"file", "folder", "folder/file"}, ["precious"] * 2) else "reached outside"

    def forge(self, file: Path, kind: str, command: str) -> str:
        """Forge a file of a step, records and all, and run a command; return what is wrong with how that went.

        A command that runs steps finds those after this one not done.
        """
        shutil.rmtree(self._where, ignore_errors=True)
        shutil.copytree(self._whole, self._where)
        forgeries(self._whole / file)[kind](self._where / file)
        stage = self._where / file.parts[0] / file.parts[1]
        reseal(stage)
        if command in ("run", "plan"):
            later = self._steps[1 + self._steps.index(stage.name.rpartition("-")[0]) :]
            for name in later:
                for folder in stage.parent.glob(f"{name}-*"):
                    shutil.rmtree(folder)
        # Who is asked for may not be there any more, and two runs not be of the same ratings.
        unlike = file.name in (names.USERS, names.ITEMS, names.COLUMNS) or command == "compare"
        told = self._tried(command, (0, DamagedError.exit_code, *[UsageError.exit_code] * unlike))
        if not told and self.exit_code and str(self._where) not in self.stderr:
            return f"names no file: {self.stderr}"
        return told

    def _tried(self, command: str, expected: Sequence[int]) -> str:
        """Run a command; return what is wrong with how it ended."""
        try:
            done = engine_here(*self.commands[command])
        except Exception as error:  # what a user would see as a traceback
            return f"{type(error).__name__}: {error}"
        self.exit_code, self.stderr = done.returncode, done.stderr
        return "" if done.returncode in expected else f"ended with {done.returncode}: {done.stderr}"

    def any_forgery(self) -> tuple[Path, str, str]:
        """A file of a step, what is in its place, and a command."""
        while True:
            file = self._random.choice(self.files)
            if file.parts[0] == "stages" and (kinds := forgeries(self._whole / file)):
                return file, self._random.choice([*kinds]), self._random.choice([*self.commands])

    def anywhere(self) -> tuple[Path, str, str]:
        """A file, a kind and a command, drawn so that files beside stages come as often as all others together."""
        beside = [file for file in self.files if file.parts[0] != "stages"]
        file = self._random.choice(self._random.choice([beside, self.files]))
        return file, self._random.choice([*self.kinds]), self._random.choice([*self.commands])


def main() -> int:
    """Attack for some seconds; 1 where something was wrong."""
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    wrong, attacks, end = 0, 0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        enemy = Enemy(Path(folder), seed)
        while time.monotonic() < end:
            forges = attacks % 2
            where = enemy.any_forgery() if forges else enemy.anywhere()
            told = enemy.forge(*where) if forges else enemy.attack(*where)
            attacks, wrong = attacks + 1, wrong + bool(told)
            if told:
                print(*where, told, sep=" | ")
    print(f"{attacks} attacks, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
