"""What a work directory holds: steps, tasks done, time and space taken."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.chunked import lock
from engine.chunked.budget import format_size
from engine.chunked.errors import DamagedError, UsageError
from engine.chunked.journal import Journal
from engine.pipeline import LOCK, METRICS, STEPS, WORKDIR_MARKER


def inspect(workdir: Path) -> dict[str, Any]:
    """Look at a work directory without changing it.

    Raises
    ------
    UsageError
        Where it is none.
    """
    if not (workdir / WORKDIR_MARKER).is_file():
        raise UsageError(f"{workdir}: no work directory (no {WORKDIR_MARKER} in it)")
    folders = {path.name: path for path in sorted((workdir / "stages").glob("*-*"))}
    stages = [
        _inspect_stage(step.name, folder)
        for step in STEPS
        for name, folder in folders.items()
        if name.rpartition("-")[0] == step.name
    ]
    return {
        "workdir": str(workdir),
        "running": lock.holder(workdir / LOCK),
        "finished": (workdir / METRICS).is_file(),
        "stages": stages,
        "bytes": sum(stage["bytes"] for stage in stages),
    }


def _inspect_stage(name: str, folder: Path) -> dict[str, Any]:
    journal = Journal(folder)
    records = []
    for task_id in journal.task_ids():
        with suppress(DamagedError):  # a running stage drops temporary records; damage is for a run to mend
            records.append(journal.read(task_id))
    return {
        "stage": name,
        "folder": folder.name,
        "complete": journal.finished(),
        "tasks_done": len(records),
        "seconds": round(sum(record.seconds for record in records), 3),
        "bytes": sum(map(_size, folder.rglob("*"))),
    }


def _size(path: Path) -> int:
    try:
        found = path.stat()
    except OSError:
        return 0  # gone meanwhile
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def describe(found: Mapping[str, Any]) -> str:
    """The same for people."""
    holder = found["running"]
    state = f"running, process {holder.get('pid')}" if holder else "finished" if found["finished"] else "unfinished"
    lines = [f"{found['workdir']}: {state}, {format_size(found['bytes'])}"]
    for stage in found["stages"]:
        done = "complete" if stage["complete"] else "begun"
        size = format_size(stage["bytes"])
        lines.append(
            f"  {stage['folder']:<28} {done:<9} {stage['tasks_done']:>5} tasks {stage['seconds']:>9.1f} s {size:>9}"
        )
    return "\n".join(lines)
