"""A run of the recommender: find the ratings, then let the engine run the pipeline."""

from __future__ import annotations

from engine import chunked, config
from engine.chunked.events import OnEvent, ignore
from engine.chunked.loop import Resources
from engine.chunked.pipeline import Pipeline
from engine.chunked.planning import RunPlan
from engine.config import Config
from engine.pipeline import identify, pipeline_of
from engine.ratings.resolve import resolve

RunResult = chunked.RunResult


def plan(settings: Config, on_event: OnEvent = ignore) -> RunPlan:
    """Project what a run will take; of the run itself only the counting of ratings is done.

    Raises
    ------
    UsageError, LockedError, DamagedError, Interrupted
        As `run`. A stage that does not fit is told by its plan.
    """
    settings, pipeline = _found(settings)
    return chunked.plan(pipeline, _workdir(settings, pipeline), on_event=on_event, **_resources(settings))


def run(settings: Config, on_event: OnEvent = ignore, *, fresh: bool = False) -> RunResult:
    """Run the pipeline, or what is left of it.

    Parameters
    ----------
    settings : Config
        What to run.
    on_event : callable
        Told what happens, for progress: see `engine.chunked.progress`.
    fresh : bool
        Remove what earlier runs of this configuration left, and start over.

    Raises
    ------
    UsageError, BudgetError, LockedError, DamagedError, Interrupted
        See `engine.chunked.errors`.
    """
    settings, pipeline = _found(settings)
    where = _workdir(settings, pipeline)
    return chunked.run(pipeline, where, on_event=on_event, fresh=fresh, **_resources(settings))


def _found(settings: Config) -> tuple[Config, Pipeline]:
    """Find the ratings; return the configuration, checked, and its pipeline."""
    settings = config.validated(settings)
    source, content, state = resolve(settings)
    return settings, pipeline_of(settings, source, identify(source, content), state)


def _workdir(settings: Config, pipeline: Pipeline) -> str:
    return settings.workdir or f"runs/{pipeline.name}"


def _resources(settings: Config) -> Resources:
    return Resources(
        memory=settings.memory,
        workers=settings.workers,
        executor=settings.executor,
        scheduler=settings.scheduler,
    )
