"""The estimator, by scikit-learn's own checks where they apply, and in its searches."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils import estimator_checks

from engine import RecommenderEstimator
from tests.support.ratings import synthetic_ratings

pytestmark = pytest.mark.usefixtures("here")

RATINGS = synthetic_ratings(40, 30)
X, Y = RATINGS.select("userId", "movieId").to_numpy(), RATINGS["rating"].to_numpy()
SMALL: dict[str, Any] = {"n_neighbors": 7, "dims": 12, "memory": "512MiB"}
# The others of scikit-learn's fit on columns of arbitrary numbers; a column of ours are ids.
CHECKS: list[Callable[[str, Any], None]] = [
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_set_params,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_mixin_order,
    estimator_checks.check_estimator_get_tags_default_keys
    if hasattr(estimator_checks, "check_estimator_get_tags_default_keys")
    else estimator_checks.check_estimator_tags_renamed,
]


@pytest.fixture(scope="module")
def fitted() -> RecommenderEstimator:
    return RecommenderEstimator(**SMALL).fit(X, Y)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_scikit_learns_checks(check: Callable[[str, Any], None]) -> None:
    check("RecommenderEstimator", RecommenderEstimator())


def test_it_predicts_what_its_recommender_does_and_anything_else_as_the_mean(fitted: RecommenderEstimator) -> None:
    predicted = fitted.predict(X)
    assert predicted.dtype == np.float32
    assert predicted.shape == Y.shape
    expected = fitted.recommender_.predict(RATINGS["userId"], RATINGS["movieId"])["predicted"]
    assert predicted.tolist() == expected.to_list()
    assert fitted.score(X, Y) == pytest.approx(r2_score(Y, predicted))
    assert fitted.score(X, Y) > 0.05
    biases = fitted.recommender_._opened.biases
    assert biases is not None
    user, item = fitted.recommender_.users[3], fitted.recommender_.items[4]
    found = fitted.predict([[user, -9], [-9, item], [-9, -9]])
    wanted = [biases.mean + biases.users[3], biases.mean + biases.items[4], biases.mean]
    np.testing.assert_allclose(found, np.clip(wanted, biases.low, biases.high), rtol=1e-6)
    assert fitted.recommend([user], k=2)["item"].to_list() == fitted.recommender_.recommend([user], 2)["item"].to_list()


def test_pairs_come_in_any_table(fitted: RecommenderEstimator) -> None:
    expected = fitted.predict(X).tolist()
    frame = RATINGS.select("userId", "movieId")
    for given in (X.tolist(), X.astype(float), frame, frame.to_pandas()):
        assert fitted.predict(given).tolist() == expected
    texts = pl.DataFrame({"u": "u" + RATINGS["userId"].cast(pl.String), "i": "i" + RATINGS["movieId"].cast(pl.String)})
    of_texts = RecommenderEstimator(**SMALL).fit(texts.to_pandas(), Y)
    assert np.isfinite(of_texts.predict(pd.DataFrame({"u": ["u2", "nobody"], "i": ["i1", "i1"]}))).all()


def test_what_does_not_fit_is_refused(fitted: RecommenderEstimator) -> None:
    with pytest.raises(NotFittedError):
        RecommenderEstimator().predict(X)
    wrong: list[tuple[Any, Any, str]] = [
        (X[:, 0], Y, "two columns"),
        (np.c_[X, X], Y, "4 columns"),
        (X[:5], Y, "inconsistent"),
        (X + 0.5, Y, "no ids"),
        (X.astype(float) * 1e16, Y, "is a float, in which ids of 9007199254740992 and more are rounded"),
        (pd.DataFrame({"u": ["a", None, "b"], "i": ["x", "y", "z"]}), [1, 2, 3], "users that are no ids: user"),
        (pd.DataFrame({"u": ["a", "b", "b"], "i": ["x", "y", np.nan]}), [1, 2, 3], "items that are no ids: item nan"),
        (pl.DataFrame({"u": ["a", None], "i": [1, 2]}), [1, 2], "users that are no ids: user None"),
        (np.array([[1, None], [1, 2], [2, 2]], dtype=object), [1, 2, 3], "items that are no ids: item None"),
        ([["a", 1], ["b", np.nan]], [1, 2], "items that are no ids: item nan"),
        (np.ma.masked_equal(X, X[0, 0]), Y, "ids of which some are masked"),
        (X, np.ma.masked_greater(Y, 4), "ratings of which some are masked"),
        (X, np.where(Y > 4, np.nan, Y), "no rating"),
        (X[:0], Y[:0], "no rows"),
    ]
    for pairs, ratings, told in wrong:
        with pytest.raises(ValueError, match=told):
            RecommenderEstimator(**SMALL).fit(pairs, ratings)
    for pairs in (
        [[1e19, 1.0]],
        pd.DataFrame({"u": ["2", None], "i": ["1", "8"]}),
        np.ma.array([[2, 1]], mask=[[False, True]]),
    ):
        with pytest.raises(ValueError, match=r"no ids|masked"):
            fitted.predict(pairs)


PAIRS = RATINGS.select(user="userId", item="movieId").to_pandas()


@pytest.mark.parametrize("as_table", [lambda frame: frame, pl.from_pandas, pa.Table.from_pandas])
def test_columns_go_by_the_names_that_fit_was_given(as_table: Callable[[Any], Any]) -> None:
    of_names = RecommenderEstimator(**SMALL).fit(as_table(PAIRS), Y)
    assert of_names.feature_names_in_.tolist() == ["user", "item"]
    assert of_names.predict(as_table(PAIRS)).shape == Y.shape
    for columns in (["item", "user"], ["a", "item"], ["user", "b"]):
        renamed = as_table(PAIRS.set_axis(columns, axis=1))
        with pytest.raises(ValueError, match=f"X has the columns {', '.join(columns)}: "):
            of_names.predict(renamed)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert of_names.predict(X[:3]).shape == (3,)
    for columns in (["item", "user"], ["movieId", "x"], ["x", "User-ID"], ["user", "rating"], ["timestamp", "item"]):
        with pytest.raises(ValueError, match=f"X has the columns {', '.join(columns)}: give two, users first"):
            RecommenderEstimator(**SMALL).fit(as_table(PAIRS.set_axis(columns, axis=1)), Y)


def test_without_names_in_fit_those_of_others_are_no_mistake_unless_they_are_swapped() -> None:
    estimator = RecommenderEstimator(**SMALL).fit(PAIRS, Y)
    estimator.fit(X, Y)
    assert not hasattr(estimator, "feature_names_in_")
    with pytest.warns(UserWarning, match="X has feature names, but RecommenderEstimator was fitted without"):
        assert estimator.predict(PAIRS[:3]).tolist() == estimator.predict(X[:3]).tolist()
    with pytest.raises(ValueError, match="users first"):
        estimator.predict(PAIRS[["item", "user"]])
    assert estimator.fit(PAIRS.set_axis([0, 1], axis=1), Y).predict(X[:3]).shape == (3,)


@pytest.mark.parametrize("settings", [3, "predict", [1], {"neighbors": 3}, {"factors": None}, {"neighbors": [1]}])
def test_settings_that_are_no_sections_are_refused(settings: Any) -> None:
    with pytest.raises(ValueError, match=r"^settings(\['\w+'\])? (is|are) .*: give a dict"):
        RecommenderEstimator(settings=settings, memory="512MiB").fit(X, Y)


def test_it_is_cloned_and_searched_like_any_other(fitted: RecommenderEstimator) -> None:
    assert is_regressor(fitted)
    twin = clone(fitted)
    assert twin.get_params() == fitted.get_params()
    assert not hasattr(twin, "recommender_")
    assert pickle.loads(pickle.dumps(twin)).get_params() == twin.get_params()
    search = GridSearchCV(twin, {"settings": [{"predict": {"shrink": 1.0}}, {"predict": {"shrink": 9.0}}]}, cv=2)
    search.fit(X, Y)
    assert search.best_params_["settings"]["predict"]["shrink"] in (1.0, 9.0)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
