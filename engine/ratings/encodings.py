"""How a text file is encoded: UTF-8, UTF-16, UTF-32 or Windows-1252, by its bytes."""

from __future__ import annotations

import codecs
from typing import Any

# The mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
UTF8 = "utf-8"
WINDOWS = "windows-1252"
NAMES = {
    "utf-8": "UTF-8",
    "windows-1252": "Windows-1252 (Latin-1)",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "utf-32": "UTF-32",
}
_BYTES = [bytes([byte]) for byte in range(256)]
# Latin-1, with letters where that has controls; the five bytes that Windows-1252 lacks are what they are in Latin-1.
_LETTERS = "".join(byte.decode("cp1252", "ignore") or byte.decode("latin-1") for byte in _BYTES)


def encoding_of(head: bytes) -> str | None:
    """Tell the encoding of a text by its first bytes; None where it is no text."""
    if marked := next((encoding for mark, encoding in _MARKS.items() if head.startswith(mark)), None):
        return marked
    if b"\0" in head:
        # Of text in UTF-16 that is mostly ASCII, every other byte is 0.
        for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            if head[first::2].count(0) > 0.6 * (len(head) // 2) and not head[1 - first :: 2].count(0):
                return encoding
        return None
    watched = Encoding()
    watched.add(head)
    return watched.found


class _Windows(codecs.IncrementalDecoder):
    """Reads Windows-1252, and whatever is Latin-1."""

    def decode(self, piece: Any, final: bool = False) -> str:
        """See `codecs.IncrementalDecoder`."""
        return codecs.charmap_decode(piece, self.errors, _LETTERS)[0]


def decoder_of(encoding: str) -> codecs.IncrementalDecoder:
    """What reads text of an encoding, piece by piece."""
    return _Windows() if encoding == WINDOWS else codecs.getincrementaldecoder(encoding)()


class Encoding:
    r"""Watches for bytes that are no UTF-8, as a file goes by.

    Where there are more of these than of other letters beyond ASCII, the text is Windows-1252, of which
    Latin-1's letters are a part, not damaged UTF-8.

    Examples
    --------
    >>> encoding = Encoding()
    >>> for piece in (b"user,item,rating\n", b"1,\xe9t\xe9,3\n"):
    ...     encoding.add(piece)
    >>> encoding.found
    'windows-1252'
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
                self.found = WINDOWS
