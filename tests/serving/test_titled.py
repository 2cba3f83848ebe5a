"""Items named by a title on the command line, where ids are expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import cli
from engine.chunked.errors import UsageError
from engine.serving.ids import UnknownIdError
from engine.serving.recommender import Recommender
from engine.serving.titled import items_named
from tests.support.ratings import synthetic_ratings
from tests.support.recommender import run

TITLES = {
    1: "Matrix, The (1999)",
    8: "Matrix Reloaded, The (2003)",
    15: "Hamlet (1990)",
    22: "Hamlet (1996)",
    29: "Alien (1979)",
    36: "Aliens (1986)",
    43: "Apollo 7777 (1995)",
    50: "1",
}


@pytest.fixture(scope="module")
def titled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose first items have titles."""
    folder = tmp_path_factory.mktemp("titled")
    rows = (f'{item},"{title}"\n' for item, title in TITLES.items())
    (folder / "movies.csv").write_text("movieId,title\n" + "".join(rows))
    return run(folder, synthetic_ratings(90, 60))


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("the matrix", 1),
        ("Matrix, The (1999)", 1),
        (" Matrix ", 1),
        ("reloaded", 8),
        ("hamlet (1996)", 22),
        ("alien", 29),
        ("alienS", 36),
        ("apollo", 43),
    ],
)
def test_an_item_is_found_by_its_title(titled: Path, text: str, item: int) -> None:
    found, taken = items_named(Recommender.open(titled), ["57", text])
    assert found == ["57", item]
    assert taken == [f"{text}: taken as {item}, {TITLES[item]}"]


def test_an_id_is_an_id_and_one_that_there_is_not_is_no_part_of_a_title(titled: Path) -> None:
    recommender = Recommender.open(titled)
    assert items_named(recommender, ["1", "7777", "nothing like it"]) == (["1", "7777", "nothing like it"], [])
    with pytest.raises(UnknownIdError, match=r"no item has this id or title: 7777: known are \d+ items from 1 to"):
        items_named(recommender, ["7777"])


def test_titles_that_match_alike_are_listed(titled: Path) -> None:
    recommender = Recommender.open(titled)
    with pytest.raises(UsageError, match=r"^Hamlet: 2 titles match, .*: \d+ Hamlet \(19\d+\); \d+ Hamlet \(19\d+\)$"):
        items_named(recommender, ["Hamlet"])
    with pytest.raises(UsageError, match="a: 7 titles match"):
        items_named(recommender, ["a"])


def test_the_commands_take_titles(titled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["recommend", "--like"], ["similar", "--item"]):
        command = [arguments[0], str(titled), arguments[1]]
        assert cli.main([*command, "The Matrix", "--json"]) == 0
        by_title = capsys.readouterr()
        assert by_title.err == "note: The Matrix: taken as 1, Matrix, The (1999)\n"
        assert cli.main([*command, "1", "--json"]) == 0
        assert capsys.readouterr() == (by_title.out, "")
        assert cli.main([*command, "Hamlet"]) == 2
        told = capsys.readouterr().err
        assert "15 Hamlet (1990)" in told
        assert "22 Hamlet (1996)" in told


def test_that_titles_cannot_be_read_is_told_where_one_is_given(titled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    movies = titled.parent / "movies.csv"
    content = movies.read_bytes()
    movies.write_bytes(b"a,b\n")
    with pytest.raises(UnknownIdError, match=r"title: alien: .*movies.csv cannot be read"):
        items_named(Recommender.open(titled, memory=None), ["alien"])
    movies.write_bytes(content)


def test_what_an_item_is_like_is_told_by_its_title(titled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recommender = Recommender.open(titled)
    for item in TITLES:
        items = recommender.recommend(recommender.likes([item]), 40)
        if (items["reason"] == "item").any():
            assert cli.main(["recommend", str(titled), "--like", str(item), "-k", "40"]) == 0
            assert f"\n      goes with {TITLES[item]}\n" in capsys.readouterr().out
            return
    pytest.fail("nothing is recommended for being like an item")
