"""A work directory: how it is marked, what the last run in it was, and what each stage's folder holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import msgspec

from engine.chunked.errors import DamagedError, LockedError, UsageError, refuse_no_utf8
from engine.chunked.journal import Journal
from engine.chunked.pipeline import STAGES
from engine.chunked.sealed import read_sealed, write_sealed
from engine.chunked.storage import Location, Place, locate
from engine.chunked.store import RECORDS

METRICS = "metrics.json"
RUN = "run.json"
LOCK = "lock"
MARKER = "workdir.json"
VERSION = 2


class StageEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A stage of a run: what was planned for it and, once it has ended, what it took.

    Attributes
    ----------
    stage, folder : str
        Its name, and that of its folder.
    rounds : list of (str, int)
        Its rounds and their numbers of tasks, as planned; empty where it was finished before.
    estimated_seconds : float
        As planned.
    skipped : bool
        It was finished before; what it took is that of the run that did it, or 0 where not known.
    projected, measured : int
        Bytes, the most of all its rounds, all processes counted; on a cluster, of the worker that used most.
    seconds : float
        Of the last run that did some of it.
    samples : list of (float, int)
        Its memory over time: seconds since it began, bytes.
    params : dict
        Its parameters, as JSON values.
    reads : list of str
        What identifies what it reads from outside.
    """

    stage: str
    folder: str
    params: dict[str, Any] = {}
    reads: list[str] = []
    rounds: list[tuple[str, int]] = []
    estimated_seconds: float = 0.0
    skipped: bool = False
    projected: int = 0
    measured: int = 0
    seconds: float = 0.0
    samples: list[tuple[float, int]] = []


class LastRun(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``run.json``, written when a run begins and after each of its stages.

    Attributes
    ----------
    allowed, workers, processes : int
        Bytes of each process, tasks at a time at most, and processes that they were shared out among.
    stages : list of StageEntry
        In the order of the pipeline.
    details : dict
        The pipeline's.
    origin : str
        What the run is of.
    figures : str
        SHA-256 of ``metrics.json``; empty until there is one.
    """

    allowed: int
    workers: int
    processes: int = 1
    stages: list[StageEntry]
    details: dict[str, Any] = {}
    origin: str = ""
    figures: str = ""


class _Marker(msgspec.Struct, frozen=True):
    version: int


def make(where: Place) -> None:
    """Make a work directory, or see that what is there is one.

    Raises
    ------
    UsageError
        Where it cannot be written, or holds something else.
    DamagedError
        As `check`.
    """
    workdir = locate(where).enclosed()
    refuse_no_utf8(str(workdir.absolute()), "work directory")
    try:
        if all(map(_begun_marker, workdir.names())):
            workdir.make()
        elif not (workdir / MARKER).exists() and last_run(workdir) is None:
            raise UsageError(f"{workdir}: not empty and no work directory: name another work directory")
        else:
            check(workdir)
        if not _marked(workdir):
            write_sealed(workdir / MARKER, _Marker(VERSION))
    except OSError as error:
        raise UsageError(
            f"{workdir}: cannot be used as a work directory ({error.strerror or error}): name another work directory"
        ) from None


def _begun_marker(name: str) -> bool:
    """Whether this is the marker of a run killed while it made its work directory."""
    return PurePath(name).match(f".{MARKER}.*.tmp")


def is_one(where: Place) -> bool:
    """Whether this is a work directory, damaged or of another version or not."""
    workdir = locate(where).enclosed()
    return any((workdir / name).is_file() for name in (MARKER, RUN))


def check(where: Place) -> None:
    """See that this is a work directory of this version; where its marker is damaged, the last run is enough.

    Raises
    ------
    UsageError
        Where it is none.
    DamagedError
        Where another version of the program made it, or too much of it is damaged to tell.
    """
    workdir = locate(where).enclosed()
    refuse_no_utf8(str(workdir.absolute()), "work directory")
    if _marked(workdir) or last_run(workdir) is not None:
        return
    if not (workdir / MARKER).is_file():
        raise UsageError(f"{workdir}: no work directory (no {MARKER} in it)")
    raise DamagedError(
        f"{workdir}: made by another version of this program, or {MARKER} and {RUN} are damaged: name another work "
        "directory"
    )


def refuse_links(where: Place) -> None:
    """See that there is no symbolic link among what runs write and remove.

    Later ones are not followed either (`engine.chunked.storage.base.Location.enclosed`): this is so that nothing is
    begun that has to end halfway.

    Raises
    ------
    DamagedError
        Names the first.
    """
    workdir = locate(where).enclosed()
    for name in (MARKER, RUN, METRICS, LOCK, STAGES):
        (workdir / name).refuse_links()


def _marked(workdir: Location) -> bool:
    try:
        return read_sealed(workdir / MARKER, _Marker).version == VERSION
    except DamagedError:
        return False


def write_last_run(where: Place, last: LastRun) -> None:
    """Keep what the present run is."""
    write_sealed(locate(where).enclosed() / RUN, last)


def last_run(where: Place) -> LastRun | None:
    """What the last run was; None where there was none, or what it left cannot be read."""
    try:
        last = read_sealed(locate(where).enclosed() / RUN, LastRun)
    except DamagedError:
        return None
    return last if all(_is_name(entry.folder) for entry in last.stages) else None


def readable_last_run(where: Place) -> LastRun | None:
    """What the last run was; None where there was none.

    Raises
    ------
    DamagedError
        Where what it left cannot be read.
    """
    workdir = locate(where).enclosed()
    last = last_run(workdir)
    if last is None and (workdir / RUN).exists():
        raise DamagedError(f"{_no_last_run(workdir)}; the next run makes it again")
    return last


def _no_last_run(workdir: Location) -> str:
    """Say what is wrong where it cannot be told what the last run was."""
    return f"{workdir / RUN}: {'altered since it was written' if (workdir / RUN).exists() else 'missing'}"


def _is_name(text: str) -> bool:
    """Whether this can be the name of a stage's folder, and no path."""
    return "-" in text and not {"/", "\0"} & set(text)


def write_figures(workdir: Location, last: LastRun, figures: Mapping[str, Any]) -> None:
    """Write ``metrics.json``, and its digest into ``run.json``."""
    content = msgspec.json.format(msgspec.json.encode(figures))
    (workdir / METRICS).put(content)
    write_last_run(workdir, msgspec.structs.replace(last, figures=hashlib.sha256(content).hexdigest()))


def withdraw_figures(where: Place) -> None:
    """Take ``metrics.json`` back, so that nobody believes it while what it rests on is made again."""
    workdir = locate(where).enclosed()
    last = last_run(workdir)
    if last is not None and last.figures:
        write_last_run(workdir, msgspec.structs.replace(last, figures=""))
    (workdir / METRICS).remove()


@dataclass(frozen=True)
class Folder:
    """A stage's folder: the stage's name, where it is, and the bytes in it."""

    stage: str
    path: Location
    bytes: int


def folders(where: Place) -> list[Folder]:
    """All stages' folders, those of earlier configurations included."""
    workdir = locate(where).enclosed()
    places = [workdir / STAGES / name for name in (workdir / STAGES).names() if "-" in name]
    found = [place for place in places if place.is_dir()]
    return [Folder(place.name.rpartition("-")[0], place, bytes_below(place)) for place in found]


def bytes_below(folder: Location) -> int:
    """Size of all files below a folder; files that vanish meanwhile do not count."""
    return sum(folder.sizes().values())


def unused(where: Place) -> list[Folder]:
    """The folders that the configuration of the last run does not use.

    Raises
    ------
    DamagedError
        Where it cannot be told what the last run was.
    """
    workdir = locate(where).enclosed()
    last = last_run(workdir)
    if last is None:
        raise DamagedError(f"{_no_last_run(workdir)}, so it cannot be told what is used: run first")
    used = {entry.folder for entry in last.stages}
    return [folder for folder in folders(workdir) if folder.path.name not in used]


def remove(found: list[Folder]) -> None:
    """Remove stages' folders; the records go first, so that a stage half removed is not believed."""
    for folder in found:
        (folder.path / RECORDS).remove()
        folder.path.remove()


def clean(where: Place, *, really: bool = False) -> list[Folder]:
    """Find what the last run of a work directory does not use, and remove it if ``really``.

    Raises
    ------
    UsageError, DamagedError, LockedError
        As `check`, `refuse_links` and `unused`; where a run is in progress.
    """
    workdir = locate(where).enclosed()
    check(workdir)
    refuse_links(workdir)
    with (workdir / LOCK).hold():
        found = unused(workdir)
        if really:
            remove(found)
    return found


def verify(where: Place) -> dict[str, str]:
    """Compare every file of a work directory with its recorded size and digest.

    Returns
    -------
    dict of str to str
        What is wrong, by the task or file it is wrong with.

    Raises
    ------
    UsageError, DamagedError, LockedError
        As `check` and `refuse_links`; where a run is in progress, which changes files all the time.
    """
    workdir = locate(where).enclosed()
    check(workdir)
    refuse_links(workdir)
    holder = (workdir / LOCK).holder()
    if holder is not None:
        raise LockedError(f"{workdir} is in use by process {holder.get('pid', '?')}: verify it afterwards")
    last = last_run(workdir)
    complete = {entry.folder for entry in last.stages} if last and last.figures else set()
    faults: dict[str, str] = {}
    for name in sorted({folder.path.name for folder in folders(workdir)} | complete):
        journal = Journal(workdir / STAGES / name)
        faults |= {f"{name}/{task}": fault for task, fault in journal.damaged().items()}
        fault = journal.fault_of_stage(complete=name in complete)
        if fault is not None:
            faults[name] = fault
        elif journal.finished():
            faults |= {
                f"{name}/{stray}": f"{workdir / STAGES / name / stray}: belongs to no task"
                for stray in journal.strays()
            }
    return faults | faults_beside_stages(workdir)


def faults_beside_stages(where: Place) -> dict[str, str]:
    """What is wrong with the files of a work directory that are in no stage's folder, by their names."""
    workdir = locate(where).enclosed()
    last = last_run(workdir)
    faults = {}
    lock = workdir / LOCK
    if lock.exists() and not lock.is_file():
        faults[LOCK] = f"{lock}: no regular file: remove it"
    if not _marked(workdir):
        faults[MARKER] = f"{workdir / MARKER}: missing or altered"
    begun = len({folder.stage for folder in folders(workdir)}) > 1  # during a survey there is none
    if last is None and ((workdir / RUN).exists() or begun):
        faults[RUN] = _no_last_run(workdir)
    if last and not last.figures and (workdir / METRICS).exists():
        faults[METRICS] = f"{workdir / METRICS}: of an earlier run"
    if last and last.figures and _digest(workdir / METRICS) != last.figures:
        faults[METRICS] = f"{workdir / METRICS}: missing or altered"
    return faults


def _digest(path: Location) -> str | None:
    try:
        return path.digest()
    except OSError:
        return None
