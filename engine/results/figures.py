"""The content of ``metrics.json``: the figures of a finished run, collected from its records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from engine import config
from engine.artifacts.records import (
    Calibrated,
    IndexChoice,
    MatrixLayout,
    Means,
    Profile,
    found,
    looked,
    partition_counts,
    settled_liked_from,
    split_counts,
)
from engine.chunked.journal import Committed
from engine.chunked.storage import Location
from engine.config import Config, Split
from engine.ratings.source import Source

# A smaller share of the ratings than that, liked or not, is hardly what was meant.
_FEW = 0.01


# What is measured where nothing is held out.
_NOTHING = Means(rmse=None, recall=None, n_test_scored=0, n_test_covered=0, n_users_with_liked=0, figures={})
_NONE_HELD_OUT = "split.method is none, so the model learned from all ratings, and none was held out"


def collect(
    settings: Config, source: Source, folders: Mapping[str, Location], evaluated: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Collect the figures.

    Parameters
    ----------
    settings, source
        The run's.
    folders : mapping of str to location
        Of the finished steps.
    evaluated : mapping, optional
        Figures of the run with the same parameters that measured them, where this one measures nothing.
    """
    stages = {name: Committed(folder) for name, folder in folders.items()}
    profile, means = Profile.of(stages["ingest"]), Means.of(stages["evaluate"]) if settings.split.tests else _NOTHING
    splits = split_counts(stages["split"])
    k, liked_from = settings.evaluate.k, settled_liked_from(settings.evaluate.liked_from, stages["matrix"])
    compared = found(stages["neighbors"])
    clusters = [block.clusters_looked_at for block in looked(stages["neighbors"])]
    n_true = sum(part.n_true for part in compared)
    choice = IndexChoice.of(stages["index"])
    implicit = profile.implicit_because(settings.matrix.feedback)
    metrics = {
        "dataset": source.name,
        "synthetic": source.synthetic,
        "rmse": means.rmse,
        f"recall_at_{k}": means.recall,
        "n_ratings": profile.n_rows,
        "n_repeated": sum(part.n_repeated for part in partition_counts(stages["ingest"])),
        **({"n_not_taken": _not_taken(stages)} if profile.values == "counts" else {}),
        "n_train": sum(part.n_train for part in splits),
        "n_test": sum(part.n_test for part in splits),
        "n_left_out": sum(part.n_left_out for part in splits),
        **(_of_given(stages) if settings.split.method == "given" else {}),
        "n_test_scored": means.n_test_scored,
        "n_test_covered": means.n_test_covered,
        "n_users": profile.n_users,
        "n_items": MatrixLayout.of(stages["matrix"]).n_columns,
        "n_users_with_liked": means.n_users_with_liked,
        "values": profile.values,
        "feedback": "implicit" if implicit else "explicit",
        "liked_from": None if implicit else liked_from,
        "neighbors": {
            "method": choice.method,
            "why": choice.why,
            "recall": sum(part.n_found for part in compared) / n_true if n_true else None,
            "clusters_per_user": sum(clusters) / profile.n_users if any(clusters) else None,
            "n_users_sampled": min(settings.neighbors.sample_users, profile.n_users),
        },
        "weights": _weights(settings, stages),
        "sorted_by_user": profile.sorted_by_user,
        "figures": means.figures,
        "notes": [*source.notes, *_odd_share(settings, means)],
        "config": {"preset": settings.preset}
        | {name: config.to_json(getattr(settings, name)) for name in dict.fromkeys([*folders, "evaluate"])},
    }
    if evaluated is not None:
        metrics["evaluated"] = dict(evaluated)
    if not settings.split.tests:
        return metrics | {"why_no_rmse": _NONE_HELD_OUT, "why_no_recall": _NONE_HELD_OUT}
    if not metrics["n_test"]:
        metrics["why_no_rmse"] = f"{_why_no_test(settings.split)}, so none was held out"
    elif implicit:
        metrics["why_no_rmse"] = f"implicit feedback has no ratings to predict ({implicit})"
    elif means.rmse is None:
        metrics["why_no_rmse"] = "no test rating is of an item that occurs in train"
    if means.recall is None:
        what = "test pair" if implicit else f"test rating of at least {liked_from}"
        metrics["why_no_recall"] = f"no user has a {what} for an item that occurs in train"
    return metrics


def _not_taken(stages: Mapping[str, Committed]) -> int:
    """Rows whose count is 0."""
    return sum(part.n_not_taken for part in partition_counts(stages["ingest"]))


def _of_given(stages: Mapping[str, Committed]) -> dict[str, int]:
    """What does not fit together of train and a test part made elsewhere."""
    return {
        "n_test_in_train": sum(part.n_in_train for part in partition_counts(stages["ingest"])),
        "n_unknown_users": sum(part.n_unknown_users for part in split_counts(stages["split"])),
    }


def _odd_share(settings: Config, means: Means) -> list[str]:
    """A note where nearly all or nearly no ratings are liked, by a number that was set."""
    set_to = settings.evaluate.liked_from
    if set_to == "auto" or settings.matrix.feedback == "implicit" or means.n_liked is None or not means.n_test_scored:
        return []
    share = means.n_liked / means.n_test_scored
    if _FEW <= share <= 1 - _FEW:
        return []
    return [f"evaluate.liked_from={set_to}: {share:.1%} of the test ratings are liked; leave it out to have it chosen"]


def _weights(settings: Config, stages: Mapping[str, Committed]) -> dict[str, Any] | None:
    """What the model's parts weigh, and what that was chosen on; None with the notebook's model, which has no parts."""
    if settings.evaluate.model == "notebook":
        return None
    if "calibrate" in stages:
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(Calibrated.of(stages["calibrate"])))
        return found | {"chosen": True}
    blend, rating = settings.evaluate.blend, settings.predict.weights
    return {"rating": {"weights": asdict(rating)}, "ranking": {"weights": asdict(blend)}, "chosen": False}


def _why_no_test(split: Split) -> str:
    if split.method == "given":
        return "all pairs of the test part are in train"
    if split.method == "global-time":
        return "no user with earlier ratings has one later than the moment cut at"
    last = split.leave_last + 1 if split.method == "leave-last" and split.leave_last else 0
    return f"no user has {max(split.min_ratings, last)} ratings"
