"""The memory of every stage: integer arithmetic from shapes and configuration to bytes.

A function for each step returns, for every round of its stage, how many tasks it has and what they cost. Nothing here
loads a library or touches a file, so that a whole run can be planned before any of it starts. Bytes are added up by
`engine.costs.common.total`, which names the array that each stands for: what is held at a time, in the order in which
the stage makes it. The constants that no shape explains (what Polars, Zarr and the allocator hold while they work) were
measured: ``run.json`` has projected and measured memory of every stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.chunked.task import Planned
from engine.config import Config
from engine.costs.calibrate import calibrate
from engine.costs.common import Plan, Shapes, calibrates, parts, refines
from engine.costs.items import biases, cooccurrence, item_neighbors, predict
from engine.costs.lists import evaluate, recommend
from engine.costs.ratings import ingest, matrix, split
from engine.costs.users import factors, index, neighbors, refine, residuals
from engine.costs.written import disk, recommend_disk

__all__ = [
    "COSTS",
    "Plan",
    "Planned",
    "Shapes",
    "calibrates",
    "disk",
    "parts",
    "recommend",
    "recommend_disk",
    "refines",
]

COSTS: Mapping[str, Callable[[Config, Shapes], Plan]] = {
    "ingest": ingest,
    "split": split,
    "matrix": matrix,
    "factors": factors,
    "refine": refine,
    "index": index,
    "neighbors": neighbors,
    "biases": biases,
    "calibrate": calibrate,
    "residuals": residuals,
    "item_neighbors": item_neighbors,
    "cooccurrence": cooccurrence,
    "predict": predict,
    "evaluate": evaluate,
}
"""The rounds of each step's stage. That of the lists for every user, `recommend`, is no step of the pipeline."""
