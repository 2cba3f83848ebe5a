"""The best films for every user of a finished run, as one Parquet file, within a memory budget.

A stage of its own, run as a run's stages are: its memory is projected and measured, an interruption costs a task, and
what was made once is not made again. No step of the pipeline, since no figure needs it: `engine clean` removes its
folder, as it does what earlier runs left.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine import costs
from engine.chunked import workdir
from engine.chunked.budget import parse_size
from engine.chunked.errors import DamagedError, UsageError
from engine.chunked.executors.base import Executor
from engine.chunked.executors.connect import Kind, connect
from engine.chunked.journal import Journal, fingerprint
from engine.chunked.planning import RunPlan, plan_stage, refuse_full_disk, refuse_misfits
from engine.chunked.storage import lock, staging
from engine.chunked.storage.location import Location, Remote, absolute, locate
from engine.chunked.task import Job
from engine.chunked.workdir import StageEntry
from engine.config import Recommend
from engine.driver import OnEvent, environment, run_job
from engine.pipeline import known_shapes, recommend_step
from engine.serving.finished import FinishedRun, open_finished
from engine.stages.names import RECOMMENDED


class AllUsers(NamedTuple):
    """What was written: the file, its films and users; what that took; bytes allowed to each of how many processes."""

    out: Path
    n_films: int
    n_users: int
    entry: StageEntry
    allowed: int
    processes: int


def _ignore(event: object) -> None:
    pass


def recommend_all(
    where: str | os.PathLike[str] | Remote,
    out: str | os.PathLike[str],
    *,
    k: int = 10,
    include_test: bool = False,
    memory: str | int | None = None,
    workers: int | None = None,
    executor: Kind = "local",
    scheduler: str | None = None,
    on_event: OnEvent = _ignore,
) -> AllUsers:
    """Write the best films for every user of a finished run.

    Parameters
    ----------
    where : path or URL
        The work directory.
    out : path
        The Parquet file to write; see `engine.stages.recommend` for its columns.
    k, include_test
        As `engine.serving.recommender.Recommender.recommend` takes them.
    memory : str or int, optional
        Allowed, all processes counted: bytes, or a size like ``512MiB``; none: as for a run.
    workers, executor, scheduler
        As those of `engine.config.Config`.
    on_event : callable
        Told what happens, for progress.

    Raises
    ------
    UsageError, BudgetError, LockedError, DamagedError, Interrupted
        See `engine.chunked.errors`.
    """
    target = Path(out)
    if k < 1:
        raise UsageError(f"{k} films: ask for 1 or more")
    if target.is_dir() or not os.access(target.absolute().parent, os.W_OK):
        raise UsageError(f"{target}: cannot be written: name a file in a folder that is there")
    run = open_finished(locate(where))
    section = Recommend(k=k, include_test=include_test, ranking=run.settings.evaluate, prediction=run.settings.predict)
    allowed = None if memory is None else parse_size(memory)
    with (
        lock.hold(run.workdir / workdir.LOCK) as descriptor,
        connect(
            executor,
            allowed=allowed,
            workers=workers,
            scheduler=scheduler,
            environment=environment,
            keep_open=(descriptor,),
        ) as chosen,
    ):
        told = {"source": run.source.name, "notes": [], "workdir": str(where)}
        on_event({"event": "run", **told, "allowed": chosen.allowed, "processes": chosen.processes})
        folder, entry = _make(run, section, chosen, on_event)
        made = Journal(folder).result("join.00000")
        _copy(staging.local(folder / RECOMMENDED), target)
    return AllUsers(target, made["n_films"], made["n_users"], entry, chosen.allowed, chosen.processes)


def _make(run: FinishedRun, section: Recommend, executor: Executor, on_event: OnEvent) -> tuple[Location, StageEntry]:
    """Run what is left of the stage; return its folder and what it took."""
    step = recommend_step(run.settings)
    roots = {name: run.stages[name].root for name in step.needs}
    for name, root in roots.items():
        for fault in Journal(root).damaged().values():
            raise DamagedError(f"{fault}; engine run does {name} again")
    upstream = [root.name.rpartition("-")[2] for root in roots.values()]
    print_ = fingerprint(step.name, step.version, msgspec.to_builtins(section), upstream)
    folder = run.workdir / workdir.STAGES / f"{step.name}-{print_}"
    journal = Journal(folder)
    for task_id in journal.damaged():
        journal.forget(task_id)
    entry = StageEntry(stage=step.name, folder=folder.name, skipped=True)
    if journal.finished():
        on_event({"event": "skip", "stage": step.name})
        return folder, entry
    shapes = known_shapes(run.source, int(run.identity[0]), roots["ingest"])
    rounds = costs.recommend(run.settings, section, shapes)
    planned = plan_stage(
        step.name,
        rounds,
        allowed=executor.allowed,
        reserved=executor.reserved_bytes([f"engine.stages.{step.name}"], run.workdir)[0],
        max_workers=executor.max_workers,
        processes=executor.processes,
        disk=costs.recommend_disk(section, shapes),
    )
    free = staging.free_bytes(run.workdir)
    plan = RunPlan([planned], executor.allowed, free, processes=executor.processes, limit=executor.limit)
    refuse_misfits(plan)
    refuse_full_disk(plan, str(staging.disk_of(run.workdir)))
    spec = {
        "section": msgspec.to_builtins(section),
        "settings": msgspec.to_builtins(run.settings),
        "source": run.source.to_json(),
        "shapes": asdict(shapes),
        "folders": {name: str(absolute(root)) for name, root in {**roots, step.name: folder}.items()},
    }
    job = Job(step.name, "engine.pipeline:open_recommend", spec)
    on_event({"event": "stage", "stage": step.name, "does": step.does, "tasks": planned.tasks})
    took = run_job(executor, job, entry, on_event)
    on_event({"event": "stage_end", "stage": step.name, "seconds": took.seconds, "measured": took.measured})
    return folder, took


def _copy(made: Path, target: Path) -> None:
    """Put the file where it is wanted, whole or not at all."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        shutil.copyfile(made, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
