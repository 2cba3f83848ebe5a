"""What callers give as numbers, in Python's own: NumPy's are numbers, too, and truth values are none."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import msgspec

from engine.chunked.errors import UsageError


def plain(value: Any) -> Any:
    """A number, truth value, text or path in Python's own types; anything else as it is.

    Examples
    --------
    >>> from fractions import Fraction
    >>> plain(Fraction(1, 2)), plain(True), plain("a"), plain([1])
    (0.5, True, 'a', [1])
    """
    if isinstance(value, bool) or _is_numpys_bool(value):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, str):
        return str(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _is_numpys_bool(value: Any) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_")


def json_value(value: Any, what: str) -> Any:
    """What a caller gave, as JSON holds it and gives it back: the same in every process, and the same each time.

    Raises
    ------
    UsageError
        Where there is something in it that JSON does not have; ``what`` names it.

    Examples
    --------
    >>> json_value({"sizes": (1, 2), "share": 0.5}, "params")
    {'sizes': [1, 2], 'share': 0.5}
    """
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value, order="deterministic")  # of sets, too, which a type may give back
    if isinstance(value, Mapping):
        return {_key(key, what): json_value(each, f"{what}[{key!r}]") for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(each, f"{what}[{index}]") for index, each in enumerate(value)]
    found = plain(value)
    if found is not None and not isinstance(found, bool | int | float | str):
        raise UsageError(f"{what} is {found!r}, a {type(found).__name__}: give numbers, texts, None, lists and dicts")
    if isinstance(found, float) and not math.isfinite(found):
        raise UsageError(f"{what} is {found}, which JSON does not have: give None, or a text")
    return found


def _key(key: Any, what: str) -> str:
    if not isinstance(key, str):
        raise UsageError(f"{what} has the key {key!r}: give texts as keys, since JSON has no others")
    return key


def whole_number(value: Any, what: str, least: int = 1) -> int:
    """A whole number that a caller gave, of any type of whole numbers.

    Raises
    ------
    UsageError
        Where it is none, or less than ``least``; ``what`` names it.
    """
    found = plain(value)
    if not isinstance(found, int) or isinstance(found, bool) or found < least:
        raise UsageError(f"{what} is {value!r}: give a whole number, {least} or more")
    return found


def at_least_one(value: Any, what: str) -> int:
    """How many are asked for.

    Raises
    ------
    UsageError
        Where it is no whole number, or less than 1.
    """
    found = plain(value)
    if not isinstance(found, int) or isinstance(found, bool):
        raise UsageError(f"{value!r} {what}: ask for a whole number of them")
    if found < 1:
        raise UsageError(f"{value} {what}: ask for 1 or more")
    return found


def truth(value: Any, what: str) -> bool:
    """A truth value that a caller gave.

    Raises
    ------
    UsageError
        Where it is none.
    """
    found = plain(value)
    if not isinstance(found, bool):
        raise UsageError(f"{what} is {value!r}: give True or False")
    return found


def one_of(value: Any, what: str, choices: Sequence[str]) -> str:
    """A word that a caller gave, of a fixed few.

    Raises
    ------
    UsageError
        Where it is another.
    """
    found = plain(value)
    if not isinstance(found, str) or found not in choices:
        raise UsageError(f"{what} is {value!r}: give one of {', '.join(choices)}")
    return found
