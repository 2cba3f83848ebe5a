"""Files that an earlier run of a work directory has converted: where many are read as one, a new run takes them over.

So a file that is added to a folder is the only one that is converted then. What is taken over is what converting would
leave, since each file's content and how it is read are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from engine.chunked import publishing, workdir
from engine.chunked.errors import DamagedError
from engine.chunked.pipeline import Pipeline
from engine.chunked.storage import Place, locate
from engine.chunked.workdir import LastRun

_STEP = "ingest"


def with_converted(pipeline: Pipeline, where: Place) -> Pipeline:
    """The same pipeline, whose details say which of its files are converted already.

    Parameters
    ----------
    pipeline : Pipeline
        Its detail ``conversions`` identifies what each piece of its files becomes.
    where : path or URL
        The work directory.
    """
    wanted = pipeline.details["conversions"]
    if len(pipeline.details["source"]["files"]) < 2:  # what is made of a single file does not stay
        return pipeline
    own = pipeline.folders(locate(where))[_STEP].name
    known: dict[str, list[Any]] = {}
    for run in _runs(where):
        if (folder := _folder(run)) not in (None, own):
            known = {key: [folder, index] for index, key in enumerate(_conversions(run.details))} | known
    found = {str(index): known[key] for index, key in enumerate(wanted) if key in known}
    return replace(pipeline, details={**pipeline.details, "converted": found})


def _runs(where: Place) -> Iterator[LastRun]:
    """Runs of a work directory that may have left something, the last first; those that cannot be read left out."""
    if (last := workdir.last_run(where)) is not None:
        yield last
    try:
        for name in publishing.names(where):
            yield publishing.finished(where, name).run
    except DamagedError:
        return


def _folder(run: LastRun) -> str | None:
    return next((entry.folder for entry in run.stages if entry.stage == _STEP), None)


def _conversions(details: Mapping[str, Any]) -> list[str]:
    found = details.get("conversions", [])  # a run of another version has none
    return found if isinstance(found, list) else []
