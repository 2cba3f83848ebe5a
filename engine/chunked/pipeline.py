"""What a pipeline is: steps, what determines the output of each, and what its stages are given.

A step names a stage's class, its parameters, and the steps it reads. From these comes its fingerprint, hence its
folder: `stages/<name>-<fingerprint>`. `engine.chunked.run` takes a pipeline through its steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import msgspec

from engine.chunked import checked
from engine.chunked.errors import UsageError
from engine.chunked.journal import Committed, Journal, fingerprint
from engine.chunked.plain import json_value
from engine.chunked.references import Reference, load, refer
from engine.chunked.storage import Location, Place, locate
from engine.chunked.task import Costs, Planned, Stage

P = TypeVar("P")
STAGES = "stages"


@dataclass(frozen=True)
class Known:
    """What a plan is made from.

    Attributes
    ----------
    step : str
    params : object
        The step's parameters.
    details : mapping
        The pipeline's.
    folders : mapping of str to location
        Of all steps, finished or not.
    """

    step: str
    params: Any
    details: Mapping[str, Any]
    folders: Mapping[str, Location]
    # What was read is not read again: every round is planned anew, and in a store each look is a request.
    _results: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict, repr=False, compare=False)

    def result(self, step: str, task: str) -> dict[str, Any] | None:
        """What a task of some step returned; None while it is not done."""
        if (step, task) not in self._results:
            journal = Journal(self.folders[step])
            if not journal.done(task):
                return None
            self._results[step, task] = journal.result(task)
        return deepcopy(self._results[step, task])

    def of(self, step: str, params: Any) -> Known:
        """The same for another step of the pipeline."""
        return replace(self, step=step, params=params)


Planner = Callable[[Known], Costs]


@dataclass(frozen=True)
class Inputs(Generic[P]):
    """What a stage is constructed with.

    Attributes
    ----------
    params : object
        The step's parameters: with `upstream`, all that may influence the output.
    own : Committed
        What the stage itself has committed in earlier rounds.
    upstream : mapping of str to Committed
        What the steps it needs have left.
    details : mapping
        The pipeline's, for how the stage goes about it: where a file is, say.
    """

    params: P
    own: Committed
    upstream: Mapping[str, Committed]
    details: Mapping[str, Any]
    planner: Planner
    known: Known

    def plan(self) -> Mapping[str, Planned]:
        """The stage's rounds, given what is known by now: more, when its earlier rounds are done."""
        return checked.costs(self.known.step, self.planner(self.known)).rounds


@dataclass(frozen=True)
class Survey:
    """The rounds of a pipeline's first step that run before anything is planned, since all plans need what they find.

    Attributes
    ----------
    round : str
        The last of them.
    does : str
        What they do, for people: ``count the rows``.
    """

    round: str
    does: str


@dataclass(frozen=True)
class Step:
    """One step of a pipeline.

    Attributes
    ----------
    name : str
        Unique in the pipeline.
    stage : class or str
        Called with `Inputs` it gives the stage; a class or function at the top of a module, or ``"module:name"``, then
        it is loaded only where the stage runs.
    plan : callable, str or None
        Called with `Known` it gives `Costs`; none: the stage's attribute ``plan``, a static method.
    params : msgspec.Struct, mapping or None
        JSON values. They are part of the fingerprint: with other parameters the step runs again. The order of keys is
        not: the stage gets them sorted.
    needs : tuple of str
        Earlier steps whose output it reads.
    reads : tuple of str
        What identifies all that it reads from outside the pipeline: `content_of` a file, say.
    does : str
        In a few words, for people.
    version : int
        Of its output; raise it when the same parameters leave other bytes.
    survey : Survey or None
        Only in the first step.

    Raises
    ------
    UsageError
        Where it has no such name, or something else is given than this.
    """

    name: str
    stage: Callable[[Inputs[Any]], Stage] | str
    plan: Planner | str | None = None
    params: Any = None
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    does: str = ""
    version: int = 1
    survey: Survey | None = None

    def __post_init__(self) -> None:
        if not self.name or not set(self.name) <= _NAME:
            raise UsageError(f"a step has the name {self.name!r}: use letters, digits and _")
        for name, texts in (("needs", self.needs), ("reads", self.reads)):
            if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
                raise UsageError(f"step {self.name}: {name} is {texts!r}: give a tuple of texts")
        if not isinstance(self.params, msgspec.Struct | Mapping | None):
            raise UsageError(f"step {self.name}: params is {self.params!r}: give a mapping or a msgspec.Struct")
        self.json_params()

    @cached_property
    def stage_reference(self) -> Reference:
        """Where the stage is defined."""
        return refer(self.stage)

    @cached_property
    def plan_reference(self) -> Reference:
        """Where the plan is defined."""
        if self.plan is not None:
            return refer(self.plan)
        stage = self.stage_reference
        return Reference(stage.module, f"{stage.name}.plan", stage.file)

    @cached_property
    def planner(self) -> Planner:
        """The plan itself.

        Raises
        ------
        UsageError
            Where there is none.
        """
        if callable(self.plan):
            return self.plan
        if self.plan is None and callable(self.stage) and not hasattr(self.stage, "plan"):
            raise UsageError(f"step {self.name}: {self.stage} has no static method 'plan', and the step names no plan")
        planner: Planner = load(self.plan_reference)
        return planner

    def json_params(self) -> dict[str, Any]:
        """The parameters as JSON values, sorted by name: what has one fingerprint looks the same to a stage."""
        values = json_value(self.params or {}, f"params of step {self.name}")
        sorted_: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(values, order="deterministic"))
        return sorted_

    def given_params(self) -> Any:
        """The parameters as plans and stages get them, in every process."""
        return self.params if isinstance(self.params, msgspec.Struct) else self.json_params()


@dataclass(frozen=True)
class Pipeline:
    """Steps, in an order in which each comes after those it needs.

    Attributes
    ----------
    name : str
        Shown with its runs.
    steps : sequence of Step
    details : mapping
        JSON values that every stage and plan is given. They must not influence the output of any.
    notes : sequence of str
        What the user should know.
    origin : str
        What the run is of, such as a path; a work directory notes when that is another.
    collect : callable or None
        Called with what each step has left, when all are finished: JSON values that go into ``metrics.json``.
    """

    name: str
    steps: Sequence[Step]
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    origin: str = ""
    collect: Callable[[Mapping[str, Committed]], Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        before: set[str] = set()
        if not self.steps:
            raise UsageError(f"pipeline {self.name} has no steps")
        for step in self.steps:
            if step.name in before:
                raise UsageError(f"two steps have the name {step.name}")
            if missing := set(step.needs) - before:
                raise UsageError(f"step {step.name} needs {', '.join(sorted(missing))}, which no step before it is")
            if step.survey and before:
                raise UsageError(f"step {step.name} has a survey, which only the first step can have")
            before.add(step.name)
        self.json_details()

    def json_details(self) -> dict[str, Any]:
        """The details as JSON values, as plans and stages get them, in every process."""
        values: dict[str, Any] = json_value(self.details, f"details of pipeline {self.name}")
        return values

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each step's output."""
        prints: dict[str, str] = {}
        for step in self.steps:
            upstream = [*(prints[name] for name in step.needs), *step.reads]
            prints[step.name] = fingerprint(step.name, step.version, step.json_params(), upstream)
        return prints

    def folders(self, workdir: Location) -> dict[str, Location]:
        """Folder of each step's output."""
        workdir = workdir.enclosed()
        return {name: workdir / STAGES / f"{name}-{print_}" for name, print_ in self.fingerprints().items()}


_NAME = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class Job(msgspec.Struct, frozen=True):
    """A step for some other process, as JSON.

    Attributes
    ----------
    step : str
    stage, plan : Reference
    params : dict
    params_type : Reference or None
        The class of the parameters; none for plain JSON values.
    details : dict
    needs : list of str
    folders : dict of str to (str, str)
        Of all steps: the work directory, or whatever is `enclosed`, and the folder's name in it.
    upto : str or None
        Leave after the round of this name.
    """

    step: str
    stage: Reference
    plan: Reference
    params: dict[str, Any]
    params_type: Reference | None
    details: dict[str, Any]
    needs: list[str]
    folders: dict[str, tuple[str, str]]
    upto: str | None = None

    def opened(self) -> tuple[Location, Stage]:
        """Construct the stage in this process; return its folder, too."""
        folders = {name: locate(root).enclosed() / folder for name, (root, folder) in self.folders.items()}
        params = self.params
        if self.params_type is not None:
            params = msgspec.convert(params, load(self.params_type))
        known = Known(self.step, params, self.details, folders)
        own = Committed(folders[self.step])
        upstream = {name: Committed(folders[name]) for name in self.needs}
        inputs = Inputs(params, own, upstream, self.details, load(self.plan), known)
        return folders[self.step], checked.CheckedStage(self.step, load(self.stage)(inputs), inputs.plan)


def job(pipeline: Pipeline, step: Step, folders: Mapping[str, Location], upto: str | None = None) -> Job:
    """A step of a pipeline, for some other process."""
    return Job(
        step=step.name,
        stage=step.stage_reference,
        plan=step.plan_reference,
        params=step.json_params(),
        params_type=refer(type(step.params)) if isinstance(step.params, msgspec.Struct) else None,
        details=pipeline.json_details(),
        needs=list(step.needs),
        folders={name: folder.absolute().enclosed().enclosure() for name, folder in folders.items()},
        upto=upto,
    )


def content_of(where: Place) -> str:
    """Identify what a file or folder holds, for `Step.reads`: by its content, not by its name or time.

    Everything is read once.

    Raises
    ------
    UsageError
        Where there is nothing.
    """
    place = locate(where)
    if place.is_file():
        return place.digest()
    sizes = place.sizes()
    if not sizes:
        raise UsageError(f"{where}: there is no such file, and no folder with files")
    digests = [[name, (place / name).digest(size)] for name, size in sorted(sizes.items())]
    return hashlib.sha256(msgspec.json.encode(digests)).hexdigest()
