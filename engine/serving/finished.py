"""A work directory whose run is finished, opened to be read."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from engine.artifacts.doubts import doubted
from engine.chunked import publishing
from engine.chunked.errors import DamagedError
from engine.chunked.journal import Committed, Journal
from engine.chunked.pipeline import STAGES
from engine.chunked.storage import Location, Place, locate
from engine.config import Config
from engine.ratings.source import Source
from engine.results import recorded


@dataclass(frozen=True)
class FinishedRun:
    """What a finished run was of, and what it left.

    Attributes
    ----------
    workdir : Path or Remote
    fingerprint : str
        Of all that it left.
    settings : Config
        What it was configured with.
    identity : list of str
        What identifies the ratings file.
    source : Source
        The ratings file; it may be gone.
    stages : dict of str to Committed
        What each step left.
    earlier : bool
        Whether it is not the newest finished run of the work directory.
    """

    workdir: Location
    fingerprint: str
    settings: Config
    identity: list[str]
    source: Source
    stages: dict[str, Committed]
    earlier: bool = False

    def located(self) -> FinishedRun:
        """The same with absolute paths, for whoever reads it from another folder."""
        stages = {name: Committed(stage.root.absolute()) for name, stage in self.stages.items()}
        return replace(self, workdir=self.workdir.absolute(), source=self.source.located(), stages=stages)


def open_finished(place: Place) -> FinishedRun:
    """Open the newest finished run of a work directory, though a later one is in progress or was interrupted.

    Files are checked for their sizes.

    Raises
    ------
    UsageError
        Where it is no work directory, or no run of it is finished.
    DamagedError
        Where records or files of it are missing, or not of the recorded size, or as `engine.results.recorded.read`.
    """
    where = locate(place).enclosed()
    return _opened(where, publishing.opened(where))


def open_measured(place: Place, step: str = "evaluate") -> FinishedRun:
    """Open the newest finished run that was measured, of those of the ratings of the newest; that one if none was.

    The newest may be a refit, which has held nothing out.

    Parameters
    ----------
    place : path or URL
        The work directory.
    step : str
        The step that measures.

    Raises
    ------
    UsageError, DamagedError
        As `open_finished`.
    """
    where = locate(place).enclosed()
    newest = publishing.opened(where)
    every = (publishing.finished(where, name) for name in publishing.names(where))
    measured = (each for each in every if each.reads == newest.reads and step in {e.stage for e in each.run.stages})
    found = next(measured, newest)
    return replace(_opened(where, found), earlier=found.fingerprint != newest.fingerprint)


def _opened(where: Location, found: publishing.Finished) -> FinishedRun:
    """The same of one of its finished runs."""
    last, of = found.run, recorded.read(found.run, where)
    roots = {entry.stage: where / STAGES / entry.folder for entry in last.stages}
    stages = {name: Committed(root) for name, root in roots.items()}
    run = FinishedRun(where, found.fingerprint, of.settings, of.identity, of.source, stages)
    for root in roots.values():
        fault = Journal(root).fault_of_stage(complete=True)
        if fault is not None:
            raise DamagedError(f"{fault}; the next run mends it")
    for stage in stages.values():
        for fault in Journal(stage.root).damaged(content=False).values():
            raise DamagedError(f"{fault}; the next run mends it")
    return run


def damage_told(run: FinishedRun) -> AbstractContextManager[None]:
    """Where a run cannot be read, say what of it is damaged: see `engine.artifacts.doubts.doubted`."""
    return doubted(lambda: run.stages)
