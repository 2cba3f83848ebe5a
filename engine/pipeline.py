"""The pipeline: which steps there are, in what order, and what determines the output of each.

Start reading here. `steps` is the whole pipeline; each step's stage is in the file or folder of its name in
``engine/stages/``, and `engine.chunked` takes a run through them. Nothing in this module loads a numerical library:
stages run in child processes, which load what they need and give their memory back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from engine import costs, estimates
from engine.artifacts import names
from engine.artifacts.records import Calibrated, MatrixLayout, Profile, Surveyed, converted, implicit_because
from engine.chunked.journal import Committed
from engine.chunked.pipeline import Known, Pipeline, Step, Survey
from engine.chunked.task import Costs
from engine.config import Calibration, Config, Cooccurrence, Recommend, Refine, Section
from engine.costs import Shapes
from engine.ratings.resolve import Found
from engine.ratings.source import Source
from engine.results import figures

_PREDICTED = ("matrix", "biases", "item_neighbors")
_MEASURED = ("ingest", "matrix", "index", "neighbors", "biases")


def steps(settings: Config, identity: tuple[str, ...] = ()) -> tuple[Step, ...]:
    """The pipeline of a configuration, in order; ``identity`` is that of the ratings."""

    def step(name: str, stage: str, needs: tuple[str, ...], does: str, version: int = 1) -> Step:
        return Step(name, f"engine.stages.{name}:{stage}", costs_of, getattr(settings, name), needs, (), does, version)

    refined = costs.refines(settings)
    vectors = "refine" if refined else "factors"
    ingest = step("ingest", "IngestStage", (), "ratings to partitions by user", 8)
    refine = step("refine", "RefineStage", ("matrix", "factors"), "vectors by alternating least squares", 6)
    refine = replace(refine, params=_with_liked_from(settings.refine, settings))
    neighbors_and_baseline = (
        replace(ingest, reads=identity, survey=Survey("profile", "count the ratings")),
        step("split", "SplitStage", ("ingest",), "train and test", 4),
        step("matrix", "MatrixStage", ("ingest", "split"), "CSR of train and test", 3),
        step("factors", "FactorsStage", ("matrix",), "SVD, user vectors", 5),
        *((refine,) if refined else ()),
        step("index", "IndexStage", (vectors,), "what neighbours are searched with", 4),
        step("neighbors", "NeighborsStage", (vectors, "index"), "nearest users", 6),
        step("biases", "BiasesStage", ("matrix",), "how far users and items are from the mean", 3),
    )
    evaluate = step("evaluate", "EvaluateStage", _MEASURED, "figures of the model and of baselines", 14)
    if settings.evaluate.model == "notebook":
        return (*neighbors_and_baseline, *((evaluate,) if settings.split.tests else ()))
    sections = {name: getattr(settings, name) for name in Calibration.__struct_fields__}
    calibrate = step("calibrate", "CalibrateStage", ("matrix",), "weights of the model's parts, on a part of train", 7)
    calibrate = replace(calibrate, params=Calibration(**sections | {"refine": refine.params}))
    weights = ("calibrate",) if costs.calibrates(settings) else ()
    residuals = step(
        "residuals", "ResidualsStage", ("matrix", "factors", "biases", *weights), "vectors of what the biases leave", 6
    )
    cooccurrence = step("cooccurrence", "CooccurrenceStage", ("matrix", *weights), "items taken together", 2)
    cooccurrence = replace(cooccurrence, params=_with_liked_from(settings.cooccurrence, settings))
    of_ratings, of_lists = costs.parts(settings)
    model = (
        *neighbors_and_baseline,
        *((calibrate,) if weights else ()),
        *((residuals,) if "residuals" in of_ratings else ()),
        step("item_neighbors", "ItemNeighborsStage", ("matrix", "factors"), "nearest items", 5),
        *((cooccurrence,) if "cooccurrence" in of_lists else ()),
    )
    if not settings.split.tests:
        return model
    return (
        *model,
        step("predict", "PredictStage", (*_PREDICTED, *of_ratings, *weights), "test ratings predicted", 4),
        replace(evaluate, needs=(*_MEASURED, "item_neighbors", "predict", *of_lists, *weights)),
    )


def _with_liked_from(section: Refine | Cooccurrence, settings: Config) -> Section:
    """The section with what ``evaluate`` has, where it has no rating of its own that items are liked from."""
    liked_from = settings.evaluate.liked_from if section.liked_from is None else section.liked_from
    return msgspec.structs.replace(section, liked_from=liked_from)


def recommend_step(settings: Config, section: Recommend) -> Step:
    """The step that lists the best items for every user, beside a finished run of this configuration."""
    found = ("ingest", "matrix", "neighbors")
    predicted = () if settings.evaluate.model == "notebook" else ("biases", "item_neighbors")
    of_ratings, of_lists = costs.parts(settings)
    weights = ("calibrate",) if costs.calibrates(settings) else ()
    return Step(
        "recommend",
        "engine.stages.recommend:RecommendStage",
        costs_of,
        section,
        (*found, *predicted, *of_ratings, *of_lists, *weights),
        does="the best items for every user",
        version=13,
    )


def identify(source: Source, content: Sequence[tuple[int, str]]) -> list[str]:
    """What of the ratings determines the results.

    Parameters
    ----------
    source : Source
        How they are read: which columns, as what.
    content : sequence of (int, str)
        Size in bytes and SHA-256 of each file; not its name or its time.
    """
    if len(content) == 1:
        return [*map(str, content[0]), *source.first.reading]
    files = [[*map(str, each), *file.reading] for each, file in zip(content, source.files, strict=True)]
    return [str(sum(size for size, _ in content)), hashlib.sha256(msgspec.json.encode(files)).hexdigest()]


def pipeline_of(settings: Config, found: Found, evaluated: Mapping[str, Any] | None = None) -> Pipeline:
    """The pipeline of a configuration on its ratings.

    Parameters
    ----------
    settings : Config
    found : Found
        The ratings.
    evaluated : mapping, optional
        The ``metrics.json`` of the run whose parameters these are, where this one measures nothing.
    """
    identity, contents = identify(found.source, found.content), [sha256 for _, sha256 in found.content]
    return pipeline_from(settings, found.source, identity, found.states, contents, evaluated)


def pipeline_from(
    settings: Config,
    source: Source,
    identity: list[str],
    states: list[list[int]] | None = None,
    contents: list[str] | None = None,
    evaluated: Mapping[str, Any] | None = None,
) -> Pipeline:
    """The same of a run that was made: its configuration, its ratings, and what `identify` found.

    Parameters
    ----------
    settings : Config
    source : Source
    identity : list of str
    states : list of list of int or None
        Each file's state (`engine.chunked.storage.base.Location.state`) when it was hashed.
    contents : list of str or None
        The SHA-256 of each file.
    evaluated : mapping, optional
        As `pipeline_of` takes it.
    """

    def collect(stages: Mapping[str, Committed]) -> dict[str, Any]:
        return figures.collect(settings, source, {name: stage.root for name, stage in stages.items()}, evaluated)

    details = {
        "settings": msgspec.to_builtins(settings),
        "source": source.located().to_json(),
        "identity": identity,
        "source_states": states or [],
        "contents": contents or [],
    }
    made = steps(settings, tuple(identity))
    details["conversions"] = _conversions(made[0], settings, source, contents or [])
    return Pipeline(source.name, made, details, source.notes, source.origin, collect)


def _conversions(ingest: Step, settings: Config, source: Source, contents: Sequence[str]) -> list[str]:
    """What identifies what each piece of a file becomes, before all are put together."""
    of_all = [ingest.version, settings.ingest.times, settings.test is not None]
    files = [
        (file, [*of_all, sha256, file.values, *file.reading])
        for sha256, file in zip(contents, source.files, strict=False)
    ]
    read = [[*parts, piece, file.pieces] for file, parts in files for piece in range(file.pieces)]
    return [hashlib.sha256(msgspec.json.encode(parts)).hexdigest() for parts in read]


def costs_of(known: Known) -> Costs:
    """What a step will take, by what is known of the data by now."""
    settings = msgspec.convert(known.details["settings"], Config)
    shapes = known_shapes(known, settings)
    if known.step == "recommend":
        return Costs(costs.recommend(settings, known.params, shapes), costs.recommend_disk(known.params, shapes))
    rounds = costs.COSTS[known.step](settings, shapes)
    disk, kept = costs.disk(settings, shapes)[known.step]
    if known.step == "ingest":
        source = Source.from_json(dict(known.details["source"]))
        disk += source.copied_bytes + source.recoded * shapes.source_bytes
    return Costs(rounds, disk, estimates.seconds(settings, shapes)[known.step], kept)


def known_shapes(known: Known, settings: Config) -> Shapes:
    """What is known of the data by now."""
    source = Source.from_json(dict(known.details["source"]))
    texts = "string" in (source.user_type, source.item_type)
    shapes = Shapes(
        int(known.details["identity"][0]),
        source.compressed,
        source.columnar,
        source.group_bytes,
        texts,
        source.parsed,
        source.values != "ratings",
        len(source.pieces),
        len(source.files),
    )
    if survey := _result(known, "ingest", names.SURVEY, Surveyed):
        shapes = shapes.surveyed(survey)
        because = implicit_because(settings.matrix.feedback, source.values, survey["rating_min"], survey["rating_max"])
        shapes = replace(shapes, implicit=bool(because))
    if profile := _result(known, "ingest", names.PROFILE, Profile):
        shapes = shapes.profiled(profile)
    if layout := _result(known, "matrix", names.LAYOUT, MatrixLayout):
        shapes = shapes.laid_out(layout)
    if "calibrate" in known.folders and (chosen := _result(known, "calibrate", names.CHOICE, Calibrated)):
        shapes = shapes.weighed(chosen)
    return shapes


def _result(known: Known, step: str, task: str, kind: type[msgspec.Struct]) -> dict[str, Any] | None:
    """What a task of some step returned, seen to be what this version makes of it; None while it is not done."""
    if found := known.result(step, task):
        converted(known.folders[step], found, kind)
    return found
