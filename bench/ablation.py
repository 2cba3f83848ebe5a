"""What each part of the default model brings on test: ``python -m bench.ablation`` (the sample: about two minutes).

First the way from the notebook's model to the default one, a change at a time, each kept for the next; then the default
model with one part switched off, and with one part changed. The defaults were fixed beforehand: nothing here is to be
chosen by. Differences are taken user by user, as `engine compare` does, which gives their standard errors. Results go
to ``bench/results/ablation-NAME.json``; ``python -m bench.report`` shows them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

import engine
from bench.measure import HERE, write_result
from engine.config import PRESETS, Config, load, parse_assignment
from engine.serving.compare import figures_of, users_of
from engine.serving.finished import open_finished

Values = Mapping[str, Any]
"""Parameters by their key, such as ``neighbors.k``, and their values."""

Row = dict[str, Any]

FIGURES = ("rmse", "recall_at_50")


def settings(values: Values, **layer: Any) -> Config:
    """The configuration with some parameters set; ``layer`` has whole sections or keys beside them."""
    return load(layer, *(parse_assignment(f"{key}={json.dumps(value)}") for key, value in values.items()))


def default(key: str) -> Any:
    """A parameter's value in the default preset."""
    section, name = key.split(".")
    return getattr(getattr(Config(), section), name)


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
    "index.method": "the true nearest users, not those that a graph finds",
    "evaluate.liked_from": "the scale of the ratings says what counts as liked (the same, here)",
    "factors.ratings": "ratings scaled for the SVD (half stars stay as they are)",
    "evaluate.model": "items ranked by votes, weighted by similarity; ratings predicted by the bias model",
    "item_neighbors.min_ratings": "ratings of near items added to the bias model",
    "factors.dims": "fewer dimensions (items are compared by the first 32, before and after)",
    "factors.user_scaling": "users with many ratings count less in the SVD",
    "factors.item_scaling": "items with many ratings count less in the SVD",
    "evaluate.amplification": "votes weighted by a power of the similarity",
    "evaluate.disliked_vote": "ratings below 4.0 count less",
    "evaluate.liked_share": "a bonus for items that are near to liked ones",
    "refine.sweeps": "vectors refined by alternating least squares; candidates ranked by their products and by votes",
    "predict.latent_weight": "vectors fitted to the bias model's errors, added to predicted ratings",
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
    "votes (they still say which items are candidates)": {"calibrate.method": "fixed", "evaluate.votes_weight": 0},
    "vectors fitted to the bias model's errors": {"calibrate.method": "fixed", "predict.latent_weight": 0},
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


def measure(dataset: str, work: Path, values: Values) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Run the pipeline, or what of it these values touch: what was measured of each user, and the metrics."""
    metrics = engine.run(settings(values, dataset=dataset, workdir=str(work))).metrics
    return users_of(open_finished(work)), metrics


def compared(what: str, values: Values, users: pl.DataFrame, base: pl.DataFrame) -> Row:
    """A row of the results: the figures of a trial, and their differences from another's with standard errors."""
    found = {each.name: each for each in figures_of([base, users])}
    figures = {
        name: {"value": each.values[1], "difference": each.differences[0], "error": each.standard_errors[0]}
        for name, each in found.items()
        if name in FIGURES
    }
    return {"what": what, "values": dict(values), "defaults": {key: default(key) for key in values}, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="sample", help="(default: the sample)")
    parser.add_argument("--name", help="what the results are called (default: as the data set)")
    parser.add_argument(
        "--work", type=Path, default=HERE / "data" / "ablation", metavar="DIR", help="kept between runs"
    )
    options = parser.parse_args()
    rows: dict[str, list[Row]] = {"way": [], "without": [], "other": []}

    def run(part: str, what: str, values: Values, base: pl.DataFrame | None = None) -> tuple[pl.DataFrame, Any]:
        users, metrics = measure(options.dataset, options.work, values)
        rows[part].append(row := compared(what, values, users, users if base is None else base))
        print(line(row), flush=True)
        return users, metrics

    users: pl.DataFrame | None = None
    for what, values in way():
        users, metrics = run("way", what, values, users)
    for part, trials in (("without", WITHOUT), ("other", OTHER)):
        for what, changed in trials.items():
            run(part, what, changed, users)
    counts = {name: metrics[name] for name in ("n_users", "n_items", "n_train", "n_test", "weights")}
    baselines = {name: metrics["figures"][name] for name in ("bias_model", "most_popular")}
    name = options.name or Path(options.dataset).stem
    print(write_result(f"ablation-{name}", {"dataset": name, **counts, "baselines": baselines, **rows}))


def line(row: Row) -> str:
    """A row for people."""
    cells = (f"{row[name]['value']:.4f} {row[name]['difference']:+.4f} ±{row[name]['error']:.4f}" for name in FIGURES)
    return "   ".join((*cells, row["what"]))


if __name__ == "__main__":
    main()
