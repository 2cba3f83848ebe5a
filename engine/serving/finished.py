"""A work directory whose run is finished, opened to be read."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from engine.chunked import workdir
from engine.chunked.errors import DamagedError, UsageError
from engine.chunked.journal import Committed, Journal
from engine.chunked.storage import lock
from engine.chunked.storage.location import Location
from engine.config import Config
from engine.ratings.source import Source


@dataclass(frozen=True)
class FinishedRun:
    """What a finished run was of, and what it left.

    Attributes
    ----------
    workdir : Path or Remote
    settings : Config
        What it was configured with.
    identity : list of str
        What identifies the ratings file.
    source : Source
        The ratings file; it may be gone.
    stages : dict of str to Committed
        What each step left.
    """

    workdir: Location
    settings: Config
    identity: list[str]
    source: Source
    stages: dict[str, Committed]


def open_finished(where: Location) -> FinishedRun:
    """Open a work directory that the last run finished; files are checked for their sizes.

    Raises
    ------
    UsageError
        Where it is none, its run is not finished, or an earlier version of this program ran it.
    DamagedError
        Where records or files of it are missing, or not of the recorded size.
    """
    workdir.check(where)
    holder = lock.holder(where / workdir.LOCK)
    last = workdir.last_run(where)
    if last is None and (where / workdir.RUN).exists():
        raise DamagedError(f"{where / workdir.RUN}: altered since it was written; engine run makes it again")
    if last is None or not last.figures:
        wait = (
            f"process {holder.get('pid', '?')} is at it: wait" if holder else "run the same engine run again to go on"
        )
        raise UsageError(f"{where}: its run is not finished; {wait}")
    if not last.source:
        raise UsageError(f"{where}: an earlier version ran it; run it once more, which only redoes what has changed")
    try:
        settings = msgspec.convert(last.settings, Config)
        source = Source.from_json(last.source)
    except (msgspec.ValidationError, TypeError, KeyError) as error:
        raise UsageError(f"{where}: another version ran it ({error}): run it again") from None
    roots = {entry.stage: where / workdir.STAGES / entry.folder for entry in last.stages}
    run = FinishedRun(where, settings, last.identity, source, {name: Committed(root) for name, root in roots.items()})
    for root in roots.values():
        fault = Journal(root).fault_of_stage(complete=True)
        if fault is not None:
            raise DamagedError(f"{fault}; engine run mends it")
    refuse_damage(run, content=False)
    return run


def refuse_damage(run: FinishedRun, cause: Exception | None = None, *, content: bool = True) -> None:
    """Compare the files of a run with their records; without ``content`` only their sizes.

    Raises
    ------
    DamagedError
        Where one differs; ``cause`` is what came of it.
    """
    for stage in run.stages.values():
        for fault in Journal(stage.root).damaged(content=content).values():
            raise DamagedError(f"{fault}; engine run mends it") from cause
