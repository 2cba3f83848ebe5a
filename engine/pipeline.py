"""The pipeline: which steps there are, in what order, and what determines the output of each.

Start reading here. `steps` is the whole pipeline; each step's stage is in the file of its name in
``engine/stages/``, and ``driver.py`` takes a run through them. Nothing in this module loads a numerical library:
every stage runs in a process of its own, which loads what it needs and gives its memory back.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from engine import costs
from engine.chunked.journal import Committed, Journal, fingerprint
from engine.chunked.storage.location import Location, locate
from engine.chunked.task import Stage
from engine.config import Config, Recommend
from engine.costs import COSTS, Shapes
from engine.ratings.source import Source
from engine.stages.inputs import StageInputs
from engine.stages.names import PROFILE, SURVEY


@dataclass(frozen=True)
class Step:
    """One step of the pipeline.

    Attributes
    ----------
    name : str
        Also the name of its configuration section and of its module in ``engine/stages/``.
    stage : str
        The stage's class in that module.
    needs : tuple of str
        Steps whose output it reads.
    does : str
        In a few words, for people.
    version : int
        Of its output; raise it when the same parameters leave other bytes.
    """

    name: str
    stage: str
    needs: tuple[str, ...]
    does: str
    version: int = 1


_FOUND = (
    Step("ingest", "IngestStage", (), "ratings to partitions by user", 4),
    Step("split", "SplitStage", ("ingest",), "train and test", 3),
    Step("matrix", "MatrixStage", ("ingest", "split"), "CSR of train and test", 2),
    Step("factors", "FactorsStage", ("matrix",), "SVD, user vectors", 4),
    Step("index", "IndexStage", ("factors",), "what neighbours are searched with", 2),
    Step("neighbors", "NeighborsStage", ("factors", "index"), "nearest users", 3),
)
_BIASES = Step("biases", "BiasesStage", ("matrix",), "how far users and films are from the mean")
_PREDICTED = (
    Step("item_neighbors", "ItemNeighborsStage", ("matrix", "factors"), "nearest films"),
    Step("predict", "PredictStage", ("matrix", "biases", "item_neighbors"), "test ratings predicted"),
)
_MEASURED = ("ingest", "matrix", "neighbors", "biases")
_EVALUATE = Step("evaluate", "EvaluateStage", _MEASURED, "figures of the model and of baselines", 4)


def steps(settings: Config) -> tuple[Step, ...]:
    """The pipeline of a configuration, in order."""
    if settings.evaluate.model == "notebook":
        return (*_FOUND, _BIASES, _EVALUATE)
    needs = (*_MEASURED, "item_neighbors", "predict")
    return (*_FOUND, _BIASES, *_PREDICTED, replace(_EVALUATE, needs=needs))


def recommend_step(settings: Config) -> Step:
    """The step that lists the best films for every user, of a finished run of this configuration."""
    found = ("ingest", "matrix", "neighbors")
    predicted = () if settings.evaluate.model == "notebook" else ("biases", "item_neighbors")
    return Step("recommend", "RecommendStage", (*found, *predicted), "the best films for every user")


STEPS = steps(Config())
"""The steps of every configuration."""


def identify(source: Source, content: tuple[int, str]) -> list[str]:
    """What of the ratings file determines the results.

    Parameters
    ----------
    source : Source
        How it is read: which columns, as what.
    content : (int, str)
        Its size in bytes and SHA-256; not its name or its time.
    """
    reading = (source.format, source.separator, source.columns, source.user_type, source.item_type)
    return [str(part) for part in (*content, *reading)]


def fingerprints(settings: Config, identity: list[str]) -> dict[str, str]:
    """Fingerprint of each step's output; ``identity`` is that of the ratings file."""
    found: dict[str, str] = {}
    for step in steps(settings):
        params = msgspec.to_builtins(getattr(settings, step.name))
        upstream = [found[name] for name in step.needs] or identity
        found[step.name] = fingerprint(step.name, step.version, params, upstream)
    return found


def stage_folders(workdir: Location, prints: Mapping[str, str]) -> dict[str, Location]:
    """Folder of each step's output."""
    return {name: workdir / "stages" / f"{name}-{key}" for name, key in prints.items()}


def open_stage(
    step: str,
    settings: dict[str, Any],
    source: dict[str, Any],
    source_state: list[int],
    shapes: dict[str, Any],
    folders: dict[str, str],
) -> tuple[Location, Stage]:
    """Construct a step's stage, in the process that is to run it; returns its folder and the stage."""
    whole = msgspec.convert(settings, Config)
    found = next(each for each in steps(whole) if each.name == step)
    module = importlib.import_module(f"engine.stages.{step}")
    root = locate(folders[step])
    inputs = StageInputs(
        section=getattr(whole, step),
        source=Source.from_json(source),
        source_state=source_state,
        own=Committed(root),
        upstream={name: Committed(locate(folders[name])) for name in found.needs},
        plan=partial(COSTS[step], whole),
        shapes=Shapes(**shapes),
    )
    return root, getattr(module, found.stage)(inputs)


def open_recommend(
    section: dict[str, Any],
    settings: dict[str, Any],
    source: dict[str, Any],
    shapes: dict[str, Any],
    folders: dict[str, str],
) -> tuple[Location, Stage]:
    """Construct the stage of `recommend_step`, as `open_stage` does that of another step."""
    from engine.stages.recommend import RecommendStage

    whole, own = msgspec.convert(settings, Config), msgspec.convert(section, Recommend)
    step = recommend_step(whole)
    root = locate(folders[step.name])
    inputs = StageInputs(
        section=own,
        source=Source.from_json(source),
        source_state=[],
        own=Committed(root),
        upstream={name: Committed(locate(folders[name])) for name in step.needs},
        plan=partial(costs.recommend, whole, own),
        shapes=Shapes(**shapes),
    )
    return root, RecommendStage(inputs)


def known_shapes(source: Source, source_bytes: int, ingest: Location) -> Shapes:
    """What is known of the data by now; ``ingest`` is that step's folder."""
    texts = "string" in (source.user_type, source.item_type)
    shapes = Shapes(source_bytes, source.compression != "none", source.format == "parquet", source.group_bytes, texts)
    own, journal = Committed(ingest), Journal(ingest)
    if journal.done(SURVEY):
        shapes = shapes.surveyed(own.result(SURVEY))
    return shapes.profiled(own.result(PROFILE)) if journal.done(PROFILE) else shapes
