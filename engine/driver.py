"""A run of the recommender: find the ratings, then let the engine run the pipeline."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import msgspec

from engine import chunked, config
from engine.artifacts.doubts import doubted
from engine.chunked import publishing, workdir
from engine.chunked.budget import parse_budget
from engine.chunked.errors import EngineError, Interrupted, UsageError, write_named
from engine.chunked.events import OnEvent, Preparing, ignore
from engine.chunked.journal import Committed, Journal
from engine.chunked.loop import Resources
from engine.chunked.pipeline import Pipeline
from engine.chunked.planning import RunPlan
from engine.chunked.progress import following
from engine.chunked.storage import Location, Place, locate
from engine.config import Config
from engine.pipeline import pipeline_of
from engine.ratings.columns import told_in_python
from engine.ratings.converted import with_converted
from engine.ratings.frames import is_frame, write_frame
from engine.ratings.resolve import Found, resolve
from engine.ratings.source import FRAMES, frame_name
from engine.results import recorded

RunResult = chunked.RunResult

_RUNS = "runs"
# Bytes of a folder's name: file systems take 255.
_LONGEST = 150


@contextmanager
def _interruptible() -> Iterator[None]:
    """Tell Ctrl-C as what it is to a run."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted; run again to go on") from None


@_interruptible()
def plan(settings: Config, on_event: OnEvent = ignore) -> RunPlan:
    """Project what a run will take; of the run itself only the counting of ratings is done.

    Raises
    ------
    UsageError, LockedError, DamagedError, Interrupted
        As `run`. A stage that does not fit is told by its plan.
    """
    asked, settings = settings, _checked(settings)
    on_event(Preparing("finding the ratings, and hashing them"))
    pipeline = pipeline_of(settings, _resolved(settings, asked))
    where = _workdir(settings, pipeline)
    with doubted(lambda: _left(pipeline, where), UsageError):
        return chunked.plan(
            with_converted(with_news(pipeline, where), where), where, on_event=on_event, **_resources(settings)
        )


@_interruptible()
def run(
    settings: Config,
    on_event: OnEvent = ignore,
    *,
    fresh: bool = False,
    refit: bool = False,
    progress: bool | None = None,
) -> RunResult:
    """Run the pipeline, or what is left of it.

    Parameters
    ----------
    settings : Config
        What to run.
    on_event : callable
        Told what happens, for progress: see `engine.chunked.progress`.
    fresh : bool
        Remove what earlier runs of this configuration left, and start over.
    refit : bool
        Learn from all ratings, with the parameters of the last run of the work directory that was evaluated; the
        figures of that one are told.
    progress : bool, optional
        Whether to show progress. None: on a terminal and in a notebook, unless ``on_event`` is given.

    Raises
    ------
    UsageError, BudgetError, LockedError, DamagedError, Interrupted
        See `engine.chunked.errors`; UsageError, too, where ``refit`` has no evaluated run, or settings of its own.
    """
    asked, settings = settings, _checked(settings)
    on_event(Preparing("finding the ratings, and hashing them"))
    found = _resolved(settings, asked)
    pipeline = pipeline_of(settings, found)
    where = _workdir(settings, pipeline)
    if refit:
        evaluated = _evaluated(where)
        of_evaluated = recorded.read_figures(evaluated, locate(where))
        before = recorded.read(evaluated.run, locate(where)).settings
        pipeline = pipeline_of(_refitted(settings, before, of_evaluated["weights"]), found, of_evaluated)
    pipeline = with_converted(with_news(pipeline, where), where)
    with following(on_event, progress) as told, doubted(lambda: _left(pipeline, where), UsageError):
        result = chunked.run(pipeline, where, on_event=told, fresh=fresh, keep=settings.keep, **_resources(settings))
    _remove_other_frames(settings, where)
    return result


def _resolved(settings: Config, asked: Config) -> Found:
    """`resolve`; who asked for data frames has no command line."""
    framed = is_frame(asked.dataset) or is_frame(asked.test)
    with told_in_python() if framed else nullcontext():
        return resolve(settings)


def ratings_changed(where: Place) -> str | None:
    """Say so where a ratings file of the last run in a work directory is gone, or has changed since.

    A file is read only where its time is another than it was, and its size is not. A server that its name says is not
    asked: runs alone do that, whose user has named it.
    """
    last, not_asked = workdir.last_run(where), None
    for path, state, sha256 in [] if last is None else _recorded(last.details):
        if not path.settled:
            not_asked = f"whether the ratings have changed is not known: only a run asks for {path}"
            continue
        try:
            now = path.state()
            same = now == state or (now[:1] == state[:1] and path.digest() == sha256)
        except (OSError, EngineError):
            return f"the ratings cannot be read: {path}"
        if not same:
            return f"the ratings have changed since this run: {path}; the next run reads them again"
    return not_asked


def _left(pipeline: Pipeline, where: str) -> dict[str, Committed]:
    """What the finished steps of a pipeline have left in a work directory."""
    folders = pipeline.folders(locate(where))
    return {name: Committed(folder) for name, folder in folders.items() if Journal(folder).finished()}


def _recorded(details: Mapping[str, Any]) -> list[tuple[Location, list[int], str]]:
    """Each file of a run: where it is, and its state and SHA-256 then."""
    try:
        paths = [locate(file["path"]) for file in details["source"]["files"]]
        states = map(list[int], details["source_states"])
        return list(zip(paths, states, details["contents"], strict=False))
    except (KeyError, TypeError, UsageError):  # another version's, or somebody has put it there
        return []


def _checked(settings: Config) -> Config:
    settings = config.validated(settings)
    if settings.memory is not None:
        parse_budget(settings.memory)  # before the ratings are hashed, which takes a while
    settings = _with_frames_written(settings)
    if settings.index.method == "hnsw" and find_spec("hnswlib") is None:
        raise UsageError(config.HNSWLIB_MISSING)
    return settings


def _refitted(settings: Config, before: Config, weights: Mapping[str, Any] | None) -> Config:
    """The configuration that makes the model of an evaluated run of all ratings, by its configuration and weights."""
    own = [name for name in _sections(Config()) if getattr(settings, name) != getattr(Config(), name)]
    if own or settings.preset != Config().preset:
        what = ", ".join(own) or "preset"
        raise UsageError(f"{what}: a refit has the parameters of the evaluated run: leave yours out, or run without")
    sections = {name: getattr(before, name) for name in _sections(before)}
    sections["split"] = msgspec.structs.replace(before.split, method="none")
    sections |= _with_weights(before, weights)
    return _checked(msgspec.structs.replace(settings, preset=before.preset, **sections))


def _with_weights(settings: Config, weights: Mapping[str, Any] | None) -> dict[str, config.Section]:
    """Sections in which the weights that a run chose are those given: what is measured is what is served."""
    if weights is None or not weights["chosen"]:
        return {}
    replace_in = msgspec.structs.replace
    rating, ranking = (
        {f"{part}_weight": weight for part, weight in weights[kind]["weights"].items()}
        for kind in ("rating", "ranking")
    )
    return {
        "calibrate": replace_in(settings.calibrate, method="fixed"),
        "predict": replace_in(settings.predict, **rating),
        "evaluate": replace_in(settings.evaluate, **ranking),
    }


def _sections(settings: Config) -> list[str]:
    return [name for name in settings.__struct_fields__ if isinstance(getattr(settings, name), config.Section)]


def _evaluated(where: str) -> publishing.Finished:
    """The newest finished run of a work directory that has figures of its own."""
    for name in publishing.names(where):
        finished = publishing.finished(where, name)
        if finished.metrics.get("figures"):
            return finished
    raise UsageError(f"{where}: no finished run with figures, whose parameters a refit has: run without refit first")


def _with_frames_written(settings: Config) -> Config:
    """The same where ratings are named; else with the data frames written into the work directory.

    Where none is named, it has a part of the first frame's digest in its name: other data, another directory.
    """
    frames = {name: value for name in ("dataset", "test") if is_frame(value := getattr(settings, name))}
    if not frames:
        return settings
    if settings.workdir:
        workdir.make(settings.workdir)
    else:
        Path(_RUNS).mkdir(exist_ok=True)
    beside = locate(settings.workdir).disk if settings.workdir else Path(_RUNS)
    with TemporaryDirectory(prefix=".frame-", dir=beside) as folder, write_named(beside):
        digests = {
            name: write_frame(frame, settings.columns, Path(folder) / name, name) for name, frame in frames.items()
        }
        names = {name: frame_name(digest) for name, digest in digests.items()}
        where = settings.workdir or f"{_RUNS}/{next(iter(names.values()))}"
        workdir.make(where)
        for name, called in names.items():
            _adopt(Path(folder) / name, locate(where).enclosed() / FRAMES, f"{called}.parquet")
    places = {name: f"{where}/{FRAMES}/{called}.parquet" for name, called in names.items()}
    return msgspec.structs.replace(settings, workdir=where, **places)


def _adopt(written: Path, place: Location, name: str) -> None:
    """Move a file into a folder of the work directory."""
    scratch = place.new_scratch(written.parent.name)
    try:
        shutil.move(written, scratch / "frame")
        place.adopt({name: scratch / "frame"})
    finally:
        place.clear_scratch(scratch.name)


def _remove_other_frames(settings: Config, where: str) -> None:
    """Remove the data frames of earlier runs from the work directory, where this run is of some."""
    place = locate(where).enclosed() / FRAMES
    own = {Path(each).name for each in (settings.dataset, settings.test) if each is not None}
    names = place.names()
    if own & set(names):
        for name in names:
            if name.startswith("frame-") and name not in own:
                (place / name).remove()


def _workdir(settings: Config, pipeline: Pipeline) -> str:
    return (
        str(locate(settings.workdir))
        if settings.workdir
        else of_this_data(Path(default_workdir(pipeline.name)), pipeline)
    )


def with_news(pipeline: Pipeline, where: str) -> Pipeline:
    """The same, with a note of which of its many files are new, or gone, since the last run."""
    last = workdir.last_run(where)
    if last is None or last.origin != pipeline.origin:
        return pipeline
    before, now = _files(last.details), _files(pipeline.details)
    new = [name for name, content in now.items() if before.get(name) != content]
    gone = [name for name in before if name not in now]
    told = {"new since the last run": new, "no longer there": gone}
    notes = [f"{what}: {', '.join(names[:3])}{', ...' * (len(names) > 3)}" for what, names in told.items() if names]
    return replace(pipeline, notes=(*pipeline.notes, *notes)) if len(now) + len(before) > 2 else pipeline


def _files(details: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of each file of a run, by its path."""
    try:
        paths = [file["path"] for file in details["source"]["files"]]
        return dict(zip(paths, details["contents"], strict=True))
    except (KeyError, TypeError, ValueError):  # of another version
        return {}


def of_this_data(where: Path, pipeline: Pipeline) -> str:
    """A work directory, or ``NAME-2`` and so on beside it where it is of other data.

    Data are the same where the file is the same, or its content: a file that was moved finds its results again.
    """
    owners = {number: _owner(_numbered(where, number), pipeline) for number in _numbers(where)}
    own = [number for number, owner in owners.items() if owner == "this"]
    free = (number for number in count(1) if owners.get(number, "nobody") == "nobody")
    return str(_numbered(where, own[0] if own else next(free)))


def _numbered(where: Path, number: int) -> Path:
    return where if number == 1 else where.with_name(f"{where.name}-{number}")


def _numbers(where: Path) -> list[int]:
    """Which of these directories there are."""
    pattern = re.compile(re.escape(where.name) + r"(?:-([2-9]|[1-9][0-9]+))?")
    found = [pattern.fullmatch(each.name) for each in where.parent.glob("*/")]
    return sorted(int(match[1] or 1) for match in found if match)


def _owner(where: Path, pipeline: Pipeline) -> Literal["this", "other", "nobody"]:
    """Whether the last run in a directory was of the pipeline's data."""
    last = workdir.last_run(where)
    if last is None or not last.origin:
        return "nobody"
    same = last.origin == pipeline.origin or last.details.get("identity") == pipeline.details["identity"]
    return "this" if same else "other"


def default_workdir(name: str) -> str:
    """The work directory of a data set where none is named: in ``runs``, whatever the data set's name holds.

    Examples
    --------
    >>> default_workdir("ml-latest-small"), default_workdir("../escaped/by")
    ('runs/ml-latest-small', 'runs/.._escaped_by-e6b78999')
    """
    safe = "".join(each if each.isprintable() and each != "/" else "_" for each in name)
    safe = safe.encode()[:_LONGEST].decode(errors="ignore")
    if safe != name or safe in ("", ".", ".."):  # two names that differ only in what cannot be shown are two still
        safe = f"{safe}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
    return f"{_RUNS}/{safe}"


def _resources(settings: Config) -> Resources:
    return Resources(
        memory=settings.memory,
        workers=settings.workers,
        executor=settings.executor,
        scheduler=settings.scheduler,
    )
