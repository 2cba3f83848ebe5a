"""The engine: run a chunked computation inside a byte budget, and survive being killed.

Nothing in here knows what is computed. A *stage* is a sequence of *rounds*; a round is a number of
independent *tasks*; a task reads what earlier rounds and stages committed, writes whole files into a
scratch folder of its own, and is done when its record is. A *pipeline* is a list of steps, each a stage with
parameters and the steps it reads.

``docs/engine.md`` tells how to write one.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.chunked.budget import Cost
    from engine.chunked.errors import (
        BudgetError,
        DamagedError,
        EngineError,
        Interrupted,
        LockedError,
        UsageError,
    )
    from engine.chunked.events import Event
    from engine.chunked.journal import Committed
    from engine.chunked.loop import plan, run
    from engine.chunked.memory import process_claimed
    from engine.chunked.outcome import RunResult, describe
    from engine.chunked.overview import status
    from engine.chunked.pipeline import Inputs, Known, Pipeline, Step, Survey, content_of
    from engine.chunked.planning import RunPlan
    from engine.chunked.progress import Progress
    from engine.chunked.task import Costs, Planned, Round, Stage, TaskContext
    from engine.chunked.upkeep import clean, verify

_HOMES = {
    "BudgetError": "errors",
    "Committed": "journal",
    "Cost": "budget",
    "Costs": "task",
    "DamagedError": "errors",
    "EngineError": "errors",
    "Event": "events",
    "Inputs": "pipeline",
    "Interrupted": "errors",
    "Known": "pipeline",
    "LockedError": "errors",
    "Pipeline": "pipeline",
    "Planned": "task",
    "Progress": "progress",
    "Round": "task",
    "RunPlan": "planning",
    "RunResult": "outcome",
    "Stage": "task",
    "Step": "pipeline",
    "Survey": "pipeline",
    "TaskContext": "task",
    "UsageError": "errors",
    "clean": "upkeep",
    "content_of": "pipeline",
    "describe": "outcome",
    "plan": "loop",
    "process_claimed": "memory",
    "run": "loop",
    "status": "overview",
    "verify": "upkeep",
}
__all__ = [
    "BudgetError",
    "Committed",
    "Cost",
    "Costs",
    "DamagedError",
    "EngineError",
    "Event",
    "Inputs",
    "Interrupted",
    "Known",
    "LockedError",
    "Pipeline",
    "Planned",
    "Progress",
    "Round",
    "RunPlan",
    "RunResult",
    "Stage",
    "Step",
    "Survey",
    "TaskContext",
    "UsageError",
    "clean",
    "content_of",
    "describe",
    "plan",
    "process_claimed",
    "run",
    "status",
    "verify",
]


def __getattr__(name: str) -> object:
    # Loaded when asked for: a stage's process starts sooner and holds less.
    if name in _HOMES:
        return getattr(import_module(f"engine.chunked.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
