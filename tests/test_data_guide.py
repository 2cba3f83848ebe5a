"""The guide on one's own data: what it shows is read, and the names it lists are those that are known."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import engine
from engine import cli, driver
from engine.config import Config
from engine.ratings import columns
from engine.ratings.datasets import resolve
from engine.ratings.frames import write_frame

GUIDE = Path(__file__).parent.parent / "docs/data.md"
FILES = {
    "ratings.csv": "user,item,rating\n1,2,3\n",
    "clicks.csv": "user,item\n1,2\n",
    "export.csv": "who,what,points,seen\n1,2,3,4\n",
    "odd.txt": "user~item~rating\n1~2~3\n",
    "months/month=2024-01/a.csv.gz": "user,item,rating\n1,2,3\n",
    "months/month=2024-02/b.csv": "user,item,rating\n1,2,3\n",
    "train.csv": "user,item,rating\n1,2,3\n",
    "test.csv": "user,item,rating\n1,3,3\n",
    "names.tsv": "id\ttitle\n2\tTwo\n",
}
COMMANDS = [line.split("#")[0].strip() for line in GUIDE.read_text().splitlines() if line.startswith("    engine run ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_find_ratings(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    found: list[Any] = []

    def run(settings: Config, *_: object, **__: object) -> None:
        options = {name: getattr(settings, name) for name in ("columns", "separator", "titles")}
        found.append(resolve(settings.dataset, **options))
        raise KeyboardInterrupt

    with mock.patch.object(driver, "run", run):
        cli.main([*shlex.split(command)[1:], "--quiet"])
    (source,) = found
    assert source.values == ("pairs" if "clicks" in command or command.endswith(("what", "seen")) else "ratings")
    assert len(source.files) == (2 if command.endswith("months/") else 1)
    assert (source.titles is not None) is ("titles" in command)


def test_the_example_in_python_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    given: list[Config] = []
    monkeypatch.setattr(engine, "run", given.append, raising=False)
    exec(code, {})
    assert write_frame(given[0].dataset, None, tmp_path / "frame")


def test_the_names_of_columns_are_those_that_are_known() -> None:
    kinds = {"user": columns.USERS, "item": columns.ITEMS, "rating": columns.RATINGS, "count": columns.COUNTS}
    for kind, names in (kinds | {"time": columns.TIMES}).items():
        (row,) = re.findall(rf"^\| {kind} \| (.*) \|$", GUIDE.read_text(), re.MULTILINE)
        listed = {columns.column_key(name) for name in re.findall("`(.*?)`", row)} - {"id"}
        known = set().union(*names)
        assert listed <= known
        assert {name for name in known if name not in listed and name.removesuffix("id") not in listed} == set()
