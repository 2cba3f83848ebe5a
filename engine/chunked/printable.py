"""Text of others as it may be sent to a terminal or put into a page: nothing in it acts there.

Titles, ids, names of columns, data sets and folders may hold escape sequences and marks that turn text around.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

# Controls (C0, DEL, C1), marks of direction, ends of lines and paragraphs, tags, and halves of pairs, which stand for
# bytes of a name that are not UTF-8.
_ACTS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: object, keep: str = "") -> str:
    r"""Text with whatever acts on a terminal escaped, but for the characters to keep.

    Examples
    --------
    >>> print(printable("\x1b[2J caf\udce9 \u202etxt"))
    \x1b[2J caf\xe9 \u202etxt
    """
    return _ACTS.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), str(text))


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code & 0xFF:02x}"
    return character.encode("unicode_escape").decode()


def dumps(value: Any) -> str:
    """JSON for programs: in ASCII, exact, and null for what is no finite number, which JSON does not have."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
