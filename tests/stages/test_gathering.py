"""Ratings of neighbours, gathered from stored chunks: the same as if all were in memory, and no more at a time."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.artifacts.readers import Index, Matrix, Nearest
from engine.chunked.csr import NarrowRows
from engine.chunked.journal import Committed, Journal
from engine.chunked.pipeline import Pipeline
from engine.chunked.storage import Location, locate
from engine.chunked.task import Reads
from engine.config import Recommend
from engine.costs import lists
from engine.model import sizes
from engine.pipeline import recommend_step
from engine.stages import gathered, gathering
from engine.stages.gathered import GatheredFiles
from engine.stages.gathering import Block, RatingsOfNeighbors, Users
from tests.support.pipeline import SMALL, notebook_settings, open_pipeline, run_stage, run_stages
from tests.support.ratings import synthetic_ratings, write_ratings

SECTIONS: dict[str, Any] = {
    "preset": "default",
    "factors": SMALL,
    "matrix": {"ratings_per_chunk": 50},
    "neighbors": {"k": 6, "users_per_chunk": 32},
    "evaluate": {"k": 5, "users_per_task": 40},
}


@pytest.fixture(autouse=True)
def _few_users_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "SCORE_USERS", 7)


def run(folder: Path, **how: Any) -> dict[str, Committed]:
    ratings = write_ratings(folder, synthetic_ratings(n_users=90, n_items=60, seed=5))
    return run_stages(ratings, folder / "run", **SECTIONS | how)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Committed]:
    return run(tmp_path_factory.mktemp("gathering"))


def clustered(n_users: int) -> Users:
    """Some users, in no order."""
    return Users.in_order(np.random.default_rng(3).permutation(n_users)[:71].astype(np.int32))


@pytest.mark.parametrize("users", [Users.between(13, 84), clustered(90)], ids=["by-code", "by-cluster"])
@pytest.mark.parametrize("room", [0, 200, 2000, 10**9])
@pytest.mark.parametrize("most", [1, 900, 3000, 10**9])
def test_neighbors_have_the_ratings_they_have_in_the_whole(
    stages: dict[str, Committed], users: Users, room: int, most: int
) -> None:
    train, nearest = Matrix(stages["matrix"]).train, Nearest(stages["neighbors"])
    whole, reads = train.read(0, 90), Reads()
    ids, similarities = nearest.read(0, 90)
    rows = np.split(np.arange(len(whole.data)), whole.indptr[1:-1])

    def check(block: Block) -> NDArray[Any]:
        np.testing.assert_array_equal(users.codes[block.places], block.codes)
        np.testing.assert_array_equal(block.similarities, similarities[block.codes])
        np.testing.assert_array_equal(block.own.indices, whole.take(block.codes).indices)
        np.testing.assert_array_equal(block.own.data, whole.take(block.codes).data)
        for found, expected in zip(block.neighbors, ids[block.codes], strict=True):
            assert ((found < 0) == (expected < 0)).all()
            for row, code in zip(found[found >= 0], expected[expected >= 0], strict=True):
                some = slice(block.ratings.indptr[row], block.ratings.indptr[row + 1])
                assert block.ratings.indices[some].tolist() == whole.indices[rows[code]].tolist()
                assert block.ratings.data[some].tolist() == whole.data[rows[code]].tolist()
        held = len(block.ratings.data) + sizes.GATHERED_ROW * (len(block.ratings.indptr) - 1)
        assert room == 10**9 or held <= most or len(block.codes) == 1
        return block.places

    done = RatingsOfNeighbors(train, nearest, room).each(users, most, reads, check)
    np.testing.assert_array_equal(np.concatenate(done), users.turn)
    assert (reads.stored > 0) == (room < 10**9)
    assert room or not reads.kept


def test_what_was_gathered_is_gone_when_the_next_is_read(
    stages: dict[str, Committed], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Matrix(stages["matrix"]).train
    gathered: list[weakref.ref[Any]] = []
    alive, read = [], train.read_some

    def noted(codes: NDArray[Any], *how: Any) -> NarrowRows:
        alive.append(sum(each() is not None for each in gathered))
        found = read(codes, *how)
        gathered.append(weakref.ref(found.data))
        return found

    monkeypatch.setattr(train, "read_some", noted)
    ratings = RatingsOfNeighbors(train, Nearest(stages["neighbors"]), 0)
    ratings.each(Users.between(0, 90), 900, Reads(), lambda block: np.zeros(1))
    assert len(alive) > 3
    assert not any(alive)


HOW: list[dict[str, Any]] = [
    {"batch_rows": 1},
    {"batch_rows": 700, "workers": 1},
    {"batch_rows": 700, "cache": 300, "workers": 3},
    {"batch_rows": 10**6, "cache": 2000},
]


def records(stage: Committed) -> list[Any]:
    """What tasks left: digests of files, and results."""
    return [(each.task, each.files, each.result) for each in Journal(stage.root).records()]


@pytest.mark.parametrize("how", HOW)
def test_what_is_kept_and_held_changes_no_figure(
    stages: dict[str, Committed], how: dict[str, Any], tmp_path: Path
) -> None:
    assert records(run(tmp_path, **how)["evaluate"]) == records(stages["evaluate"])


@pytest.mark.parametrize("more", [{}, {"preset": "notebook"}, {"index": {"method": "pruned", "users_per_cluster": 16}}])
def test_nor_does_it_to_put_together_first_what_a_group_of_users_needs(
    tmp_path: Path, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (lists, gathered):
        monkeypatch.setattr(module, "READ_RATINGS", 100)
    monkeypatch.setattr(lists, "RANGE_RATINGS", 1000)
    read, read_some = [], GatheredFiles.read_some

    def noted(self: GatheredFiles, codes: NDArray[np.int64], reads: Reads) -> NarrowRows:
        read.append(read_some(self, codes, reads))
        return read[-1]

    monkeypatch.setattr(GatheredFiles, "read_some", noted)
    at_once, by_groups = (
        run(tmp_path / name, batch_rows=500, **more, evaluate=SECTIONS["evaluate"] | {"users_per_gather": of_group})
        for name, of_group in (("at-once", 120), ("by-groups", 85))
    )
    assert len(read) > 6  # of two groups, the first of two tasks
    stages = at_once["evaluate"], by_groups["evaluate"]
    assert records(stages[0]) == records(stages[1])
    assert not [name for name in stages[1].root.sizes() if "gathered" in name]


def test_nor_does_the_order_in_which_users_are_gone_through(
    stages: dict[str, Committed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, codes = [], Index.codes

    def noted(self: Index, start: int, stop: int) -> NDArray[np.int32]:
        asked.append(codes(self, start, stop))
        return asked[-1]

    monkeypatch.setattr(Index, "codes", noted)
    index = {"method": "pruned", "users_per_cluster": 16}
    neighbors = SECTIONS["neighbors"] | {"recall": 0.9999}  # the same neighbours as without clusters
    chunks = {"factors": SMALL | {"users_per_chunk": 40}, "refine": {"users_per_chunk": 23}}
    by_cluster = run(tmp_path, batch_rows=900, index=index, neighbors=neighbors, **chunks)
    gone_through = np.concatenate(sorted(asked[-3:], key=len)).tolist()  # three tasks of evaluate
    assert sorted(gone_through) == list(range(90)) != gone_through
    one, other = (Nearest(each["neighbors"]).read(0, 90)[0].tolist() for each in (stages, by_cluster))
    assert one == other
    assert records(by_cluster["evaluate"]) == records(stages["evaluate"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pipeline, dict[str, Location]]:
    """A run whose every stage is done but the lists for everybody."""
    folder = tmp_path_factory.mktemp("everybody")
    run(folder)
    pipeline = open_pipeline(folder / "ratings.csv", notebook_settings(SECTIONS))
    step = recommend_step(notebook_settings(SECTIONS), Recommend(users_per_task=40, k=4))
    pipeline = replace(pipeline, steps=[*pipeline.steps, step])
    return pipeline, pipeline.folders(locate(folder / "run"))


@pytest.mark.parametrize("how", HOW)
def test_nor_the_lists_for_everybody(
    finished: tuple[Pipeline, dict[str, Location]], how: dict[str, Any], tmp_path: Path
) -> None:
    pipeline, folders = finished
    found = []
    for name, each in (("all", {}), ("some", how)):
        own = folders | {"recommend": locate(tmp_path / name / folders["recommend"].name)}
        run_stage(pipeline, pipeline.steps[-1], own, **each)
        found.append(records(Committed(own["recommend"])))
    assert found[0] == found[1]
