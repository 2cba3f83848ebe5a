"""What the head of a text file says: encoding, separator, columns, types."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Literal

from engine.chunked.errors import UsageError, is_short
from engine.chunked.storage import Location
from engine.ratings import encodings, sense
from engine.ratings.columns import all_usual, choose
from engine.ratings.faults import Fault, as_number, first_fault
from engine.ratings.records import ID_NUMBER, NUMBER, Record, fits_int64, open_bytes, read_records
from engine.ratings.source import COLUMNS_OPTION, KINDS, Column, IdType, NoRatingsError, RatingsFile
from engine.ratings.times import settle

HEAD_ROWS = 1000
_HEAD_BYTES = 1 << 20
_SEPARATORS = (",", "\t", "::", ";", "|")
_WORDS = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";"}
_EXCEL = re.compile("sep=(.)?", re.IGNORECASE)
# How files begin that have to be unpacked first.
_ARCHIVES = {"zip": b"PK\x03\x04", "bzip2": b"BZh", "xz": b"\xfd7zX", "7z": b"7z\xbc\xaf", "rar": b"Rar!"}
_COMMA_NUMBER = re.compile(r"[ \t]*[+-]?[0-9]+,[0-9]+")


def open_text(
    file: RatingsFile, columns: Sequence[str] | None, times: bool, separator: str | None
) -> tuple[RatingsFile, list[str]]:
    """Settle how a text file is read; with what should be noted.

    Raises
    ------
    UsageError
        For all that its head shows to be wrong.
    """
    file, records, notes = read_head(file, separator)
    file = _with_columns(file, records[file.skip - 1 if file.skip else 0].fields, columns)
    rows = records[file.skip :]
    if not any(row.problem or any(row.fields) for row in rows):
        raise NoRatingsError(f"{file.path} has a header and no ratings")
    row_bytes = sum(len(row.text.encode()) for row in rows) // len(rows)
    file = replace(file, row_bytes=row_bytes, decimal=decimal_of(file, rows))
    file, of_types = _with_types(file, rows, times)
    if fault := first_fault(file, rows):
        raise UsageError(str(fault) + sense.advice(file, fault.column, fault.text))
    return file, [*notes, *of_types, *_refuse_nonsense(file, rows)]


def read_magic(path: Location) -> bytes:
    """Return the first bytes of a file that may hold ratings.

    Raises
    ------
    UsageError
        If it cannot be read, is no regular file, is empty, or is an archive.
    """
    try:
        where = path.local()
        if where.exists() and not where.is_file():  # nobody may ever write into a pipe
            raise UsageError(f"{path} is no regular file, but a folder, a pipe or a device: save the ratings as a file")
        with where.open("rb") as stream:
            magic = stream.read(4)
    except OSError as exc:
        if is_short(exc):
            raise
        raise UsageError(f"{path} cannot be read ({exc.strerror or exc}): check its permissions") from exc
    if not magic:
        raise NoRatingsError(f"{path} is empty: it should hold a header and ratings")
    if kind := next((kind for kind, start in _ARCHIVES.items() if magic.startswith(start)), None):
        raise UsageError(f"{path} is a {kind} archive: unpack it, then give the ratings file or its folder")
    return magic


def compression_of(magic: bytes) -> Literal["none", "gzip", "zstd"]:
    """Tell the compression of a text file by its first bytes."""
    return "gzip" if magic.startswith(b"\x1f\x8b") else "zstd" if magic == b"\x28\xb5\x2f\xfd" else "none"


def checked_separator(separator: str | None) -> str | None:
    """The separator that a user names, as a sign or a word.

    Raises
    ------
    UsageError
        Where it cannot be one.
    """
    if separator is None:
        return None
    sign = _WORDS.get(separator.casefold(), separator)
    if sign != "::" and (len(sign) != 1 or not sign.isascii() or sign.isalnum() or sign in '"\r\n.-+_'):
        raise UsageError(f"--separator {separator!r}: give one sign such as ';', or 'tab', or '::'")
    return sign


def read_head(
    file: RatingsFile, separator: str | None = None, *, nameless: bool = False
) -> tuple[RatingsFile, list[Record], list[str]]:
    """Settle encoding and separator of a text file; return its first records, too, of which that of the names is sound.

    In a file that may be ``nameless`` it may be a row that begins with a number, of whatever form.

    Raises
    ------
    UsageError
        If it is no text, holds nothing, or its first record is bad or goes over several lines.
    """
    file, first, notes = _with_encoding(file)
    excel = _EXCEL.fullmatch(first)
    if excel and separator is None:
        separator = excel[1]
    file = replace(file, skip=2 if excel else 1)
    if excel:
        first = _first_line(file, 1)
    file = replace(file, separator=separator or _separator(file.path, first))
    path, records = file.path, list(islice(read_records(file), HEAD_ROWS + file.skip))
    names = file.skip - 1
    if not any(record.problem or any(record.fields) for record in records[names:]):
        raise NoRatingsError(f"{path} has only blank lines: it should hold a header and ratings")
    header = records[names]
    if nameless and NUMBER.fullmatch(header.text.split(file.separator[0], 1)[0].strip('"')):
        return file, records, notes
    if header.problem:
        raise UsageError(str(Fault(path, header.line, None, header.problem, header.text)))
    if not any(header.fields) or "\n" in "".join(header.fields):
        line = f"line {file.skip}"
        raise UsageError(
            f"{path} has no header in {line}, or it goes on in line {file.skip + 1}: put all column names into {line}"
        )
    return file, records, notes


def _with_encoding(file: RatingsFile) -> tuple[RatingsFile, str, list[str]]:
    """Settle the encoding by the head; return the first line and what is odd, too."""
    path = file.path
    try:
        with open_bytes(file) as stream:
            head = stream.read(_HEAD_BYTES)
        encoding = encodings.encoding_of(head)
        if encoding is None:
            raise UsageError(f"{path} is not text: give a CSV, TSV or .dat file, or Parquet")
        file = replace(file, encoding=encoding)
        if encoding != encodings.UTF8:
            with open_bytes(file) as stream:
                head = stream.read(_HEAD_BYTES)
    except (OSError, EOFError, zlib.error, ValueError) as exc:
        if is_short(exc):
            raise
        raise UsageError(
            f"{path} cannot be decompressed or decoded ({exc}): it is cut or damaged, fetch it again"
        ) from exc
    oddities = {"a byte order mark": head.startswith(codecs.BOM_UTF8), "CR LF line ends": b"\r\n" in head}
    notes = [f"the file has {oddity}, read as usual" for oddity, there in oddities.items() if there]
    if encoding != encodings.UTF8:
        notes.append(encoding_note(encoding))
    return file, _text_line(head), notes


def encoding_note(encoding: str) -> str:
    """What is noted where a file is not UTF-8."""
    return f"the file is read as {encodings.NAMES[encoding]}"


def _text_line(head: bytes) -> str:
    return head.removeprefix(codecs.BOM_UTF8).split(b"\n", 1)[0].decode(errors="replace").rstrip("\r")


def _first_line(file: RatingsFile, skip: int) -> str:
    with open_bytes(file) as stream:
        for _ in range(skip):
            stream.readline(_HEAD_BYTES)
        return _text_line(stream.readline(_HEAD_BYTES))


def _separator(path: Location, first: str) -> str:
    """The separator that the line of names has most often outside of quotes."""
    bare = re.sub('"[^"]*"', "", first)
    separator = max(_SEPARATORS, key=bare.count)
    if not bare.count(separator) and " " in bare.strip():
        raise UsageError(f"{path} seems to be separated by blanks: say so with --separator space, or another sign")
    return separator


def _with_columns(file: RatingsFile, first: list[str], columns: Sequence[str] | None) -> RatingsFile:
    """Take the names from the header; where the first line is a rating already, from their places."""
    path, fields = file.path, [field.strip() for field in first[:: len(file.separator)]]
    if not _is_headless(fields):
        names, values = choose(path, fields, columns)
        return replace(file, fields=tuple(fields), columns=names, values=values)
    if columns is None and file.separator != "::" and not {".dat", ".data"} & set(path.suffixes):
        raise UsageError(
            f"{path}, line {file.skip} holds a rating, not column names: put userId,movieId,rating,... above it, or "
            f"name its columns in their order with {COLUMNS_OPTION}"
        )
    n_named = len(columns) if columns else len(KINDS)
    if n_named > len(fields) and columns:
        raise UsageError(f"{path} has {len(fields)} columns and no header, {n_named} are named: {','.join(columns)}")
    named = [name or f"field{k}" for k, name in enumerate(columns or KINDS, 1)]
    fields = [*named, *(f"field{k}" for k in range(n_named + 1, len(fields) + 1))][: len(fields)]
    if columns and not all_usual(columns):
        names, values = choose(path, fields, columns)
    else:
        names, values = choose(path, [name for name in columns or fields if name], None)
    return replace(file, skip=file.skip - 1, fields=tuple(fields), columns=names, values=values)


def _is_headless(fields: Sequence[str]) -> bool:
    """Whether the first line is a rating already, or two numbers: a user and an item."""
    return len(fields) > 1 and all(map(NUMBER.fullmatch, fields[1:2] if len(fields) == 2 else fields[2:3]))


def decimal_of(file: RatingsFile, rows: Sequence[Record]) -> Literal[".", ","]:
    """The sign before decimals: a comma where there are such ratings, and none with a point."""
    rating = file.column("rating")
    texts = [text for _, text in _cells(rating, rows)] if rating else []
    comma = any(map(_COMMA_NUMBER.fullmatch, texts)) and not any("." in text for text in texts)
    return "," if comma else "."


def _with_types(file: RatingsFile, rows: Sequence[Record], times: bool) -> tuple[RatingsFile, list[str]]:
    """Settle from the head how ids and timestamps are read; without these where they are none, or dates not needed."""
    (user_type, user_notes), (item_type, item_notes) = (_id_type(file, column, rows) for column in file.layout[:2])
    file, notes = replace(file, user_type=user_type, item_type=item_type), [*user_notes, *item_notes]
    timestamp = file.column("timestamp")
    if timestamp is None:
        return file, notes
    cells = [text for _, text in _cells(timestamp, rows)]
    settled = settle(cells)
    if settled is None and times:
        return replace(file, time_type="text" if sense.are_dates(cells) else "int64"), notes  # the fault is found
    if settled is None:
        notes.append(f"column {timestamp.name} is ignored: its values are no times that are read")
    if settled is None or (settled[0] == "text" and not times):
        return replace(file, columns=(*file.columns[:3], None)), notes
    return replace(file, time_type=settled[0], time_unit=settled[1]), notes


def _id_type(file: RatingsFile, column: Column, rows: Sequence[Record]) -> tuple[IdType, list[str]]:
    cells = _cells(column, rows)
    odd = [(line, text) for line, text in cells if not (ID_NUMBER.fullmatch(text) and fits_int64(text))]
    if not odd:
        return "int64", []
    fraction = next(((line, text) for line, text in odd if "." in text), None)
    if fraction and all(NUMBER.fullmatch(text) for _, text in cells):
        problem = "a number with a decimal point is no id: write whole numbers, or names"
        raise UsageError(str(Fault(file.path, fraction[0], column.name, problem, fraction[1])))
    return "string", [f"column {column.name} is read as text: line {odd[0][0]} has {odd[0][1]!r}"]


def _refuse_nonsense(file: RatingsFile, rows: Sequence[Record]) -> list[str]:
    rating = file.column("rating")
    if rating is None:
        return []
    numbers = [as_number(file, text) for _, text in _cells(rating, rows)]
    return sense.refuse_nonsense(file, [number for number in numbers if number is not None])


def _cells(column: Column, rows: Sequence[Record]) -> list[tuple[int, str]]:
    """Return the lines and texts of a column, where there is a text."""
    cells = [(row.line, row.fields[column.place]) for row in rows if len(row.fields) > column.place]
    return [(line, text) for line, text in cells if text.strip()]
