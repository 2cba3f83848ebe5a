"""Opening a ratings file: what its head says, and what is refused."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet
import pytest

from engine.chunked.errors import UsageError
from engine.chunked.storage import locate
from engine.ratings.faults import locate_fault
from engine.ratings.opening import open_source
from tests.support.ratings_files import GOOD, HEADER, READ, ROWS, Write, parquet, rows, zstd


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ratings.csv", GOOD),
        ("ratings.dat", ROWS.replace(",", "::")),
        ("ratings.csv", GOOD.replace("userId", '"userId"')),
    ],
)
def test_byte_order_mark_and_crlf_are_noted_and_leave_no_trace(write: Write, name: str, content: str) -> None:
    path = write(b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode() + b"\r\n", name)
    source = open_source(path)
    assert rows(source) == READ
    assert source.first.columns[0] in ("userId", "user")
    assert [note.split(",")[0] for note in source.notes] == [
        "the file has a byte order mark",
        "the file has CR LF line ends",
    ]
    assert locate_fault(source.first) is None


@pytest.mark.parametrize(
    "header",
    [
        "userId,movieId,rating",
        "user,item,rating",
        "USER_ID,Item-Id,Rating",
        "user_id,movie_id,rating",
        "UserID,MovieID,Rating",
    ],
)
def test_usual_column_names(write: Write, header: str) -> None:
    assert rows(open_source(write(f"{header}\n1,2,3.5\n"))) == [(1, 2, 3.5)]


def test_named_columns_in_any_order_among_others(write: Write) -> None:
    path = write('review,stars,who,what,when,who2\n"two\nlines, ""quoted""",4,1,9,77,\n,3,2,9,78,z\n')
    source = open_source(path, ["who", "what", "stars"])
    assert source.first.columns == ("who", "what", "stars", None)
    assert rows(source) == [(1, 9, 4.0), (2, 9, 3.0)]
    assert rows(open_source(path, ["who", "what", "stars", "when"]), timestamp=True)[1] == (2, 9, 3.0, 78)
    assert locate_fault(source.first) is None


def test_unreadable_timestamps_are_ignored_and_noted(write: Write) -> None:
    path = write("userId,movieId,rating,timestamp\n1,2,3.5,yesterday\n1,3,3.5,2015-03-02\n")
    source = open_source(path)
    assert source.first.columns[3] is None
    assert source.notes == ("column timestamp is ignored: its values are no times that are read",)
    assert rows(source) == [(1, 2, 3.5), (1, 3, 3.5)]
    with pytest.raises(UsageError, match="line 2, column timestamp: timestamp is not a whole number; write all so, or"):
        open_source(path, times=True)


@pytest.mark.parametrize("name", ["ratings.csv", "ratings.csv.gz", "ratings.tsv.zst", "ratings.dat", "ratings.parquet"])
def test_folder(tmp_path: Path, write: Write, name: str) -> None:
    text = ROWS.replace(",", "::") if ".dat" in name else GOOD.replace(",", "\t" if ".tsv" in name else ",")
    compress = gzip.compress if name.endswith(".gz") else zstd if name.endswith(".zst") else bytes
    path = write(compress(text.encode()), f"tiny/{name}")
    if name.endswith(".parquet"):
        pl.DataFrame(READ, schema=["userId", "movieId", "rating"], orient="row").write_parquet(path)
    source = open_source(tmp_path / "tiny")
    assert (source.first.path, source.name, source.titles, source.synthetic) == (locate(path), "tiny", None, False)
    assert rows(source) == READ


def test_name_titles_and_synthetic(tmp_path: Path, write: Write) -> None:
    folder = write(GOOD, "some/ratings.csv").parent
    titles = write("movieId,title\n1,Jumanji\n", "some/movies.csv")
    assert open_source(folder).titles == locate(titles)
    assert open_source(folder, name="mine").name == "mine"
    assert open_source(write(GOOD, "some/other.csv.bak")).name == "other"
    write(json.dumps({"name": "twin"}), "some/synthetic.json")
    assert (open_source(folder).name, open_source(folder).synthetic) == ("twin", True)
    write("{", "some/synthetic.json")
    with pytest.raises(UsageError, match=r"synthetic\.json names no data set: generate"):
        open_source(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: it should hold a header and ratings"),
        ("\n\n", "has only blank lines"),
        (HEADER, "has a header and no ratings: give a file that has some"),
        (HEADER + "\n\n", "has a header and no ratings"),
        ("\n" + GOOD, "has no header in line 1, or it goes on in line 2: put all column names into line 1"),
        ('user,item,rating,"two\nlines"\n1,2,3,4\n', "or it goes on in line 2"),
        ("a,b,c\n1,2,3\n", "a, b, c: say which of them to read with --columns user,item,rating[,timestamp]"),
        ("1,31,2.5,1260759144\n", "line 1 holds a rating, not column names: put userId,movieId,rating,... above it"),
        ("user,userId,item,rating\n1,1,2,3\n", "has the columns user, userId, item, rating: say which"),
        ("user,user,item,rating\n1,1,2,3\n", "2 of them called user: rename or remove one of these"),
        ("a;b,c|d,e\n1,2,3\n", "has the columns a;b, c|d, e"),
        ("user item rating\n1 2 3\n", "seems to be separated by blanks: say so with --separator space"),
        ("sep=;\n1;2;3\n", "line 2 holds a rating, not column names"),
        ("sep=;\n", "has only blank lines"),
        ("user,item,rating\n1.5,1,2\n", "line 2, column user: a number with a decimal point is no id: write whole"),
        ("user,item,rating\n1,1,2\n1,1.0,2\n", "line 3, column item: a number with a decimal point is no id"),
        ("user,item,rating\n1,2,good\n", "rating: rating is not a finite number; mend or delete the line: 'good'"),
        ("user,item,rating\n1,2,3\n1,2\n", "line 3, column rating: missing rating; complete or delete the line: '1,2'"),
        (b"user,item,rating\n1,2\x00,3\n", "is not text: give a CSV, TSV or .dat file, or Parquet"),
        ("user,item,rating\n1,2,3\n".encode("utf-16")[:-1], "cannot be decompressed or decoded ('utf-16-le' codec"),
        ("user,item,rating\n1,\u00e9t\u00e9,3\n".encode() + b"1,\xe9,3\n", "not UTF-8 (invalid continuation byte)"),
        (b"PK\x03\x04rest", "is a zip archive: unpack it, then give the ratings file or its folder"),
        (b"\x1f\x8b\x08\x00rest", "cannot be decompressed or decoded"),
        (gzip.compress(GOOD.encode(), mtime=0)[:-12], "cut or damaged"),
        (zstd(GOOD.encode())[:12], "cut or damaged"),
        (b"PAR1 and no more", "cannot be read as Parquet"),
        ('user,item,rating\n1,"2,3\n' + "1,2,3\n" * 40_000, "line 2: not a valid record (field larger than"),
        ("user,item,rating\r1,2,3\r", "line 1: lines that end with a carriage return (CR) alone; end them"),
        ("user,item,rating\n" + "1" * 200_000, "line 2: not a valid record (line of 131072 bytes or more)"),
    ],
)  # fmt: skip
def test_refuses_what_the_head_shows(write: Write, content: str | bytes, message: str) -> None:
    path = write(content)
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        open_source(path)
    assert str(error.value).startswith(str(path))


def test_refuses_paths(tmp_path: Path, write: Write) -> None:
    with pytest.raises(UsageError, match=r"gone\.csv does not exist: give a ratings file, or a folder"):
        open_source(tmp_path / "gone.csv")
    with pytest.raises(UsageError, match=r"holds no ratings\.csv .* only: nothing$"):
        open_source(tmp_path)
    for k in range(9):
        write("", f"{k}.txt")
    with pytest.raises(UsageError, match=r"only: 0\.txt, 1\.txt, .* 7\.txt, \.\.\.;"):
        open_source(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe is no regular file: save the ratings as a file first"):
        open_source(tmp_path / "pipe")


def test_refuses_what_it_may_not_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(GOOD)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UsageError, match=r"ratings\.csv cannot be read \(Permission denied\): check its permissions"):
        open_source(path)


@pytest.mark.parametrize(
    "columns",
    [["userId"], ["userId", "userId", "rating"], ["a", "b", "c", "c"], [*"abcde"], ["", "b", "c"], ["a", "b", "c", ""]],
)
def test_refuses_a_wrong_number_of_columns(write: Write, columns: list[str]) -> None:
    with pytest.raises(
        UsageError, match=r"takes two to four different names, .* without ratings write user,item or user,item,,t"
    ):
        open_source(write(GOOD), columns)


def test_refuses_columns_that_are_not_there(write: Write) -> None:
    with pytest.raises(UsageError, match="has the columns userId, movieId, rating, timestamp, but no stars: say which"):
        open_source(write(GOOD), ["userId", "movieId", "stars"])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("user,item,rating,timestamp", READ),
        ("item,user,rating", [(item, user, rating) for user, item, rating in READ]),
        ("who,what,stars,when", READ),
        ("user,item", [(user, item, 1.0) for user, item, _ in READ]),
        ("user,item,,timestamp", [(user, item, 1.0) for user, item, _ in READ]),
    ],
)
@pytest.mark.parametrize("name", ["r.csv", "r.dat"])
def test_without_a_header_columns_are_named_in_their_order(
    write: Write, columns: str, expected: list[Any], name: str
) -> None:
    path = write(ROWS.replace(",", "::") if name.endswith("dat") else ROWS, name)
    source = open_source(path, columns.split(","))
    assert rows(source) == expected
    assert locate_fault(source.first) is None
    with pytest.raises(UsageError, match="has 2 columns and no header, 3 are named: a,b,c"):
        open_source(write("1,2\n", "two.csv"), ["a", "b", "c"])


def test_columns_of_recbole_are_known(write: Write) -> None:
    path = write("user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t3.5\t8e8\n", "all/ml.inter")
    source = open_source(path.parent, times=True)
    assert (source.notes, rows(source)) == ((), [(1, 2, 3.5)])


CLICKS = "visitorid,item_id,timestamp\n7,50,30\n1,31,10\n7,50,20\n7,31,40\n"
CLICKED = [(7, 50, 1.0), (1, 31, 1.0), (7, 50, 1.0), (7, 31, 1.0)]


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv.zst", "dat", "parquet"])
def test_users_and_items_alone_are_pairs_that_count_one(tmp_path: Path, write: Write, kind: str) -> None:
    text = CLICKS.replace(",", "\t" if "tsv" in kind else ",")
    if kind == "dat":
        text = "".join(line.rpartition("::")[0] + "\n" for line in CLICKS.replace(",", "::").splitlines()[1:])
    compress = gzip.compress if kind.endswith("gz") else zstd if kind.endswith("zst") else bytes
    path = write(compress(text.encode()), f"clicks.{kind}")
    if kind == "parquet":
        pl.read_csv(CLICKS.encode()).write_parquet(path)
    source = open_source(path)
    assert source.values == "pairs"
    assert rows(source) == CLICKED
    assert locate_fault(source.first) is None
    assert "no column of ratings: every row counts 1, and pairs that repeat add up" in source.notes


@pytest.mark.parametrize(
    ("header", "columns", "values"),
    [
        ("user,item,plays", None, "counts"),
        ("userID\tartistID\tweight", None, "counts"),
        ("user,item,rating,count", None, "ratings"),
        ("user,item,plays", ["user", "item", "plays"], "counts"),
        ("user,item,plays", ["user", "item"], "pairs"),
        ("user,item,plays,when", ["user", "item", "", "when"], "pairs"),
        ("user,item,points", ["user", "item", "points"], "ratings"),
        ("user,item,date", None, "pairs"),
    ],
)
def test_counts_and_pairs_are_told_by_names(write: Write, header: str, columns: list[str] | None, values: str) -> None:
    separator = "\t" if "\t" in header else ","
    source = open_source(
        write(f"{header}\n" + separator.join(f"{k}" for k in range(len(header.split(separator))))), columns
    )
    assert source.values == values
    assert rows(source) == [(0, 1, 1.0 if values == "pairs" else 2.0)]


def test_a_column_that_may_be_ratings_is_not_passed_over(write: Write) -> None:
    with pytest.raises(UsageError, match=r"user, item, points, time, none of them known to be ratings; "):
        open_source(write("user,item,points,time\n1,2,3,4\n"))


def test_a_negative_count_is_a_fault(write: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 3, column plays: count is negative; mend or delete the line: '-1'"):
        open_source(write("user,item,plays\n1,2,3\n1,3,-1\n"))
    source = open_source(parquet(tmp_path / "r.parquet", user=[1, 1], item=[2, 3], plays=[3, -1]))
    assert "row 2, column plays: count is negative" in str(locate_fault(source.first))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"user": [1.0], "item": [1], "rating": [1.0]},
            "column user has type Float64 where whole numbers or text are needed",
        ),
        (
            {"user": [1], "item": [1], "rating": ["1"]},
            "column rating has type String where numbers are needed: cast it",
        ),
        ({"u": [1], "item": [1], "rating": [1]}, "has the columns u, item, rating: say which of them to read"),
        ({"user": [], "item": [], "rating": []}, "has columns and no ratings: give a file that has some"),
        ({}, "has no columns: give a file with users, items and ratings"),
    ],
)
def test_refuses_parquet(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        open_source(parquet(tmp_path / "r.parquet", **columns))


def test_parquet_with_names_that_repeat_is_refused_with_what_to_do(tmp_path: Path) -> None:
    names = ["user", "item", "rating", "x", "x"]
    pyarrow.parquet.write_table(pyarrow.table([[1]] * 5, names=names), tmp_path / "r.parquet")
    with pytest.raises(UsageError, match=r"has columns of the same name \(.*'x'.*: rename one"):
        open_source(tmp_path / "r.parquet")


def test_parquet_with_long_ids_below_the_head_is_refused_or_projected(tmp_path: Path) -> None:
    for size, n_long, limit in ((40_000, 300, 0), (3000, 2000, 1000)):
        users = ["u"] * 1000 + [f"{k:04d}" * (size // 4) for k in range(n_long)]
        path = parquet(tmp_path / "r.parquet", user=users, item=[1] * len(users), rating=[3.0] * len(users))
        if limit:
            assert open_source(path).row_bytes > limit
        else:
            with pytest.raises(UsageError, match=r"has ids of \d+ bytes, 4096 are allowed: give shorter ones"):
                open_source(path)


def test_large_row_groups_are_noted(tmp_path: Path) -> None:
    n = 300_000
    frame = pl.DataFrame({"user": [1] * n, "item": [2] * n, "rating": [3, 4] * (n // 2)})
    frame.write_parquet(tmp_path / "r.parquet", row_group_size=n)
    assert open_source(tmp_path / "r.parquet").notes[0].startswith("row groups of 300000 rows take about 9 MiB to read")
    frame.write_parquet(tmp_path / "r.parquet", row_group_size=1000)
    assert open_source(tmp_path / "r.parquet").notes == ()


def test_a_row_group_takes_what_its_pages_hold_of_text(tmp_path: Path) -> None:
    """With a dictionary each id once; without one, or where they are cast to text, those of all rows."""
    n, length = 10_000, 400
    users = pl.Series([f"{k % 100:0{length}d}" for k in range(n)])
    frame = pl.DataFrame({"user": users, "item": [2] * n, "rating": [3, 4] * (n // 2)})
    taken = {}
    for name, table, dictionary in (
        ("dictionary", frame, True),
        ("plain", frame, False),
        ("categorical", frame.with_columns(pl.col("user").cast(pl.Categorical)), True),
    ):
        pyarrow.parquet.write_table(table.to_arrow(), tmp_path / name, use_dictionary=dictionary)
        taken[name] = open_source((tmp_path / name).rename(tmp_path / f"{name}.parquet")).group_bytes
    assert 100 * length < taken["dictionary"] < n * 64
    assert min(taken["plain"], taken["categorical"]) > n * length


def test_opening_text_does_not_load_polars(write: Write) -> None:
    code = "import sys, pathlib; from engine.ratings.opening import open_source; "
    code += f"open_source(pathlib.Path({str(write(GOOD))!r})); "
    subprocess.run([sys.executable, "-c", code + "sys.exit('polars' in sys.modules)"], check=True)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("ratings.2019.csv", "ratings.2019"),
        ("ratings.2020.csv.gz", "ratings.2020"),
        ("u.data", "u"),
        ("mine.TSV", "mine"),
        ("v1.2", "v1.2"),
        ("a.csv.bak", "a"),
        (".csv", "ratings"),
    ],
)
def test_a_file_has_its_name_without_its_kind(file: str, name: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text("userId,movieId,rating\n1,2,3\n")
    assert open_source(tmp_path / file).name == name


def test_long_ids_that_a_dictionary_hides_from_the_footer_are_found(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"

    def write(long: str) -> None:
        users = pl.Series([f"u{k % 9}" for k in range(1000)] + [f"{long}{k % 3}" for k in range(9000)])
        frame = pl.DataFrame({"user": users, "item": [k % 50 for k in range(10_000)], "rating": [3.0, 4.0] * 5000})
        pyarrow.parquet.write_table(frame.to_arrow(), path, row_group_size=5000)

    write("x" * 5000)
    assert pyarrow.parquet.read_metadata(path).row_group(1).column(0).total_uncompressed_size < 5 * 5000
    with pytest.raises(UsageError, match=r"column user, row group 0 has ids of 5001 bytes, 4096 are allowed"):
        open_source(path)
    write("x" * 3000)  # allowed, and counted
    assert open_source(path).row_bytes > 2900
    write("x")
    assert open_source(path).row_bytes < 40


def test_a_file_of_titles_that_is_named_has_to_be_there(write: Write, tmp_path: Path) -> None:
    path = write("user,item,rating\n1,2,3\n")
    with pytest.raises(UsageError, match=r"titles .*/nope.csv: there is no such file"):
        open_source(path, titles=tmp_path / "nope.csv")
    (tmp_path / "names.tsv").write_text("item\ttitle\n2\tTwo\n")
    assert str(open_source(path, titles=tmp_path / "names.tsv").titles) == str(tmp_path / "names.tsv")


def test_decimals_of_more_digits_than_are_read_are_no_damage(tmp_path: Path) -> None:
    path, numbers = tmp_path / "ratings.parquet", pyarrow.array([1.0, 2.0])
    columns = {"user": [1, 2], "item": [1, 2], "rating": [1.0, 2.0], "timestamp": [1, 2], "other": [1, 2]}
    for name in ("rating", "user", "timestamp"):
        pyarrow.parquet.write_table(pyarrow.table(columns | {name: numbers.cast(pyarrow.decimal256(70, 2))}), path)
        with pytest.raises(UsageError, match=f"column {name} has decimals of 70 digits, of which 38 are read: cast it"):
            open_source(locate(path))
    for name, digits in (("rating", 38), ("other", 70)):
        pyarrow.parquet.write_table(pyarrow.table(columns | {name: numbers.cast(pyarrow.decimal256(digits, 2))}), path)
        assert open_source(locate(path)).first.columns == ("user", "item", "rating", "timestamp")
