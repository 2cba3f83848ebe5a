"""How wide a terminal is, and text broken between words to fit it. What goes into a pipe or a file is not broken."""

from __future__ import annotations

import os
import re
import textwrap
from typing import IO

_USUAL = 80
# With less than this a line cannot be broken so that it reads any better.
_LEAST = 30
# Where the columns of a table's line begin: behind blanks at its beginning, or two or more within it.
_COLUMN = re.compile(r"^ +|(?<=\S)  +")


def columns(stream: IO[str]) -> int | None:
    """The columns of the terminal that a stream is; None where it is none."""
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL
    except (OSError, ValueError):  # it says so, but there is none behind it, or it does not tell its size
        return _USUAL


def fitted(text: str, stream: IO[str], hang: str | None = None) -> str:
    """Text for a stream: on a terminal, lines longer than it is wide are broken between words.

    Parameters
    ----------
    text : str
    stream : file
        Where it is going to.
    hang : str or None
        What the lines begin with that a broken one goes on in; none: as many blanks as bring them under the last column
        of its line, as of a table.
    """
    width = columns(stream)
    return text if width is None else "\n".join(_broken(line, width, hang) for line in text.split("\n"))


def _broken(line: str, width: int, hang: str | None) -> str:
    if len(line) <= width or width < _LEAST:
        return line
    after = " " * _last_column(line, width * 3 // 5) if hang is None else hang
    lines = textwrap.wrap(
        line, width, subsequent_indent=after, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    return "\n".join(lines)


def _last_column(line: str, limit: int) -> int:
    """Where the last column of a line begins, of those that leave room for words; a sentence has none."""
    return max((found.end() for found in _COLUMN.finditer(line) if found.end() <= limit), default=2)
