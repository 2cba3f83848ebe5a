"""Why each step of a run runs or is skipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine import config
from engine.chunked.journal import Journal
from engine.chunked.storage.location import Location
from engine.chunked.workdir import LastRun
from engine.config import Config
from engine.pipeline import Step, steps


def explain(
    settings: Config,
    identity: list[str],
    folders: Mapping[str, Location],
    earlier: LastRun | None,
    damaged: Mapping[str, int],
) -> dict[str, str]:
    """Tell for each step why it runs or is skipped.

    Parameters
    ----------
    settings, identity
        The present configuration, and what identifies the ratings file.
    folders : mapping of str to Path or Remote
        Each step's folder.
    earlier : LastRun or None
        The run before this one.
    damaged : mapping of str to int
        Tasks of each step that were taken back because their files are not what was recorded.
    """
    now = config.to_json(settings)
    why = {}
    for step in steps(settings):
        journal = Journal(folders[step.name])
        if journal.finished():
            why[step.name] = "skipped, done"
        elif damaged[step.name]:
            why[step.name] = f"runs, {damaged[step.name]} damaged tasks are done again"
        elif n_done := len(journal.task_ids()):
            why[step.name] = f"goes on, {n_done} of its tasks are done"
        else:
            why[step.name] = "runs, " + _cause(step, now, identity, folders, earlier)
    return why


def _cause(
    step: Step, now: Mapping[str, Any], identity: list[str], folders: Mapping[str, Location], earlier: LastRun | None
) -> str:
    """Why a step has no results yet."""
    if earlier is None:
        return "nothing of it is done"
    was = {entry.stage: entry.folder for entry in earlier.stages}
    if was.get(step.name) == folders[step.name].name:
        return "nothing of it is done"
    changes = _changes(step.name, earlier.settings.get(step.name, {}), now[step.name])
    if not step.needs and identity != earlier.identity:
        changes.append("the ratings file is another")
    changes += [f"it reads {name}, which is another" for name in step.needs if was.get(name) != folders[name].name]
    return "; ".join(changes) or "the program's version of it is another"


def _changes(section: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        f"{section}.{key} {before[key]} -> {after[key]}" if key in before else f"{section}.{key} is new"
        for key in after
        if before.get(key) != after[key]
    ]
