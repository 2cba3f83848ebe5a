"""Finished runs of a work directory: the newest is what readers are given, until the next is complete.

Each has a file of its own in ``finished/``; ``published.json`` names them, the newest first. It is replaced as a whole
when a run is complete, so that whoever opens the work directory finds the run before, or the new one, and nothing
between.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from engine.chunked import workdir
from engine.chunked.errors import DamagedError, UsageError, unless_full
from engine.chunked.pipeline import STAGES
from engine.chunked.sealed import read_sealed, write_sealed
from engine.chunked.storage import Location, Place, locate
from engine.chunked.store import RECORDS
from engine.chunked.workdir import FINISHED, LOCK, PUBLISHED, LastRun


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A finished run.

    Attributes
    ----------
    run : LastRun
        What it was, and what it took.
    metrics : dict
        The content of its ``metrics.json``.
    """

    run: LastRun
    metrics: dict[str, Any] = {}

    @property
    def fingerprint(self) -> str:
        """What identifies what it left: 16 hexadecimal digits."""
        return hashlib.sha256(msgspec.json.encode(sorted(self.run.folders))).hexdigest()[:16]

    @property
    def reads(self) -> list[str]:
        """What identifies what it was made from."""
        return self.run.stages[0].reads


class _Published(msgspec.Struct, frozen=True):
    """Fingerprints of finished runs, the newest first."""

    runs: list[str]


def names(where: Place) -> list[str]:
    """Fingerprints of the finished runs of a work directory, the newest first.

    Raises
    ------
    DamagedError
        Where it cannot be read which these are.
    """
    path = locate(where).enclosed() / PUBLISHED
    found = read_sealed(path, _Published).runs if path.exists() else []
    if not all(map(str.isalnum, found)):
        raise DamagedError(f"{path}: names no finished runs; the next run makes it again")
    return found


def finished(where: Place, name: str) -> Finished:
    """A finished run by its fingerprint.

    Raises
    ------
    DamagedError
        Where what it left cannot be read.
    """
    path = _path(locate(where).enclosed(), name)
    found = read_sealed(path, Finished)
    if not found.run.names_folders or found.fingerprint != name:
        raise DamagedError(f"{path}: of another run; the next run makes it again")
    return found


def newest(where: Place) -> Finished | None:
    """The newest finished run of a work directory; None where there is none.

    Raises
    ------
    DamagedError
        Where it cannot be read.
    """
    found = names(where)
    return finished(where, found[0]) if found else None


def opened(where: Place) -> Finished:
    """The newest finished run of what must be a work directory; a later one may be in progress.

    Raises
    ------
    UsageError
        Where it is none, or none of its runs is finished.
    DamagedError
        As `newest`, `engine.chunked.workdir.check` and `engine.chunked.workdir.refuse_links`.
    """
    place = locate(where).enclosed()
    workdir.check(place)
    workdir.refuse_links(place)
    found = newest(place)
    if found is not None:
        return found
    if (last := workdir.readable_last_run(place)) is not None and last.figures:
        raise UsageError(f"{place}: an earlier version ran it; run it once more, which only redoes what has changed")
    holder = (place / LOCK).holder()
    wait = f"process {holder.get('pid', '?')} is at it: wait" if holder else "run it again to go on"
    raise UsageError(f"{place}: its run is not finished, and there is none before it; {wait}")


def publish(where: Place, last: LastRun, metrics: dict[str, Any], keep: int | None = None) -> None:
    """Put a finished run in the place of the one before; then say so in ``run.json``, and remove what is not kept.

    Parameters
    ----------
    where : path or URL
        The work directory, held by the caller.
    last, metrics
        What the run was, and its figures.
    keep : int or None
        Finished runs that are kept, this one included. None: those made from the same as this one, and the last one
        that was not.
    """
    place = locate(where).enclosed()
    new = Finished(run=last, metrics=metrics)
    before = [each for each in _readable(place) if each.fingerprint != new.fingerprint]
    if keep is None:
        last_other = [each for each in before if each.reads != new.reads][:1]
        kept = [each for each in before if each.reads == new.reads or each in last_other]
    else:
        kept = before[: keep - 1]
    write_sealed(_path(place, new.fingerprint), new)
    _name(place, [new, *kept])
    workdir.write_last_run(place, last)
    gone = _folders(each for each in before if each not in kept) - _folders([new, *kept])
    remove([place / STAGES / name for name in sorted(gone)])


def withdraw(where: Place, folders: set[str]) -> None:
    """Take back the finished runs that use some stages' folders, before these are removed."""
    place = locate(where).enclosed()
    runs = _readable(place)
    _name(place, [each for each in runs if not each.run.folders & folders])


def keep_newest(where: Place) -> None:
    """Forget all finished runs but the newest; what they left stays."""
    place = locate(where).enclosed()
    _name(place, _readable(place)[:1])


def used(where: Place) -> set[str]:
    """Names of all stages' folders that finished runs use, so far as these can be read."""
    return _folders(_readable(locate(where).enclosed()))


def forget_and_remove(forget: Callable[[], None], folders: Sequence[Location]) -> None:
    """Remove stages' folders once nobody says that there are results in them any more; see `remove`.

    Parameters
    ----------
    forget : callable
        Writes that down. Where a disk is too full for that, it is called once more when the folders are gone: whoever
        is killed between leaves finished runs without some of their folders, which `faults` and `verify` tell.
    folders : sequence of Location
    """
    forgotten = False
    with unless_full():
        forget()
        forgotten = True
    remove(folders)
    if not forgotten:
        forget()


def remove(folders: Sequence[Location]) -> None:
    """Remove stages' folders; the records go first, so that a stage half removed is not believed."""
    for folder in folders:
        (folder / RECORDS).remove()
        folder.remove()


def _readable(place: Location) -> list[Finished]:
    """The finished runs, without those whose files are damaged: the run that asks makes its own again."""
    try:
        known = names(place)
    except DamagedError:
        return []
    found = []
    for name in known:
        try:
            found.append(finished(place, name))
        except DamagedError:
            continue
    return found


def _name(place: Location, kept: Sequence[Finished]) -> None:
    """Name the runs that are kept, and remove the files of others."""
    fingerprints = [each.fingerprint for each in kept]
    if (kept or (place / PUBLISHED).exists()) and not _named_so(place, fingerprints):
        write_sealed(place / PUBLISHED, _Published(fingerprints))
    for name in (place / FINISHED).names():
        if name.removesuffix(".json") not in fingerprints:
            (place / FINISHED / name).remove()


def _named_so(place: Location, fingerprints: list[str]) -> bool:
    """Whether it is these that are named: then nothing is written, for which there may be no room."""
    try:
        return (place / PUBLISHED).exists() and names(place) == fingerprints
    except DamagedError:
        return False


def _folders(runs: Iterable[Finished]) -> set[str]:
    return {name for each in runs for name in each.run.folders}


def _path(place: Location, name: str) -> Location:
    return place / FINISHED / f"{name}.json"


def faults(where: Place) -> dict[str, str]:
    """What is wrong with the files of finished runs, by their names."""
    place = locate(where).enclosed()
    found = {}
    try:
        for name in names(place):
            try:
                finished(place, name)
            except DamagedError as error:
                found[f"{FINISHED}/{name}.json"] = str(error)
        last = workdir.last_run(place)
        if last is not None and last.figures and Finished(run=last).fingerprint not in names(place):
            found[PUBLISHED] = f"{place / PUBLISHED}: does not name the last run, which is finished"
    except DamagedError as error:
        found[PUBLISHED] = str(error)
    return found
