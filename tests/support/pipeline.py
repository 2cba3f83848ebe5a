"""The pipeline run in this process, and what it leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import polars as pl
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from engine import config
from engine.chunked import workdir
from engine.chunked.budget import GIB, Cost
from engine.chunked.csr import CsrReader
from engine.chunked.journal import Committed, Journal
from engine.chunked.runner import Limits, StageRunner
from engine.chunked.storage.location import Location
from engine.chunked.store import StageStore
from engine.chunked.task import Round, Stage
from engine.pipeline import fingerprints, identify, known_shapes, open_stage, stage_folders, steps
from engine.ratings.source import digest, open_source, state
from engine.results import figures

# Enough for small synthetic ratings, and quick.
SMALL: dict[str, Any] = {"dims": 12, "oversamples": 4, "passes": 2, "partial_sums": 2}


@dataclass(frozen=True)
class FixedBatches:
    """A stage whose tasks get batches of a given size, whatever the budget."""

    stage: Stage
    batch_rows: int

    def rounds(self) -> Iterator[Round]:
        for each in self.stage.rounds():
            yield replace(each, cost=Cost(task=0, max_rows=self.batch_rows))


def _settings(sections: dict[str, Any]) -> config.Config:
    return config.load({"preset": "notebook", "index": {"method": "auto"}}, sections)


def run_stages(
    ratings: Path,
    workdir: Location,
    upto: str = "evaluate",
    *,
    batch_rows: int | None = None,
    workers: int = 2,
    **sections: Any,
) -> dict[str, Committed]:
    """Run the notebook's pipeline up to a step in this process, without what is done; return each step's folder.

    Neighbours are the true ones, unless ``index`` says otherwise. For the default model: ``preset="default"``.

    A section is a dict of its keys: ``run_stages(ratings, folder, "neighbors", neighbors={"k": 5})``.
    """
    settings = _settings(sections)
    source = open_source(ratings)
    folders = stage_folders(workdir, fingerprints(settings, identify(source, digest(source))))
    names = [step.name for step in steps(settings)]
    for name in names[: names.index(upto) + 1]:
        paths = {each: str(folder) for each, folder in folders.items()}
        shapes = asdict(known_shapes(source, ratings.stat().st_size, folders["ingest"]))
        root, stage = open_stage(name, msgspec.to_builtins(settings), source.to_json(), state(ratings), shapes, paths)
        if batch_rows is not None:
            stage = FixedBatches(stage, batch_rows)
        if not Journal(root).finished():
            limits = Limits(allowed=4 * GIB, reserved=0, max_workers=workers)
            store, journal = StageStore(root), Journal(root)
            runner = StageRunner(name, stage, store, journal, limits, lambda event: None, threading.Event())
            # One BLAS thread as in a worker process; and no waiting for the disk, which would be most of the time.
            with threadpool_limits(1), mock.patch("os.fsync"):
                runner.run()
    return {name: Committed(folder) for name, folder in folders.items()}


def finish_run(ratings: Path, where: Path, **sections: Any) -> Path:
    """`run_stages`, and what else a finished run leaves; return the work directory."""
    workdir.make(where)
    stages = run_stages(ratings, where, **sections)
    settings, source = _settings(sections), open_source(ratings)
    last = workdir.LastRun(
        allowed=4 * GIB,
        workers=2,
        settings=msgspec.to_builtins(settings),
        identity=identify(source, digest(source)),
        stages=[workdir.StageEntry(stage=name, folder=stage.root.name) for name, stage in stages.items()],
        source=source.located().to_json(),
    )
    metrics = figures.collect(settings, source, {name: stage.root for name, stage in stages.items()})
    workdir.write_figures(where, last, metrics)
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
