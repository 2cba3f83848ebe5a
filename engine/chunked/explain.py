"""Why each step of a run runs or is skipped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.chunked.journal import Journal
from engine.chunked.pipeline import Pipeline, Step
from engine.chunked.storage import Location
from engine.chunked.workdir import LastRun, StageEntry


def explain(
    pipeline: Pipeline, folders: Mapping[str, Location], earlier: LastRun | None, damaged: Mapping[str, int]
) -> dict[str, str]:
    """Tell for each step why it runs or is skipped.

    Parameters
    ----------
    pipeline : Pipeline
    folders : mapping of str to location
        Each step's folder.
    earlier : LastRun or None
        The run before this one.
    damaged : mapping of str to int
        Tasks of each step that were taken back because their files are not what is recorded.
    """
    before = {entry.stage: entry for entry in earlier.stages} if earlier else {}
    why = {}
    for step in pipeline.steps:
        journal = Journal(folders[step.name])
        if journal.finished():
            why[step.name] = "skipped, done"
        elif damaged[step.name]:
            why[step.name] = f"runs, {damaged[step.name]} damaged tasks are done again"
        elif n_done := len(journal.task_ids()):
            why[step.name] = f"goes on, {n_done} of its tasks are done"
        else:
            why[step.name] = "runs, " + _cause(step, folders, before)
    return why


def _cause(step: Step, folders: Mapping[str, Location], before: Mapping[str, StageEntry]) -> str:
    """Why a step has no results yet."""
    entry = before.get(step.name)
    if entry is None or entry.folder == folders[step.name].name:
        return "nothing of it is done"
    changes = _changes(step.name, entry.params, step.json_params())
    if entry.reads != list(step.reads):
        changes.append("what it reads from outside has changed")
    for name in step.needs:
        if name not in before or before[name].folder != folders[name].name:
            changes.append(f"it reads {name}, which has changed")
    return "; ".join(changes) or "the program's version of it has changed"


def _changes(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Parameters that are not what they were, those within a parameter by their own names."""
    changes = []
    for key, value in after.items():
        if key not in before:
            changes.append(f"{name}.{key} is new")
        elif isinstance(before[key], Mapping) and isinstance(value, Mapping):
            changes += _changes(key, before[key], value)
        elif before[key] != value:
            changes.append(f"{name}.{key} {_shown(before[key])} -> {_shown(value)}")
    return changes


def _shown(value: Any) -> str:
    """A parameter's value for people, who do not read Python."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(each)}" for key, each in value.items())
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
