"""How long stages take, estimated from the work they do and the rates of one machine."""

from __future__ import annotations

from engine.config import Config, Refine, Residuals
from engine.costs import Shapes
from engine.model.index import choose, nearest_kept
from engine.model.sizes import CENTRE_ROUNDS, CENTRE_SAMPLE, FOLD_STEPS

# Seconds of one worker for a unit of work, on a 2-core AMD EPYC virtual machine: what ``run.json`` has of the twin at
# scale 1 (seconds x workers / units).
_START = 0.7
_INGEST = 3.9e-7
_SPLIT = 1.2e-7
_MATRIX = 1.2e-7
_MULTIPLY_ADD = 3.7e-10
_FIT = 1.65e-10
_INSERT = 1.4e-6
_ASK = 1.4e-6
_SORT_USER = 1.2e-5
_NEAR_USER = 6.5e-5
_COMPARE = 2.4e-11
_SCORE = 6.7e-9
_BIAS = 1e-8
_NEAR_ITEM = 6e-10
_NEAR_RATING = 1e-8
_TOGETHER = 2e-9
# All else of a fold of calibrate.
_FOLD = 1.0
# Reading a rating, and passing on sums, takes as long as so many dimensions.
_FIT_DIMS = 48
# Neighbours have rated more items than users on average.
_NEIGHBOR_RATINGS = 2.0


def seconds(settings: Config, shapes: Shapes) -> dict[str, float]:
    """Seconds of one worker that each stage takes on the machine above."""
    n, users, items = shapes.n_ratings, shapes.n_users, shapes.n_items
    dims = min(settings.factors.dims, users, items)
    width = min(settings.factors.dims + settings.factors.oversamples, users, items)
    train = n * (1 - settings.split.test_share)
    work = {
        "ingest": _INGEST * n,
        "split": _SPLIT * n,
        "matrix": _MATRIX * n,
        "factors": _MULTIPLY_ADD * train * (2 * settings.factors.passes * width + width + dims),
        "refine": _FIT * train * (dims + _FIT_DIMS) * (_products(settings.refine) + FOLD_STEPS + 2),
        **_finding_neighbors(settings, users, dims),
        "biases": _BIAS * train * (settings.biases.passes + 2),
        "calibrate": _calibrating(
            settings, min(train, settings.calibrate.ratings), min(items, settings.calibrate.sample_items)
        ),
        "residuals": _FIT * train * (min(settings.residuals.dims, dims) + _FIT_DIMS) * _products(settings.residuals),
        "item_neighbors": _NEAR_ITEM * items * items,
        "cooccurrence": _TOGETHER * train * min(settings.cooccurrence.most_ratings, 2 * train / max(1, users)),
        "predict": _NEAR_RATING * n * settings.split.test_share * nearest_kept(settings.item_neighbors.k, items),
        "evaluate": _SCORE * _NEIGHBOR_RATINGS * train * nearest_kept(settings.neighbors.k, users),
    }
    return {name: _START + value for name, value in work.items()}


def _calibrating(settings: Config, ratings: float, items: float) -> float:
    """Of all folds: a decomposition, sweeps, items near to each other."""
    width, dims = settings.factors.dims + settings.factors.oversamples, settings.factors.dims
    decomposing = _MULTIPLY_ADD * ratings * 2 * settings.factors.passes * width
    fitting = (
        _FIT
        * ratings
        * (
            (dims + _FIT_DIMS) * _products(settings.refine)
            + (settings.residuals.dims + _FIT_DIMS) * _products(settings.residuals)
        )
    )
    return settings.calibrate.folds * (_FOLD + decomposing + fitting + _NEAR_ITEM * items * items)


def _products(section: Refine | Residuals) -> int:
    """How often the sweeps multiply a rating's vector."""
    return 2 * section.sweeps * (section.steps + 2)


def _finding_neighbors(settings: Config, users: int, dims: int) -> dict[str, float]:
    method, _ = choose(settings.index.method, users)
    share = dims / 128
    if method == "hnsw":
        shards = -(-users // settings.index.shard_users)
        candidates = max(settings.neighbors.ef, shards * (nearest_kept(settings.neighbors.k, users) + 1))
        build = _INSERT * users * settings.index.ef_construction * share
        return {"index": build, "neighbors": _ASK * users * candidates * share}
    sampling = _COMPARE * settings.neighbors.sample_users * users * dims
    if method == "exact":
        return {"index": 0.0, "neighbors": _COMPARE * users * users * dims + sampling}
    clusters = -(-users // settings.index.users_per_cluster)
    finding_centres = CENTRE_ROUNDS * _COMPARE * CENTRE_SAMPLE * clusters * clusters * dims
    all_centres = _COMPARE * users * clusters * dims
    return {
        "index": _SORT_USER * users * share + finding_centres + all_centres,
        "neighbors": _NEAR_USER * users * share + all_centres + 2 * sampling,
    }
