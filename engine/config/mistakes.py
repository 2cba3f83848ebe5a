"""What is said of keys and values that no configuration has: what is allowed, and an example."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from engine.config.sections import Config

# Of keys that have no value unless one is given, and of the names of sections.
_EXAMPLES: Mapping[str, Any] = {
    "keep": 2,
    "dataset": "ratings.csv",
    "columns": ["user", "item", "rating"],
    "separator": ";",
    "titles": "titles.csv",
    "workdir": "runs/mine",
    "memory": "512MiB",
    "workers": 2,
    "scheduler": "tcp://10.0.0.5:8786",
    "test": "test.csv",
    "split.leave_last": 1,
    "split.folds": 5,
    "refine.liked_from": 4.0,
    "cooccurrence.liked_from": 4.0,
}


def told(error: str, given: Mapping[str, Any]) -> str:
    """What msgspec says of a value, with the key, the value, what is allowed there, and an example."""
    key = error.rpartition("`$.")[2].rstrip("`").partition("[")[0]
    value: Any = given
    kind: Any = Config
    default: Any = None
    for name in key.split("."):
        field = next(each for each in msgspec.structs.fields(kind) if each.name == name)
        value = value[name] if isinstance(value, Mapping) and name in value else None
        kind, default = field.type, field.default
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        first = msgspec.structs.fields(kind)[0].name
        return f"{key} is {value!r:.200}: it is a section: give its keys, such as {key}.{first}"
    example = _EXAMPLES.get(key, default)
    return f"{key} is {value!r:.200}: give {expected(kind)}, such as {key}={msgspec.json.encode(example).decode()}"


def expected(kind: Any) -> str:
    """What values of a type are allowed, for people.

    Examples
    --------
    >>> from typing import Literal
    >>> from engine.config.sections import Fraction, Positive
    >>> expected(Positive), expected(Fraction), expected(Literal["a", "b"])
    ('a whole number, 1 or more', 'a number, more than 0 and less than 1', 'one of a, b')
    """
    return _allowed(msgspec.inspect.type_info(kind))


def _allowed(found: Any) -> str:
    match found:
        case msgspec.inspect.UnionType(types=types):
            return " or ".join(_allowed(each) for each in types if not isinstance(each, msgspec.inspect.NoneType))
        case msgspec.inspect.LiteralType(values=values):
            return f"one of {', '.join(sorted(map(str, values)))}"
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            what = "a whole number" if isinstance(found, msgspec.inspect.IntType) else "a number"
            return ", ".join([what, *_range(found)])
        case msgspec.inspect.VarTupleType(item_type=item):
            return f"a list, each of it {_allowed(item)}"
        case msgspec.inspect.BoolType():
            return "true or false"
    return "a text"


def _range(found: Any) -> list[str]:
    """The range of numbers that are allowed."""
    low = f"more than {found.gt:g}" if found.gt is not None else ""
    low = f"{found.ge:g} or more" if found.ge is not None else low
    high = f"less than {found.lt:g}" if found.lt is not None else ""
    high = f"at most {found.le}" if found.le is not None else high
    if found.ge is not None and found.le is not None:
        return [f"{found.ge:g} to {found.le}"]
    return [" and ".join(each for each in (low, high) if each)] if low or high else []


def nearest(word: str, names: Iterable[str], prefix: str = "") -> str:
    """What to say of a word that is none of some: the nearest of them, or all.

    Examples
    --------
    >>> nearest("staus", ["run", "status"]), nearest("x", ["run", "status"])
    (": did you mean 'status'?", ': known are run, status')
    """
    names = list(names)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f": did you mean '{prefix}{close[0]}'?"
    return f": known are {', '.join(prefix + name for name in names)}"
