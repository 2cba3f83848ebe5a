"""Timestamps: whole numbers of seconds, milliseconds, microseconds or nanoseconds, floats, and ISO dates and times.

They are read as whole numbers of a unit that is the same in all files of a run: that in which the finest of them are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

from engine.ratings.records import INTEGER, NUMBER, fits_int64, whole
from engine.ratings.source import TimeType, TimeUnit

if TYPE_CHECKING:
    import polars as pl

# What a second has of each.
PER_SECOND: dict[TimeUnit, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# Numbers of less than that are seconds of years up to 5138, and so on.
_LESS_THAN: dict[TimeUnit, float] = {"s": 1e11, "ms": 1e14, "us": 1e17, "ns": math.inf}
# Ratings are never so large, and no time since 1973 is so small.
LEAST_TIME = 1e8
EXAMPLE = "2009-03-01 10:00:00"
# Date; hour, minute, second, fraction; zone. A time without one is UTC. The same for `re` and for Polars.
_ISO = (
    "^[ \t]*([0-9]{4}-[0-9]{2}-[0-9]{2})"
    "(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,6})[0-9]*)?)?"
    "[ ]?(Z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)?)?[ \t]*$"
)
_ISO_TIME = re.compile(_ISO)


def settle(cells: Sequence[str]) -> tuple[TimeType, TimeUnit] | None:
    """How the timestamps at the top of a column are written, and what of; None where they are none of what is read."""
    if cells and all(INTEGER.fullmatch(cell) and fits_int64(cell) for cell in cells):
        return "int64", unit_of(map(whole, cells))
    if cells and all(NUMBER.fullmatch(cell) for cell in cells):
        return "float64", unit_of(map(float, cells))
    if cells and all(map(is_iso, cells)):
        return "text", "s" if all(len(cell.strip()) == len("2009-03-01") for cell in cells) else "us"
    return None


def unit_of(times: Iterable[float]) -> TimeUnit:
    """What numbers of this size count."""
    most = max(map(abs, times), default=0)
    return next(unit for unit, limit in _LESS_THAN.items() if most < limit)


def most_of(unit: TimeUnit) -> float:
    """What numbers that count it are less than; infinite where there is no finer unit."""
    return _LESS_THAN[unit]


def kept_unit(files: Iterable[tuple[TimeType, TimeUnit]]) -> TimeUnit:
    """The unit that times are read as, given how each file has them."""
    units = ["us" if type_ == "float64" or unit == "ns" else unit for type_, unit in files]
    return next(unit for unit in ("us", "ms", "s") if unit in units)


def is_iso(text: str) -> bool:
    """Whether a text is such a date or time, and there is that day."""
    found = _ISO_TIME.fullmatch(text)
    if not found:
        return False
    with suppress(ValueError):
        date.fromisoformat(found[1])
        return int(found[2] or 0) < 24 and int(found[3] or 0) < 60 and int(found[4] or 0) < 60
    return False


def fits(text: str, type_: TimeType, unit: TimeUnit, kept: TimeUnit) -> bool:
    """Whether a number can be stored as so many of the unit that times are kept in."""
    if type_ == "float64":
        return abs(float(text)) * PER_SECOND[kept] / PER_SECOND[unit] < 2**63
    return fits_int64(text) and (unit == kept or abs(whole(text)) < room(unit, kept))


def room(unit: TimeUnit, kept: TimeUnit) -> int:
    """The most of a unit that can be stored as so many of another."""
    return 2**63 // max(1, PER_SECOND[kept] // PER_SECOND[unit])


def in_unit(time: pl.Expr, type_: TimeType, unit: TimeUnit, kept: TimeUnit) -> pl.Expr:
    """Times as they are read from a file, as whole numbers of a unit; null where they are none."""
    import polars as pl

    if type_ == "date":
        return time.dt.epoch(kept)
    if type_ == "text":
        return _microseconds(time).floordiv(PER_SECOND["us"] // PER_SECOND[kept])
    mine, wanted = PER_SECOND[unit], PER_SECOND[kept]
    if type_ == "float64":
        return (time * (wanted / mine)).round().cast(pl.Int64, strict=False)
    if mine == wanted:
        return time
    if wanted < mine:
        return time.floordiv(mine // wanted)
    most = room(unit, kept)
    return pl.when(time.is_between(-most, most, closed="none")).then(time * (wanted // mine))


def _microseconds(text: pl.Expr) -> pl.Expr:
    import polars as pl

    parts = text.str.extract_groups(_ISO)
    part = [parts.struct.field(str(k)) for k in range(1, 7)]
    hour, minute, second = (each.cast(pl.Int64, strict=False).fill_null(0) for each in part[1:4])
    micro = part[4].str.pad_end(6, "0").cast(pl.Int64, strict=False).fill_null(0)
    sign = pl.when(part[5].str.starts_with("-")).then(-1).otherwise(1)
    hours, minutes = part[5].str.slice(1, 2), part[5].str.slice(3).str.strip_prefix(":")
    zone = sum(each.cast(pl.Int64, strict=False).fill_null(0) * k for each, k in ((hours, 3600), (minutes, 60)))
    day = part[0].str.to_date("%Y-%m-%d", strict=False).cast(pl.Int64)
    seconds = ((day * 24 + hour) * 60 + minute) * 60 + second - sign * zone
    sound = (part[0] > "0001") & (hour < 24) & (minute < 60) & (second < 60)
    return pl.when(sound).then(seconds * PER_SECOND["us"] + micro)
