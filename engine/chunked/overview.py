"""What a work directory holds and how far its run is: tasks done and left, time and space taken, time left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.chunked import publishing, upkeep, workdir
from engine.chunked.budget import format_size
from engine.chunked.errors import DamagedError, EngineError
from engine.chunked.journal import Journal
from engine.chunked.pipeline import STAGES
from engine.chunked.printable import printable
from engine.chunked.storage import Location, Place, locate
from engine.chunked.upkeep import Folder
from engine.chunked.workdir import StageEntry

# What the last run does not use.
_EARLIER = "earlier"
_UNUSED = "unused"
_NOT_USED = {
    _EARLIER: "of an earlier finished run; used again if that is run again",
    _UNUSED: "of no finished run, and not of the last one; engine clean removes it",
}
# Below this many seconds a pace is mostly start-up.
_ENOUGH = 10.0


def status(where: Place) -> dict[str, Any]:
    """Look at a work directory without changing it.

    Returns
    -------
    dict
        JSON values. ``published`` says whether a finished run answers, though the last one may be unfinished;
        ``kept`` of a stage, whether a finished run uses it. ``damaged`` has what was seen to be wrong with records and
        other small files; the others are not read (`engine.chunked.upkeep.verify` does that). ``seconds_left`` is null
        where the pipeline does not say what its tasks take.

    Raises
    ------
    UsageError, DamagedError
        As `engine.chunked.workdir.check`.
    """
    place = locate(where).enclosed()
    workdir.check(place)
    workdir.refuse_links(place)
    last = workdir.last_run(place)
    entries = {entry.folder: entry for entry in last.stages} if last else {}
    pace = pace_of(list(entries.values()))
    order = {entry.stage: number for number, entry in enumerate(entries.values())}
    folders = {folder.path.name: folder for folder in upkeep.folders(place)}
    for name, entry in entries.items():  # planned, but not begun
        folders.setdefault(name, Folder(entry.stage, place / STAGES / name, 0))
    ordered = sorted(folders.values(), key=lambda folder: (order.get(folder.stage, len(order)), folder.path.name))
    faults = upkeep.faults_beside_stages(place)
    figures = last is not None and bool(last.figures)
    damaged = [*faults.values()]
    stages = [_inspect_stage(folder, entries.get(folder.path.name), pace, figures, damaged) for folder in ordered]
    complete = all(stage["complete"] for stage in stages if stage["used"])
    running = (place / workdir.LOCK).holder()
    kept = publishing.used(place)
    for stage in stages:
        stage["kept"] = stage["folder"] in kept
    each_left = [stage["seconds_left"] for stage in stages]
    return {
        "workdir": str(where),
        "running": running,
        "finished": figures and workdir.METRICS not in faults and complete,
        "published": bool(kept),
        "damaged": [] if running else damaged,  # a run removes records, and figures, while one looks
        "stages": stages,
        "bytes": sum(stage["bytes"] for stage in stages),
        "seconds_left": None if None in each_left else round(sum(each_left), 1),
    }


def runs_below(where: Place) -> list[dict[str, Any]]:
    """The runs in the folders of a folder that is no work directory itself, with what `status` tells in short.

    Returns
    -------
    list of dict
        ``workdir``, ``state``, ``steps`` and ``steps_complete``, ``bytes``, ``origin``; empty where there is none.
    """
    place = locate(where).enclosed()
    if workdir.is_one(place):
        return []
    below = [place / name for name in place.names() if (place / name).is_dir()]
    return [_in_short(each) for each in below if workdir.is_one(each)]


def _in_short(place: Location) -> dict[str, Any]:
    try:
        found, last = status(place), workdir.last_run(place)
    except EngineError as error:
        return {"workdir": str(place), "state": "damaged", "why": str(error)}
    used = [stage for stage in found["stages"] if stage["used"]]
    return {
        "workdir": str(place),
        "state": _state(found),
        "steps": len(used),
        "steps_complete": sum(stage["complete"] for stage in used),
        "bytes": found["bytes"],
        "origin": last.origin if last else "",
    }


def _state(found: Mapping[str, Any]) -> str:
    """What a run is doing, in a word."""
    if found["running"]:
        return "running"
    return "damaged" if found["damaged"] else "finished" if found["finished"] else "unfinished"


def describe_runs(runs: Sequence[Mapping[str, Any]]) -> str:
    """The runs in a folder for people."""
    lines = [f"{'run':<42}{'':<12}{'steps':>8}{'size':>10}"]
    for run in runs:
        steps = f"{run['steps_complete']}/{run['steps']}" if "steps" in run else "-"
        size = format_size(run["bytes"]) if "bytes" in run else "-"
        lines.append(f"{printable(run['workdir']):<42}{run['state']:<12}{steps:>8}{size:>10}")
    return "\n".join(lines)


def _inspect_stage(
    folder: Folder, entry: StageEntry | None, pace: float, figures: bool, damaged: list[str]
) -> dict[str, Any]:
    """Look at the folder of a stage, which is complete if there are figures; add to what is damaged."""
    journal = Journal(folder.path)
    complete = journal.finished()
    done = journal.task_ids()
    seconds = 0.0
    for task_id in done:
        try:
            seconds += journal.read(task_id).seconds
        except DamagedError as error:
            damaged.append(str(error))
    if fault := journal.fault_of_stage(complete=figures and entry is not None):
        damaged.append(fault)
    rounds = [] if entry is None or entry.idle else entry.rounds
    left = 0 if complete else tasks_left(rounds, done)
    planned = sum(n for _, n in rounds)
    estimated = entry.estimated_seconds * pace if entry else 0.0
    return {
        "stage": folder.stage,
        "folder": folder.path.name,
        "used": entry is not None,
        "complete": complete,
        "tasks_done": max(planned - left, len(done)),  # records of temporary tasks are dropped
        "tasks_left": left,
        "seconds": round(seconds, 3),
        "seconds_left": None if left and not estimated else round(estimated * left / max(1, planned), 1),
        "bytes": folder.bytes,
    }


def pace_of(stages: Sequence[StageEntry]) -> float:
    """How many times as long as estimated the stages of a run have taken so far; 1 while that cannot be told."""
    ended = [entry for entry in stages if entry.seconds and entry.estimated_seconds and not entry.skipped]
    took = sum(entry.seconds for entry in ended)
    return took / sum(entry.estimated_seconds for entry in ended) if took > _ENOUGH else 1.0


def tasks_left(rounds: list[tuple[str, int]], done: list[str]) -> int:
    """Tasks not done, of rounds in order; a round before one that has begun is done, if its records are dropped.

    Examples
    --------
    >>> tasks_left([("pass-0", 8), ("basis-0", 1), ("pass-1", 8)], ["basis-0.00000", "pass-1.00003"])
    7
    """
    counts = [sum(task.rpartition(".")[0] == name for task in done) for name, _ in rounds]
    begun = max((i for i, count in enumerate(counts) if count), default=-1)
    return sum(n - count for i, ((_, n), count) in enumerate(zip(rounds, counts, strict=True)) if i >= begun)


def describe(found: Mapping[str, Any]) -> str:
    """The same for people."""
    holder = found["running"]
    state = "finished" if found["finished"] else "unfinished"
    if holder:
        state = f"running, process {printable(holder.get('pid'))}"
    left = f", about {found['seconds_left']:.0f} s left" if found["seconds_left"] else ""
    before = ", the run before it answers" if found["published"] and not found["finished"] else ""
    lines = [f"{printable(found['workdir'])}: {state}{left}{before}, {format_size(found['bytes'])}"]
    lines.append(f"  {'':<32}{'':<9}{'done':>7}{'left':>7}{'worker s':>10}{'size':>10}")
    states = set()
    for stage in found["stages"]:
        state = "complete" if stage["complete"] else "begun" if stage["tasks_done"] else "to do"
        state = state if stage["used"] else _EARLIER if stage["kept"] else _UNUSED
        states.add(state)
        lines.append(
            f"  {printable(stage['folder']):<32}{state:<9}{stage['tasks_done']:>7}{stage['tasks_left']:>7}"
            f"{stage['seconds']:>10.1f}{format_size(stage['bytes']):>10}"
        )
    return "\n".join([*lines, *(f"  {state}: {what}" for state, what in _NOT_USED.items() if state in states)])
