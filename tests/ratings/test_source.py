"""Reading a ratings file: what it is, its rows, and the line that is wrong."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.chunked.errors import UsageError
from engine.ratings.source import HEAD_ROWS, Source, digest, locate_fault, open_source, read_person, scan

HEADER = "userId,movieId,rating,timestamp\n"
ROWS = "1,31,2.5,1260759144\n1,1029,3.0,1260759179\n7,50,4.0,851868750\n"
GOOD = HEADER + ROWS
READ = [(1, 31, 2.5), (1, 1029, 3.0), (7, 50, 4.0)]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "ratings.csv") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue().to_pybytes())


def rows(source: Source, **options: Any) -> list[tuple[Any, ...]]:
    return scan(source, **options).collect(engine="streaming").rows()


def looks_faulty(source: Source) -> bool:
    """Judge by the fast path alone."""
    try:
        frame = scan(source).collect(engine="streaming")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return True
    return any(frame.null_count().row(0))


def spoilt(path: Path, content: str | bytes) -> Source:
    """Open a good file, then put bad content in its place: as if the fault were far below the head."""
    source = open_source(path)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return source


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ratings.csv", GOOD),
        ("ratings.tsv", GOOD.replace(",", "\t")),
        ("ratings.txt", GOOD),
        ("ratings.unheard-of", GOOD.replace(",", "\t")),
        ("ratings.dat", ROWS.replace(",", "::")),
        ("u.data", ROWS.replace(",", "\t")),
        ("ratings.csv", GOOD.removesuffix("\n")),
        ("ratings.csv", GOOD + "\n\n\n"),
        ("ratings.csv", HEADER + "\n" + ROWS.replace("\n", "\n\n")),
        ("ratings.csv", HEADER + '"1",31,"2.5",1260759144\n"1","1029",3.0,1260759179\n7,50,4.0,"851868750"\n'),
        ("ratings.csv", HEADER.replace("userId", '"userId"') + ROWS),
        ("ratings.csv", "userId, movieId, rating, timestamp\n" + ROWS.replace(",", ", ")),
        ("ratings [1]*.csv", GOOD),
    ],
)
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd])
def test_reads_text(write: Write, name: str, content: str, compress: Callable[[bytes], bytes]) -> None:
    source = open_source(write(compress(content.encode()), name))
    assert rows(source) == READ
    assert rows(source, timestamp=True) == [
        (*row, t) for row, t in zip(READ, (1260759144, 1260759179, 851868750), strict=True)
    ]
    assert scan(source, timestamp=True).collect_schema() == {
        "user": pl.Int64, "item": pl.Int64, "rating": pl.Float64, "timestamp": pl.Int64,
    }  # fmt: skip
    assert locate_fault(source) is None
    assert source.notes == ()


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
    assert source.columns[0] in ("userId", "user")
    assert [note.split(",")[0] for note in source.notes] == [
        "the file has a byte order mark",
        "the file has CR LF line ends",
    ]
    assert locate_fault(source) is None


def test_text_ids_keep_every_character_and_lose_the_carriage_return(write: Write) -> None:
    source = open_source(write('rating,user,item\r\n4,007,"a, ""b"""\r\n3,8, c\r\n2,é,d::e\r\n'))
    assert rows(source) == [("007", 'a, "b"', 4.0), ("8", " c", 3.0), ("é", "d::e", 2.0)]
    assert (source.user_type, source.item_type) == ("string", "string")
    assert "column user is read as text: line 2 has '007'" in source.notes
    assert locate_fault(source) is None


def test_quotes_mean_nothing_in_a_dat_file(write: Write) -> None:
    source = open_source(write('a"b::"c::4::1\nd::e"f::3::2\n', "ratings.dat"))
    assert rows(source) == [('a"b', '"c', 4.0), ("d", 'e"f', 3.0)]
    assert locate_fault(source) is None


def test_ids_of_a_late_line_do_not_change_the_type(write: Write) -> None:
    many = "".join(f"{k},1,3.0,5\n" for k in range(HEAD_ROWS))
    source = open_source(write(HEADER + many + "x,1,3.0,5\n"))
    assert source.user_type == "int64"
    fault = locate_fault(source)
    assert looks_faulty(source)
    assert fault
    assert (fault.line, fault.column, fault.text) == (HEAD_ROWS + 2, "userId", "x")
    assert "move the line to the top of the data to have ids read as text" in str(fault)
    moved = open_source(write(HEADER + "x,1,3.0,5\n" + many))
    assert not looks_faulty(moved)
    assert moved.user_type == "string"


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
    assert source.columns == ("who", "what", "stars", None)
    assert rows(source) == [(1, 9, 4.0), (2, 9, 3.0)]
    assert rows(open_source(path, ["who", "what", "stars", "when"]), timestamp=True)[1] == (2, 9, 3.0, 78)
    assert locate_fault(source) is None


def test_unreadable_timestamps_are_ignored_and_noted(write: Write) -> None:
    source = open_source(write("userId,movieId,rating,timestamp\n1,2,3.5,2015-03-01\n1,3,3.5,2015-03-02\n"))
    assert source.columns[3] is None
    assert source.notes == ("column timestamp is ignored: its values are no whole seconds",)
    assert rows(source) == [(1, 2, 3.5), (1, 3, 3.5)]


@pytest.mark.parametrize("name", ["ratings.csv", "ratings.csv.gz", "ratings.tsv.zst", "ratings.dat", "ratings.parquet"])
def test_folder(tmp_path: Path, write: Write, name: str) -> None:
    text = ROWS.replace(",", "::") if ".dat" in name else GOOD.replace(",", "\t" if ".tsv" in name else ",")
    compress = gzip.compress if name.endswith(".gz") else zstd if name.endswith(".zst") else bytes
    path = write(compress(text.encode()), f"tiny/{name}")
    if name.endswith(".parquet"):
        pl.DataFrame(READ, schema=["userId", "movieId", "rating"], orient="row").write_parquet(path)
    source = open_source(tmp_path / "tiny")
    assert (source.path, source.name, source.titles, source.synthetic) == (path, "tiny", None, False)
    assert rows(source) == READ


def test_name_titles_and_synthetic(tmp_path: Path, write: Write) -> None:
    folder = write(GOOD, "some/ratings.csv").parent
    titles = write("movieId,title\n1,Jumanji\n", "some/movies.csv")
    assert open_source(folder).titles == titles
    assert open_source(folder, name="mine").name == "mine"
    assert open_source(write(GOOD, "some/other.csv.bak")).name == "other"
    write(json.dumps({"name": "twin"}), "some/synthetic.json")
    assert (open_source(folder).name, open_source(folder).synthetic) == ("twin", True)
    write("{", "some/synthetic.json")
    with pytest.raises(UsageError, match=r"synthetic\.json names no data set: generate"):
        open_source(folder)


def test_source_travels(write: Write) -> None:
    source = open_source(write(b"\xef\xbb\xbf" + GOOD.encode()))
    assert pickle.loads(pickle.dumps(source)) == source
    assert Source.from_json(json.loads(json.dumps(source.to_json()))) == source


def test_digest(write: Write) -> None:
    path = write(GOOD)
    assert digest(open_source(path)) == (len(GOOD), hashlib.sha256(GOOD.encode()).hexdigest())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: it should hold a header and ratings"),
        ("\n\n", "has only blank lines"),
        (HEADER, "has a header and no ratings"),
        (HEADER + "\n\n", "has a header and no ratings"),
        ("\n" + GOOD, "has no header in line 1, or it goes on in line 2: put all column names into line 1"),
        ('user,item,rating,"two\nlines"\n1,2,3,4\n', "or it goes on in line 2"),
        ("a,b,c\n1,2,3\n", "a, b, c: say which of them to read with --columns user,item,rating[,timestamp]"),
        ("1,31,2.5,1260759144\n", "line 1 holds a rating, not column names: put userId,movieId,rating,... above it"),
        ("user,userId,item,rating\n1,1,2,3\n", "has the columns user, userId, item, rating: say which"),
        ("user,user,item,rating\n1,1,2,3\n", "has the columns user, user, item, rating: say which"),
        ("user,item,rating\n1.5,1,2\n", "line 2, column user: a number with a decimal point is no id: write whole"),
        ("user,item,rating\n1,1,2\n1,1.0,2\n", "line 3, column item: a number with a decimal point is no id"),
        ("user,item,rating\n1,2,good\n", "line 2, column rating: rating is not a finite number: 'good'"),
        ("user,item,rating\n1,2,3\n1,2\n", "line 3, column rating: missing rating; complete or delete the line: '1,2'"),
        (b"user,item,rating\n1,2\x00,3\n", "is not text: give a CSV, TSV or .dat file in UTF-8, or Parquet"),
        ("user,item,rating\n1,2,3\n".encode("utf-16"), "is not text"),
        ("user,item,rating\n1,\u00e9t\u00e9,3\n".encode("latin1"), "line 2: not UTF-8 (invalid continuation byte)"),
        (b"PK\x03\x04rest", "is a zip archive: unpack it, then give the ratings file or its folder"),
        (b"\x1f\x8b\x08\x00rest", "cannot be decompressed"),
        (gzip.compress(GOOD.encode(), mtime=0)[:-12], "cut or damaged"),
        (zstd(GOOD.encode())[:12], "cut or damaged"),
        (b"PAR1 and no more", "cannot be read as Parquet"),
        ('user,item,rating\n1,"2,3\n' + "1,2,3\n" * 40_000, "line 2: not a valid record (field larger than"),
        ("user,item,rating\r1,2,3\r", "line 1: not a valid record (new-line character seen in unquoted field"),
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
    with pytest.raises(UsageError, match=r"only: 0\.txt, 1\.txt, .* 7\.txt, \.\.\.$"):
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


@pytest.mark.parametrize("columns", [["userId", "movieId"], ["userId", "userId", "rating"], [*"abcde"]])
def test_refuses_a_wrong_number_of_columns(write: Write, columns: list[str]) -> None:
    with pytest.raises(UsageError, match="takes three or four different names"):
        open_source(write(GOOD), columns)


def test_refuses_columns_that_are_not_there(write: Write) -> None:
    with pytest.raises(UsageError, match="has the columns userId, movieId, rating, timestamp, but no stars: say which"):
        open_source(write(GOOD), ["userId", "movieId", "stars"])
    with pytest.raises(UsageError, match="has no header: its columns are user, item, rating, timestamp by their place"):
        open_source(write(ROWS.replace(",", "::"), "r.dat"), ["userId", "movieId", "rating"])


FAULTS = {
    "12,34": ("rating", "missing rating"),
    "12,34,": ("rating", "missing rating"),
    "12": ("movieId", "missing item id"),
    "12,34,3.5": ("timestamp", "missing timestamp"),
    ",34,3.5,7": ("userId", "missing user id"),
    "12,,3.5,7": ("movieId", "missing item id"),
    "12,34,,7": ("rating", "missing rating"),
    "12,34,good,7": ("rating", "rating is not a finite number"),
    "12,34,NaN,7": ("rating", "rating is not a finite number"),
    "12,34,-inf,7": ("rating", "rating is not a finite number"),
    "12,34,1e999,7": ("rating", "rating is not a finite number"),
    '12,34,"3,5",7': ("rating", "rating is not a finite number"),
    "12,34,3,5,7": (None, "5 fields where the file has 4"),
    "12,34,3.5,7,": (None, "5 fields where the file has 4"),
    "12,34,3.5,712,34,3.5,7": (None, "7 fields where the file has 4"),
    "u12,34,3.5,7": ("userId", "user id is not a whole number"),
    "1.0,34,3.5,7": ("userId", "user id is not a whole number"),
    "12,9223372036854775808,3.5,7": ("movieId", "item id does not fit 64 bits"),
    "12,34,3.5,noon": ("timestamp", "timestamp is not a whole number"),
    '12,"34,3.5,7': (None, "not a valid record"),
    '12,34",3.5,7': (None, "a stray quote"),
    '12,"34"x,3.5,7': (None, "not a valid record"),
    "12,34,3.5,\u00e9": ("timestamp", "timestamp is not a whole number"),
    "12,34,3.5,\udce9": (None, "not UTF-8"),
}


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(("bad", "expected"), FAULTS.items(), ids=[ascii(bad) for bad in FAULTS])
def test_finds_the_line(write: Write, bad: str, expected: tuple[str, str], compress: Callable[[bytes], bytes]) -> None:
    text = GOOD + bad + "\n" + ROWS * 3
    source = spoilt(write(compress(GOOD.encode())), compress(text.encode(errors="surrogateescape")))
    fault = locate_fault(source)
    assert looks_faulty(source)
    assert fault
    assert (fault.line, fault.column) == (5, expected[0])
    assert fault.problem.startswith(expected[1])
    assert str(fault).startswith(f"{source.path}, line 5" + (f", column {expected[0]}: " if expected[0] else ": "))


DAT_FAULTS = (
    "1::2::3.5",
    "1::2::3.5::7::8",
    "1::2:3.5::7",
    "1:9:2::3.5::7",
    "1::2::3:5::7",
    "1,2,3.5,7",
    "1::2",
    "::2::3.5::7",
)


@pytest.mark.parametrize("bad", DAT_FAULTS)
def test_finds_the_line_of_a_dat_file(write: Write, bad: str) -> None:
    good = ROWS.replace(",", "::")
    source = spoilt(write(good, "ratings.dat"), good * 2 + bad + "\n" + good)
    fault = locate_fault(source)
    assert looks_faulty(source)
    assert fault
    assert (fault.line, fault.text) == (7, bad)


def test_a_cut_last_line_is_found(write: Write) -> None:
    for end in ("12,3", "12,34,", "12,34,3.", '12,34,3.5,"'):
        source = spoilt(write(GOOD), GOOD + end)
        fault = locate_fault(source)
        assert looks_faulty(source), end
        assert fault
        assert (fault.line, fault.text) == (5, end)


def test_quotes_that_swallow_lines_are_found(write: Write) -> None:
    good = "user,item,rating\na,b,3\n"
    source = spoilt(write(good), good + 'c,"d,4\ne,f"x,5\n' + "g,h,3\n" * 3)
    assert looks_faulty(source)
    assert "line 3: not a valid record" in str(locate_fault(source))
    source = spoilt(write(good), good + 'c,"d\ne,f",5\n')
    assert looks_faulty(source)
    assert "line 3, column item: item id over several lines: a quote is missing" in str(locate_fault(source))


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_a_cut_archive_is_found(write: Write, compress: Callable[[bytes], bytes]) -> None:
    text = HEADER + "".join(f"{k},{k * 7919 % 9973},3.5,{k * 104729 % 10**9}\n" for k in range(20_000))
    whole = compress(text.encode())
    source = open_source(write(whole))
    for cut in (len(whole) - 3, len(whole) * 2 // 3):
        source.path.write_bytes(whole[:cut])
        fault = locate_fault(source)
        assert looks_faulty(source)
        assert fault
        assert "cut or damaged here" in str(fault)
        assert 10_000 < fault.line <= 20_002


def test_long_text_is_shortened(write: Write) -> None:
    fault = locate_fault(spoilt(write(GOOD), GOOD + "1,2," + "x" * 1000 + ",4\n"))
    assert str(fault).endswith("'" + "x" * 57 + "...'")


def test_text_beside_the_columns_does_not_matter(write: Write) -> None:
    good = "userId,movieId,rating,note\n" + 'a,1,2.5,\nb,2,3,"x, y"\nc,3,4\n' + 'd,4,5,"two\nlines"\n'
    source = open_source(write(good))
    assert len(rows(source)) == 4
    assert locate_fault(source) is None
    source = spoilt(source.local, good + "e,5,bad,z\n")
    assert "line 7, column rating" in str(locate_fault(source))


quiet = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ratings = st.lists(
    st.tuples(st.integers(-5, 10**12), st.integers(0, 99), st.sampled_from(["0.5", "3", "5.0", ".5", "1e1"])),
    min_size=1,
    max_size=30,
)


@quiet
@given(ratings=ratings, at=st.integers(0, 30), bad=st.sampled_from(sorted(FAULTS)), eol=st.sampled_from(["\n", "\r\n"]))
def test_a_fault_anywhere_is_found_there(write: Write, ratings: list[Any], at: int, bad: str, eol: str) -> None:
    lines = [f"{user},{item},{rating},7" for user, item, rating in ratings]
    source = open_source(write(HEADER + eol.join(lines) + eol))
    assert rows(source) == [(user, item, float(rating)) for user, item, rating in ratings]
    assert locate_fault(source) is None
    at = min(at, len(lines))
    text = HEADER + eol.join([*lines[:at], bad, *lines[at:]]) + eol
    source.path.write_bytes(text.encode(errors="surrogateescape"))
    fault = locate_fault(source)
    assert looks_faulty(source)
    assert fault
    assert fault.line == at + 2


edits = st.sampled_from([b"", *(bytes([byte]) for byte in b'07.,:"\n-ex \xc3\x00')])


@quiet
@given(data=st.data(), kind=st.sampled_from(["numbers", "text", "dat"]))
def test_whatever_the_fast_path_sees_is_located(write: Write, data: st.DataObject, kind: str) -> None:
    body = ROWS.replace("31", 'x"y"' if kind == "text" else "31").replace(",", "::" if kind == "dat" else ",")
    source = open_source(write(body if kind == "dat" else HEADER + body, "r.dat" if kind == "dat" else "r.csv"))
    content = bytearray(body.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(edits)
    source.path.write_bytes((b"" if kind == "dat" else HEADER.encode()) + content)
    if looks_faulty(source):
        assert locate_fault(source) is not None


def parquet(path: Path, **columns: Any) -> Path:
    pl.DataFrame(columns).write_parquet(path)
    return path


def test_reads_parquet(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "r.parquet",
        user_id=pl.Series([3, 1], dtype=pl.UInt16),
        extra=["x", None],
        item_id=pl.Series(["a", "b"], dtype=pl.Categorical),
        rating=pl.Series([4, 5], dtype=pl.Int8),
        timestamp=pl.Series([1_000_000, 2_500_000]).cast(pl.Datetime("us")),
    )
    source = open_source(path)
    assert rows(source, timestamp=True) == [(3, "a", 4.0, 1), (1, "b", 5.0, 2)]
    assert (source.name, source.user_type, source.item_type, source.format) == ("r", "int64", "string", "parquet")
    assert Source.from_json(json.loads(json.dumps(source.to_json()))) == source
    assert locate_fault(source) is None


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
        ({"user": [], "item": [], "rating": []}, "has columns and no ratings"),
    ],
)
def test_refuses_parquet(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        open_source(parquet(tmp_path / "r.parquet", **columns))


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("user", None, "row 3, column user: missing user id"),
        ("user", 2**63, "row 3, column user: user id does not fit 64 bits"),
        ("item", "", "row 3, column item: missing item id"),
        ("rating", None, "row 3, column rating: missing rating"),
        ("rating", float("nan"), "row 3, column rating: rating is not a finite number"),
        ("timestamp", None, "row 3, column timestamp: missing timestamp"),
    ],
)
def test_finds_the_row_of_parquet(tmp_path: Path, column: str, value: Any, expected: str) -> None:
    columns = {"user": [1, 2, 3, 4], "item": [*"abcd"], "rating": [1.0, 2, 3, 4], "timestamp": [1, 2, 3, 4]}
    columns[column][2] = value
    users = pl.Series(columns.pop("user"), dtype=pl.UInt64)
    source = open_source(parquet(tmp_path / "r.parquet", user=users, **columns))
    assert looks_faulty(source)
    assert expected in str(locate_fault(source))


def test_damaged_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path / "r.parquet", user=list(range(9000)), item=list(range(9000)), rating=[1.0] * 9000)
    source = open_source(path)
    content = bytearray(path.read_bytes())
    content[20:2000] = bytes(1980)
    path.write_bytes(content)
    assert looks_faulty(source)
    assert "r.parquet: cannot be read, it is cut or damaged: write it again" in str(locate_fault(source))


def test_large_row_groups_are_noted(tmp_path: Path) -> None:
    n = 300_000
    frame = pl.DataFrame({"user": [1] * n, "item": [2] * n, "rating": [3] * n})
    frame.write_parquet(tmp_path / "r.parquet", row_group_size=n)
    assert open_source(tmp_path / "r.parquet").notes[0].startswith("row groups of 300000 rows take about 9 MiB to read")
    frame.write_parquet(tmp_path / "r.parquet", row_group_size=1000)
    assert open_source(tmp_path / "r.parquet").notes == ()


def test_opening_text_does_not_load_polars(write: Write) -> None:
    code = "import sys, pathlib; from engine.ratings.source import open_source; "
    code += f"open_source(pathlib.Path({str(write(GOOD))!r})); "
    subprocess.run([sys.executable, "-c", code + "sys.exit('polars' in sys.modules)"], check=True)


PEAK = """
import pathlib, sys
from engine.ratings.source import open_source, scan
path = pathlib.Path(sys.argv[1])
scan(open_source(path)).sink_parquet(path.with_suffix(".parquet"), row_group_size=2**17)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize("compress", [bytes, partial(gzip.compress, compresslevel=1), zstd])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    chunks = {"POLARS_CSV_CHUNK_SIZE": "1000000", "POLARS_CSV_CHUNK_PREFETCH_LIMIT": "1", "POLARS_MAX_THREADS": "2"}
    peaks = []
    for millions in (1, 5):
        path = tmp_path / f"{millions}.csv"
        path.write_bytes(compress((HEADER + ROWS * (millions * 333_333)).encode()))
        run = [sys.executable, "-c", PEAK, str(path)]
        peaks.append(int(subprocess.run(run, env=os.environ | chunks, check=True, capture_output=True).stdout) >> 10)
        assert pl.scan_parquet(path.with_suffix(".parquet")).select(pl.len()).collect().item() == millions * 999_999
    # Read at once, four million more rows would take 85 MB of text and 96 MB of numbers.
    assert peaks[1] - peaks[0] < 60, peaks


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("movieId,rating\n31,2.5\n\n7,4\n", "mine.csv"),
        ("rating\ttimestamp\titem_id\n2.5\t1\t31\n4\t2\t7\n", "mine.tsv"),
        ('title,Movie ID,rating\r\n"Heat, the",31,2.5\r\nX,7,4\r\n', "mine.csv"),
        (gzip.compress(b"\xef\xbb\xbfmovieId,rating\n31,2.5\n7,4\n", mtime=0), "mine.csv.gz"),
        ("userId,movieId,rating,timestamp\n1,31,2.5,3\n1,7,4,3\n", "mine.csv"),
    ],
)
def test_one_persons_ratings_are_read_by_the_usual_names(write: Write, content: str | bytes, name: str) -> None:
    usual = open_source(write(GOOD))
    assert read_person(write(content, name), usual) == ([31, 7], [2.5, 4.0])


def test_one_persons_ratings_are_read_by_the_names_of_the_runs_own_file(write: Write) -> None:
    usual = open_source(write("who,film,stars\n1,a,3\n"), ["who", "film", "stars"])
    assert read_person(write("rating,item,stars,film\n1,2,3,b\n", "mine.csv"), usual) == (["b"], [3.0])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "is empty"),
        ("movieId,rating\n", "has a header and no ratings"),
        ("\n\n", "only blank lines"),
        ("31,2.5\n7,4\n", "line 1 holds a rating, not column names: put movieId,rating above it"),
        ("film,stars\n31,2.5\n", "has the columns film, stars: call them movieId,rating"),
        (
            "movieId,rating\n31,2.5\nseven,4\n",
            "line 3, column movieId: item id is not a whole number, as those of the run are; correct it: 'seven'",
        ),
        ("movieId,rating\n31,2.5\n7\n", "line 3, column rating: missing rating"),
        ("movieId,rating\n31,inf\n", "line 2, column rating: rating is not a finite number: 'inf'"),
        ("movieId,rating\n31,2.5,9\n", "line 2: 3 fields where the file has 2"),
        ('movieId,rating\n31,"2.5\n7,4\n', "line 2"),
        (b"\x00\x01\x02\x03", "is not text"),
        (b"PAR1....", "is Parquet: give a person's ratings as text"),
        (b"PK\x03\x04", "is a zip archive"),
    ],
)
def test_what_is_wrong_with_one_persons_ratings_is_named(write: Write, content: str | bytes, what: str) -> None:
    usual = open_source(write(GOOD))
    with pytest.raises(UsageError, match=re.escape(what)):
        read_person(write(content, "mine.csv"), usual)
    with pytest.raises(UsageError, match=r"does not exist or is no file: give a file with the columns movieId,rating"):
        read_person(Path("nowhere"), usual)
