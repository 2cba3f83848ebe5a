"""``--filter``: a file of the only items to recommend."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import cli
from tests.support.pipeline import finish_run
from tests.support.ratings import FEW_ROWS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("filtered")
    (path := folder / "ratings.csv").write_text(FEW_ROWS)
    return finish_run(path, folder / "run", preset="default")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "one item id a line"),
        ("\n", "holds no item ids"),
        ("item\n99999999\n", "none of its items is known: known are 16 items"),
    ],
)
def test_what_is_no_file_of_items_is_told_as_that(
    content: str | None, told: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "items.txt"
    if content is not None:
        path.write_text(content)
    assert cli.main(["recommend", str(run), "--like", "1", "--filter", str(path)]) == 2
    said = capsys.readouterr().err
    assert f"{path}: " in said
    assert told in said
    assert "user" not in said.replace(str(path), "")


def test_ids_that_the_run_does_not_have_are_noted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "items.txt").write_text("item\n1\n4\n99999999\n")
    assert cli.main(["recommend", str(run), "--like", "1", "--filter", str(tmp_path / "items.txt")]) == 0
    said = capsys.readouterr()
    assert "note: 2 of the items are not known to this run and left out: item, 99999999" in said.err
    assert "   1  " in said.out
    (tmp_path / "items.txt").write_text("1\n4\n")
    assert cli.main(["recommend", str(run), "--like", "1", "--filter", str(tmp_path / "items.txt")]) == 0
    assert "left out" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("on_empty", "why"),
    [("popular", "no item of --filter is new"), ("skip", "the neighbours rated no item of --filter that is new")],
)
def test_an_empty_list_says_why(
    on_empty: str, why: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "items.txt").write_text("1\n4\n")
    given = ["--filter", str(tmp_path / "items.txt"), "--on-empty", on_empty]
    assert cli.main(["recommend", str(run), "--like", "1", "4", *given]) == 0
    assert f"nothing to recommend: {why}" in capsys.readouterr().out
