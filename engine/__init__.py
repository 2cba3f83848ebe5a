"""Out-of-core nearest-neighbour recommender: ratings.csv to RMSE and Recall@50 inside a byte budget.

Examples
--------
>>> import engine
>>> result = engine.run(engine.Config(dataset="sample", workdir="runs/sample"))  # doctest: +SKIP
>>> result.metrics["rmse"]  # doctest: +SKIP
3.17
"""

from engine.config import Config
from engine.pipeline import RunResult, plan, run

__all__ = ["Config", "RunResult", "plan", "run"]
__version__ = "0.1.0"
