"""Which files of ratings a place means: a file, those of a folder, those that match a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from engine.chunked.errors import UsageError
from engine.chunked.storage import Location, Place, locate

_TEXT_KINDS = ("csv", "tsv", "dat")
_FOLDERS_NAME = ("ratings.parquet", *(f"ratings.{kind}{z}" for kind in _TEXT_KINDS for z in ("", ".gz", ".zst")))
RATINGS_FILES = (*_FOLDERS_NAME, "u.data")
"""What a folder's ratings are usually called: one of these is all of them."""
TITLES_FILES = (
    *(f"{name}.{kind}" for name in ("movies", "items", "titles") for kind in (*_TEXT_KINDS, "parquet")),
    *("u.item", "movies.csv.gz", "items.csv.gz"),
)
"""What the file of titles beside ratings is called."""
# Beside these, what a folder's files of ratings are never called.
_NO_RATINGS = {*TITLES_FILES, "users.csv", "users.dat", "users.parquet", "links.csv", "tags.csv", "u.user"}
_RATINGS_KIND = re.compile(r"\.(csv|tsv|dat|data|inter|parquet|pq)(\.gz|\.zst)?$", re.IGNORECASE)
# The end of a file's name that says what kind of file it is, and all after it.
_KIND = re.compile(r"\.(csv|tsv|dat|data|inter|txt|parquet|pq|gz|zst)(\.|$).*", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """Files of ratings, in the order of their names, what they are of, and how that is called."""

    files: Sequence[Location]
    origin: str
    name: str


def find(place: Place) -> Found:
    """The files that a place means.

    Parameters
    ----------
    place
        A file; a folder with ``ratings.csv`` or the like, or all of whose files are ratings, those in folders within
        included; or a pattern with ``*``, ``?`` or ``[...]``.

    Raises
    ------
    UsageError
        Where there are none, with what is there.
    """
    where = locate(place)
    if where.is_file():
        return _one(where)
    if where.is_dir():
        return _one(single) if (single := ratings_in(where)) else _all_of(where)
    if where.exists():
        raise UsageError(f"{where} is no regular file: save the ratings as a file first, they are read more than once")
    if is_pattern(str(place)):
        return _matching(str(place))
    raise UsageError(f"{where} does not exist: give a ratings file, or a folder that holds ratings.csv")


def ratings_in(where: Place) -> Location | None:
    """Return the ratings file of a folder, if it has one with a usual name."""
    folder = locate(where)
    return next((folder / name for name in RATINGS_FILES if (folder / name).is_file()), None)


def titles_beside(where: Location) -> Location | None:
    """Return the file of titles beside a file of ratings, if there is one."""
    return next((where.parent / name for name in TITLES_FILES if (where.parent / name).is_file()), None)


def is_pattern(text: str) -> bool:
    """Whether a path has signs that stand for others."""
    return any(sign in text for sign in "*?[")


def _one(file: Location) -> Found:
    folder = file.resolve().parent
    name = folder.name if file.name in _FOLDERS_NAME else _KIND.sub("", file.name)
    return Found([file], str(file.absolute()), name)


def _all_of(folder: Location) -> Found:
    if files := _below(folder):
        return Found(files, str(folder.absolute()), folder.resolve().name)
    held = folder.names()
    listed = ", ".join(held[:8]) + (", ..." if len(held) > 8 else "")
    otherwise = f"; to read files of any name, give a pattern such as '{folder}/*'" if held else ""
    raise UsageError(f"{folder} holds no ratings.csv (.tsv, .dat, .parquet), only: {listed or 'nothing'}{otherwise}")


def _below(folder: Location) -> list[Location]:
    """All files of ratings in a folder and in those within, without what is hidden."""
    names = [name for name in folder.sizes() if not re.search(r"(^|/)[._]", name)]
    kept = [name for name in names if _RATINGS_KIND.search(name) and name.rpartition("/")[2] not in _NO_RATINGS]
    return [folder / name for name in sorted(kept, key=lambda name: name.split("/"))]


def _matching(pattern: str) -> Found:
    parts = pattern.split("/")
    fixed = next(k for k, part in enumerate(parts) if is_pattern(part))
    start = locate("/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else "."))
    files = [
        file for place in _expanded(start, parts[fixed:]) for file in (_below(place) if _is_folder(place) else [place])
    ]
    if not files:
        raise UsageError(f"{pattern} matches no file: give a ratings file, a folder, or a pattern such as 'data/*.csv'")
    origin = "/".join([str(start.absolute()).rstrip("/"), *parts[fixed:]])
    return Found(files, origin, _KIND.sub("", files[0].name) if len(files) == 1 else start.resolve().name)


def _is_folder(place: Location) -> bool:
    """Whether it is one, or nothing at all: a pipe is refused by its name."""
    return not place.is_file() and (place.is_dir() or not place.exists())


def _expanded(folder: Location, parts: Sequence[str]) -> Iterator[Location]:
    """What matches a pattern below a folder, in the order of names; ``**`` stands for any folders."""
    if not parts:
        yield folder
        return
    first, *rest = parts
    if first == "**":
        yield from _expanded(folder, rest)
    elif not is_pattern(first):
        if (folder / first).exists():
            yield from _expanded(folder / first, rest)
        return
    for name in sorted(folder.names()):
        if name.startswith(".") and not first.startswith("."):
            continue
        if first == "**" and (folder / name).is_dir():
            yield from _expanded(folder / name, parts)
        elif first != "**" and fnmatchcase(name, first) and (not rest or (folder / name).is_dir()):
            yield from _expanded(folder / name, rest)
