"""Out-of-core nearest-neighbour recommender: ratings.csv to RMSE and Recall@50 inside a byte budget.

Examples
--------
>>> import engine
>>> result = engine.run(engine.Config(dataset="sample", workdir="runs/sample"))  # doctest: +SKIP
>>> result.metrics["rmse"]  # doctest: +SKIP
3.17
"""

from engine.chunked.runner import Event
from engine.config import Config
from engine.driver import RunResult, plan, run

__all__ = ["Config", "Event", "RunResult", "plan", "run"]
__version__ = "0.1.0"
