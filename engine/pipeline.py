"""The pipeline: which steps there are, in what order, and how a run goes through them.

Start reading here. `STEPS` is the whole pipeline; each step's stage is in the file of its name in
``engine/stages/``. Nothing in this module loads a numerical library: every stage runs in a process of its
own, which loads what it needs and gives its memory back.
"""

from __future__ import annotations

import importlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from engine import config
from engine.chunked import lock, memory
from engine.chunked.budget import parse_size
from engine.chunked.errors import DamagedError, UsageError
from engine.chunked.executors import Job, reserved_bytes, run_in_child
from engine.chunked.journal import Committed, Journal, fingerprint
from engine.chunked.runner import Event
from engine.chunked.store import write_atomic
from engine.chunked.task import Stage
from engine.config import Config
from engine.costs import COSTS, Plan, Shapes, disk
from engine.planning import StagePlan, plan_stage, refuse_full_disk, refuse_misfits
from engine.resolve import resolve
from engine.source import Source
from engine.stages.inputs import StageInputs

METRICS = "metrics.json"
RUN = "run.json"
LOCK = "lock"
# The task of ingest that finds how large everything is.
PROFILE = "profile.00000"
WORKDIR_MARKER = "workdir.json"
WORKDIR_VERSION = 1


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


STEPS = (
    Step("ingest", "IngestStage", (), "ratings to partitions by user"),
    Step("split", "SplitStage", ("ingest",), "train and test"),
    Step("matrix", "MatrixStage", ("ingest", "split"), "CSR of train and test"),
    Step("factors", "FactorsStage", ("matrix",), "SVD, user vectors"),
    Step("index", "IndexStage", ("factors",), "HNSW graphs"),
    Step("neighbors", "NeighborsStage", ("factors", "index"), "nearest users"),
    Step("evaluate", "EvaluateStage", ("matrix", "neighbors"), "RMSE and recall"),
)

# Polars reads these when it is loaded. Its defaults would hold hundreds of MiB of a CSV at a time.
_POLARS = {
    "POLARS_CSV_CHUNK_SIZE": "1000000",
    "POLARS_CSV_CHUNK_PREFETCH_LIMIT": "1",
    "POLARS_ROW_GROUP_PREFETCH_SIZE": "1",
}


@dataclass(frozen=True)
class RunResult:
    """What a run left.

    Attributes
    ----------
    metrics : dict
        The content of ``metrics.json``.
    workdir : Path
        The work directory.
    artifacts : dict of str to Path
        The folder of each step.
    stages : list of dict
        For each step ``stage``, ``skipped``, ``projected``, ``measured`` (bytes) and ``seconds``.
    allowed : int
        Bytes the run was allowed.
    """

    metrics: dict[str, Any]
    workdir: Path
    artifacts: dict[str, Path]
    stages: list[dict[str, Any]]
    allowed: int


def fingerprints(settings: Config, source: Source, content: tuple[int, str]) -> dict[str, str]:
    """Fingerprint of each step's output.

    Parameters
    ----------
    settings : Config
        Its sections.
    source : Source
        How the ratings file is read: which columns, as what.
    content : (int, str)
        The file's size in bytes and SHA-256; not its name or its time.
    """
    reading = (source.format, source.separator, source.columns, source.user_type, source.item_type)
    identity = [str(part) for part in (*content, *reading)]
    found: dict[str, str] = {}
    for step in STEPS:
        params = msgspec.to_builtins(getattr(settings, step.name))
        upstream = [found[name] for name in step.needs] or identity
        found[step.name] = fingerprint(step.name, step.version, params, upstream)
    return found


def stage_folders(workdir: Path, prints: Mapping[str, str]) -> dict[str, Path]:
    """Folder of each step's output."""
    return {name: workdir / "stages" / f"{name}-{key}" for name, key in prints.items()}


def open_stage(
    step: str, settings: dict[str, Any], source: dict[str, Any], shapes: dict[str, Any], folders: dict[str, str]
) -> tuple[Path, Stage]:
    """Construct a step's stage, in the process that is to run it; returns its folder and the stage."""
    found = next(each for each in STEPS if each.name == step)
    module = importlib.import_module(f"engine.stages.{step}")
    root = Path(folders[step])
    whole = msgspec.convert(settings, Config)
    inputs = StageInputs(
        section=getattr(whole, step),
        source=Source.from_json(source),
        own=Committed(root),
        upstream={name: Committed(Path(folders[name])) for name in found.needs},
        plan=partial(COSTS[step], whole),
        shapes=Shapes(**shapes),
    )
    return root, getattr(module, found.stage)(inputs)


@dataclass(frozen=True)
class _Run:
    """Everything settled before the first step starts."""

    settings: Config
    source: Source
    source_bytes: int
    workdir: Path
    allowed: int
    workers: int
    folders: dict[str, Path]
    descriptor: int


@contextmanager
def _prepare(settings: Config, on_event: Callable[[Event], None]) -> Iterator[_Run]:
    """Find the ratings, make the work directory and hold it."""
    settings = config.validated(settings)
    source, identity = resolve(settings)
    workdir = _make_workdir(Path(settings.workdir or f"runs/{source.name}"))
    allowed = memory.default_budget() if settings.memory is None else parse_size(settings.memory)
    workers = settings.workers or len(os.sched_getaffinity(0))
    with lock.hold(workdir / LOCK) as descriptor:
        folders = stage_folders(workdir, fingerprints(settings, source, identity))
        setup = _Run(settings, source, identity[0], workdir, allowed, workers, folders, descriptor)
        on_event(
            {
                "event": "run",
                "source": source.name,
                "notes": list(source.notes),
                "workdir": str(workdir),
                "allowed": allowed,
            }
        )
        yield setup


def plan(settings: Config, on_event: Callable[[Event], None] = lambda event: None) -> tuple[list[StagePlan], int]:
    """Project what a run will take; of the run itself only the counting of ratings is done.

    Returns
    -------
    list of StagePlan, int
        The stages that are not done, and the bytes allowed.

    Raises
    ------
    UsageError, LockedError, DamagedError, Interrupted
        As `run`. A stage that does not fit is told by its plan.
    """
    with _prepare(settings, on_event) as setup:
        _mend(setup, on_event)
        _count(setup, on_event)
        return _plan(setup), setup.allowed


def run(settings: Config, on_event: Callable[[Event], None] = lambda event: None) -> RunResult:
    """Run the pipeline, or what is left of it.

    Parameters
    ----------
    settings : Config
        What to run.
    on_event : callable
        Told what happens, for progress: see `engine.chunked.progress`.

    Raises
    ------
    UsageError, BudgetError, LockedError, DamagedError, Interrupted
        See `engine.chunked.errors`.
    """
    with _prepare(settings, on_event) as setup:
        _mend(setup, on_event)
        counting = _count(setup, on_event)
        refuse_misfits(_plan(setup), setup.allowed)
        stages = [_run_step(setup, step, on_event) for step in STEPS]
        if counting is not None:
            stages[0] = _with_counting(stages[0], counting)
        metrics = _metrics(setup)
        write_atomic(setup.workdir / METRICS, msgspec.json.format(msgspec.json.encode(metrics)))
        summary = {"allowed": setup.allowed, "workers": setup.workers, "stages": stages}
        write_atomic(setup.workdir / RUN, msgspec.json.format(msgspec.json.encode(summary)))
    return RunResult(metrics, setup.workdir, setup.folders, stages, setup.allowed)


def _mend(setup: _Run, on_event: Callable[[Event], None]) -> None:
    """Take back what is damaged, so that it is done again; take back the figures until all is done."""
    for name, folder in setup.folders.items():
        for task_id in Journal(folder).forget_damaged():
            on_event({"event": "note", "text": f"{name}: files of task {task_id} are damaged; it is done again"})
    if not all(Journal(folder).finished() for folder in setup.folders.values()):
        (setup.workdir / METRICS).unlink(missing_ok=True)


def _count(setup: _Run, on_event: Callable[[Event], None]) -> dict[str, Any] | None:
    """Count the ratings, which every projection starts from, unless that is done; return what it took."""
    ingest = STEPS[0]
    if Journal(setup.folders[ingest.name]).done(PROFILE):
        return None
    shapes = known_shapes(setup.source, setup.source_bytes, setup.folders[ingest.name])
    rounds = COSTS[ingest.name](setup.settings, shapes)
    counting = {name: rounds[name] for name in ("convert", "profile")}
    reserved = memory.resident_bytes() + reserved_bytes(f"engine.stages.{ingest.name}", _environment(setup))
    refuse_misfits([_plan_step(setup, ingest.name, counting, reserved)], setup.allowed)
    on_event({"event": "note", "text": "counting the ratings"})
    return _run_rounds(setup, ingest, lambda event: None, upto="profile")


def _plan(setup: _Run) -> list[StagePlan]:
    """Project every stage that is left; the ratings have been counted."""
    left = [step for step in STEPS if not Journal(setup.folders[step.name]).finished()]
    if not left:
        return []
    with ThreadPoolExecutor(setup.workers) as pool:
        modules = [f"engine.stages.{step.name}" for step in left]
        reserved = list(pool.map(partial(reserved_bytes, environment=_environment(setup)), modules))
    own = memory.resident_bytes()
    shapes = known_shapes(setup.source, setup.source_bytes, setup.folders["ingest"])
    needed = disk(setup.settings, shapes)
    free = shutil.disk_usage(setup.workdir).free
    refuse_full_disk({step.name: needed[step.name] for step in left}, free, str(setup.workdir))
    return [
        _plan_step(setup, step.name, COSTS[step.name](setup.settings, shapes), own + bytes_)
        for step, bytes_ in zip(left, reserved, strict=True)
    ]


def _plan_step(setup: _Run, name: str, rounds: Plan, reserved: int) -> StagePlan:
    return plan_stage(name, rounds, allowed=setup.allowed, reserved=reserved, max_workers=setup.workers)


def _make_workdir(workdir: Path) -> Path:
    """Make the work directory, or see that what is there is one.

    Raises
    ------
    UsageError
        Where it cannot be written, or holds something else.
    DamagedError
        Where another version of the program made it.
    """
    marker = workdir / WORKDIR_MARKER
    try:
        if marker.exists():
            found = msgspec.json.decode(marker.read_bytes())
            if found != {"version": WORKDIR_VERSION}:
                raise DamagedError(f"{workdir}: made by another version of this program: use another --workdir")
            return workdir
        if workdir.is_dir() and any(workdir.iterdir()):
            raise UsageError(f"{workdir}: not empty and no work directory: name another --workdir")
        workdir.mkdir(parents=True, exist_ok=True)
        write_atomic(marker, msgspec.json.encode({"version": WORKDIR_VERSION}))
    except msgspec.DecodeError:
        raise DamagedError(f"{marker}: not readable: use another --workdir") from None
    except OSError as error:
        raise UsageError(
            f"{workdir}: cannot be used as a work directory ({error.strerror}): name another --workdir"
        ) from None
    return workdir


def _run_step(setup: _Run, step: Step, on_event: Callable[[Event], None]) -> dict[str, Any]:
    """Run a step in a child process unless it is complete; return what it took."""
    on_event({"event": "stage", "stage": step.name, "does": step.does})
    if Journal(setup.folders[step.name]).finished():
        on_event({"event": "skip", "stage": step.name})
        return {"stage": step.name, "skipped": True, "projected": 0, "measured": 0, "seconds": 0.0}
    took = _run_rounds(setup, step, on_event)
    on_event({"event": "stage_end", **took})
    return took


def _run_rounds(setup: _Run, step: Step, on_event: Callable[[Event], None], upto: str | None = None) -> dict[str, Any]:
    """Run what is left of a step, or of it up to a round; return what it took."""
    took: dict[str, Any] = {"stage": step.name, "skipped": False, "projected": 0, "measured": 0, "seconds": 0.0}
    own = memory.resident_bytes()

    def note(event: Event) -> None:
        took["projected"] = max(took["projected"], event.get("projected", 0))
        took["measured"] = max(took["measured"], own + event.get("measured", 0))
        on_event(event)

    start = time.monotonic()
    run_in_child(_job(setup, step, upto), note, (setup.descriptor,))
    took["seconds"] = round(time.monotonic() - start, 3)
    return took


def _with_counting(took: dict[str, Any], counting: dict[str, Any]) -> dict[str, Any]:
    """What a step took, the part of it that was run for the plan included."""
    peaks = {name: max(took[name], counting[name]) for name in ("projected", "measured")}
    return {**took, **peaks, "seconds": round(took["seconds"] + counting["seconds"], 3)}


def _environment(setup: _Run) -> dict[str, str]:
    return {**_POLARS, "POLARS_MAX_THREADS": str(setup.workers)}


def _job(setup: _Run, step: Step, upto: str | None = None) -> Job:
    spec = {
        "step": step.name,
        "settings": msgspec.to_builtins(setup.settings),
        "source": setup.source.to_json(),
        "shapes": asdict(known_shapes(setup.source, setup.source_bytes, setup.folders["ingest"])),
        "folders": {name: str(setup.folders[name]) for name in (step.name, *step.needs)},
    }
    open_ = "engine.pipeline:open_stage"
    return Job(step.name, open_, spec, setup.allowed, setup.workers, _environment(setup), upto)


def known_shapes(source: Source, source_bytes: int, ingest: Path) -> Shapes:
    """What is known of the data by now; ``ingest`` is that step's folder."""
    shapes = Shapes(source_bytes, source.compression != "none", source.format == "parquet")
    return shapes.profiled(Committed(ingest).result(PROFILE)) if Journal(ingest).done(PROFILE) else shapes


def _metrics(setup: _Run) -> dict[str, Any]:
    """Collect the figures from the records."""
    ingest, split, matrix, evaluate = (
        Committed(setup.folders[name]) for name in ("ingest", "split", "matrix", "evaluate")
    )
    profile = ingest.result("profile.00000")
    partitions = ingest.results("partition")
    splits = split.results("split")
    means = evaluate.result("mean.00000")
    k = setup.settings.evaluate.k
    metrics = {
        "dataset": setup.source.name,
        "synthetic": setup.source.synthetic,
        "rmse": means["rmse"],
        f"recall_at_{k}": means["recall"],
        "n_ratings": profile["n_rows"],
        "n_repeated": sum(part["n_repeated"] for part in partitions),
        "n_train": sum(part["n_train"] for part in splits),
        "n_test": sum(part["n_test"] for part in splits),
        "n_test_scored": means["n_test_scored"],
        "n_test_covered": means["n_test_covered"],
        "n_users": profile["n_users"],
        "n_items": matrix.result("layout.00000")["n_columns"],
        "n_users_with_liked": means["n_users_with_liked"],
        "sorted_by_user": profile["sorted_by_user"],
        "notes": list(setup.source.notes),
        "config": {"preset": setup.settings.preset}
        | {step.name: msgspec.to_builtins(getattr(setup.settings, step.name)) for step in STEPS},
    }
    if not metrics["n_test"]:
        needed = setup.settings.split.min_ratings
        metrics["why_no_rmse"] = f"no user has {needed} ratings, so none was held out"
    elif means["rmse"] is None:
        metrics["why_no_rmse"] = "no test rating is of a film that occurs in train"
    if means["recall"] is None:
        liked = setup.settings.evaluate.liked_from
        metrics["why_no_recall"] = f"no user has a test rating of at least {liked} for a film that occurs in train"
    return metrics
