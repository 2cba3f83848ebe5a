"""How a text file is encoded: UTF-8, UTF-16 or Latin-1, by its bytes."""

from __future__ import annotations

import codecs

_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
UTF8 = "utf-8"
LATIN1 = "latin-1"
NAMES = {"utf-8": "UTF-8", "latin-1": "Latin-1", "utf-16": "UTF-16", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}


def encoding_of(head: bytes) -> str | None:
    """Tell the encoding of a text by its first bytes; None where it is no text."""
    if head[:2] in _MARKS:
        return _MARKS[head[:2]]
    if b"\0" in head:
        # Of text in UTF-16 that is mostly ASCII, every other byte is 0.
        for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            if head[first::2].count(0) > 0.6 * (len(head) // 2) and not head[1 - first :: 2].count(0):
                return encoding
        return None
    watched = Encoding()
    watched.add(head)
    return watched.found


class Encoding:
    r"""Watches for bytes that are no UTF-8, as a file goes by.

    Where there are more of these than of other letters beyond ASCII, the text is Latin-1, not damaged UTF-8.

    Examples
    --------
    >>> encoding = Encoding()
    >>> for piece in (b"user,item,rating\n", b"1,\xe9t\xe9,3\n"):
    ...     encoding.add(piece)
    >>> encoding.found
    'latin-1'
    """

    def __init__(self) -> None:
        self.found = UTF8
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._settled = False

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        if self._settled or (piece.isascii() and not self._decoder.getstate()[0]):
            return
        try:
            decoded = self._decoder.decode(piece)
            self._settled = not decoded.isascii()
        except UnicodeDecodeError:
            self._settled = True
            text = piece.decode("utf-8", "replace")
            bad = text.count("\ufffd")
            if bad > sum(not letter.isascii() for letter in text) - bad:
                self.found = LATIN1
