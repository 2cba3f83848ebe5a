"""The records of a text file, one at a time: slower than Polars, but each with its line and with what is wrong with it.

Also what Polars reads as a number, so that who looks at a record judges as Polars does.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import shutil
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from engine.chunked.errors import is_short
from engine.ratings.encodings import decoder_of
from engine.ratings.source import RatingsFile

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# What Polars reads as a number: int() and float() also take "1_0", and digits of other scripts.
INTEGER = re.compile(r"[ \t]*[+-]?[0-9]+")
# An id is its text: "007" and "+7" are not the number 7.
ID_NUMBER = re.compile(r"0|-?[1-9][0-9]*")
NUMBER = re.compile(r"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

CR_ALONE = "lines that end with a carriage return (CR) alone"
# How the problem of what is no record begins.
NO_RECORD = "not a valid record"
_MAX_LINE = 1 << 17
_BLOCK = 1 << 16


class Record(NamedTuple):
    """A record: the number of its first line, its text, its fields, and what is wrong with it, if anything."""

    line: int
    text: str
    fields: list[str]
    problem: str


def read_records(file: RatingsFile, skip: re.Pattern[bytes] | None = None, *, go_on: bool = False) -> Iterator[Record]:
    """Yield the records of a text file, each with the number of its first line; one with a problem is the last.

    Records in a single line that `skip` matches are left out. To ``go_on`` is to take what is no record for one line,
    and to read on in the next one. What else goes wrong, such as a file that is cut, is the last record all the same.

    Raises
    ------
    OSError
        If the file cannot be opened. What goes wrong further on is the problem of a record.
    """
    line = 1
    taken: list[bytes] = []
    again: deque[bytes] = deque()

    def lines(stream: BinaryIO) -> Iterator[str]:
        nonlocal line
        while raw := again.popleft() if again else stream.readline(_MAX_LINE):
            if skip and not taken and skip.fullmatch(raw):
                line += 1
                continue
            taken.append(raw.removeprefix(codecs.BOM_UTF8) if line == 1 else raw)
            if len(raw) == _MAX_LINE:
                raise csv.Error(f"line of {_MAX_LINE} bytes or more")
            yield taken[-1].decode()

    with open_bytes(file) as stream:
        quoting: Any = {"strict": True} if file.quotes else {"quoting": csv.QUOTE_NONE}
        reader = csv.reader(lines(stream), delimiter=file.separator[0], **quoting)
        ended = False
        while not ended:
            line += len(taken)
            taken.clear()
            fields: list[str] = []
            problem = ""
            try:
                fields = next(reader)
            except StopIteration:
                return
            except (csv.Error, OSError, EOFError, zlib.error, ValueError) as exc:
                if is_short(exc):
                    raise  # which says nothing of the file
                problem = _problem(exc, taken)
                ended = not (go_on and isinstance(exc, csv.Error))
            if problem and not ended:
                _give_back(stream, taken, again)
                reader = csv.reader(lines(stream), delimiter=file.separator[0], **quoting)
            yield Record(line, b"".join(taken).decode(errors="backslashreplace"), fields, problem)


def _give_back(stream: BinaryIO, taken: list[bytes], again: deque[bytes]) -> None:
    """Leave what was taken but for its first line, of which the rest is passed over, to be read again."""
    again.extendleft(reversed(taken[1:]))
    del taken[1:]
    rest = taken[0]
    while len(rest) == _MAX_LINE and not rest.endswith(b"\n"):
        rest = again.popleft() if again else stream.readline(_MAX_LINE)


def _problem(error: Exception, taken: list[bytes]) -> str:
    """Say what is wrong where a record could not be read, of which some lines were taken, and what to do."""
    if isinstance(error, csv.Error) and taken and taken[-1].removesuffix(b"\n").removesuffix(b"\r").count(b"\r"):
        if b"\n" not in taken[-1] and taken[-1].count(b"\r") > 1:
            return f"{CR_ALONE}; end them with line feeds, e.g. with tr '\\r' '\\n'"
        return f"{NO_RECORD} (a carriage return within the line); delete it, or quote its field"
    if isinstance(error, csv.Error):
        return f"{NO_RECORD} ({error}); look for a stray quote, carriage return or missing line end"
    if isinstance(error, UnicodeDecodeError):
        return f"not {error.encoding.upper()} ({error.reason}); convert the file, e.g. with iconv -f latin1 -t utf-8"
    return f"the file is cut or damaged here ({error}); fetch it again"


def open_bytes(file: RatingsFile) -> BinaryIO:
    """Open a text file, decompressed and in UTF-8; a block at a time is in memory.

    Raises
    ------
    OSError, EOFError, zlib.error, ValueError
        While it is read, where it is cut or damaged.
    """
    if file.compression == "none":
        stream: Any = file.local.open("rb")
    elif file.compression == "gzip":
        stream = gzip.GzipFile(file.local)
    else:
        import pyarrow

        stream = pyarrow.input_stream(str(file.local), compression="zstd")
    if file.encoding != "utf-8":
        return io.BufferedReader(_Utf8(stream, file.encoding), _BLOCK)
    return cast("BinaryIO", stream if file.compression == "none" else io.BufferedReader(stream, _BLOCK))


def write_utf8(file: RatingsFile, target: Path) -> None:
    """Write the text of a file, decompressed and in UTF-8."""
    with open_bytes(file) as stream, target.open("wb") as copy:
        shutil.copyfileobj(stream, copy, _BLOCK)


class _Utf8(io.RawIOBase):
    """Text of another encoding, as it would be in UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._decoder = decoder_of(encoding)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer) -> int:
        """See `io.RawIOBase`."""
        while not self._left:
            piece = self._stream.read(_BLOCK)
            self._left = memoryview(self._decoder.decode(piece, final=not piece).encode())
            if not piece:
                break
        room = memoryview(target)
        n = min(len(room), len(self._left))
        room[:n] = self._left[:n]
        self._left = self._left[n:]
        return n

    def close(self) -> None:
        self._stream.close()
        super().close()


def fits_int64(text: str) -> bool:
    """Whether a whole number can be stored."""
    return -(2**63) <= whole(text) < 2**63


def whole(text: str) -> int:
    """The number of what `INTEGER` matches; of 20 digits or more, some number that does not fit either.

    ``int`` refuses thousands of digits, zeros included.
    """
    digits = text.lstrip("+- \t").lstrip("0")[:20] or "0"
    return int(f"-{digits}" if "-" in text else digits)
