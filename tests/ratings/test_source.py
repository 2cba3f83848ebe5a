"""A ratings file: what is known of it, and its rows."""

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

import polars as pl
import pytest

from engine.ratings.faults import locate_fault
from engine.ratings.opening import open_source
from engine.ratings.scan import scan
from engine.ratings.source import Source, digest
from tests.support.ratings_files import GOOD, HEADER, READ, ROWS, Write, parquet, rows, zstd


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
        ("ratings.csv", "userId, movieId, rating, timestamp\n" + re.sub(r",(?=\d+\.|\d{8})", ", ", ROWS)),
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
    assert scan(source.first, timestamp=True).collect_schema() == {
        "user": pl.Int64, "item": pl.Int64, "rating": pl.Float64, "timestamp": pl.Int64,
    }  # fmt: skip
    assert locate_fault(source.first) is None
    assert source.notes == ()


def test_text_ids_keep_every_character_but_blanks_around_them_and_the_carriage_return(write: Write) -> None:
    source = open_source(write('rating,user,item\r\n4,007,"a, ""b"""\r\n3,8, c\r\n2,é,d::e\r\n'))
    assert rows(source) == [("007", 'a, "b"', 4.0), ("8", "c", 3.0), ("é", "d::e", 2.0)]
    assert (source.user_type, source.item_type) == ("string", "string")
    assert "column user is read as text: line 2 has '007'" in source.notes
    assert locate_fault(source.first) is None


def test_an_id_that_is_not_written_as_its_number_is_text(write: Write) -> None:
    for odd in ("007", "+7", " 7", "-0", "\uff17", "7_0"):
        source = open_source(write(f"user,item,rating\n1,{odd},3\n{odd},8,4\n"))
        id_ = odd.strip()  # blanks around ids do not count in text files
        assert rows(source) == [("1", id_, 3.0), (id_, "8", 4.0)]
        assert locate_fault(source.first) is None


def test_quotes_mean_nothing_in_a_dat_file(write: Write) -> None:
    source = open_source(write('a"b::"c::4::1\nd::e"f::3::2\n', "ratings.dat"))
    assert rows(source) == [('a"b', '"c', 4.0), ("d", 'e"f', 3.0)]
    assert locate_fault(source.first) is None


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
    assert rows(source, timestamp=True) == [(3, "a", 4.0, 1_000_000), (1, "b", 5.0, 2_500_000)]
    assert (source.name, source.user_type, source.item_type, source.first.format) == ("r", "int64", "string", "parquet")
    assert Source.from_json(json.loads(json.dumps(source.to_json()))) == source
    assert locate_fault(source.first) is None


def test_source_travels(write: Write) -> None:
    source = open_source(write(b"\xef\xbb\xbf" + GOOD.encode()))
    assert pickle.loads(pickle.dumps(source)) == source
    assert Source.from_json(json.loads(json.dumps(source.to_json()))) == source


def test_digest(write: Write) -> None:
    path = write(GOOD)
    assert digest(open_source(path).first) == (len(GOOD), hashlib.sha256(GOOD.encode()).hexdigest())


PEAK = """
import pathlib, sys
from engine.ratings.opening import open_source
from engine.ratings.scan import scan
path = pathlib.Path(sys.argv[1])
scan(open_source(path).first).sink_parquet(path.with_suffix(".parquet"), row_group_size=2**17)
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
