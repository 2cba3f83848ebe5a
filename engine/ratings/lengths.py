"""Records of a text file that are too long to be held: found as the file goes by, a piece at a time.

Polars holds a record whole, and after a stray quote all that follows may be one.
"""

from __future__ import annotations

# The longest record in bytes, line ends within quotes included; and the most bytes of a piece.
MOST_RECORD = 1 << 20


class Lengths:
    r"""Watches for a record longer than `MOST_RECORD`, and for quotes.

    Parameters
    ----------
    quotes : bool
        Whether lines go on where a quote is open.

    Examples
    --------
    >>> lengths = Lengths(quotes=True)
    >>> for piece in (b"user,item,rating\n", b'1,2,"', b"x" * 2**19, b"x" * 2**19):
    ...     lengths.add(piece)
    >>> lengths.too_long
    17
    """

    def __init__(self, quotes: bool) -> None:
        self.too_long: int | None = None
        self.quoted = False
        self._quotes = quotes
        self._open = False
        self._at = self._start = 0

    def add(self, piece: bytes) -> None:
        """Take the next piece, of at most `MOST_RECORD` bytes; ``too_long`` is then where the first such record starts.

        So a record that begins and ends in a piece needs no look, only one that goes from piece to piece.
        """
        n_quotes = piece.count(b'"') if self._quotes else 0
        self.quoted |= n_quotes > 0
        open_after = self._open ^ bool(n_quotes % 2)
        first = self._first_end(piece)
        end = self._at + (len(piece) if first < 0 else first)
        if self.too_long is None and end - self._start > MOST_RECORD:
            self.too_long = self._start
        if first >= 0:
            self._start = self._at + _last_end(piece, open_after, bool(n_quotes)) + 1
        self._open = open_after
        self._at += len(piece)

    def _first_end(self, piece: bytes) -> int:
        """The first line end outside of quotes; -1 without one."""
        start, is_open = 0, self._open
        while True:
            quote = piece.find(b'"', start) if self._quotes else -1
            stop = len(piece) if quote < 0 else quote
            if not is_open and (found := piece.find(b"\n", start, stop)) >= 0:
                return found
            if quote < 0:
                return -1
            start, is_open = quote + 1, not is_open


def _last_end(piece: bytes, is_open: bool, quotes: bool) -> int:
    """The last line end outside of quotes, which is there."""
    stop = len(piece)
    while True:
        quote = piece.rfind(b'"', 0, stop) if quotes else -1
        if not is_open and (found := piece.rfind(b"\n", quote + 1, stop)) >= 0:
            return found
        stop, is_open = quote, not is_open
