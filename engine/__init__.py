"""Out-of-core nearest-neighbour recommender: ratings.csv to RMSE and Recall@50 inside a byte budget.

Examples
--------
>>> import engine
>>> result = engine.run(engine.Config(dataset="sample"))  # doctest: +SKIP
>>> round(result.metrics["rmse"], 3)  # doctest: +SKIP
0.842
>>> recommender = engine.Recommender.open("runs/ml-latest-small")
>>> recommender.recommend([42], k=1)["title"].item()
'Silence of the Lambs, The (1991)'
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.chunked.errors import BudgetError, DamagedError, EngineError, Interrupted, LockedError, UsageError
    from engine.chunked.events import Event
    from engine.config import Config
    from engine.driver import RunResult, plan, run
    from engine.serving.estimator import RecommenderEstimator
    from engine.serving.everybody import recommend_all
    from engine.serving.people import Newcomer
    from engine.serving.recommender import Recommender

__all__ = [
    "BudgetError",
    "Config",
    "DamagedError",
    "EngineError",
    "Event",
    "Interrupted",
    "LockedError",
    "Newcomer",
    "Recommender",
    "RecommenderEstimator",
    "RunResult",
    "UsageError",
    "plan",
    "recommend_all",
    "run",
]
__version__ = "0.1.0"

_ERRORS = ("BudgetError", "DamagedError", "EngineError", "Interrupted", "LockedError", "UsageError")
_HOMES = dict.fromkeys(_ERRORS, "engine.chunked.errors") | {
    "Config": "engine.config",
    "Event": "engine.chunked.events",
    "Newcomer": "engine.serving.people",
    "Recommender": "engine.serving.recommender",
    "RecommenderEstimator": "engine.serving.estimator",
    "RunResult": "engine.driver",
    "plan": "engine.driver",
    "recommend_all": "engine.serving.everybody",
    "run": "engine.driver",
}


def __getattr__(name: str) -> object:
    # Loaded when asked for: a stage's process starts sooner and holds less.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
