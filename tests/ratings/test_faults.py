"""The line that is wrong: whatever reading sees is found, and named."""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.chunked.errors import UsageError
from engine.chunked.storage import locate
from engine.ratings import lengths
from engine.ratings.faults import Measured, locate_fault, measured_digest
from engine.ratings.opening import open_source
from engine.ratings.scan import scan
from engine.ratings.source import RatingsFile, digest
from engine.ratings.text_head import HEAD_ROWS
from tests.support.ratings_files import GOOD, HEADER, ROWS, Write, looks_faulty, open_file, parquet, rows, zstd


def spoilt(path: Path, content: str | bytes) -> RatingsFile:
    """Open a good file, then put bad content in its place: as if the fault were far below the head."""
    source = open_file(path)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return source


def test_ids_of_a_late_line_do_not_change_the_type(write: Write) -> None:
    many = "".join(f"{k},1,3.0,5\n" for k in range(HEAD_ROWS))
    source = open_file(write(HEADER + many + "x,1,3.0,5\n"))
    assert source.user_type == "int64"
    fault = locate_fault(source)
    assert looks_faulty(source)
    assert fault
    assert (fault.line, fault.column, fault.text) == (HEAD_ROWS + 2, "userId", "x")
    assert "move the line to the top of the data to have ids read as text" in str(fault)
    moved = open_file(write(HEADER + "x,1,3.0,5\n" + many))
    assert not looks_faulty(moved)
    assert moved.user_type == "string"


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
    "12,9223372036854775808,3.5,7": ("movieId", "item id does not fit 64 bits; correct it, or move the line to the"),
    "007,34,3.5,7": ("userId", "user id is not written as those at the top of the file are, but may mean 7"),
    "+7,34,3.5,7": ("userId", "user id is not written as"),
    " 7,34,3.5,7": ("userId", "user id is not written as"),
    "\t7,34,3.5,7": ("userId", "user id is not written as"),
    "-0,34,3.5,7": ("userId", "user id is not written as"),
    "12,-034,3.5,7": ("movieId", "item id is not written as"),
    '12,"00",3.5,7': ("movieId", "item id is not written as"),
    "7 ,34,3.5,7": ("userId", "user id is not written as those at the top of the file are, but may mean 7"),
    "12,34,3.5 ,7": ("rating", "rating has a blank after it; delete it"),
    "12,34,3.5,7\t": ("timestamp", "timestamp has a blank after it; delete it"),
    "\uff17,34,3.5,7": ("userId", "user id is not a whole number"),
    "12," + "9" * 5000 + ",3.5,7": ("movieId", "item id does not fit 64 bits"),
    "12," + "0" * 5000 + ",3.5,7": ("movieId", "item id is not written as"),
    "12,34,1.7976931348623157e308,7": ("rating", "rating is too large to compute with; give ratings from -1,000,"),
    "12,34,-1.01e12,7": ("rating", "rating is too large to compute with"),
    "12,34,3.5,noon": ("timestamp", "timestamp is not a whole number"),
    '12,"34,3.5,7': (None, "not a valid record"),
    '12,34",3.5,7': (None, "a stray quote"),
    '12,"34"x,3.5,7': (None, "not a valid record"),
    "12,34,3.5,\u00e9": ("timestamp", "timestamp is not a whole number"),
    "12,34,3.5,\udce9": (None, "not UTF-8"),
}


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(("bad", "expected"), FAULTS.items(), ids=[ascii(bad)[:40] for bad in FAULTS])
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
    source = open_file(write(whole))
    for cut in (len(whole) - 3, len(whole) * 2 // 3):
        source.path.put(whole[:cut])
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
    source = open_file(write(good))
    assert len(rows(source)) == 4
    assert locate_fault(source) is None
    source = spoilt(source.local, good + "e,5,bad,z\n")
    assert "line 7, column rating" in str(locate_fault(source))


@pytest.mark.parametrize("column", [0, 1])
def test_an_id_far_down_is_a_fault_unless_it_is_the_text_of_its_number(write: Write, column: int) -> None:
    many = "".join(f"{k},1,3.0,5\n" for k in range(HEAD_ROWS + 250))
    for parts in itertools.product(["", *"-+ \t0"], ["", *"-+ 0"], ["", *"07x._"]):
        cells = ["12", "34", "3.5", "7"]
        cells[column] = odd = "".join(parts)
        source = spoilt(write(HEADER + many), HEADER + many + ",".join(cells) + "\n")
        sound = bool(re.fullmatch("0|-?[1-9][0-9]*", odd))
        assert looks_faulty(source) is not sound, repr(odd)
        assert (locate_fault(source) is None) is sound, repr(odd)


quiet = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
ratings = st.lists(
    st.tuples(st.integers(-5, 10**12), st.integers(0, 99), st.sampled_from(["0.5", "3", "5.0", ".5", "1e1"])),
    min_size=1,
    max_size=30,
)


@quiet
@given(ratings=ratings, at=st.integers(0, 30), bad=st.sampled_from(sorted(FAULTS)), eol=st.sampled_from(["\n", "\r\n"]))
def test_a_fault_anywhere_is_found_there(write: Write, ratings: list[Any], at: int, bad: str, eol: str) -> None:
    lines = [f"{user},{item},{rating},7" for user, item, rating in ratings]
    source = open_file(write(HEADER + eol.join(lines) + eol))
    assert rows(source) == [(user, item, float(rating)) for user, item, rating in ratings]
    assert locate_fault(source) is None
    at = min(at, len(lines))
    text = HEADER + eol.join([*lines[:at], bad, *lines[at:]]) + eol
    source.path.put(text.encode(errors="surrogateescape"))
    fault = locate_fault(source)
    assert looks_faulty(source)
    assert fault
    assert fault.line == at + 2


edits = st.sampled_from([b"", *(bytes([byte]) for byte in b'07.,:"\n-ex \xc3\x00')])


@quiet
@given(data=st.data(), kind=st.sampled_from(["numbers", "text", "dat"]))
def test_whatever_the_fast_path_sees_is_located(write: Write, data: st.DataObject, kind: str) -> None:
    body = ROWS.replace("31", 'x"y"' if kind == "text" else "31").replace(",", "::" if kind == "dat" else ",")
    source = open_file(write(body if kind == "dat" else HEADER + body, "r.dat" if kind == "dat" else "r.csv"))
    content = bytearray(body.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(edits)
    source.path.put((b"" if kind == "dat" else HEADER.encode()) + content)
    if looks_faulty(source):
        assert locate_fault(source) is not None


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("user", None, "row 3, column user: missing user id"),
        ("item", "", "row 3, column item: missing item id"),
        ("rating", None, "row 3, column rating: missing rating"),
        ("rating", 1e300, "row 3, column rating: rating is too large to compute with"),
        ("rating", float("nan"), "row 3, column rating: rating is not a finite number"),
        ("timestamp", None, "row 3, column timestamp: missing timestamp"),
    ],
)
def test_finds_the_row_of_parquet(tmp_path: Path, column: str, value: Any, expected: str) -> None:
    columns = {"user": [1, 2, 3, 4], "item": [*"abcd"], "rating": [1.0, 2, 3, 4], "timestamp": [1, 2, 3, 4]}
    columns[column][2] = value
    users = pl.Series(columns.pop("user"), dtype=pl.UInt64)
    source = open_file(parquet(tmp_path / "r.parquet", user=users, **columns))
    assert looks_faulty(source)
    assert expected in str(locate_fault(source))


def test_an_id_beyond_64_bits_is_found_where_the_footer_does_not_tell(tmp_path: Path) -> None:
    users = pl.Series([1, 2, 2**63, 4], dtype=pl.UInt64)
    frame = pl.DataFrame({"user": users, "item": [1, 2, 3, 4], "rating": [1.0, 2, 3, 4]})
    frame.write_parquet(tmp_path / "r.parquet", statistics=False)
    source = open_file(tmp_path / "r.parquet")
    assert looks_faulty(source)
    assert "row 3, column user: user id does not fit 64 bits; cast the column to text" in str(locate_fault(source))


def test_damaged_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path / "r.parquet", user=list(range(9000)), item=list(range(9000)), rating=[1.0] * 9000)
    source = open_file(path)
    content = bytearray(path.read_bytes())
    content[20:2000] = bytes(1980)
    path.write_bytes(content)
    assert looks_faulty(source)
    assert "r.parquet: cannot be read, it is cut or damaged: write it again" in str(locate_fault(source))


def test_blanks_around_fields_do_not_count_in_text_files(write: Write) -> None:
    path = write("userId, movieId, rating\nann, i 1, 3\n bob ,\ti 2 , 4\nann ,i 2 ,5\n")
    source = open_file(path)
    assert source.columns[:3] == ("userId", "movieId", "rating")
    found = scan(source).collect()
    assert found["user"].to_list() == ["ann", "bob", "ann"]
    assert found["item"].to_list() == ["i 1", "i 2", "i 2"]
    assert locate_fault(source) is None
    blank = spoilt(path, "userId,movieId,rating\nann,i,3\n  ,i,4\n")
    assert looks_faulty(blank)
    assert str(locate_fault(blank)).startswith(f"{path}, line 3, column userId: missing user id")


LONG = 2 << 20
TOO_LONG = {
    "a long field": b"12,34,3.5," + b"7" * LONG + b"\n" + ROWS.encode(),
    "a last line without an end": b"12,34,3.5,7" + b"x" * LONG,
    "a stray quote": b'12,"34,3.5,7\n' + ROWS.encode() * (LONG // len(ROWS)),
    "a stray quote among sound ones": b'"12",34",3.5,7\n' + b"12,34,3.5,7\n" * (LONG // 12),
}


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd])
@pytest.mark.parametrize("case", TOO_LONG)
def test_a_record_too_long_to_be_held_is_named(write: Write, case: str, compress: Callable[[bytes], bytes]) -> None:
    source = spoilt(write(compress(GOOD.encode())), compress((GOOD + ROWS * 99).encode() + TOO_LONG[case]))
    with pytest.raises(UsageError, match="line 302: a line of more than 1 MiB, or a stray quote; mend or delete it"):
        measured_digest(source)


@pytest.mark.parametrize("quotes", [True, False])
@given(st.lists(st.sampled_from([b"a", b"\n", b'"', b"bb"]), max_size=40), st.integers(1, 8))
def test_long_records_are_those_a_loop_finds(quotes: bool, parts: list[bytes], size: int) -> None:
    text, start, is_open, expected = b"".join(parts), 0, False, None
    for at in range(len(text) + 1):
        if expected is None and at - start > 8:
            expected = start
        if text[at : at + 1] == b"\n" and not is_open:
            start = at + 1
        is_open ^= quotes and text[at : at + 1] == b'"'
    with mock.patch.object(lengths, "MOST_RECORD", 8):
        found = lengths.Lengths(quotes)
        for at in range(0, len(text), size):
            found.add(text[at : at + size])
    assert found.too_long == expected
    assert found.quoted is (quotes and b'"' in text)


def test_sound_files_are_measured_as_they_are_hashed(write: Write) -> None:
    quoted = HEADER + '"1",31,2.5,1260759144\n' * 100_000
    for content in (GOOD, quoted, HEADER + ROWS * 50_000):
        source = open_file(write(content))
        assert measured_digest(source) == Measured(*digest(source), "utf-8", quoted=content == quoted)


def test_ids_are_of_a_few_thousand_bytes_at_most(write: Write, tmp_path: Path) -> None:
    good = "user,item,rating\na,b,3\n"
    for n, sound in ((4096, True), (4097, False)):
        source = spoilt(write(good), good + "c" * n + ",d,4\n")
        assert looks_faulty(source) is not sound
        told = str(locate_fault(source))
        assert sound or "line 3, column user: user id of more than 4096 bytes; give shorter ones" in told
        frame = pl.DataFrame({"user": ["a", "c" * n], "item": [1, 2], "rating": [1.0, 2]})
        # Of a dictionary it would be known as soon as the file is opened.
        pyarrow.parquet.write_table(frame.to_arrow(), tmp_path / "r.parquet", use_dictionary=False)
        source = open_file(tmp_path / "r.parquet")
        assert looks_faulty(source) is not sound
        assert sound or "row 2, column user: user id of more than 4096 bytes" in str(locate_fault(source))


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("head", [True, False])
def test_parquet_that_is_damaged_past_its_footer_is_told_as_that(tmp_path: Path, text: bool, head: bool) -> None:
    """In pages that the head is read from, and in others, whose fault is found when a conversion has failed."""
    users = [f"u{n}" for n in range(9000)] if text else list(range(9000))
    frame = pl.DataFrame({"user": users, "item": list(range(9000)), "rating": [1.0] * 9000})
    frame.write_parquet(tmp_path / "r.parquet", compression="snappy", row_group_size=3000)
    content = bytearray((tmp_path / "r.parquet").read_bytes())
    if head:
        content[200:300] = b"\xff" * 100
        (tmp_path / "r.parquet").write_bytes(content)
        with pytest.raises(UsageError, match=r"r\.parquet cannot be read as Parquet \(.*\): it is cut or damaged"):
            open_file(tmp_path / "r.parquet")
        return
    source = open_file(tmp_path / "r.parquet")
    start = pyarrow.parquet.read_metadata(tmp_path / "r.parquet").row_group(2).column(0).data_page_offset
    content[start : start + 100] = b"\xff" * 100
    (tmp_path / "r.parquet").write_bytes(content)
    assert looks_faulty(source)
    assert "cannot be read, it is cut or damaged: write it again" in str(locate_fault(source))


def test_what_polars_panics_with_is_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "r.parquet", user=[1, 2], item=[1, 2], rating=[1.0, 2.0])
    source = open_file(path)

    def panic(*_: Any, **__: Any) -> None:
        raise pl.exceptions.PanicException("index out of bounds")

    monkeypatch.setattr(pl.LazyFrame, "collect", panic)
    assert "it is cut or damaged" in str(locate_fault(source))
    with pytest.raises(UsageError, match=r"index out of bounds.*cut or damaged"):
        open_file(path)


def test_too_large_a_count_is_told_with_what_counts_may_be(write: Write) -> None:
    path = write("user,item,plays\n1,2,3\n")
    source = spoilt(path, "user,item,plays\n1,2,3\n1,3,1000000000000000000\n")
    assert "give counts from 0 to 1,000,000,000,000: " in str(locate_fault(source))


@pytest.mark.parametrize("name", ["ratings.csv", "ratings.csv.gz"])
@pytest.mark.parametrize("n", [3, 40_000])
def test_line_ends_of_carriage_returns_alone_are_told_as_that(tmp_path: Path, name: str, n: int) -> None:
    content = b"user,item,rating\r" + b"1,2,3\r" * n
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    told = r"line 1: lines that end with a carriage return \(CR\) alone; end them with line feeds, e.g. with tr"
    with pytest.raises(UsageError, match=told):
        open_source(locate(tmp_path / name))


def test_a_carriage_return_within_a_line_is_told_as_that(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_bytes(b"user,item,rating\n" + b"1,2,3\n" * 5000 + b"1,2\r,3\r\n1,3,4\n")
    told = "line 5002: not a valid record (a carriage return within the line); delete it"
    assert told in str(locate_fault(open_source(locate(path)).first))
