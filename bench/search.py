"""Choose hyper-parameters on ratings held out of *train*: ``python -m bench.search`` (the sample: about 15 minutes).

The train part of a data set's split, as configured by default, becomes a ratings file of its own, so that nothing here
sees a test rating. That file is split again, with several seeds. A trial is run on each of those splits; stages that
its values do not touch are not run again, for each seed has a work directory. One parameter is varied at a time, from
the defaults, and its best value is kept for those that follow; ``--sweeps`` is how often all of them are gone through.

Figures are means over the seeds with their standard errors. All trials have the same splits. So the mean difference to
the defaults has a smaller error: compare trials by it. Results go to ``bench/results/search-FIGURE.json``;
``python -m bench.report`` shows them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

import engine
from bench.measure import HERE, write_result
from bench.trials import FIGURES, Values, default, figures, settings
from engine.artifacts import tables
from engine.artifacts.names import TRAIN
from engine.artifacts.records import Profile
from engine.chunked.journal import Committed

Space = Mapping[str, Sequence[Any]]
"""Parameters, in the order they are varied, and the values tried of each."""

SPACES: Mapping[str, Space] = {
    "recall_at_50": {
        "factors.dims": (16, 32, 48, 64),
        "factors.user_scaling": (0, 0.25, 0.5),
        "factors.item_scaling": (0, 0.1, 0.2),
        "neighbors.k": (35, 50, 75, 100),
        "item_neighbors.ranking_k": (10, 15, 25, 50),
        "evaluate.amplification": (1, 2, 4, 6),
        "evaluate.liked_share": (0, 0.4, 0.8, 1.6),
        "evaluate.popularity_penalty": (0, 0.1, 0.2),
        "evaluate.disliked_vote": (0, 0.3, 0.6, 1),
    },
    "rmse": {
        "biases.user_damping": (2, 5, 10),
        "biases.item_damping": (1, 3, 6),
        "item_neighbors.k": (25, 50, 100),
        "item_neighbors.shrink": (3, 10, 30),
        "item_neighbors.min_ratings": (1, 3, 5),
        "predict.shrink": (1, 2, 4),
    },
}
"""What bears on each figure."""


@dataclass(frozen=True)
class Trial:
    """Values of all parameters of a space, and the figures they got on each of the splits."""

    values: Values
    figures: list[dict[str, float]]

    def mean(self, figure: str) -> float:
        """Mean over the splits."""
        return statistics.fmean(figures[figure] for figures in self.figures)

    def summary(self, start: Trial) -> dict[str, Any]:
        """All values, mean and standard error of each figure, and of its difference to another trial."""
        statistics_of = {}
        for figure in FIGURES:
            mine, theirs = ([figures[figure] for figures in trial.figures] for trial in (self, start))
            gains = [one - other for one, other in zip(mine, theirs, strict=True)]
            statistics_of[figure] = {
                "all": mine,
                "mean": statistics.fmean(mine),
                "error": standard_error(mine),
                "gain": statistics.fmean(gains),
                "gain_error": standard_error(gains),
            }
        return {"values": dict(self.values), **statistics_of}


def standard_error(values: Sequence[float]) -> float:
    """Of their mean; 0 for a single value.

    Examples
    --------
    >>> standard_error([1.0, 3.0])
    1.0
    """
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def search(space: Space, figure: str, run: Callable[[Values], Trial], sweeps: int = 1) -> list[Trial]:
    """Vary one parameter at a time, and keep its best value for the next.

    Parameters
    ----------
    space : mapping
        Parameters, and the values to try.
    figure : str
        One of `FIGURES`, which says what is best.
    run : callable
        Tries values. No values are tried twice.
    sweeps : int
        Times all parameters are gone through, as long as that changes something.

    Returns
    -------
    list of Trial
        The best first; of equals the one tried first.
    """
    done: dict[tuple[Any, ...], Trial] = {}

    def tried(values: Values) -> Trial:
        key = tuple(values.values())
        if key not in done:
            done[key] = run(values)
        return done[key]

    best = tried({key: default(key) for key in space})
    for _ in range(sweeps):
        before = best
        for key, values in space.items():
            trials = [best, *(tried({**best.values, key: value}) for value in values)]
            best = FIGURES[figure](trials, key=lambda trial: trial.mean(figure))
        if best is before:
            break
    return sorted(done.values(), key=lambda trial: trial.mean(figure), reverse=FIGURES[figure] is max)


def write_train(dataset: str, workdir: Path, target: Path, **layer: Any) -> int:
    """Write the train part of a data set's split, with the original ids; return its number of ratings.

    Parameters
    ----------
    dataset : str
        As `engine.Config.dataset`.
    workdir : Path
        A work directory for a run on the whole data set.
    target : Path
        The Parquet file to write: ``userId``, ``movieId``, ``rating``.
    **layer
        Sections or keys of the configuration.
    """
    artifacts = engine.run(settings({}, dataset=dataset, workdir=str(workdir), **layer)).artifacts
    ingest, split = Committed(artifacts["ingest"]), Committed(artifacts["split"])
    profile = Profile.of(ingest)
    columns, parts = ("user", "item", "rating"), range(len(profile.first_users))
    coded = pl.concat([tables.read_partition(split, part, *columns, kind=TRAIN) for part in parts])
    rating = coded["rating"].cast(pl.Float64) * profile.rating_step
    user = tables.user_ids(ingest).gather(coded["user"])
    item = tables.all_item_ids(ingest).gather(coded["item"])
    target.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"userId": user, "movieId": item, "rating": rating}).write_parquet(target)
    return coded.height


def parse_values(text: str) -> tuple[str, list[Any]]:
    """Turn ``"neighbors.k=50,100"`` into the key and its values.

    Examples
    --------
    >>> parse_values("neighbors.k=50,100")
    ('neighbors.k', [50, 100])
    """
    key, _, values = text.partition("=")
    return key, json.loads(f"[{values}]")


def line(trial: Trial, start: Trial, figure: str) -> str:
    """A trial in a line: its figure, the difference to the start, and what is not the default."""
    result = trial.summary(start)[figure]
    other = [f"{key}={value}" for key, value in trial.values.items() if value != start.values[key]]
    return (
        f"{result['mean']:.4f} +- {result['error']:.4f}   {result['gain']:+.4f} +- {result['gain_error']:.4f}   "
        f"{' '.join(other) or 'the defaults'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="sample", help="whose train part is used (default: the sample)")
    parser.add_argument("--figure", nargs="+", choices=list(FIGURES), default=list(FIGURES), help="to search by")
    parser.add_argument("--vary", nargs="+", type=parse_values, metavar="KEY=V1,V2", help="in the place of the usual")
    parser.add_argument("--seeds", type=int, default=5, help="splits of the train part (default: 5)")
    parser.add_argument("--sweeps", type=int, default=2, help="times all parameters are varied (default: 2)")
    parser.add_argument("--work", type=Path, default=HERE / "data" / "search", metavar="DIR", help="kept between runs")
    options = parser.parse_args()
    train = options.work / "train.parquet"
    n_train = write_train(options.dataset, options.work / "whole", train)

    def run(values: Values) -> Trial:
        return Trial(
            values,
            [
                figures(train, options.work / f"seed-{seed}", values, split={"seed": seed})
                for seed in range(options.seeds)
            ],
        )

    for figure in options.figure:
        begin = time.monotonic()
        space = dict(options.vary) if options.vary else SPACES[figure]
        ranked = search(space, figure, run, options.sweeps)
        start = next(trial for trial in ranked if trial.values == {key: default(key) for key in space})
        print(f"{figure}, and its difference to that of the defaults; best first")
        for trial in ranked:
            print("  " + line(trial, start, figure))
        result = {
            "dataset": options.dataset,
            "n_train": n_train,
            "figure": figure,
            "seeds": options.seeds,
            "seconds": round(time.monotonic() - begin),
            "space": {key: list(values) for key, values in space.items()},
            "defaults": dict(start.values),
            "trials": [trial.summary(start) for trial in ranked],
        }
        print(write_result(f"search-{figure}", result))


if __name__ == "__main__":
    main()
