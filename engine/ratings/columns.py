"""Which columns of a ratings file hold what, by their names or as the user says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from engine.chunked.errors import UsageError
from engine.ratings.source import COLUMNS_OPTION, Names, Values

# What columns are usually called, as `column_key` gives it; the first group that a file has decides.
USERS = (
    {"user", "userid"},
    {"uid", "customer", "customerid", "reviewer", "reviewerid", "visitor", "visitorid", "member", "memberid"},
)
ITEMS = (
    {"item", "itemid", "movie", "movieid"},
    {"iid", "isbn", "asin", "parentasin", "product", "productid", "book", "bookid", "film", "filmid", "artist"}
    | {"artistid", "track", "trackid", "song", "songid", "game", "gameid", "anime", "animeid", "joke", "jokeid"}
    | {"article", "articleid", "business", "businessid", "venue", "venueid", "location", "locationid"},
)
RATINGS = (
    {"rating"},
    {"bookrating", "userrating", "reviewrating", "stars", "score", "overall"},
)
COUNTS = ({"count", "counts", "plays", "playcount", "listens", "clicks", "views", "visits", "purchases", "weight"},)
TIMES = (
    {"timestamp"},
    {"time", "ts", "datetime", "when", "unixreviewtime", "eventtime", "createdat", "ratedat"},
    {"date"},
)
_REMEDY = f"say which of them to read with {COLUMNS_OPTION}"


def in_python(message: str) -> str:
    """A message of this module for who has no command line.

    Examples
    --------
    >>> in_python("say so with --columns who,what,,when")
    'say so with columns=["who", "what", "", "when"]'
    """
    return re.sub(
        r"--columns (\S+)",
        lambda found: f"columns={json.dumps(re.sub(r'[][]', '', found[1]).split(','), ensure_ascii=False)}",
        message,
    )


@contextmanager
def told_in_python() -> Iterator[None]:
    """Tell mistakes about columns to who has no command line."""
    try:
        yield
    except UsageError as error:
        error.args = (in_python(str(error)),)
        raise


def column_key(field: str) -> str:
    """What of the name of a column tells the usual ones."""
    return re.sub("[-_ ]|:(token|float)$", "", field.strip()).casefold()  # the latter is how RecBole tells types


def checked(columns: Sequence[str] | None) -> Sequence[str] | None:
    """The names that a user gives; the third may be empty or missing.

    Raises
    ------
    UsageError
        Where they are too few or too many, or two are the same.
    """
    if columns is None:
        return None
    given = [name for name in columns if name]
    wrong = len(columns) not in (2, 3, 4) or not all([*columns[:2], *columns[3:]]) or len(set(given)) < len(given)
    if wrong:
        raise UsageError(
            f"{COLUMNS_OPTION} takes two to four different names, not {','.join(columns)!r}; "
            "without ratings write user,item or user,item,,timestamp"
        )
    return columns


def choose(path: object, fields: Sequence[str], columns: Sequence[str] | None) -> tuple[Names, Values]:
    """The columns to read, each of which has to be there once, and what they hold.

    Parameters
    ----------
    path
        The file, or what it is called in messages.
    fields
        All its columns.
    columns
        As `checked` gives them. None: those with usual names; ratings and timestamps may be missing.

    Raises
    ------
    UsageError
        Where one is missing, or it is not clear which one it is.
    """
    if columns is None:
        return _usual(path, fields)
    if missing := [name for name in columns if name and name not in fields]:
        raise unclear(path, fields, but=f", but no {' and no '.join(missing)}")
    if twice := [name for name in columns if fields.count(name) > 1]:
        raise _ambiguous(path, fields, twice[0])
    user, item, rating, timestamp = [*columns, *[""] * (4 - len(columns))]
    counted = column_key(rating) in set().union(*COUNTS)
    values: Values = "pairs" if not rating else "counts" if counted else "ratings"
    return (user, item, rating or None, timestamp or None), values


def _usual(path: object, fields: Sequence[str]) -> tuple[Names, Values]:
    user, item = (find(path, fields, names) for names in (USERS, ITEMS))
    if user is None or item is None:
        raise unclear(path, fields)
    timestamp, rating = find(path, fields, TIMES), find(path, fields, RATINGS)
    if rating is not None:
        return (user, item, rating, timestamp), "ratings"
    if (count := find(path, fields, COUNTS)) is not None:
        return (user, item, count, timestamp), "counts"
    if others := [
        field for field in fields if field not in (user, item) and column_key(field) not in set.union(*TIMES)
    ]:
        given = ",".join((user, item, *([] if timestamp is None else ["", timestamp])))
        raise unclear(
            path, fields, but=f", none of them known to be ratings; --columns {given} where {others[0]} is not that"
        )
    return (user, item, None, timestamp), "pairs"


def find(path: object, fields: Sequence[str], names: Sequence[set[str]], remedy: str = _REMEDY) -> str | None:
    """The column with one of the names, in the first group that the file has; None where there is none.

    Raises
    ------
    UsageError
        Where it has several of that group.
    """
    for group in names:
        found = [field for field in fields if column_key(field) in group]
        if len(set(found)) < len(found):
            raise _ambiguous(path, fields, next(name for name in found if found.count(name) > 1))
        if len(found) > 1:
            raise unclear(path, fields, remedy)
        if found:
            return found[0]
    return None


def unclear(path: object, fields: Sequence[str], remedy: str = _REMEDY, but: str = "") -> UsageError:
    """That it is not clear which columns to read."""
    if not fields:
        return UsageError(f"{path} has no columns: give a file with users, items and ratings")
    return UsageError(f"{path} has the columns {', '.join(fields)}{but}: {remedy}")


def _ambiguous(path: object, fields: Sequence[str], name: str) -> UsageError:
    """That a name does not say which column is meant."""
    return UsageError(
        f"{path} has the columns {', '.join(fields)}, {fields.count(name)} of them called {name}: "
        "rename or remove one of these"
    )


def unusual(columns: Names) -> bool:
    """Whether one of the columns has a name that was found without being the plainest."""
    plainest = (USERS[0], ITEMS[0], RATINGS[0], TIMES[0])
    return any(name and column_key(name) not in keys for name, keys in zip(columns, plainest, strict=True))


def all_usual(columns: Sequence[str]) -> bool:
    """Whether names, in whatever order, say by themselves which column holds what; each is usual, or empty."""
    usual = set().union(*USERS, *ITEMS, *RATINGS, *COUNTS, *TIMES)
    return all(column_key(name) in usual for name in columns if name)


def kind_of(name: str) -> str | None:
    """What a column of this name usually holds; None where that is not known."""
    kinds = {"user": USERS, "item": ITEMS, "rating": (*RATINGS, *COUNTS), "time": TIMES}
    return next((kind for kind, names in kinds.items() if column_key(name) in set().union(*names)), None)
