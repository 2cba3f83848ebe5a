"""Other systems: what macOS and Windows do not offer is taken away; all but the promise of memory still holds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.chunked.storage import folders
from tests.support.golden import digest

ROOT = Path(__file__).parent.parent


def on(system: str, at: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in a Python that offers what ``system`` does, and so in all that it starts."""
    preload = at / f"preload-{system}"
    preload.mkdir(exist_ok=True)
    change = f"import runpy; runpy.run_path({str(ROOT / 'tests/support/elsewhere.py')!r})['change']({system!r})\n"
    (preload / "sitecustomize.py").write_text(change)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(preload), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-m", "engine", *arguments], cwd=at, env=environment, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ratings, and a run of them as Linux does it."""
    at = tmp_path_factory.mktemp("elsewhere")
    rows = [f"{user},{item},{1 + (user * item) % 5}" for user in range(40) for item in range(9 + user % 7)]
    (at / "r.csv").write_text("\n".join(["user,item,rating", *rows]) + "\n")
    subprocess.run([sys.executable, "-m", "engine", "run", "r.csv"], cwd=at, check=True, capture_output=True)
    return at


def test_what_a_run_has_left_is_read_where_least_is_offered(here: Path) -> None:
    for command in (
        ("recommend", "runs/r", "--user", "1", "--json"),
        ("similar", "runs/r", "--item", "3", "--json"),
        ("status", "runs/r", "--json"),
        ("verify", "runs/r", "--json"),
        ("doctor", "--json"),
    ):
        assert json.loads(on("windows", here, *command).stdout)
    on("windows", here, "report", "runs/r", "--out", "page.html")
    assert (here / "page.html").stat().st_size > 100_000


def test_a_plan_there_says_what_it_cannot_promise(here: Path) -> None:
    plan = on("windows", here, "plan", "r.csv", "--workdir", "planned", "--memory", "512MiB")
    assert "memory cannot be measured on this system" in plan.stdout + plan.stderr
    assert "512 MiB allowed; the least that works is" in plan.stdout


@pytest.mark.parametrize("system", ["macos", "windows"])
def test_a_run_there_says_so_too_and_leaves_the_same_bytes(here: Path, system: str) -> None:
    done = on(system, here, "run", "r.csv", "--workdir", system, "--memory", "512MiB")
    assert "memory cannot be measured on this system" in done.stderr
    assert "Recall@50" in done.stdout
    left = sorted(path.name for path in (here / "runs/r/stages").iterdir())
    assert sorted(path.name for path in (here / system / "stages").iterdir()) == left
    for stage in left:
        assert digest(here / system / "stages" / stage) == digest(here / "runs/r/stages" / stage)


def test_two_runs_in_one_folder_are_kept_apart_where_the_lock_is_a_file(here: Path) -> None:
    file = os.open(here / "runs/r/lock", os.O_RDWR | os.O_CREAT)
    folders.ByDescriptor(file, "lock").lock()  # what stands for msvcrt in the other process locks the same
    try:
        assert "in use" in on("windows", here, "run", "r.csv", code=4).stderr
    finally:
        os.close(file)


def test_no_link_is_followed_by_path_either(tmp_path: Path) -> None:
    (tmp_path / "out/folder").mkdir(parents=True)
    (tmp_path / "out/file").write_text("precious")
    for name in ("file", "folder"):
        (tmp_path / name).symlink_to(tmp_path / "out" / name)
    folder = folders.ByPath.at(tmp_path)
    for refused in (
        lambda: folder.open("file", folders.READ),
        lambda: folder.open("file", folders.REWRITE),
        lambda: folder.enter("folder"),
        lambda: folders.ByPath.at(tmp_path / "folder", follow=False),
    ):
        with pytest.raises(OSError, match="symbolic link"):
            refused()
    folder.unlink("file")
    assert (tmp_path / "out/file").read_text() == "precious"


# What Linux alone offers, and where it is asked for.
ASKED = {
    "sched_getaffinity": {"chunked/executors/processes.py"},
    "pthread_sigmask": {"chunked/executors/processes.py"},
    "sysconf": {"chunked/memory.py"},
    "fcntl": {"chunked/storage/folders.py"},
    "dir_fd": {"chunked/storage/folders.py"},
    "import resource": {"chunked/errors.py"},
}


@pytest.mark.parametrize("name", ASKED)
def test_what_linux_alone_offers_is_asked_for_in_one_place(name: str) -> None:
    files = {path for path in (ROOT / "engine").rglob("*.py") if re.search(rf"\b{name}\b", path.read_text())}
    assert {path.relative_to(ROOT / "engine").as_posix() for path in files} == ASKED[name]


def test_a_twin_is_made_where_least_is_offered(here: Path) -> None:
    made = on("windows", here, "data", "twin", "--out", "twin", "--users", "50", "--items", "2000", "--json")
    assert json.loads(made.stdout)["n_users"] == 50
