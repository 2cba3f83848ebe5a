"""Whether a column can be the ratings that it is said to be."""

from __future__ import annotations

from collections.abc import Sequence

from engine.chunked.errors import UsageError
from engine.ratings.source import RatingsFile
from engine.ratings.times import LEAST_TIME, is_iso

# So many ratings are looked at, at least, and so large a share of them is different, where they are taken for ids.
_LEAST_ROWS = 100
_IDS_SHARE = 0.9


def refuse_nonsense(file: RatingsFile, ratings: Sequence[float]) -> list[str]:
    """Refuse ratings that are times; return what should be noted of them.

    Parameters
    ----------
    file
        What they are of.
    ratings
        Those at the top of it.

    Raises
    ------
    UsageError
        Where they look like times.
    """
    name = file.columns[2]
    if file.values != "ratings" or not ratings:
        return []
    if min(ratings) >= LEAST_TIME:
        raise UsageError(
            f"{file.path}, column {name} looks like times, not ratings ({ratings[0]:.0f}): without ratings, write "
            f"--columns {_without_rating(file)}"
        )
    whole = all(float(rating).is_integer() for rating in ratings)
    n_different = len(set(ratings))
    if whole and len(ratings) >= _LEAST_ROWS and n_different > _IDS_SHARE * len(ratings):
        user, item = file.columns[:2]
        return [
            f"column {name} has {n_different} different whole numbers in {len(ratings)} rows, as ids or counts have: "
            f"if it holds no ratings, write --columns {user},{item}"
        ]
    return []


def advice(file: RatingsFile, column: str | None, text: str) -> str:
    """What else to say where a value of some column is bad: that ratings are dates."""
    if column is not None and column == file.columns[2] and is_iso(text):
        return f"; without ratings, write --columns {_without_rating(file)}"
    return ""


def are_dates(cells: Sequence[str]) -> bool:
    """Whether most texts are dates and times."""
    return sum(map(is_iso, cells)) * 2 > len(cells)


def _without_rating(file: RatingsFile) -> str:
    user, item, rating, timestamp = file.columns
    return f"{user},{item},,{timestamp or rating}"
