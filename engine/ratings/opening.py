"""Opening ratings: which files there are, and what their heads say of format, columns and types."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from engine.chunked.errors import UsageError, is_short, refuse_no_utf8
from engine.chunked.storage import Location, Place, locate
from engine.ratings import places, text_head
from engine.ratings.columns import checked, kind_of, unusual
from engine.ratings.sense import instead
from engine.ratings.source import COLUMNS_OPTION, IdType, NoRatingsError, RatingsFile, Source
from engine.ratings.text_head import checked_separator, compression_of, read_magic
from engine.ratings.times import kept_unit

_KINDS = ("user", "item", "rating", "time")


def open_source(
    path: Place,
    columns: Sequence[str] | None = None,
    *,
    name: str | None = None,
    times: bool = False,
    separator: str | None = None,
    titles: Place | None = None,
) -> Source:
    """Say what ratings are, from the first thousand rows of each file.

    Parameters
    ----------
    path
        A file of text, plain, gzip or zstd, or of Parquet; a folder or a pattern of these (`places.find`).
    columns
        The names of the user, item, rating and, if wanted, timestamp column, where they are not the usual ones. Without
        ratings there are two names, or the third is empty.
    name
        Shown with results; else the folder's or file's name.
    times
        Whether timestamps are needed; if not, a column that holds none is ignored.
    separator
        Of text; else it is found.
    titles
        A file of items and titles; else one with a usual name beside the ratings.

    Raises
    ------
    UsageError
        For all that is visibly wrong, with what to do about it.
    """
    columns, separator = checked(columns), checked_separator(separator)
    found = places.find(path)
    refuse_no_utf8(found.origin, "path")
    opened, empty = [], []
    for file in found.files:
        try:
            opened.append(_open_file(file, columns, times, separator))
        except NoRatingsError as error:
            empty.append(error)
        except UsageError as error:
            told = str(error) + _in_folders(file, ("user", "item"))
            if len(found.files) > 1:
                told += f" (one of {len(found.files)} files: leave it out with a pattern)"
            raise UsageError(told) from None
    if not opened:
        way_on = ": give a file that has some" * str(empty[0]).endswith(" no ratings")
        raise UsageError(f"{empty[0]}{way_on}")  # the kind that other processes know
    first = found.files[0]
    twin = _synthetic_name(first.parent)
    source = Source(
        files=_agreed([file for file, _ in opened], times),
        origin=found.origin,
        name=name or twin or found.name or "ratings",
        synthetic=twin is not None,
        titles=places.titles_beside(first) if titles is None else _named(locate(titles)),
    )
    notes = _notes(source, [notes for _, notes in opened], columns)
    return replace(source, notes=(*notes, *(f"passed over: {error}" for error in empty)))


def _named(titles: Location) -> Location:
    """The file of titles that somebody has named.

    Raises
    ------
    UsageError
        Where there is none.
    """
    if not titles.is_file():
        raise UsageError(f"titles {titles}: there is no such file")
    return titles


def with_test(train: Source, test: Source, times: bool = False) -> Source:
    """Ratings with a test part that was made elsewhere, which is read after them.

    Raises
    ------
    UsageError
        Where one of them has ratings and the other none.
    """
    held_out = [replace(file, held_out=True) for file in test.files]
    notes = [f"test part: {note}" for note in test.notes if note not in train.notes]
    return replace(train, files=_agreed([*train.files, *held_out], times), notes=(*train.notes, *notes))


def _open_file(
    path: Location, columns: Sequence[str] | None, times: bool, separator: str | None
) -> tuple[RatingsFile, list[str]]:
    magic = read_magic(path)
    if magic == b"PAR1":
        from engine.ratings import parquet_head  # loads Polars, which who opens only text need not carry

        return parquet_head.open_parquet(path, columns, times)
    return text_head.open_text(RatingsFile(path, compression=compression_of(magic)), columns, times, separator)


def _synthetic_name(folder: Location) -> str | None:
    try:
        return str(json.loads((folder / "synthetic.json").read_bytes())["name"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as exc:
        if is_short(exc):
            raise
        raise UsageError(f"{folder / 'synthetic.json'} names no data set: generate the data again") from exc


def _agreed(files: Sequence[RatingsFile], times: bool) -> tuple[RatingsFile, ...]:
    """The same files, with ids and times read alike in all.

    Raises
    ------
    UsageError
        Where some have ratings and others none, or where times are needed that some do not have.
    """
    first = files[0]
    if other := next((file for file in files if file.values != first.values), None):
        told = f"{first.called} has {first.values}, {other.called} has {other.values}"
        raise UsageError(f"{told}: give files of one kind")
    timeless = next((file for file in files if file.columns[3] is None), None)
    if times and timeless is not None:
        raise UsageError(
            f"{timeless.called} has the columns {', '.join(timeless.fields)}, none of them with timestamps, which a "
            f"split by time needs: name it with {COLUMNS_OPTION}, or use --set split.method=notebook"
        )
    user_type, item_type = _id_type(file.user_type for file in files), _id_type(file.item_type for file in files)
    unit = kept_unit((file.time_type, file.time_unit) for file in files)
    return tuple(
        replace(
            file,
            columns=file.columns if timeless is None else (*file.columns[:3], None),
            user_type=user_type,
            item_type=item_type,
            time_kept=unit,
            timed=times,
        )
        for file in files
    )


def _id_type(of_files: Iterable[IdType]) -> IdType:
    """Ids are numbers where they are in all files."""
    return "string" if "string" in of_files else "int64"


def _notes(source: Source, opened: Sequence[Sequence[str]], columns: Sequence[str] | None) -> list[str]:
    """What was noted of each file, once; with the number of files where these are many."""
    of_files: dict[str, list[str]] = defaultdict(list)
    called = _called(source.files)
    for file, name, notes in zip(source.files, called, opened, strict=True):
        of_columns = _columns_notes(file) if columns is None else _odd_roles(file)
        missing = [kind for kind, name in zip(("rating", "time"), file.columns[2:], strict=True) if name is None]
        in_folders = [_in_folders(file, missing).removeprefix("; ")]
        for note in filter(None, [*notes, *of_columns, *_values_notes(file), *in_folders]):
            of_files[note].append(name)
    if (n := len(source.files)) == 1:
        return list(of_files)
    every = [f"{n} files are read as one: {called[0]} to {called[-1]}"]
    return every + [
        note if len(names) == n else f"{names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)}: {note}"
        for note, names in of_files.items()
    ]


def _called(files: Sequence[RatingsFile]) -> list[str]:
    """What files are called in notes: the ends of their paths in which they differ, the names at least."""
    paths = [str(file.path).split("/") for file in files]
    depth = next((k for k, parts in enumerate(zip(*paths, strict=False)) if len(set(parts)) > 1), 0)
    return ["/".join(path[min(depth, len(path) - 1) :]) for path in paths]


def _in_folders(file: RatingsFile | Location, missing: Sequence[str]) -> str:
    """What to say where a folder's name has a value of a kind that the file has no column of; else nothing."""
    path = file.path if isinstance(file, RatingsFile) else file
    for part in str(path).split("/")[:-1]:
        name, sign, _ = part.partition("=")
        if sign and kind_of(name) in missing:
            return f"; the names of folders, such as {part}, are not read: put {name} into the files as a column"
    return ""


def _odd_roles(file: RatingsFile) -> list[str]:
    """Columns that were named to hold something else than their names say."""
    named = [(kind, name) for kind, name in zip(_KINDS, file.columns, strict=True) if name]
    odd = [(kind, name, of_name) for kind, name in named if (of_name := kind_of(name)) not in (None, kind)]
    return [
        f"column {name} is read as {kind}s, by its name it holds {of_name}s"
        + (f"; {instead(file.columns)}" if (kind, of_name) == ("rating", "time") else "")
        for kind, name, of_name in odd
    ]


def _columns_notes(file: RatingsFile) -> list[str]:
    kinds = [kind for kind, name in zip(_KINDS, file.columns, strict=True) if name]
    names = [name for name in file.columns if name]
    if not unusual(file.columns) and (file.format == "parquet" or file.separator not in ";|"):
        return []
    separated = f", separated by {file.separator!r}" if file.format == "text" else ""
    return [f"read as {', '.join(kinds)}: columns {', '.join(names)}{separated}"]


def _values_notes(file: RatingsFile) -> list[str]:
    if file.values == "pairs":
        return ["no column of ratings: every row counts 1, and pairs that repeat add up"]
    if file.values == "counts":
        return [f"column {file.columns[2]} is read as counts, not ratings: pairs that repeat add up"]
    return []
