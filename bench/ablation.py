"""What each part of the default model brings on test: ``python -m bench.ablation`` (the sample: about two minutes).

First the way from the notebook's model to the default one, a change at a time, each kept for the next; then the default
model with one part switched off, and with one part changed. The defaults were fixed beforehand (`bench.search`):
nothing here is to be chosen by. Results go to ``bench/results/ablation.json``; ``python -m bench.report`` shows them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.measure import HERE, write_result
from bench.trials import Values, default, figures
from engine.config import PRESETS

# Beside what the preset says: the parts that have a value with which they do nothing, or as much as alone.
OFF: Values = {
    "item_neighbors.min_ratings": 10**9,
    "refine.sweeps": 0,
    "evaluate.amplification": 1,
    "evaluate.disliked_vote": 1,
    "evaluate.liked_share": 0,
    "predict.latent_weight": 0,
    "predict.near_weight": 1,
    "calibrate.method": "fixed",
}
NOTEBOOK: Values = {
    f"{section}.{key}": value
    for section, keys in PRESETS["notebook"].items()
    for key, value in keys.items()
    if value != default(f"{section}.{key}") and section != "matrix"  # what other keys need is switched on
} | dict(OFF)
"""The notebook's model, as what is set in the default preset."""

WAY = {
    "index.method": "the true nearest users, not those that graphs find",
    "evaluate.liked_from": "what is liked settled by the ratings' scale, which makes it the same here",
    "factors.ratings": "ratings scaled for the SVD, which leaves half stars as they are",
    "evaluate.model": "items ranked by votes, weighted by similarity; ratings predicted by the bias model",
    "item_neighbors.min_ratings": "ratings of near items added to the bias model",
    "factors.dims": "fewer dimensions (of items only the first 32 are compared throughout)",
    "factors.user_scaling": "users with many ratings count less in the SVD",
    "factors.item_scaling": "items with many ratings count less in the SVD",
    "evaluate.amplification": "votes weighted by a power of the similarity",
    "evaluate.disliked_vote": "ratings below 4.0 count less",
    "evaluate.liked_share": "items get a bonus that have liked ones among their nearest",
    "refine.sweeps": "vectors refined by alternating least squares; candidates ranked by their products and by votes",
    "predict.latent_weight": "vectors of what the bias model leaves added to ratings",
    "predict.near_weight": "near items weigh less beside them",
    "calibrate.method": "weights of the parts chosen by the run",
}
"""Keys in the order in which they are set to their defaults, and what each change does."""

WITHOUT: dict[str, Values] = {
    "near items": {"item_neighbors.min_ratings": OFF["item_neighbors.min_ratings"]},
    "damping of the biases": {"biases.user_damping": 0, "biases.item_damping": 0},
    "shrinking similarities of items with few ratings": {"item_neighbors.shrink": 0},
    "shrinking predictions": {"predict.shrink": 0},
    "amplification": {"evaluate.amplification": OFF["evaluate.amplification"]},
    "less weight for disliked items": {"evaluate.disliked_vote": OFF["evaluate.disliked_vote"]},
    "likeness to items the user liked": {"evaluate.liked_share": OFF["evaluate.liked_share"]},
    "refined vectors": {"refine.sweeps": 0},
    "votes, but for candidates": {"calibrate.method": "fixed", "evaluate.votes_weight": 0},
    "vectors of what the bias model leaves": {"calibrate.method": "fixed", "predict.latent_weight": 0},
    "weights chosen by the run": {"calibrate.method": "fixed"},
    "scaling users and items in the SVD": {"factors.user_scaling": 0, "factors.item_scaling": 0},
    "cutting the dimensions from 128": {"factors.dims": NOTEBOOK["factors.dims"]},
}
"""Parts, and what is set to do without them."""

OTHER: dict[str, Values] = {
    "a popularity penalty": {"evaluate.popularity_penalty": 0.2},
    "100 neighbours": {"neighbors.k": 100},
    "likeness to 50 near items, not 15": {"item_neighbors.ranking_k": 50},
}
"""What one might expect to be better."""


def way() -> list[tuple[str, dict[str, Any]]]:
    """Each step from the notebook's model to the default one: what is changed, and all that is not the default.

    Raises
    ------
    ValueError
        Where `WAY` leaves something of the notebook's.
    """
    left = dict(NOTEBOOK)
    steps = [("the notebook's model", dict(left))]
    for key, what in WAY.items():
        left.pop(key)
        steps.append((what, dict(left)))
    if left:
        raise ValueError(f"bench.ablation.WAY says nothing of {', '.join(left)}")
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="sample", help="(default: the sample)")
    parser.add_argument(
        "--work", type=Path, default=HERE / "data" / "ablation", metavar="DIR", help="kept between runs"
    )
    options = parser.parse_args()
    cases: dict[str, list[tuple[str, Values]]] = {
        "way": list(way()),
        "without": list(WITHOUT.items()),
        "other": list(OTHER.items()),
    }
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, trials in cases.items():
        rows[name] = []
        for what, values in trials:
            measured = figures(options.dataset, options.work, values)
            row = {"what": what, "values": dict(values), **measured, "defaults": {key: default(key) for key in values}}
            rows[name].append(row)
            print(f"{row['rmse']:.4f}  {row['recall_at_50']:.4f}  {what}")
    print(write_result("ablation", {"dataset": options.dataset, **rows}))


if __name__ == "__main__":
    main()
