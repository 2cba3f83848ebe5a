"""A disk that is really full, in the middle of ingest and of neighbours."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import hnswlib
import msgspec
import numpy as np
import pytest

import engine
from bench.kill import SETTINGS, contents, write_ratings
from engine import chunked, cli
from engine.chunked import overview, publishing, upkeep, workdir
from engine.chunked.errors import EngineError, LockedError, write_named
from engine.chunked.events import Explained
from engine.chunked.storage import locate
from engine.config import Config, load
from engine.serving.whole import replacing
from engine.stages.index.graphs import save
from tests.support.toy import run_toy, toy_pipeline

pytestmark = pytest.mark.usefixtures("here")

KIB = 1024
SIZE = 16 * KIB * KIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(where)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Leave so many bytes free."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        while True:
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            with suppress(OSError):  # a task has written meanwhile
                os.posix_fallocate(file.fileno(), 0, max(1, free - leave))
                return ballast


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the ratings are."""
    made = tmp_path_factory.mktemp("full")
    write_ratings(made / "ratings.csv")
    return made


def settings(folder: Path, workdir: Path, method: str) -> Config:
    where = {"dataset": str(folder / "ratings.csv"), "workdir": str(workdir), "memory": "1GiB"}
    return load({**where, **SETTINGS}, {"index": {"method": method, "shard_users": 90}})


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> Callable[[str], dict[str, str]]:
    """What a run leaves that had room, by its method."""

    @cache
    def made(method: str) -> dict[str, str]:
        return contents(engine.run(settings(folder, folder / method, method)).workdir.local())

    return made


@pytest.mark.parametrize(
    ("round_", "leave"), [("convert", 16 * KIB), ("partition", 16 * KIB), ("build", 8 * KIB), ("search", 8 * KIB)]
)
def test_a_full_disk_is_told_and_the_run_goes_on_once_there_is_room(
    folder: Path, undisturbed: Callable[[str], dict[str, str]], small_disk: Path, round_: str, leave: int
) -> None:
    method = "hnsw" if round_ == "build" else "pruned"
    asked = settings(folder, small_disk / "run", method)
    ballast = small_disk / "ballast"

    def note(event: Any) -> None:
        counting = round_ == "convert" and isinstance(event, Explained)
        if (counting or getattr(event, "round", "") == round_) and not ballast.exists():
            fill(small_disk, leave)

    with pytest.raises(EngineError, match="no space left on the disk"):
        engine.run(asked, note)
    ballast.unlink()
    assert contents(engine.run(asked).workdir.local()) == undisturbed(method)


@pytest.fixture
def crowded(small_disk: Path, tmp_path: Path) -> Iterator[Path]:
    """A work directory with three finished runs, on a disk that takes not a byte more."""
    for n in (4, 5, 6):
        chunked.run(toy_pipeline(tmp_path / "calls", n), small_disk / "w", memory="200MiB")
    ballast = fill(small_disk, 0)
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "more").write_bytes(b"1")
    yield small_disk / "w"
    ballast.unlink()


def everything(where: Path) -> dict[str, tuple[int, int]]:
    """All that is there, and when it was changed."""
    return {str(path): (path.lstat().st_ino, path.lstat().st_ctime_ns) for path in sorted(where.rglob("*"))}


def test_what_there_is_no_room_for_is_named(crowded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = crowded / "folder" / "page.html"
    page.parent.mkdir()
    with pytest.raises(OSError, match=rf"{page}'$"):
        locate(page).put(b"1")
    with pytest.raises(OSError, match=rf"{page}'$"), replacing(page) as file:
        file.write(b"1")
    assert cli.main(["data", "twin", "--out", str(page.parent), "--scale", "0.001"]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"engine: no space left on the disk ({page.parent}): free some space there, then run again"
    with pytest.raises(OSError, match=f"{crowded.parent / 'new'}"):
        chunked.run(toy_pipeline(crowded.parent / "calls"), crowded.parent / "new", memory="200MiB")


@pytest.mark.parametrize("reached", ["write_figures", "publish", "write_last_run"])
def test_a_run_that_cannot_say_it_is_finished_leaves_no_damage(tmp_path: Path, reached: str) -> None:
    where, full = tmp_path / "w", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "w")
    home = publishing if reached == "publish" else workdir
    whole = getattr(home, reached)

    def fails(*given: Any) -> Any:
        if reached == "publish" or given[1].figures or reached == "write_figures":
            raise full
        return whole(*given)

    with mock.patch.object(home, reached, fails), pytest.raises(OSError, match="No space left"):
        run_toy(where)
    assert overview.status(where)["damaged"] == []
    assert upkeep.verify(where) == {}
    run_toy(where)
    assert overview.status(where)["finished"]


def test_figures_of_a_run_that_was_killed_then_are_not_taken_for_earlier_ones(where: Path) -> None:
    last = workdir.last_run(where)
    assert last is not None
    workdir.write_last_run(where, msgspec.structs.replace(last, figures=""))
    assert (
        "of no finished run, or of an earlier one; the next run makes it again" in upkeep.verify(where)["metrics.json"]
    )


def test_an_error_of_a_library_gets_the_name_of_what_is_written() -> None:
    for error, number in (
        (RuntimeError("parquet: underlying IO error: No space left (os error 28)"), errno.ENOSPC),
        (OSError(errno.EDQUOT, "Quota"), errno.EDQUOT),
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG)), errno.EFBIG),
    ):
        with pytest.raises(OSError, match=r"'w/x'$") as raised, write_named("w/x"):
            raise error
        assert raised.value.errno == number
    for other in (OSError(errno.ENOSPC, "No space", "its own"), EngineError("(os error 28)"), ValueError("no")):
        with pytest.raises(type(other)) as kept, write_named("w/x"):
            raise other
        assert kept.value is other


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on sizes of files is set")
def test_a_limit_on_sizes_of_files_is_told_with_the_file(tmp_path: Path) -> None:
    save = "import numpy; from engine.chunked.errors import write_named\nwith write_named('w/x'): "
    code = f"{save}numpy.zeros(10**4).tofile('x')"
    ran = subprocess.run(
        ["sh", "-c", f'ulimit -f 1; exec {sys.executable} -c "{code}"'], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.stderr.splitlines()[-1] == f"OSError: [Errno {errno.EFBIG}] {os.strerror(errno.EFBIG)}: 'w/x'"


def test_a_full_disk_keeps_nobody_from_cleaning(crowded: Path) -> None:
    before = everything(crowded)
    shown = upkeep.clean(crowded)
    assert len(shown) == 2
    assert everything(crowded) == before
    assert upkeep.clean(crowded, really=True) == shown
    assert len(list(crowded.glob("stages/*"))) == len(list(crowded.glob("finished/*"))) == 1
    assert len(publishing.names(crowded)) == 1
    assert upkeep.verify(crowded) == {}
    assert upkeep.clean(crowded, really=True) == []


def test_a_full_disk_keeps_nobody_from_starting_over(crowded: Path, tmp_path: Path) -> None:
    asked = toy_pipeline(tmp_path / "calls", 6)
    folder = asked.folders(locate(crowded))["toy"]
    with pytest.raises(EngineError, match="no space left on the disk"):  # what it takes while it runs is more
        chunked.run(asked, crowded, memory="200MiB", fresh=True)
    assert not (folder / "half-0.txt").exists()
    assert len(publishing.names(crowded)) == 2
    (crowded.parent / "ballast").write_bytes(b"")
    chunked.run(asked, crowded, memory="200MiB")
    assert (folder / "half-0.txt").exists()
    assert upkeep.verify(crowded) == {}


def test_where_there_is_room_results_are_taken_back_before_they_go(where: Path, tmp_path: Path) -> None:
    chunked.run(toy_pipeline(tmp_path / "calls", 4), where, memory="200MiB")
    with mock.patch.object(publishing, "remove", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        upkeep.clean(where, really=True)
    assert len(publishing.names(where)) == 1
    assert upkeep.verify(where) == {}


def test_what_a_run_leaves_unused_is_not_shown_while_it_runs(where: Path) -> None:
    with locate(where / "lock").hold(), pytest.raises(LockedError, match="see afterwards"):
        upkeep.clean(where)


def test_a_graph_cut_short_by_a_full_disk_is_not_taken_for_whole(small_disk: Path) -> None:
    graph = hnswlib.Index(space="cosine", dim=8)
    graph.init_index(max_elements=100)
    graph.add_items(np.random.default_rng(0).standard_normal((100, 8)))
    ballast = fill(small_disk, 8 * KIB)
    with pytest.raises(OSError, match="No space left"):
        save(graph, small_disk / "graph")
    ballast.unlink()
    save(graph, small_disk / "graph")
