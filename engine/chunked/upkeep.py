"""What lies in a work directory: stages' folders, those that no run uses, damage."""

from __future__ import annotations

from dataclasses import dataclass

from engine.chunked import publishing, workdir
from engine.chunked.errors import DamagedError, LockedError
from engine.chunked.journal import Journal
from engine.chunked.pipeline import STAGES
from engine.chunked.storage import Location, Place, locate
from engine.chunked.workdir import LOCK, MARKER, METRICS, RUN


@dataclass(frozen=True)
class Folder:
    """A stage's folder: the stage's name, where it is, and the bytes in it."""

    stage: str
    path: Location
    bytes: int


def folders(where: Place) -> list[Folder]:
    """All stages' folders, those of earlier configurations included."""
    stages = locate(where).enclosed() / STAGES
    places = [stages / name for name in stages.names() if "-" in name]
    found = [place for place in places if place.is_dir()]
    return [Folder(place.name.rpartition("-")[0], place, bytes_below(place)) for place in found]


def bytes_below(folder: Location) -> int:
    """Size of all files below a folder; files that vanish meanwhile do not count."""
    return sum(folder.sizes().values())


def unused(where: Place) -> list[Folder]:
    """The folders that neither the last run uses nor the newest finished one.

    Raises
    ------
    DamagedError
        Where it cannot be told what these runs were.
    """
    place = locate(where).enclosed()
    last, published = workdir.last_run(place), publishing.newest(place)
    if last is None:
        raise DamagedError(f"{workdir.no_last_run(place)}, so it cannot be told what is used: run first")
    used = last.folders | (published.run.folders if published else set())
    return [folder for folder in folders(place) if folder.path.name not in used]


def clean(where: Place, *, really: bool = False) -> list[Folder]:
    """Find what neither the last run uses nor the newest finished one, and remove it if ``really``.

    A full disk keeps nobody from that. Without ``really`` nothing is written.

    Raises
    ------
    UsageError, DamagedError, LockedError
        As `engine.chunked.workdir.check`, `engine.chunked.workdir.refuse_links` and `unused`; where a run is in
        progress.
    """
    place = locate(where).enclosed()
    workdir.check(place)
    workdir.refuse_links(place)
    if not really:
        _refuse_running(place, "see afterwards what it leaves unused")
        return unused(place)
    with (place / LOCK).hold():
        found = unused(place)
        publishing.forget_and_remove(lambda: publishing.keep_newest(place), [folder.path for folder in found])
    return found


def _refuse_running(place: Location, instead: str) -> None:
    holder = (place / LOCK).holder()
    if holder is not None:
        raise LockedError(f"{place} is in use by process {holder.get('pid', '?')}: {instead}")


def verify(where: Place) -> dict[str, str]:
    """Compare every file of a work directory with its recorded size and digest.

    Returns
    -------
    dict of str to str
        What is wrong, by the task or file it is wrong with.

    Raises
    ------
    UsageError, DamagedError, LockedError
        As `engine.chunked.workdir.check` and `engine.chunked.workdir.refuse_links`; where a run is in progress, which
        changes files all the time.
    """
    place = locate(where).enclosed()
    workdir.check(place)
    workdir.refuse_links(place)
    _refuse_running(place, "verify it afterwards")
    last = workdir.last_run(place)
    complete = (last.folders if last and last.figures else set()) | publishing.used(place)
    faults: dict[str, str] = {}
    for name in sorted({folder.path.name for folder in folders(place)} | complete):
        journal = Journal(place / STAGES / name)
        faults |= {f"{name}/{task}": fault for task, fault in journal.damaged().items()}
        fault = journal.fault_of_stage(complete=name in complete)
        if fault is not None:
            faults[name] = fault
        elif journal.finished():
            faults |= {
                f"{name}/{stray}": f"{place / STAGES / name / stray}: belongs to no task" for stray in journal.strays()
            }
    return faults | faults_beside_stages(place)


def faults_beside_stages(where: Place) -> dict[str, str]:
    """What is wrong with the files of a work directory that are in no stage's folder, by their names."""
    place = locate(where).enclosed()
    last = workdir.last_run(place)
    faults = {}
    lock = place / LOCK
    if lock.exists() and not lock.is_file():
        faults[LOCK] = f"{lock}: no regular file: remove it"
    if not workdir.marked(place):
        faults[MARKER] = f"{place / MARKER}: missing or altered"
    begun = len({folder.stage for folder in folders(place)}) > 1  # during a survey there is none
    if last is None and ((place / RUN).exists() or begun):
        faults[RUN] = workdir.no_last_run(place)
    if last and not last.figures and (place / METRICS).exists():
        faults[METRICS] = f"{place / METRICS}: of no finished run, or of an earlier one; the next run makes it again"
    if last and last.figures and _digest(place / METRICS) != last.figures:
        faults[METRICS] = f"{place / METRICS}: missing or altered"
    return faults | publishing.faults(place)


def _digest(path: Location) -> str | None:
    try:
        return path.digest()
    except OSError:
        return None
