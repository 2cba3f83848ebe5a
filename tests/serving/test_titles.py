"""Titles of items: read however they are written, and never in the way."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from engine import cli
from engine.chunked.storage import Remote, locate
from engine.ratings.titles import fault_of
from engine.serving.titles import read_titles
from tests.support.ratings import synthetic_ratings, write_ratings
from tests.support.ratings_files import zstd

ITEMS = pl.Series([8, 1, 8, 99])
EXPECTED = ['Caf\u00e9; or, the "end"', "One", 'Caf\u00e9; or, the "end"', None]
QUOTED = '"Caf\u00e9; or, the ""end"""'
WRITTEN: dict[str, bytes] = {
    "movies.csv": f"movieId,title\n1,One\n8,{QUOTED}\n8,Again\n".encode(),
    "other.csv": f"sep=;\r\nISBN;Author;Book-Title\r\n1;x;One\r\n8;y;{QUOTED}\r\n".encode("latin-1"),
    "items.tsv": f"name\tID\nOne\t1\n{QUOTED}\t8\n".encode("utf-16"),
    "items.csv.gz": gzip.compress(f"id,name\n1,One\n 8 ,{QUOTED}\n".encode()),
    "items.csv.zst": zstd(f"id|name\n1|One\n8|{QUOTED}\n".encode()),
    "movies.dat": '1::One::Drama\n8::Caf\u00e9; or, the "end"::Drama\n'.encode("latin-1"),
    "u.item": f"1|One|01-Jan-1995||http://x\n8|{QUOTED}|01-Jan-1995||\n".encode("latin-1"),
    "late.csv": b"id,name\n1,One\n" + b"7,x\n" * 400_000 + f"8,{QUOTED}\n".encode("latin-1"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_titles_are_read_however_they_are_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(WRITTEN[name])
    titles, note = read_titles(locate(tmp_path / name), ITEMS)
    assert (titles.to_list(), note) == (EXPECTED, "")
    texts, _ = read_titles(locate(tmp_path / name), ITEMS.cast(pl.String))
    assert texts.to_list() == EXPECTED


@pytest.mark.parametrize("ids", [[1, 8], ["1", "8"]])
def test_titles_are_read_from_parquet(tmp_path: Path, ids: list[object]) -> None:
    path = tmp_path / "items.parquet"
    pl.DataFrame({"year": [1, 2], "Item-ID": ids, "Title": EXPECTED[1::-1]}).write_parquet(path)
    assert read_titles(locate(path), ITEMS)[0].to_list() == EXPECTED


def test_titles_are_read_from_a_store(bucket: Remote) -> None:
    (bucket / "movies.csv").put(WRITTEN["movies.csv"])
    assert read_titles(bucket / "movies.csv", ITEMS)[0].to_list() == EXPECTED


BAD: dict[str, bytes | None] = {
    "gone": None,
    "empty": b"",
    "no titles": b"a,b\nc,d\n",
    "a folder's": b"PK\x03\x04",
    "cut": gzip.compress(WRITTEN["movies.csv"])[:-9],
    "no Parquet": b"PAR1....",
    "binary": bytes(range(256)),
    "carriage returns": b"id,name\r1,One\r8,Eight\r",
    "carriage returns, and no header": b"1,One\r8,Eight\r",
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_one_line_of_note(tmp_path: Path, case: str) -> None:
    if (content := BAD[case]) is not None:
        (tmp_path / "movies.csv").write_bytes(content)
    titles, note = read_titles(locate(tmp_path / "movies.csv"), ITEMS)
    assert titles.to_list() == [None] * 4
    assert note.startswith(f"{tmp_path}/movies.csv cannot be read as movieId,title,... (")
    assert note.endswith("): ids are shown")
    assert "\n" not in note
    assert fault_of(locate(tmp_path / "movies.csv"), "movieId") == note  # and so before a run


LINES: dict[str, bytes] = {
    "quoted": b'id,name\n1,"One\n8, or"\n7,Seven\n8," Eight\r\n\r\nand\rmore\n"\n',
    "headless": b'1,"One\n8, or"\n7,Seven\n8,"Eight\nand\nmore"\n',
    "UTF-16": 'name\tid\n"One\n8, or"\t1\n"Eight\nand more"\t8\n'.encode("utf-16"),
}


@pytest.mark.parametrize("case", [*LINES, "Parquet"])
def test_a_title_over_several_lines_is_shown_in_one(tmp_path: Path, case: str) -> None:
    path = tmp_path / "movies.csv"
    if case == "Parquet":
        pl.DataFrame({"id": [1, 8], "name": ["One\n8, or", "Eight\nand\r\nmore"]}).write_parquet(path)
    else:
        path.write_bytes(LINES[case])
    titles, note = read_titles(locate(path), ITEMS[:2])
    assert (titles.to_list(), note) == (["Eight and more", "One 8, or"], "")
    assert fault_of(locate(path), "id") == ""


FAULTS: dict[str, tuple[bytes, str]] = {
    "a stray quote": (b'id,name\n7,"Seven\n1,One\n8,Eight\n', "line 2: not a valid record"),
    "a stray quote and a quoted title": (b'id,name\n7,"Seven\n1,"One"\n8,Eight\n', "line 2: not a valid record"),
    "a stray quote in the first of no header": (b'7,"Seven\n1,"One"\n8,Eight\n', "line 1: not a valid record"),
    "text after a quote": (b'id,name\n1,One\n7,"Se"ven\n8,Eight\n', "line 3: not a valid record"),
    "a carriage return": (b"id,name\n1,One\n7,Se\rven\n8,Eight\n", "line 3: not a valid record"),
    "a line without end": (b"id,name\n1,One\n7," + b"x" * 300_000 + b"\n8,Eight\n", "line 3: not a valid record"),
    "a quote far away": (b'id,name\n1,One\n7,"x\n' + b"6,x\n" * 100_000 + b"8,Eight\n", "line 3: not a valid record"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_title_at_fault_is_the_only_one_that_is_missing_and_is_told_with_its_line(tmp_path: Path, case: str) -> None:
    content, told = FAULTS[case]
    (tmp_path / "movies.csv").write_bytes(content)
    titles, note = read_titles(locate(tmp_path / "movies.csv"), pl.Series([1, 7, 8]))
    assert titles.to_list() == ["One", None, "Eight"]
    assert note.startswith(f"{tmp_path}/movies.csv, {told}")
    assert note.endswith(": this title is not shown")
    assert fault_of(locate(tmp_path / "movies.csv"), "movieId") == note  # and so before a run


def test_how_many_titles_are_at_fault_is_told(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_bytes(b'id,name\n1,"One"x\n7,"Se"ven\n8,Eight\n')
    titles, note = read_titles(locate(tmp_path / "movies.csv"), pl.Series([1, 7, 8]))
    assert titles.to_list() == [None, None, "Eight"]
    assert note.startswith(f"{tmp_path}/movies.csv, line 2: ")
    assert note.endswith(": this title is not shown, nor those of 1 more")


def test_a_title_in_parquet_that_is_no_text_is_the_only_one_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "movies.parquet"
    pl.DataFrame({"id": [1, 7, 8], "name": [b"One", b"\xff", b"Eight"]}).write_parquet(path)
    titles, note = read_titles(locate(path), pl.Series([1, 7, 8]))
    assert titles.to_list() == ["One", None, "Eight"]
    assert note == f"{path}, item 7: its title is not UTF-8: this title is not shown"


@pytest.mark.parametrize("name", WRITTEN)
def test_before_a_run_nothing_is_said_of_what_can_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(WRITTEN[name])
    assert fault_of(locate(tmp_path / name), "movieId") == ""


def test_runs_and_plans_say_at_once_that_titles_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratings = write_ratings(tmp_path, synthetic_ratings(30, 20))
    # What this process holds counts, too.
    arguments = [str(ratings), "--workdir", str(tmp_path / "w"), "--memory", "4GiB"]
    for content, n in ((b"a,b\nc,d\n", 1), (b"movieId,title\n1,One\n", 0)):
        (tmp_path / "movies.csv").write_bytes(content)
        for command in ("plan", "run"):
            assert cli.main([command, *arguments]) == 0
            told = capsys.readouterr().err.splitlines()
            assert (
                sum("movies.csv cannot be read as movieId,title,... (its columns are a, b" in line for line in told)
                == n
            )


def test_ids_are_their_text(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("id,name\n01,A\n+1,B\n1.0,C\n\uff11,D\n1,E\n")
    assert read_titles(locate(tmp_path / "movies.csv"), pl.Series([1]))[0].to_list() == ["E"]
    found, _ = read_titles(locate(tmp_path / "movies.csv"), pl.Series(["01", "+1", "\uff11", "2"]))
    assert found.to_list() == ["A", "B", "D", None]


def test_without_a_file_there_is_nothing_to_say() -> None:
    assert read_titles(None, ITEMS)[1] == ""


@pytest.mark.parametrize("write", ["write_csv", "write_parquet"])
def test_items_go_by_what_the_ratings_call_them(tmp_path: Path, write: str) -> None:
    getattr(pl.DataFrame({"record": [8, 1], "name": ["Eight", "One"]}), write)(tmp_path / "movies.csv")
    assert read_titles(locate(tmp_path / "movies.csv"), pl.Series([1, 8]), "Record")[0].to_list() == ["One", "Eight"]
    _, note = read_titles(locate(tmp_path / "movies.csv"), pl.Series([1, 8]))
    assert "its columns are record, name, not an item's id and its title" in note
