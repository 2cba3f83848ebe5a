"""Nothing is written, emptied, renamed or removed through a link in a work directory; what is found is named."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import pytest

import engine
from bench.kill import SETTINGS, contents, write_ratings
from engine import chunked, cli
from engine.chunked import overview, upkeep
from engine.chunked.errors import DamagedError, EngineError
from engine.chunked.loop import run_beside
from engine.chunked.storage import Local, locate, on_this_machine
from engine.chunked.store import StageStore
from engine.config import Config, load
from engine.serving.finished import open_finished
from tests.support.toy import run_toy, toy_pipeline

pytestmark = pytest.mark.usefixtures("here")

Command = Callable[[Path], object]


def run_fresh(where: Path) -> object:
    return chunked.run(toy_pipeline(where.parent / "calls"), where, memory="200MiB", fresh=True)


def plan(where: Path) -> object:
    return chunked.plan(toy_pipeline(where.parent / "calls"), where, memory="200MiB")


def beside(where: Path) -> object:
    return run_beside(toy_pipeline(where.parent / "calls"), "toy", where, memory="200MiB")


def clean(where: Path) -> object:
    return upkeep.clean(where, really=True)


COMMANDS: list[Command] = [run_toy, run_fresh, plan, beside, clean, upkeep.verify, overview.status, open_finished]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder with what somebody else would lose, among it all that a work directory and a stage's folder have."""
    folder = tmp_path / "vic"
    for name in ("mine", "records/mine", "records/total.00000.json", "stages/a-1/x", "toy-1/x", ".scratch/x", "lock"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("precious")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def stage(where: Path) -> Path:
    (found,) = where.glob("stages/toy-*")
    return found


def put_link(at: Path, to: Path) -> Path:
    if at.is_dir():
        shutil.rmtree(at)
    at.unlink(missing_ok=True)
    at.symlink_to(to)
    return at


FOLDERS: dict[str, Callable[[Path], Path]] = {
    "stage": stage,
    "stages": lambda where: where / "stages",
    "finished": lambda where: where / "finished",
    "another stage": lambda where: where / "stages" / "old-1",
    "records": lambda where: stage(where) / "records",
    "scratch": lambda where: stage(where) / ".scratch",
    "a folder below": lambda where: stage(where) / "squares",
    "a folder of nobody": lambda where: stage(where) / "squares-2",
}
FILES: dict[str, Callable[[Path], Path]] = {
    "lock": lambda where: where / "lock",
    "run.json": lambda where: where / "run.json",
    "metrics.json": lambda where: where / "metrics.json",
    "published.json": lambda where: where / "published.json",
    "a finished run": lambda where: where / "finished" / "a.json",
    "workdir.json": lambda where: where / "workdir.json",
    "record": lambda where: stage(where) / "records" / "total.00000.json",
    "stage.json": lambda where: stage(where) / "records" / "stage.json",
    "temporary file": lambda where: stage(where) / "records" / ".total.00000.json.1.ab.tmp",
    "file": lambda where: stage(where) / "half-1.txt",
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
@pytest.mark.parametrize("at", FOLDERS)
def test_a_link_to_a_folder_is_refused_by_name(where: Path, victim: Path, command: Command, at: str) -> None:
    link = put_link(FOLDERS[at](where), victim)
    before = tree(victim)
    with pytest.raises(DamagedError, match="a symbolic link") as raised:
        command(where)
    assert str(raised.value).startswith(f"{link}: ")
    assert tree(victim) == before
    assert link.is_symlink()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
@pytest.mark.parametrize("at", FILES)
def test_a_link_to_a_file_is_refused_by_name(where: Path, victim: Path, command: Command, at: str) -> None:
    link = put_link(FILES[at](where), victim / "mine")
    with pytest.raises(DamagedError, match="a symbolic link") as raised:
        command(where)
    assert str(raised.value).startswith(f"{link}: ")
    assert (victim / "mine").read_text() == "precious"
    assert link.is_symlink()


def test_a_link_to_nothing_makes_nothing(where: Path, tmp_path: Path) -> None:
    for at in ("lock", "stages/toy-2", "metrics.json"):
        link = put_link(where / at, tmp_path / "new")
        for command in (run_toy, run_fresh, clean):
            with pytest.raises(DamagedError, match="a symbolic link"):
                command(where)
        assert not (tmp_path / "new").exists()
        link.unlink()


def test_a_link_in_the_place_of_a_temporary_file_is_refused(tmp_path: Path, victim: Path) -> None:
    where = tmp_path / "w"
    where.mkdir()
    (where / ".workdir.json.1.ab.tmp").symlink_to(victim / "mine")
    with pytest.raises(DamagedError, match=r"1\.ab\.tmp: a symbolic link"):
        run_toy(where)
    assert (victim / "mine").read_text() == "precious"


@pytest.mark.parametrize("relative", [True, False])
def test_a_work_directory_that_as_a_whole_is_a_link_works(tmp_path: Path, victim: Path, relative: bool) -> None:
    (tmp_path / "disk" / "runs" / "w").mkdir(parents=True)
    (tmp_path / "runs").symlink_to("disk/runs" if relative else tmp_path / "disk" / "runs")
    (tmp_path / "last").symlink_to("runs/w")
    for where in (tmp_path / "runs" / "w", tmp_path / "last"):
        run_toy(where)
        assert upkeep.verify(where) == {}
        assert overview.status(where)["running"] is None
        (where / "stages" / "old-1").mkdir()
        assert [folder.path.name for folder in upkeep.clean(where, really=True)] == ["old-1"]
    assert (tmp_path / "disk/runs/w/run.json").is_file()


def test_the_command_line_ends_with_five_and_a_name(
    where: Path, victim: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_link(where / "stages" / "old-1", victim)
    for command in (["clean", "--yes"], ["verify"], ["status"], ["report"], ["recommend", "--user", "1"]):
        assert cli.main([command[0], str(where), *command[1:]]) == 5
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{where}/stages/old-1: a symbolic link" in line


# What each method of a place does with a link that was made after everything had been looked at.
LATE: dict[str, Callable[[Local], object]] = {
    "put": lambda place: place.put(b"new"),
    "put below": lambda place: (place / "new").put(b"new"),
    "remove": lambda place: place.remove(),
    "remove below": lambda place: (place / "mine").remove(),
    "sweep": lambda place: place.sweep(),
    "make": lambda place: place.make(),
    "make below": lambda place: (place / "new").make(),
    "new scratch": lambda place: place.new_scratch("a.00000"),
    "clear scratch": lambda place: place.clear_scratch(),
    "adopt": lambda place: place.adopt({"new": place.scratch() / "x"}),
    "hold": lambda place: (place / "lock").hold().__enter__(),
    "holder": lambda place: (place / "lock").holder(),
    "flush": lambda place: (place / "mine").flush(),
    "names": lambda place: place.names(),
    "sizes": lambda place: place.sizes(),
    "listed": lambda place: place.lister()("mine"),
    "read": lambda place: (place / "mine").read_bytes(),
    "digest": lambda place: (place / "mine").digest(),
    "state": lambda place: (place / "mine").state(),
    "exists": lambda place: (place / "mine").exists(),
    "local": lambda place: (place / "mine").local(),
    "zarr": lambda place: place.zarr_store(),
}


@pytest.mark.parametrize("depth", ["link", "above/link"])
@pytest.mark.parametrize("what", LATE)
def test_no_method_follows_a_link(tmp_path: Path, victim: Path, what: str, depth: str) -> None:
    root = tmp_path / "root"
    (root / depth).parent.mkdir(parents=True)
    (root / depth).symlink_to(victim)
    before = tree(victim)
    with pytest.raises(DamagedError, match="link: a symbolic link"):
        LATE[what](locate(root).enclosed() / depth)  # type: ignore[arg-type]
    assert tree(victim) == before


def test_a_folder_swapped_for_a_link_while_a_task_runs_gets_nothing(tmp_path: Path, victim: Path) -> None:
    store = StageStore(tmp_path / "toy-1")
    scratch = store.new_scratch("a.00000")
    (scratch / "deep").mkdir()
    (scratch / "deep" / "x").write_text("new")
    (tmp_path / "toy-1" / "deep").symlink_to(victim)
    before = tree(victim)
    with pytest.raises(DamagedError, match="deep: a symbolic link"):
        store.commit(scratch)
    assert tree(victim) == before


@pytest.mark.parametrize("kind", ["file", "folder", "pipe"])
def test_a_task_leaves_no_links_and_no_pipes(tmp_path: Path, victim: Path, kind: str) -> None:
    store = StageStore(tmp_path / "toy-1")
    scratch = store.new_scratch("a.00000")
    if kind == "pipe":
        os.mkfifo(scratch / "x")
    else:
        (scratch / "x").symlink_to(victim / "mine" if kind == "file" else victim)
    with pytest.raises(EngineError, match="a task leaves files and folders"):
        store.commit(scratch)
    assert not (tmp_path / "toy-1" / "x").is_symlink()


def test_a_lock_that_is_also_somebody_elses_file_is_left_to_them(where: Path, victim: Path) -> None:
    (where / "lock").unlink()
    (where / "lock").hardlink_to(victim / "mine")
    clean(where)
    assert (victim / "mine").read_text() == "precious"


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("recommender")
    write_ratings(folder / "ratings.csv")
    where = {"dataset": str(folder / "ratings.csv"), "workdir": str(folder / "run"), "memory": "1GiB"}
    settings = load({**where, **SETTINGS})
    engine.run(settings)
    return settings


def test_the_recommender_refuses_links_too(recommender: Config, tmp_path: Path, victim: Path) -> None:
    where = tmp_path / "run"
    shutil.copytree(recommender.workdir or "", where)
    (biases,) = where.glob("stages/biases-*")
    before = tree(victim)
    whole = contents(where)
    moved = biases.rename(tmp_path / "biases")
    biases.symlink_to(victim)
    settings = load({"dataset": recommender.dataset, "workdir": str(where), "memory": "1GiB", **SETTINGS})
    commands: list[Callable[[], object]] = [
        lambda: engine.run(settings),
        lambda: engine.recommend_all(str(where), tmp_path / "out.parquet", memory="1GiB"),
        lambda: engine.Recommender.open(where),
    ]
    for command in commands:
        with pytest.raises(DamagedError, match=r"biases-.*: a symbolic link"):
            command()
    assert tree(victim) == before
    biases.unlink()
    moved.rename(biases)
    engine.run(settings)
    assert contents(where) == whole


def test_the_report_is_written_through_no_link(recommender: Config, tmp_path: Path, victim: Path) -> None:
    pytest.importorskip("altair")
    where = tmp_path / "run"
    shutil.copytree(recommender.workdir or "", where)
    (where / "report.html").symlink_to(victim / "mine")
    assert cli.main(["report", str(where)]) == 5
    assert (victim / "mine").read_text() == "precious"


def test_places_are_told_without_going_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path = tmp_path.resolve()
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    (here / "link").symlink_to(tmp_path)
    (here / "round").symlink_to("round")
    monkeypatch.chdir(here)
    told = {
        "../../x/run": f"{tmp_path}/x/run",
        "c/../x": "x",
        "../b/x": "x",
        "link/../x": f"{tmp_path.parent}/x",
        "link/a/b/../b/x": "x",
        "round/../x": "x",
        "..": f"{tmp_path}/a",
        "c/..": ".",
        "c/..x/x..": "c/..x/x..",
        f"{tmp_path}/y": f"{tmp_path}/y",
    }
    for given, shown in told.items():
        assert str(locate(given)) == str(locate(f"file://{given}")) == str(on_this_machine(given)) == shown
        assert str(locate(given).absolute()) == str(here / shown)
    assert str(Local("../x").enclosed().absolute() / "y") == f"{tmp_path}/a/x/y"


def put_deep(at: Path, n: int = 1500) -> Path:
    """Folders in one another: more than a path can name, or a process have open."""
    at.unlink(missing_ok=True)
    at.mkdir()
    with chdir(at):
        for _ in range(n):
            os.mkdir("d")  # noqa: PTH102  (the path would be too long)
            os.chdir("d")
        Path("x").write_text("x")
    return at


@pytest.fixture
def _shallow_again(tmp_path: Path) -> Iterator[None]:
    """What removes temporary folders afterwards cannot go so deep."""
    yield
    subprocess.run(["rm", "-rf", str(tmp_path)], check=True)


@pytest.mark.usefixtures("_shallow_again")
@pytest.mark.parametrize("at", ["another stage", "scratch", "a folder of nobody", "run.json"])
def test_folders_without_end_are_refused_by_name(where: Path, at: str) -> None:
    put_deep((FOLDERS | FILES)[at](where))
    for command in COMMANDS:
        with pytest.raises(DamagedError, match="more than 64 folders in one another") as raised:
            command(where)
        assert str(where) in str(raised.value)
        assert len(str(raised.value)) < 500


@pytest.mark.usefixtures("_shallow_again")
def test_folders_without_end_are_refused_where_they_are_removed(where: Path) -> None:
    place = locate(put_deep(where / ".scratch"))
    removals: list[Callable[[], object]] = [
        place.enclosed().remove,
        (locate(where).enclosed() / ".scratch").remove,
        locate(where).clear_scratch,
    ]
    for remove in removals:
        with pytest.raises(DamagedError, match=r"\.scratch: more than 64"):
            remove()


def test_folders_as_deep_as_any_step_leaves_them_are_fine(where: Path) -> None:
    put_deep(stage(where) / "squares-2", 50)
    assert overview.status(where)["damaged"] == []
    (fault,) = upkeep.verify(where).values()
    assert "belongs to no task" in fault
