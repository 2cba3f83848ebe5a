"""A sample of `tests.support.enemy`: whatever stands in the place of a file, commands end in words and harm nobody."""

from __future__ import annotations

import pytest

from tests.support.enemy import Enemy


@pytest.fixture(scope="module")
def enemy(tmp_path_factory: pytest.TempPathFactory) -> Enemy:
    pytest.importorskip("altair", reason="the report is made with it")
    return Enemy(tmp_path_factory.mktemp("enemy"), seed=7)


@pytest.mark.parametrize("attempt", range(24))
def test_a_file_that_is_something_else_is_told(enemy: Enemy, attempt: int) -> None:
    where = enemy.anywhere()
    assert not (told := enemy.attack(*where)), (*where, told)


@pytest.mark.parametrize("attempt", range(40))
def test_a_forged_file_is_told_where_it_is_of_no_use(enemy: Enemy, attempt: int) -> None:
    where = enemy.any_forgery()
    assert not (told := enemy.forge(*where)), (*where, told)


# Each of these ended with a traceback, or as a fault of the program.
@pytest.mark.parametrize(
    ("file", "kind", "command"),
    [
        ("refine-*/item-factors.npy", "wide", "run"),
        ("refine-*/item-factors.npy", "wide", "recommend"),
        ("split-*/train/00000.parquet", "without user", "run"),
        ("split-*/train/00000.parquet", "text item", "export"),
        ("evaluate-*/recommended.npy", "short", "report"),
        ("evaluate-*/users/00000.parquet", "without n_test", "compare"),
        ("item_neighbors-*/near.npz", "indices large", "recommend"),
        ("residuals-*/item-factors.npy", "text", "run"),
        ("residuals-*/item-factors.npy", "header", "recommend"),
        ("refine-*/vectors/zarr.json", "unfolding", "recommend"),
        ("residuals-*/item-factors.npy", "header", "run"),
        ("item_neighbors-*/near.npz", "data header", "recommend"),
        ("item_neighbors-*/near.npz", "data doubles", "recommend"),
        ("item_neighbors-*/near.npz", "data doubles", "run"),
        ("item_neighbors-*/near.npz", "compressed", "recommend"),
    ],
)
def test_what_kernels_refuse_is_told_as_damage(enemy: Enemy, file: str, kind: str, command: str) -> None:
    (found,) = (each for each in enemy.files if each.match(f"stages/{file}"))
    assert enemy.forge(found, kind, command) == ""


def test_every_kind_is_noticed_by_whoever_reads_all_files(enemy: Enemy) -> None:
    record = next(file for file in enemy.files if file.name == "stage.json")
    for kind in enemy.kinds:
        assert enemy.attack(record, kind, "verify") == ""
        assert enemy.exit_code == 5, kind
