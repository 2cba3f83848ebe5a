"""A work directory: how it is marked, and what the last run in it was."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Annotated, Any

import msgspec

from engine.chunked.errors import DamagedError, UsageError, is_short, refuse_no_utf8
from engine.chunked.pipeline import STAGES
from engine.chunked.sealed import read_sealed, write_sealed
from engine.chunked.storage import Location, Place, locate

METRICS = "metrics.json"
RUN = "run.json"
PUBLISHED = "published.json"
FINISHED = "finished"
LOCK = "lock"
MARKER = "workdir.json"
VERSION = 2
# Bytes of a name: file systems take no more.
_LONGEST = 255
# Work directories that a message names at most.
_NAMED = 5
Count = Annotated[int, msgspec.Meta(ge=0)]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
Amount = Annotated[float, msgspec.Meta(ge=0)]


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
    idle : bool
        It has nothing to do: its rounds have no tasks.
    projected, measured : int
        Bytes, the most of all its rounds, all processes counted; on a cluster, of the worker that used most.
    seconds : float
        Of the last run that did some of it.
    stored, kept : int
        Bytes of chunks that its tasks asked a cache for, those of that run: read from storage, and found there.
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
    rounds: list[tuple[str, Count]] = []
    estimated_seconds: Amount = 0.0
    skipped: bool = False
    idle: bool = False
    projected: Count = 0
    measured: Count = 0
    seconds: Amount = 0.0
    stored: Count = 0
    kept: Count = 0
    samples: list[tuple[Amount, Count]] = []


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

    allowed: AtLeastOne
    workers: AtLeastOne
    processes: AtLeastOne = 1
    stages: list[StageEntry]
    details: dict[str, Any] = {}
    origin: str = ""
    figures: str = ""

    @property
    def folders(self) -> set[str]:
        """Names of its stages' folders."""
        return {entry.folder for entry in self.stages}

    @property
    def names_folders(self) -> bool:
        """Whether these can be the names of stages' folders, and no paths."""
        return all(map(_names_folder, self.folders))


def _names_folder(name: str) -> bool:
    return "-" in name and not {"/", "\0"} & set(name) and len(name.encode(errors="replace")) <= _LONGEST


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
        if not marked(workdir):
            write_sealed(workdir / MARKER, _Marker(VERSION))
    except OSError as error:
        if is_short(error):
            raise
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
    if marked(workdir) or last_run(workdir) is not None:
        return
    if not (workdir / MARKER).is_file():
        raise UsageError(f"{workdir}: no work directory (no {MARKER} in it){_others_near(workdir)}")
    raise DamagedError(
        f"{workdir}: made by another version of this program, or {MARKER} and {RUN} are damaged: name another work "
        "directory"
    )


def _others_near(workdir: Location) -> str:
    """Name work directories in a folder of this machine that is none, or beside it: one of them may be meant."""
    if not isinstance(workdir, Path):
        return ""
    for where, folder in (("in it", Path(workdir)), ("beside it", Path(workdir).parent)):
        with suppress(OSError):
            names = sorted(path.name for path in folder.iterdir() if (path / MARKER).is_file())
            if names:
                more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
                return f": {where} {'is' if len(names) == 1 else 'are'} {', '.join(names[:_NAMED])}{more}"
    return ""


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
    for name in (MARKER, RUN, METRICS, PUBLISHED, FINISHED, LOCK, STAGES):
        (workdir / name).refuse_links()


def marked(workdir: Location) -> bool:
    """Whether this version of the program has marked it."""
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
    return last if last.names_folders else None


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
        raise DamagedError(f"{no_last_run(workdir)}; the next run makes it again")
    return last


def no_last_run(workdir: Location) -> str:
    """Say what is wrong where it cannot be told what the last run was."""
    return f"{workdir / RUN}: {'altered since it was written' if (workdir / RUN).exists() else 'missing'}"


def write_figures(workdir: Location, last: LastRun, figures: Mapping[str, Any]) -> LastRun:
    """Write ``metrics.json``; return what the run is with it, which is still to be kept."""
    content = msgspec.json.format(msgspec.json.encode(figures))
    (workdir / METRICS).put(content)
    return msgspec.structs.replace(last, figures=hashlib.sha256(content).hexdigest())


def withdraw_figures(where: Place) -> None:
    """Take ``metrics.json`` back, so that nobody believes it while what it rests on is made again."""
    workdir = locate(where).enclosed()
    last = last_run(workdir)
    if last is not None and last.figures:
        write_last_run(workdir, msgspec.structs.replace(last, figures=""))
    (workdir / METRICS).remove()
