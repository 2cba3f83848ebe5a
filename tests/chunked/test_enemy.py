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


def test_every_kind_is_noticed_by_whoever_reads_all_files(enemy: Enemy) -> None:
    record = next(file for file in enemy.files if file.name == "stage.json")
    for kind in enemy.kinds:
        assert enemy.attack(record, kind, "verify") == ""
        assert enemy.exit_code == 5, kind
