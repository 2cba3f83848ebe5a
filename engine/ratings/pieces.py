"""A large text file in pieces that are read each by itself: cut at line ends, where every line end is one.

Where a quote is anywhere in a file, a line end may be inside a field: such a file is one piece. What becomes of a file
depends on its content alone, not on where it is: a run that is half done may go on with another copy.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from engine.chunked.storage import Location
from engine.model.sizes import INGEST_BLOCK_BYTES, INGEST_BLOCK_RATINGS, INGEST_PIECE_BYTES
from engine.ratings.encodings import UTF8
from engine.ratings.source import RatingsFile

# Polars takes a byte order mark away where a text begins, and within it leaves it: no piece begins with one.
_LINE_END = re.compile(rb"\n(?!" + codecs.BOM_UTF8 + b")")
_LOOKED_AT = 1 << 16


def n_pieces(file: RatingsFile, size: int, quoted: bool) -> int:
    """Pieces that a file of so many bytes is converted in; ``quoted`` where a quote is anywhere in it."""
    if quoted or file.format != "text" or file.compression != "none" or file.encoding != UTF8:
        return 1
    return max(1, -(-size // INGEST_PIECE_BYTES))


def read_piece(file: RatingsFile, piece: int) -> Iterator[bytes]:
    """Yield the lines that begin in one of the equal stretches of a file, in blocks; none is empty.

    Lines above the ratings are in the first block of the first piece.
    """
    size = file.path.state()[0]
    first, last = (size * k // file.pieces for k in (piece, piece + 1))
    block = min(INGEST_BLOCK_BYTES, INGEST_BLOCK_RATINGS * max(1, file.row_bytes))
    start = _line_start(file.path, first, size)
    for at in (*range(first + block, last, block), last):
        stop = _line_start(file.path, at, size)
        if start < stop:
            yield file.path.read_range(start, stop)
        start = stop


def _line_start(path: Location, at: int, size: int) -> int:
    """Where the first line begins that begins there or later; the end of the file where none does."""
    if at == 0:
        return 0
    for start in range(at - 1, size, _LOOKED_AT):
        text = path.read_range(start, min(size, start + _LOOKED_AT + len(codecs.BOM_UTF8)))
        if (found := _LINE_END.search(text)) and found.start() < _LOOKED_AT:
            return start + found.end()
    return size
