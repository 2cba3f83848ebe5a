"""The documentation: links lead somewhere, commands do what they show, the page of keys is that of the code."""

from __future__ import annotations

import doctest
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from engine.chunked.executors.base import environment
from tests.test_tutorial import plain, said, shown

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Those whose blocks run here, in this order and in one folder; the tutorial and the guide to the engine have theirs.
GUIDES = ["index", "memory", "interruptions", "python", "commands"]
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What headings of a page are linked by."""
    heads = re.findall(r"^#+ (.*)$", _BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = _BLOCK.sub("", page.read_text())
    for target in ("".join(found) for found in _LINK.findall(text)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        assert page.name == "README.md" or there.parent == page.parent, f"{target} is no page of the site"
        assert not anchor or anchor in anchors(there), target


def test_every_page_is_in_the_menu() -> None:
    menu = re.findall(r"^  - [^:]+: (.+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(menu) == sorted(page.name for page in PAGES[1:])


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_page_of_keys_is_that_of_the_code() -> None:
    found = runpy.run_path(str(ROOT / "docs/configuration.py"))
    assert found["PAGE"].read_text() == found["page"](), "run python docs/configuration.py"


def test_the_variables_of_a_worker_are_those_of_the_code() -> None:
    (block,) = re.findall(r"export (OMP_NUM_THREADS.*?)\n\n", (ROOT / "docs/scaling.md").read_text(), re.DOTALL)
    shown_there = dict(each.split("=") for each in block.replace("\\\n", " ").split())
    wanted = environment(1)
    assert {name: wanted.get(name) for name in shown_there} == shown_there
    assert set(wanted) - set(shown_there) == {"MALLOC_TRIM_THRESHOLD_"}, "Dask sets that one itself"


def test_the_guides(sample_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/ml-latest-small").symlink_to(sample_dir)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "engine").write_text(
        f'#!{sys.executable}\nimport sys\nfrom engine.cli import main\nsys.argv[0] = "engine"\nsys.exit(main())\n'
    )
    (bin_ / "engine").chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for page in (ROOT / "docs" / f"{name}.md" for name in GUIDES):
        for kind, block in _BLOCK.findall(page.read_text()):
            assert kind in ("console", "python"), f"{page.name} has a block that is not run"
            if kind == "python":
                (tmp_path / "script.py").write_text(block)
                done = subprocess.run(
                    [sys.executable, "script.py"], cwd=tmp_path, env=environment, text=True, capture_output=True
                )
                assert done.returncode == 0, done.stderr
                continue
            steps = shown(block)
            printed = said([command for command, _ in steps], environment, tmp_path)
            for (command, expected), got in zip(steps, printed, strict=True):
                same = doctest.OutputChecker().check_output(plain(expected), plain(got), doctest.ELLIPSIS)
                assert same, f"{page.name}: $ {command}\n{got}"


def test_a_wheel_is_installed_from_the_folder_that_it_was_copied_to() -> None:
    (named,) = re.findall(r"`pip install (\S+\.whl)`", (ROOT / "docs/index.md").read_text())
    assert Path(named).parent == Path()
    assert named.startswith("./"), "else pip may take it for a name"


def test_how_long_the_tests_take_is_said_once() -> None:
    told = [
        re.search(r"make test .*?(about .*)$", (ROOT / name).read_text(), re.MULTILINE)
        for name in ("README.md", "CONTRIBUTING.md")
    ]
    assert len({found and found[1] for found in told} - {None}) == 1
    assert all(told)
