"""The best items for every user of a finished run, as one Parquet file, within a memory budget.

One more step of the pipeline, run beside the others: its memory is projected and measured, an interruption costs a
task, and what was made once is not made again. No figure needs it: `engine clean` removes its folder, as it does what
earlier runs left.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple, Unpack

from engine.artifacts.records import Joined
from engine.artifacts.tables import recommended
from engine.chunked import RunResult
from engine.chunked.errors import UsageError
from engine.chunked.events import OnEvent, ignore
from engine.chunked.loop import Resources, run_beside
from engine.chunked.plain import at_least_one, one_of, truth
from engine.chunked.storage import Local, Location, Place, Remote, locate
from engine.chunked.storage.outputs import refuse_output
from engine.config import Recommend
from engine.pipeline import pipeline_from, recommend_step
from engine.serving.finished import damage_told, open_finished
from engine.serving.whole import replacing


class AllUsers(NamedTuple):
    """What was written.

    Attributes
    ----------
    out : Location
        The file, or object.
    n_items, n_users, n_popular : int
        Items in it, users of the run, and those of them whose list is of the most popular items.
    run : RunResult
        What that took.
    """

    out: Location
    n_items: int
    n_users: int
    n_popular: int
    run: RunResult


def recommend_all(
    where: Place,
    out: Place,
    *,
    k: int = 10,
    include_test: bool = False,
    on_empty: Literal["popular", "skip"] = "popular",
    on_event: OnEvent = ignore,
    **resources: Unpack[Resources],
) -> AllUsers:
    """Write the best items for every user of a finished run.

    Parameters
    ----------
    where : path or URL
        The work directory.
    out : path or URL
        The Parquet file to write, or the object; see `engine.stages.recommend` for its columns.
    k, include_test, on_empty
        As `engine.serving.recommender.Recommender.recommend` takes them.
    on_event : callable
        Told what happens, for progress.
    **resources
        ``memory``, ``workers``, ``executor``, ``scheduler``: see `engine.chunked.loop.Resources`.

    Raises
    ------
    UsageError, BudgetError, LockedError, DamagedError, Interrupted
        See `engine.chunked.errors`.
    """
    k, include_test = at_least_one(k, "items"), truth(include_test, "include_test")
    one_of(on_empty, "on_empty", ("popular", "skip"))
    target = _target(out)
    run = open_finished(where)
    target.warm()  # a store that does not answer is told before there is anything to put
    section = Recommend(
        k=k,
        include_test=include_test,
        on_empty=on_empty,
        ranking=run.settings.evaluate,
        prediction=run.settings.predict,
    )
    pipeline = pipeline_from(run.settings, run.source, run.identity)
    step = recommend_step(run.settings, section)
    pipeline = replace(pipeline, steps=[*pipeline.steps, step], notes=())
    with damage_told(run):
        made = run_beside(pipeline, step.name, run.workdir, on_event=on_event, **resources)
    lists = made.committed(step.name)
    joined = Joined.of(lists)
    _put(recommended(lists), target)
    return AllUsers(target, joined.n_items, joined.n_users, joined.n_popular, made)


def _target(out: Place) -> Location:
    """Where to write; refused where that is known not to be possible."""
    if not isinstance(out, str | os.PathLike | Remote):
        raise UsageError(f"{out!r} is no path or URL: name the file to write")
    target = locate(out)
    if target.suffixes and target.suffixes[-1].lower() != ".parquet":
        better = target.parent / f"{target.name.removesuffix(target.suffixes[-1])}.parquet"
        raise UsageError(f"{target}: lists for everybody are written as Parquet: name it {better}")
    refuse_output(target, text=False)
    if isinstance(target, Local) and not os.access(target.absolute().parent, os.W_OK):
        raise UsageError(f"{target}: cannot be written: name a file in a folder that is there")
    return target


def _put(made: Path, target: Location) -> None:
    """Put the file where it is wanted, whole or not at all."""
    if not isinstance(target, Local):
        target.parent.adopt({target.name: made})
        return
    with made.open("rb") as source, replacing(target) as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
