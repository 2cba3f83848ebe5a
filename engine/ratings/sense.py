"""Whether a column can be the ratings that it is said to be."""

from __future__ import annotations

from collections.abc import Sequence

from engine.chunked.errors import UsageError
from engine.ratings.columns import kind_of
from engine.ratings.source import Names, RatingsFile
from engine.ratings.times import LEAST_TIME, is_iso

# So many ratings are looked at, at least, and so large a share of them is different, where they are taken for ids.
_LEAST_ROWS = 100
_IDS_SHARE = 0.9


def refuse_nonsense(file: RatingsFile, ratings: Sequence[float]) -> list[str]:
    """Refuse ratings or counts that are times; return what should be noted of them.

    Parameters
    ----------
    file
        What they are of.
    ratings
        Those at the top of it.

    Raises
    ------
    UsageError
        Where most look like times, or like dates such as 20240301.
    """
    name = file.columns[2]
    if name is None or not ratings:
        return []
    times = [rating for rating in ratings if rating >= LEAST_TIME or _is_date(rating)]
    if 2 * len(times) > len(ratings):
        told = f"column {name} looks like times, not {file.values} ({times[0]:.0f})"
        raise UsageError(f"{file.called}, {told}: {instead(file.columns)}")
    if file.values != "ratings" or len(ratings) < _LEAST_ROWS:
        return []
    n_different, without = len(set(ratings)), f"--columns {','.join(file.columns[:2])}"
    if n_different == 1:
        return [
            f"column {name} is {ratings[0]:g} in all of the first {len(ratings)} rows: if it is so in all, nothing is "
            f"rated, and each row stands for an item taken; without the column, write {without}"
        ]
    if all(float(rating).is_integer() for rating in ratings) and n_different > _IDS_SHARE * len(ratings):
        return [
            f"column {name} has {n_different} different whole numbers in {len(ratings)} rows, as ids or counts have: "
            f"if it holds no ratings, write {without}"
        ]
    return []


def _is_date(number: float) -> bool:
    """Whether it may be a date of this or the last century, written without signs: 20240301."""
    if not (19_000_000 < number < 21_000_000 and number.is_integer()):
        return False
    year, day = divmod(int(number), 10_000)
    return is_iso(f"{year}-{day // 100:02}-{day % 100:02}")


def advice(file: RatingsFile, column: str | None, text: str) -> str:
    """What else to say where a value of some column is bad: that ratings are dates or times."""
    if column is None or column != file.columns[2]:
        return ""
    digits = text.strip()
    is_time = is_iso(text) or (digits.isascii() and digits.isdigit() and int(digits[:20]) >= LEAST_TIME)
    return f"; it looks like a time: {instead(file.columns)}" if is_time else ""


def are_dates(cells: Sequence[str]) -> bool:
    """Whether most texts are dates and times."""
    return sum(map(is_iso, cells)) * 2 > len(cells)


def instead(columns: Names) -> str:
    """What to write where the column of ratings holds times."""
    user, item, rating, timestamp = columns
    if timestamp is not None and kind_of(timestamp) == "rating":
        return f"if both columns are interchanged, write --columns {user},{item},{timestamp},{rating}"
    return f"without ratings, write --columns {user},{item},,{timestamp or rating}"
