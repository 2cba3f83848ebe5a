"""A text file in pieces has the lines that it has whole, wherever it is cut."""

from __future__ import annotations

import codecs
from dataclasses import replace
from pathlib import Path
from unittest import mock

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chunked.storage import Local
from engine.ratings import pieces
from engine.ratings.pieces import n_pieces, read_piece
from engine.ratings.scan import scan
from engine.ratings.source import IdType, RatingsFile

MARK = codecs.BOM_UTF8
quick = settings(max_examples=200)
parts = st.lists(st.sampled_from([b"a", b"bb", b"\n", b"\r\n", MARK, MARK[:1], MARK[:2], b"\n" + MARK]), max_size=30)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pieces") / "ratings.csv"


@quick
@given(parts, st.integers(1, 12), st.integers(1, 9), st.integers(1, 40))
def test_pieces_are_the_file_cut_where_lines_begin(
    path: Path, content: list[bytes], n: int, block: int, parsed: int
) -> None:
    text = b"".join(content)
    path.write_bytes(text)
    file = replace(CUT, path=Local(path), pieces=n)
    with mock.patch.object(pieces, "_LOOKED_AT", block), mock.patch.object(pieces, "INGEST_BLOCK_BYTES", parsed):
        cut = [b"".join(read_piece(file, piece)) for piece in range(n)]
    assert b"".join(cut) == text
    size = len(text)
    places = [at for at in range(1, size) if text[at - 1 : at] == b"\n" and not text[at:].startswith(MARK)]
    start = 0
    for piece, found in enumerate(cut):
        bounds = range(size * piece // n, size * (piece + 1) // n)
        own = [at for at in ([0] * (size > 0) + places) if at in bounds]
        assert (start in own) is bool(found), "a piece has the lines that begin in its stretch"
        start += len(found)
        assert start in (0, size, *places)


LINES = st.sampled_from(
    [
        "1,2,3.0,x",
        "-7,12,0.5,",
        "1,2,3.0",
        "4,5,1,\u00e9",
        "",
        ",,,",
        "9,9,x,",
        "1",
        " ",
        "\ufeff8,8,2.5,y",
        "8,8,2,\ufeff",
    ]
)
CUT = RatingsFile(
    Local("x"),
    fields=("user", "item", "rating", "note"),
    columns=("user", "item", "rating", None),
    user_type="int64",
    item_type="int64",
)


def rows_of(file: RatingsFile, text: bytes | None) -> list[tuple[object, ...]] | None:
    """None where they cannot be read."""
    try:
        return scan(file, text=text).collect().rows()
    except pl.exceptions.PolarsError:
        return None


@quick
@given(
    st.lists(LINES, min_size=1, max_size=12),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.integers(0, 2),
    st.sampled_from(["int64", "string"]),
    st.integers(1, 9),
)
def test_rows_are_those_of_the_file_read_whole(
    path: Path, lines: list[str], end: str, ended: bool, skip: int, ids: IdType, n: int
) -> None:
    head = ["sep=,", "user,item,rating,note"][2 - skip :]
    path.write_bytes((end.join([*head, *lines]) + end * ended).encode())
    file = replace(CUT, path=Local(path), skip=skip, user_type=ids, item_type=ids)
    # Lines above the ratings are in the first piece: it is longer than they are.
    above, size = len("".join(line + end for line in head)), path.stat().st_size
    n = max(1, min(n, size // max(1, above)))
    text = [b"".join(read_piece(replace(file, pieces=n), piece)) or b"\n" for piece in range(n)]
    whole = rows_of(file, None)
    cut = [rows_of(file if piece == 0 else replace(file, skip=0), each) for piece, each in enumerate(text)]
    assert (None in cut) is (whole is None)
    if whole is not None:
        assert [row for each in cut for row in each or []] == whole


def test_a_piece_is_parsed_in_blocks_of_few_ratings(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"1,2,3\n" * 100)
    file = replace(CUT, path=Local(path), row_bytes=6, pieces=2)
    monkeypatch.setattr(pieces, "INGEST_BLOCK_BYTES", 60)
    assert [*map(len, read_piece(file, 1))] == [60] * 5
    monkeypatch.setattr(pieces, "INGEST_BLOCK_RATINGS", 2)
    assert [*map(len, read_piece(file, 1))] == [12] * 25
    assert [*map(len, read_piece(replace(file, row_bytes=0), 1))] == [6] * 50


def test_only_what_is_certainly_cut_at_line_ends_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "INGEST_PIECE_BYTES", 100)
    file = CUT
    assert [n_pieces(file, size, quoted=False) for size in (0, 1, 100, 101, 1000)] == [1, 1, 1, 2, 10]
    assert n_pieces(file, 1000, quoted=True) == 1
    for other in ({"format": "parquet"}, {"compression": "gzip"}, {"compression": "zstd"}, {"encoding": "latin-1"}):
        assert n_pieces(replace(file, **other), 1000, quoted=False) == 1  # type: ignore[arg-type]
