"""Ratings in many files: which they are, and that they are read as one."""

from __future__ import annotations

import gzip
import os
import re
import socket
from pathlib import Path

import polars as pl
import pytest

from engine.chunked.errors import UsageError
from engine.chunked.storage import Remote
from engine.ratings.opening import open_source
from engine.ratings.places import find
from tests.support.ratings_files import Write, rows, zstd

HEADER = "user,item,rating,timestamp\n"
PARTS = [[(1, 31, 2.5), (7, 50, 4.0)], [(2, 31, 3.0)], [(1, 31, 1.5), (9, 9, 0.5)]]


def csv(part: list[tuple[int, int, float]]) -> bytes:
    return (HEADER + "".join(f"{user},{item},{rating},5\n" for user, item, rating in part)).encode()


def put_parts(folder: Path) -> Path:
    """Three files in partitions, each of another kind, and what is none of them."""
    for month in ("2024-01", "2024-02", "2024-03"):
        (folder / f"month={month}").mkdir(parents=True)
    (folder / "month=2024-01/part.csv.gz").write_bytes(gzip.compress(csv(PARTS[0])))
    frame = pl.DataFrame(PARTS[1], schema=["user", "item", "rating"], orient="row").with_columns(timestamp=5)
    frame.write_parquet(folder / "month=2024-02/0.parquet")
    (folder / "month=2024-03/zzz.tsv.zst").write_bytes(zstd(csv(PARTS[2]).replace(b",", b"\t")))
    for other in ("_SUCCESS", ".hidden.csv", "movies.csv", "README.txt", "month=2024-03/_tmp.csv"):
        (folder / other).write_text("nothing of this")
    return folder


def test_a_folder_is_read_as_one_in_the_order_of_names(tmp_path: Path) -> None:
    source = open_source(put_parts(tmp_path / "clicks"))
    assert rows(source) == [row for part in PARTS for row in part]
    assert (source.name, source.origin) == ("clicks", str(tmp_path / "clicks"))
    assert source.notes[0] == "3 files are read as one: month=2024-01/part.csv.gz to month=2024-03/zzz.tsv.zst"


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("*", [0, 1, 2]),
        ("*/*", [0, 1, 2]),
        ("**/*.gz", [0]),
        ("**/[0p]*", [0, 1]),
        ("month=2024-0[23]", [1, 2]),
        ("month=2024-0?/*.parquet", [1]),
        ("month=2024-01/part*", [0]),
    ],
)
def test_a_pattern_is_read_as_one(tmp_path: Path, pattern: str, parts: list[int]) -> None:
    folder = put_parts(tmp_path / "clicks")
    for name in ("movies.csv", "README.txt"):
        (folder / name).unlink()
    (folder / "month=2024-03/_tmp.csv").unlink()
    (folder / "_SUCCESS").unlink()
    assert rows(open_source(str(folder / pattern))) == [row for part in parts for row in PARTS[part]]


def test_a_pattern_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\*\.csv matches no file"):
        open_source(str(tmp_path / "none*.csv"))


def test_a_pattern_is_taken_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_parts(tmp_path / "clicks")
    monkeypatch.chdir(tmp_path)
    assert len(find("clicks/*/*.gz").files) == 1
    assert find("clicks/month=2024-0*").origin == f"{tmp_path}/clicks/month=2024-0*"


def test_a_folder_in_a_store_is_read_as_one(bucket: Remote, tmp_path: Path) -> None:
    folder = put_parts(tmp_path / "clicks")
    for path in (path for path in folder.rglob("*") if path.is_file()):
        (bucket / "clicks" / path.relative_to(folder).as_posix()).put(path.read_bytes())
    assert rows(open_source(bucket / "clicks")) == [row for part in PARTS for row in part]
    assert rows(open_source(f"{bucket}/clicks/month=*[12]")) == [row for part in PARTS[:2] for row in part]


def test_files_without_ratings_are_passed_over(write: Write, tmp_path: Path) -> None:
    write(HEADER + "1,7,3,5\n", "all/b.csv")
    write(HEADER, "all/a.csv")
    write("", "all/c.csv")
    write("\n\n", "all/d.csv.gz")
    pl.DataFrame(schema={"user": pl.Int64, "item": pl.Int64, "rating": pl.Float64}).write_parquet(
        tmp_path / "all/e.parquet"
    )
    source = open_source(tmp_path / "all")
    assert rows(source) == [(1, 7, 3.0)]
    passed = [note.partition("/all/")[2].split()[0] for note in source.notes if note.startswith("passed over: ")]
    assert passed == ["a.csv", "c.csv", "d.csv.gz", "e.parquet"]
    (tmp_path / "all/b.csv").unlink()
    with pytest.raises(UsageError, match=r"a\.csv has a header and no ratings: give a file that has some$"):
        open_source(tmp_path / "all")


def test_files_of_any_name_are_read_by_a_pattern(write: Write, tmp_path: Path) -> None:
    for name in ("part-00000", "part-00001"):
        write(HEADER + "1,7,3,5\n", f"all/{name}")
    with pytest.raises(UsageError, match=r"to read files of any name, give a pattern such as '.*/all/\*'"):
        open_source(tmp_path / "all")
    assert rows(open_source(str(tmp_path / "all/*"))) == [(1, 7, 3.0)] * 2


def test_what_only_a_folders_name_says_is_named(write: Write, tmp_path: Path) -> None:
    for user in (7, 8):
        write("item,rating\n1,3\n", f"a/user={user}/x.csv")
        write("user,item\n1,7\n", f"b/rating={user}/x.csv")
        write("user,item,rating\n1,7,2\n", f"c/country={user}/date=2024-01-0{user}/x.csv")
        write(HEADER + "1,7,2,5\n", f"d/date=2024-01-0{user}/x.csv")
    unread = "the names of folders, such as {}, are not read: put {} into the files as a column"
    with pytest.raises(UsageError, match=re.escape(unread.format("user=7", "user"))):
        open_source(tmp_path / "a")
    assert unread.format("rating=7", "rating") in "".join(open_source(tmp_path / "b").notes)
    assert unread.format("date=2024-01-07", "date") in "".join(open_source(tmp_path / "c").notes)
    assert rows(open_source(tmp_path / "c")) == [(1, 7, 2.0)] * 2
    assert len(open_source(tmp_path / "d").notes) == 1


def test_a_column_of_parquet_is_that_of_the_file_whatever_the_folders_are_called(tmp_path: Path) -> None:
    (tmp_path / "rating=9").mkdir()
    pl.DataFrame({"user": [1], "item": [7], "rating": [3.0]}).write_parquet(tmp_path / "rating=9/a.parquet")
    assert rows(open_source(tmp_path)) == [(1, 7, 3.0)]


def test_ids_are_text_in_all_files_if_they_are_in_one(write: Write, tmp_path: Path) -> None:
    write(HEADER + "1,7,3,5\n", "all/a.csv")
    write(HEADER + "1,x7,3,5\n", "all/b.csv")
    pl.DataFrame({"user": [1], "item": [7], "rating": [3.0], "timestamp": [5]}).write_parquet(
        tmp_path / "all/c.parquet"
    )
    source = open_source(tmp_path / "all")
    assert rows(source) == [(1, "7", 3.0), (1, "x7", 3.0), (1, "7", 3.0)]
    assert "b.csv: column item is read as text: line 2 has 'x7'" in source.notes


def test_times_are_of_one_unit_in_all_files(write: Write, tmp_path: Path) -> None:
    write(HEADER + "1,7,3,1260759144\n", "all/a.csv")
    write(HEADER + "1,7,3,1260759144001\n", "all/b.csv")
    source = open_source(tmp_path / "all", times=True)
    assert [row[3] for row in rows(source, timestamp=True)] == [1_260_759_144_000, 1_260_759_144_001]


def test_files_of_different_kinds_are_refused(write: Write, tmp_path: Path) -> None:
    write(HEADER + "1,7,3,5\n", "all/a.csv")
    other = write("user,item\n1,7\n", "all/b.csv")
    with pytest.raises(UsageError, match=r"a\.csv has ratings, .*b\.csv has pairs: give files of one kind"):
        open_source(tmp_path / "all")
    other.write_text("user,item,rating\n1,7,3\n")
    assert rows(open_source(tmp_path / "all")) == [(1, 7, 3.0)] * 2
    with pytest.raises(UsageError, match=r"b\.csv has the columns user, item, rating, none of them with timestamps"):
        open_source(tmp_path / "all", times=True)
    other.write_text("name,age\nann,7\n")
    with pytest.raises(UsageError, match=r"b\.csv has the columns name, age: .* \(one of 2 files: leave it out"):
        open_source(tmp_path / "all")


@pytest.mark.parametrize("named", ["", "/*.csv", "/p.csv", "/link.csv"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_refused_by_its_name_and_not_waited_for(tmp_path: Path, kind: str, named: str) -> None:
    folder = tmp_path / "clicks"
    folder.mkdir()
    (folder / "a.csv").write_bytes(csv(PARTS[0]))
    place, bound = folder / ("p.csv" if named != "/link.csv" else "pipe"), socket.socket(socket.AF_UNIX)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        bound.bind(str(place))
    else:
        place.symlink_to("/dev/zero")
    if named == "/link.csv":
        (folder / "link.csv").symlink_to("pipe")
    with pytest.raises(UsageError, match=r"(p|link)\.csv is no regular file.*: (save|leave)"):
        open_source(f"{folder}{named}")
    bound.close()


@pytest.mark.parametrize(
    "content", [b"BZh91AY&SY", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"PK\x03\x04.."]
)
def test_archives_have_to_be_unpacked(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ratings.csv").write_bytes(content)
    with pytest.raises(UsageError, match="archive: unpack it, then give the ratings file"):
        open_source(tmp_path)
