"""The pipeline run in this process, and what it leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from engine import config
from engine.chunked import publishing, workdir
from engine.chunked.budget import GIB, Cost
from engine.chunked.csr import CsrReader
from engine.chunked.journal import Committed, Journal
from engine.chunked.pipeline import Pipeline, Step, job
from engine.chunked.runner import Limits, StageRunner
from engine.chunked.storage import Location, Place, locate
from engine.chunked.store import StageStore
from engine.chunked.task import Planned, Round, Stage
from engine.pipeline import pipeline_of, steps
from engine.ratings.faults import measured_digest
from engine.ratings.opening import open_source, with_test
from engine.ratings.resolve import Found, settled

# Enough for small synthetic ratings, and quick.
SMALL: dict[str, Any] = {"dims": 12, "oversamples": 4, "passes": 2, "partial_sums": 2}
STEPS = steps(config.Config())


@dataclass(frozen=True)
class FixedBatches:
    """A stage whose tasks get batches of a given size, and a cache of so many bytes, whatever the budget."""

    stage: Stage
    batch_rows: int
    cache: int = 0

    def rounds(self) -> Iterator[Round]:
        for each in self.stage.rounds():
            yield replace(each, planned=Planned(each.n_tasks, Cost(task=0, max_rows=self.batch_rows, cache=self.cache)))


def notebook_settings(sections: dict[str, Any]) -> config.Config:
    return config.load({"preset": "notebook", "index": {"method": "auto"}}, sections)


def open_pipeline(ratings: Path, settings: config.Config) -> Pipeline:
    """The pipeline of a configuration on a ratings file."""
    times = settings.ingest.times
    source = open_source(ratings, times=times)
    if settings.test is not None:
        source = with_test(source, open_source(settings.test, times=times), times)
    measured = [measured_digest(file) for file in source.files]
    content, states = [(each.size, each.sha256) for each in measured], [file.path.state() for file in source.files]
    return pipeline_of(settings, Found(settled(source, measured), content, states))


def run_stages(
    ratings: Path,
    where: Place,
    upto: str = "evaluate",
    *,
    batch_rows: int | None = None,
    cache: int = 0,
    workers: int = 2,
    prepare: Callable[[Pipeline], Pipeline] = lambda pipeline: pipeline,
    **sections: Any,
) -> dict[str, Committed]:
    """Run the notebook's pipeline up to a step in this process, without what is done; return each step's folder.

    Neighbours are the true ones, unless ``index`` says otherwise. For the default model: ``preset="default"``.

    ``prepare`` makes another pipeline of the one that is run.

    A section is a dict of its keys: ``run_stages(ratings, folder, "neighbors", neighbors={"k": 5})``.
    """
    pipeline = prepare(open_pipeline(ratings, notebook_settings(sections)))
    folders = pipeline.folders(locate(where))
    names = [step.name for step in pipeline.steps]
    for step in pipeline.steps[: names.index(upto) + 1]:
        run_stage(pipeline, step, folders, batch_rows=batch_rows, cache=cache, workers=workers)
    return {name: Committed(folder) for name, folder in folders.items()}


def run_stage(
    pipeline: Pipeline,
    step: Step,
    folders: Mapping[str, Location],
    *,
    batch_rows: int | None = None,
    cache: int = 0,
    workers: int = 2,
) -> None:
    """Run a step in this process, unless it is done; with batches and a cache of a given size, or as there is room."""
    root, stage = job(pipeline, step, folders).opened()
    if batch_rows is not None:
        stage = FixedBatches(stage, batch_rows, cache)
    if not Journal(root).finished():
        limits = Limits(allowed=4 * GIB, reserved=0, max_workers=workers)
        store, journal = StageStore(root), Journal(root)
        runner = StageRunner(step.name, stage, store, journal, limits, lambda event: None, threading.Event())
        # One BLAS thread as in a worker process; no waiting for the disk, and no handing memory back before each round,
        # which would be most of the time.
        with threadpool_limits(1), mock.patch("os.fsync"), mock.patch("engine.chunked.memory.give_back"):
            runner.run()


def finish_run(ratings: Path, where: Path, **sections: Any) -> Path:
    """`run_stages`, and what else a finished run leaves; return the work directory."""
    workdir.make(where)
    stages = run_stages(ratings, where, **sections)
    pipeline = open_pipeline(ratings, notebook_settings(sections))
    last = workdir.LastRun(
        allowed=4 * GIB,
        workers=2,
        stages=[
            workdir.StageEntry(stage=step.name, folder=stages[step.name].root.name, reads=list(step.reads))
            for step in pipeline.steps
        ],
        details=dict(pipeline.details),
        origin=pipeline.origin,
    )
    assert pipeline.collect is not None
    metrics = pipeline.collect(stages)
    publishing.publish(where, workdir.write_figures(locate(where), last, metrics), dict(metrics))
    return where


def read_matrix(run: dict[str, Committed], name: str = "train") -> csr_matrix:
    """A matrix of a run, whole and in float32."""
    reader = CsrReader(run["matrix"].root, name)
    return reader.read(0, reader.shape[0]).widen()


def read_partitions(run: dict[str, Committed], step: str, kind: str) -> pl.DataFrame:
    """The partitions of ingest (``ratings``) or split (``train``, ``test``), in the ratings' original terms."""
    coded = pl.concat([pl.read_parquet(path) for path in sorted(run[step].path(kind).glob("*.parquet"))])
    users, items = (pl.read_parquet(run["ingest"].path(f"{name}s.parquet"))[name] for name in ("user", "item"))
    step_size = run["ingest"].result("profile.00000")["rating_step"]
    rating = coded["rating"].cast(pl.Float64) * step_size
    return pl.DataFrame(
        {"userId": users.gather(coded["user"]), "movieId": items.gather(coded["item"]), "rating": rating}
    )
