"""The same ratings, written in all the ways that are read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chunked.errors import UsageError
from engine.chunked.storage import Remote
from engine.ratings import times
from engine.ratings.faults import locate_fault, measured_digest
from engine.ratings.opening import open_source
from engine.ratings.records import write_utf8
from engine.ratings.scan import scan
from engine.ratings.source import Source
from engine.ratings.text_head import HEAD_ROWS
from tests.support.ratings_files import Write, looks_faulty, open_file, parquet, rows, zstd

HEADER = ["User-ID", "ISBN", "Book-Rating", "date"]
RATED = [("ann", "034", 2.5, 1_260_759_144), ("bob", "x;|1", 3.0, 1_260_759_179), ("ann", "é", 4.0, 851_868_750)]


def text(separator: str, *, point: str = ".", quote: str = '"') -> str:
    lines = [HEADER, *([user, item, f"{rating}".replace(".", point), str(time)] for user, item, rating, time in RATED)]
    return "".join(separator.join(f"{quote}{cell}{quote}" for cell in line) + "\n" for line in lines)


def read(source: Source, tmp_path: Path, *, timestamp: bool = True) -> list[tuple[Any, ...]]:
    """All rows, from a copy where that is needed."""
    found: list[tuple[Any, ...]] = []
    for file in source.files:
        copy = None
        if file.encoding != "utf-8":
            copy = tmp_path / "utf8"
            write_utf8(file, copy)
        found += scan(file, timestamp=timestamp, text=copy).collect(engine="streaming").rows()
    return found


TEXTS = {
    "comma": text(","),
    "tab": text("\t", quote=""),
    "semicolon": text(";"),
    "decimal comma": text(";", point=","),
    "quoted decimal comma": text(",", point=","),
    "pipe": text("|"),
    "excel": "sep=;\n" + text(";"),
    "excel tab": "sep=\t\r\n" + text("\t").replace("\n", "\r\n"),
    "named": text("~"),
    "blanks around": text(" ; ".strip()).replace('"ann"', " ann ").replace('"3.0"', " 3.0"),
}


COMPRESSIONS = {bytes: "none", gzip.compress: "gzip", zstd: "zstd"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd])
@pytest.mark.parametrize("kind", TEXTS)
def test_text_is_read_however_it_is_written(
    write: Write, tmp_path: Path, kind: str, compress: Callable[[bytes], bytes], encoding: str
) -> None:
    path = write(compress(TEXTS[kind].encode(encoding)))
    source = open_source(path, separator="~" if kind == "named" else None)
    assert read(source, tmp_path) == RATED
    assert locate_fault(source.first) is None
    assert Source.from_json(json.loads(json.dumps(source.to_json()))) == source
    if encoding[:3] not in ("utf", "lat"):
        assert [note for note in source.notes if "is read as" in note and "file" in note]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd])
@pytest.mark.parametrize("kind", [*TEXTS, "dat", "parquet"])
def test_every_format_is_read_from_a_store_in_any_order_of_rows(
    bucket: Remote, tmp_path: Path, kind: str, compress: Callable[[bytes], bytes]
) -> None:
    """Users of `RATED` come and go; what is read has the order of the file."""
    if kind == "parquet":
        columns = dict(zip(HEADER, zip(*RATED, strict=True), strict=True))
        content = parquet(tmp_path / "r.parquet", **columns).read_bytes()
    else:
        content = compress((text("::", quote="") if kind == "dat" else TEXTS[kind]).encode())
    (bucket / "ratings.any").put(content)
    source = open_source(bucket / "ratings.any", separator={"named": "~", "dat": "::"}.get(kind))
    assert read(source, tmp_path) == RATED
    assert source.first.compression == ("none" if kind == "parquet" else COMPRESSIONS[compress])


def test_what_was_found_is_said_in_one_line(write: Write) -> None:
    notes = open_source(write(text(";", point=",").encode("latin-1"))).notes
    assert notes == (
        "the file is read as Windows-1252 (Latin-1)",
        "column User-ID is read as text: line 2 has 'ann'",
        "column ISBN is read as text: line 2 has '034'",
        "read as user, item, rating, time: columns User-ID, ISBN, Book-Rating, date, separated by ';'",
    )
    assert open_source(write("userId,movieId,rating,timestamp\n1,2,3,4\n")).notes == ()
    assert open_source(write("who,what,stars\n1,2,3\n"), ["who", "what", "stars"]).notes == ()


def test_quoted_fields_may_hold_separators_quotes_and_lines(write: Write, tmp_path: Path) -> None:
    source = open_source(write('user;note;item;rating\na;"x; ""y""\nz";"1;2";3\nb;;"|";4\n'))
    assert read(source, tmp_path, timestamp=False) == [("a", "1;2", 3.0), ("b", "|", 4.0)]
    assert locate_fault(source.first) is None


@pytest.mark.parametrize(
    ("separator", "sign"), [("tab", "\t"), ("\\t", "\t"), ("space", " "), ("::", "::"), (";", ";")]
)
def test_a_separator_may_be_named(write: Write, separator: str, sign: str) -> None:
    path = write(sign.join(("user", "item", "rating")) + "\n" + sign.join("123") + "\n")
    assert rows(open_source(path, separator=separator)) == [(1, 2, 3.0)]


@pytest.mark.parametrize("separator", ["ab", "", '"', "a", "7", "\n"])
def test_what_can_separate_nothing_is_refused(write: Write, separator: str) -> None:
    with pytest.raises(UsageError, match="give one sign such as ';', or 'tab', or '::'"):
        open_source(write(text(",")), separator=separator)


def test_latin_1_far_below_the_head_is_found_with_the_digest(write: Write) -> None:
    many = "user,item,rating\n" + "ann,bread,3\n" * 200_000
    file = open_file(write((many + "bob,caf\u00e9,4\n").encode("latin-1")))
    assert (file.encoding, measured_digest(file).encoding) == ("utf-8", "windows-1252")
    damaged = open_file(write((many + "bob,caf\u00e9\u00e9\u00e9,4\n").encode() + b"bob,\xe9,4\n"))
    assert measured_digest(damaged).encoding == "utf-8"
    assert "line 200003: not UTF-8" in str(locate_fault(damaged))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_letters_of_windows_are_read_and_what_it_lacks_as_in_latin_1(
    write: Write, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    content = "user,item,rating\n\u20ac1,\u201cx\u201d,3\n".encode("cp1252") + b"\x81\xe9,\xff,4\n"
    source = open_source(write(compress(content)))
    assert read(source, tmp_path, timestamp=False) == [("\u20ac1", "\u201cx\u201d", 3.0), ("\x81\xe9", "\xff", 4.0)]
    assert locate_fault(source.first) is None


def test_faults_of_other_encodings_are_named(write: Write) -> None:
    path = write(text(";").encode("utf-16"))
    file = open_file(path)
    path.write_bytes((text(";") + '"ann";"1";"x";"5"\n').encode("utf-16"))
    assert "finite number; mend or delete the line: 'x'" in str(locate_fault(file))
    path.write_bytes(text(";").encode("utf-16")[:-1])
    assert "not UTF-16-LE (truncated data)" in str(locate_fault(file))


@pytest.mark.parametrize(
    ("point", "bad", "told"), [(",", "3.5", "a comma as at the top"), (".", "3,5", "a decimal point")]
)
def test_decimals_are_written_in_one_way(write: Write, point: str, bad: str, told: str) -> None:
    path = write(text(";", point=point))
    file = open_file(path)
    path.write_text(text(";", point=point) + f"ann;1;{bad};5\n")
    fault = str(locate_fault(file))
    assert "line 5, column Book-Rating: rating is not a finite number, " in fault
    assert told in fault
    assert looks_faulty(file)


MOMENT = datetime(2009, 12, 14, 2, 52, 24, 250_000, tzinfo=UTC)
TIMES = {
    "1260759144": ("s", 1_260_759_144),
    "1260759144250": ("ms", 1_260_759_144_250),
    "1260759144250000": ("us", 1_260_759_144_250_000),
    "1260759144250000000": ("us", 1_260_759_144_250_000),
    "1260759144.25": ("us", 1_260_759_144_250_000),
    "1.26075914425e9": ("us", 1_260_759_144_250_000),
    "2009-12-14": ("s", 1_260_748_800),
    "2009-12-14 02:52": ("us", 1_260_759_120_000_000),
    "2009-12-14T02:52:24.25Z": ("us", 1_260_759_144_250_000),
    "2009-12-14 02:52:24,250000": ("us", 1_260_759_144_250_000),
    "2009-12-14 04:52:24.250000000+02:00": ("us", 1_260_759_144_250_000),
    "2009-12-13T21:22:24.250-0530": ("us", 1_260_759_144_250_000),
    "2009-12-13 21:52:24.25 -05": ("us", 1_260_759_144_250_000),
    "1969-12-31T23:59:59.5Z": ("us", -500_000),
}


@pytest.mark.parametrize("written", TIMES)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_times_are_read_however_they_are_written(write: Write, tmp_path: Path, written: str, kind: str) -> None:
    unit, time = TIMES[written]
    path = write(f'user,item,rating,when\n1,2,3,"{written}"\n')
    if kind == "parquet":
        frame = pl.read_csv(path, schema_overrides={"when": pl.String} if "-" in written[1:] else {})
        path = parquet(tmp_path / "r.parquet", **frame.to_dict())
    file = open_file(path, times=True)
    assert (file.time_kept, rows(file, timestamp=True)) == (unit, [(1, 2, 3.0, time)])
    assert locate_fault(file) is None


def test_times_that_parquet_has_as_such_are_read(tmp_path: Path) -> None:
    for dtype, unit, expected in (
        (pl.Datetime("ns"), "us", 1_260_759_144_250_000),
        (pl.Datetime("ms", "Europe/Berlin"), "ms", 1_260_759_144_250),
        (pl.Date, "s", 1_260_748_800),
    ):
        when = pl.Series([MOMENT]).cast(dtype)
        file = open_file(parquet(tmp_path / "r.parquet", user=[1], item=[2], rating=[3.0], date=when), times=True)
        assert (file.time_kept, rows(file, timestamp=True)) == (unit, [(1, 2, 3.0, expected)])


BAD_TIMES = {
    "2009-12-14 02:52:24": [
        "2009-02-29 02:52:24",
        "2009-12-14 24:00:00",
        "2009-12-14 02:60",
        "14.12.2009",
        "1260759144",
        "x",
    ],
    "1260759144.5": ["2009-12-14", "noon", "nan", "1e300"],
    "1260759144": ["1260759144.5", "2009-12-14", "9223372036854775808"],
}


@pytest.mark.parametrize(("good", "bad"), [(good, bad) for good, each in BAD_TIMES.items() for bad in each])
def test_times_written_otherwise_than_at_the_top_are_faults(write: Write, good: str, bad: str) -> None:
    path = write(f"user,item,rating,when\n1,2,3,{good}\n")
    file = open_file(path, times=True)
    path.write_text(f"user,item,rating,when\n1,2,3,{good}\n1,2,3,{bad}\n")
    assert looks_faulty(file)
    assert "line 3, column when: timestamp" in str(locate_fault(file))


moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))


@settings(max_examples=200)
@given(moments, st.sampled_from(["", "Z", "+02:00", "-0930"]), st.sampled_from(["T", " "]))
def test_iso_times_are_those_of_the_standard_library(moment: datetime, zone: str, between: str) -> None:
    written = moment.isoformat(between) + zone
    told = datetime.fromisoformat(written if zone else written + "Z")
    expected = (told - datetime(1970, 1, 1, tzinfo=UTC)) // datetime.resolution
    assert times.is_iso(written)
    found = pl.select(times.in_unit(pl.lit(written), "text", "us", "us")).item()
    assert found == expected


@settings(max_examples=300)
@given(st.text("0123456789-: TZ.+", min_size=8, max_size=26) | st.from_regex(times._ISO_TIME, fullmatch=True))
def test_reading_and_judging_times_agree(written: str) -> None:
    found = pl.select(times.in_unit(pl.lit(written), "text", "us", "us")).item()
    assert (found is not None) is times.is_iso(written)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_ratings_that_look_like_times_are_refused(write: Write, tmp_path: Path, kind: str) -> None:
    path = write("user,item,timestamp\n1,2,1260759144\n1,3,851868750\n")
    if kind == "parquet":
        path = parquet(tmp_path / "r.parquet", **pl.read_csv(path).to_dict())
    with pytest.raises(
        UsageError, match=r"column timestamp looks like times, not .* write --columns user,item,,timestamp$"
    ):
        open_source(path, ["user", "item", "timestamp"])
    assert open_source(path, ["user", "item", "", "timestamp"]).values == "pairs"
    assert open_source(path).values == "pairs"


TIMES_OF_ROWS: dict[str, Callable[[int], int]] = {
    "milliseconds": lambda k: 1_260_759_144_000 + k,
    "with zeros": lambda k: 0 if k % 3 == 0 else 1_260_759_144 + k,
    "dates without signs": lambda k: 20_240_101 + k % 28,
}


@pytest.mark.parametrize("name", ["rating", "count", "x"])
@pytest.mark.parametrize("written", TIMES_OF_ROWS)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_whatever_looks_like_times_is_no_rating_and_no_count(
    tmp_path: Path, kind: str, written: str, name: str
) -> None:
    rated = [(k % 7, k, TIMES_OF_ROWS[written](k)) for k in range(30)]
    frame = pl.DataFrame(rated, ["user", "item", name], orient="row")
    path = tmp_path / f"r.{kind}"
    frame.write_csv(path) if kind == "csv" else frame.write_parquet(path)
    with pytest.raises(
        UsageError, match=rf"looks like (a time|times).*: without ratings, write --columns user,item,,{name}$"
    ):
        open_source(path, ["user", "item", name] if name == "x" else None)


def test_columns_that_are_interchanged_are_told(write: Write) -> None:
    path = write("user,item,rating,timestamp\n1,2,3,1260759144\n1,3,4,851868750\n")
    with pytest.raises(
        UsageError, match=r"if both columns are interchanged, write --columns user,item,rating,timestamp$"
    ):
        open_source(path, ["user", "item", "timestamp", "rating"])
    notes = open_source(path, ["item", "timestamp", "rating"]).notes
    assert "column item is read as users, by its name it holds items" in notes
    assert "column timestamp is read as items, by its name it holds times" in notes
    assert open_source(path, ["user", "item", "rating", "timestamp"]).notes == ()
    periods = write("user,item,timestamp\n1,2,11\n1,3,7\n")
    (note,) = open_source(periods, ["user", "item", "timestamp"]).notes
    assert note == (
        "column timestamp is read as ratings, by its name it holds times; "
        "without ratings, write --columns user,item,,timestamp"
    )


def test_ratings_that_are_all_the_same_are_noted(write: Write) -> None:
    same = "".join(f"{k % 7},{k},1\n" for k in range(HEAD_ROWS))
    (note,) = open_source(write("user,item,rating\n" + same)).notes
    assert note.startswith("column rating is 1 in all of the first 1000 rows")
    assert note.endswith("write --columns user,item")


def test_a_type_that_parquet_has_for_times_is_no_rating(tmp_path: Path) -> None:
    path = parquet(tmp_path / "r.parquet", user=[1], item=[2], when=[MOMENT])
    with pytest.raises(UsageError, match=r"has type Datetime.*; without ratings, write --columns user,item,,when$"):
        open_source(path, ["user", "item", "when"])


def test_ratings_that_are_dates_are_refused(write: Write) -> None:
    path = write("user,item,when\n1,2,2009-12-14\n")
    with pytest.raises(UsageError, match=r"column when: rating is not a finite .* write --columns user,item,,when"):
        open_source(path, ["user", "item", "when"])


def test_ratings_that_look_like_ids_are_noted(write: Write) -> None:
    many = "".join(f"{k % 7},{k},{1000 + k}\n" for k in range(HEAD_ROWS))
    source = open_source(write("user,item,session\n" + many), ["user", "item", "session"])
    assert any("1000 different whole numbers in 1000 rows, as ids or counts have" in note for note in source.notes)
    assert any("write --columns user,item" in note for note in source.notes)
    stars = "".join(f"{k % 7},{k},{k % 10}\n" for k in range(HEAD_ROWS))
    assert open_source(write("user,item,rating\n" + stars)).notes == ()
