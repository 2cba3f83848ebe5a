"""A disk that is really full, in the middle of ingest and of neighbours."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pytest

import engine
from bench.kill import SETTINGS, contents, write_ratings
from engine.chunked.errors import EngineError
from engine.chunked.events import Explained
from engine.config import Config, load
from engine.stages.index.graphs import save

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


def test_a_graph_cut_short_by_a_full_disk_is_not_taken_for_whole(small_disk: Path) -> None:
    graph = hnswlib.Index(space="cosine", dim=8)
    graph.init_index(max_elements=100)
    graph.add_items(np.random.default_rng(0).standard_normal((100, 8)))
    ballast = fill(small_disk, 8 * KIB)
    with pytest.raises(OSError, match="No space left"):
        save(graph, small_disk / "graph")
    ballast.unlink()
    save(graph, small_disk / "graph")
