"""Damage of every kind of file a run leaves: found by verify, named, and healed by the next run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import engine
from bench.kill import SETTINGS, contents, write_ratings
from engine.chunked import overview, upkeep, workdir
from engine.chunked.errors import DamagedError, UsageError
from engine.chunked.events import TaskBegan
from engine.config import Config, load

pytestmark = pytest.mark.usefixtures("here")

# Temporary, so all of it is made again for the means.
USERS = [f"evaluate/users.{i:05d}" for i in range(6)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("damage")
    write_ratings(folder / "ratings.csv")
    where = {"dataset": str(folder / "ratings.csv"), "workdir": str(folder / "run"), "memory": "1GiB"}
    return load({**where, **SETTINGS})


@pytest.fixture(scope="module")
def whole(settings: Config) -> dict[str, str]:
    """What an undamaged run leaves."""
    return contents(engine.run(settings).workdir.local())


def kinds(run: Path) -> dict[str, Path]:
    """One file of each kind, by its name without numbers; the second of its kind where there are more."""
    found: dict[str, list[Path]] = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file() and path.name != "lock"):
        name = re.sub(r"-[0-9a-f]{16}/", "/", path.relative_to(run).as_posix())
        found.setdefault(re.sub(r"\d+", "N", name), []).append(path)
    return {kind: paths[min(1, len(paths) - 1)] for kind, paths in found.items()}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def delete(path: Path) -> None:
    path.unlink()


def named(run: Path, victim: Path) -> bool:
    """Whether verify names a file, or the record or stage it belongs to."""
    return any(str(victim) in fault or victim.stem in fault for fault in upkeep.verify(run).values())


@pytest.mark.parametrize("damage", [flip, truncate, delete])
def test_every_kind_of_damage_is_found(settings: Config, whole: dict[str, str], damage: Callable[[Path], None]) -> None:
    run = Path(settings.workdir or "")
    assert upkeep.verify(run) == {}
    assert len(kinds(run)) > 40
    for kind, victim in kinds(run).items():
        content = victim.read_bytes()
        damage(victim)
        assert named(run, victim), kind
        victim.write_bytes(content)
    assert upkeep.verify(run) == {}


@pytest.mark.parametrize("damage", [flip, truncate, delete])
@pytest.mark.parametrize("kept", ["run.json", "workdir.json"])
def test_a_run_heals_all_of_it_at_once(
    settings: Config, whole: dict[str, str], damage: Callable[[Path], None], kept: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(settings.workdir or "", run)
    for victim in kinds(run).values():
        if victim.name != kept:  # with both of them gone it cannot be told that this is a work directory
            damage(victim)
    engine.run(load({"dataset": settings.dataset, "workdir": str(run), "memory": "1GiB", **SETTINGS}))
    assert contents(run) == whole
    assert upkeep.verify(run) == {}


@pytest.mark.parametrize(
    ("victim", "begun"),
    [
        ("stages/matrix-*/train/indices/c/1", ["matrix/train.00001"]),
        ("stages/neighbors-*/ids/c/2/0", ["neighbors/search.00002"]),
        ("stages/split-*/test/00001.parquet", ["split/split.00001"]),
        ("stages/evaluate-*/users/00001.parquet", [*USERS, "evaluate/tables.00000"]),
        ("stages/factors-*/records/vectors.00001.json", ["factors/vectors.00001"]),
        ("stages/index-*/records/stage.json", []),
    ],
)
def test_only_what_is_damaged_is_done_again(
    settings: Config, whole: dict[str, str], victim: str, begun: list[str]
) -> None:
    run = Path(settings.workdir or "")
    (path,) = run.glob(victim)
    flip(path)
    done: list[str] = []
    stage = ""

    def note(event: engine.Event) -> None:
        nonlocal stage
        stage = getattr(event, "stage", stage)
        if isinstance(event, TaskBegan):
            done.append(f"{stage}/{event.task}")

    engine.run(settings, note)
    assert sorted(done) == sorted(begun)
    assert contents(run) == whole


@pytest.mark.parametrize(
    "victim", ["vectors/c/0/0", "vectors/zarr.json", "item-factors.npy", "records/collect.00000.json"]
)
def test_what_temporary_rounds_were_for_is_made_again_with_them(
    settings: Config, whole: dict[str, str], victim: str
) -> None:
    run = Path(settings.workdir or "")
    (path,) = run.glob(f"stages/refine-*/{victim}")
    flip(path)
    engine.run(settings)
    assert contents(run) == whole
    assert upkeep.verify(run) == {}


def test_with_marker_and_last_run_gone_nothing_is_touched(settings: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(settings.workdir or "", run)
    flip(run / "run.json")
    flip(run / "workdir.json")
    with pytest.raises(DamagedError, match="another work directory"):
        engine.run(load({"dataset": settings.dataset, "workdir": str(run)}))
    (run / "workdir.json").unlink()
    with pytest.raises(UsageError, match="no work directory"):
        workdir.check(run)


def test_records_under_another_name_are_no_records(settings: Config, whole: dict[str, str]) -> None:
    run = Path(settings.workdir or "")
    (split,) = run.glob("stages/split-*")
    (ingest,) = run.glob("stages/ingest-*")
    swapped, stray = split / "records/split.00000.json", split / "records/split.00099.json"
    shutil.copy(split / "records/split.00001.json", swapped)
    shutil.copy(split / "records/split.00001.json", stray)
    shutil.copy(split / "records/draw.00000.json", ingest / "records/profile.00000.json")
    assert {str(path.stem) for path in (swapped, stray)} <= {name.split("/")[-1] for name in upkeep.verify(run)}
    assert any("profile.00000" in name for name in upkeep.verify(run))
    engine.run(settings)
    assert contents(run) == whole
    assert upkeep.verify(run) == {}


def test_strays_and_folders_in_the_place_of_files_go(settings: Config, whole: dict[str, str]) -> None:
    run = Path(settings.workdir or "")
    (ingest,) = run.glob("stages/ingest-*")
    (ingest / "ratings/00077.parquet").write_text("stray")
    for name in ("ratings/00001.parquet", "records/partition.00002.json"):
        (ingest / name).unlink()
        (ingest / name / "deep").mkdir(parents=True)
    assert len(upkeep.verify(run)) >= 2
    engine.run(settings)
    assert contents(run) == whole
    assert upkeep.verify(run) == {}


def test_a_stray_file_of_a_finished_stage_is_named(settings: Config, whole: dict[str, str]) -> None:
    run = Path(settings.workdir or "")
    (matrix,) = run.glob("stages/matrix-*")
    (matrix / "train/data/c/77").write_text("stray")
    (fault,) = upkeep.verify(run).values()
    assert "train/data/c/77: belongs to no task" in fault
    engine.run(settings)
    assert contents(run) == whole


def test_without_a_last_run_nothing_is_cleaned(settings: Config, whole: dict[str, str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(settings.workdir or "", run)
    flip(run / "run.json")
    with pytest.raises(DamagedError, match="run first"):
        upkeep.unused(run)


@pytest.mark.usefixtures("whole")
def test_figures_of_results_that_are_gone_are_not_believed(settings: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(settings.workdir or "", run)
    shutil.rmtree(run / "stages")
    assert not overview.status(run)["finished"]
