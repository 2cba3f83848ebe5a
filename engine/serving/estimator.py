"""The recommender as scikit-learn has estimators: parameters, `fit`, `predict`, `score`, in pipelines and searches."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from engine.chunked.errors import UsageError
from engine.serving.given import names_of_pairs
from engine.serving.ids import as_ids, refuse_masked
from engine.serving.recommender import Recommender
from engine.serving.tables import Table

_SETTINGS = '{"predict": {"shrink": 3.0}}'


class RecommenderEstimator(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Learns from pairs of users and items and their ratings, and predicts those of other pairs.

    The model is that of `engine.run`, made of all ratings given to `fit`, within a memory budget. `score` is
    scikit-learn's R² of predicted ratings. Users and items that `fit` has not seen differ from the mean in nothing.

    Parameters
    ----------
    n_neighbors : int
        Nearest users who vote for items (``neighbors.k``).
    dims : int
        Dimensions of vectors (``factors.dims``).
    settings : dict, optional
        Other sections of the configuration, such as ``{"predict": {"shrink": 3.0}}``, and ``preset``.
    memory : str or int, optional
        The budget of `fit`: bytes, or a size like ``512MiB``. None: half of the free memory, at most 1 GiB.
    workers : int, optional
        Tasks at a time, at most. None: as many as processors.
    workdir : path or URL, optional
        Where the run is kept. None: in a temporary folder, which goes with the estimator.
    progress : bool, optional
        Whether to show progress. None: on a terminal and in a notebook.

    Attributes
    ----------
    recommender_ : Recommender
        What `fit` has made: for `Recommender.recommend` and all else.
    n_features_in_ : int
        2: a user and an item.
    feature_names_in_ : array of str, shape (2,)
        What the columns are called that `fit` was given, if they have names; those of `predict` have to be the same.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.array([[1, 5], [1, 6], [2, 5], [2, 7]]), np.array([4.0, 3.5, 5.0, 2.0])
    >>> estimator = RecommenderEstimator(memory="512MiB").fit(X, y)
    >>> estimator.predict([[1, 5], [3, 5]]).shape
    (2,)
    >>> estimator.recommend([1], k=1)["item"].to_list()
    [7]
    """

    def __init__(
        self,
        *,
        n_neighbors: int = 50,
        dims: int = 64,
        settings: dict[str, Any] | None = None,
        memory: str | int | None = None,
        workers: int | None = None,
        workdir: Any = None,
        progress: bool | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.dims = dims
        self.settings = settings
        self.memory = memory
        self.workers = workers
        self.workdir = workdir
        self.progress = progress

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Learn from ratings.

        Parameters
        ----------
        X : array_like or data frame, shape (n, 2)
            Ids of users and items: whole numbers or texts.
        y : array_like, shape (n,)
            Their ratings.

        Raises
        ------
        ValueError
            Where shapes do not fit, a rating is no number, what should be an id is none, or missing, or the names of
            the columns say that users do not come first.
        UsageError, BudgetError, LockedError, DamagedError, Interrupted
            As `engine.run`.
        """
        users, items = _pairs(X)
        names = names_of_pairs(X)
        _refuse_masked(y, "ratings")
        ratings = np.asarray(y, dtype=np.float64)
        check_consistent_length(users, ratings)
        if ratings.ndim != 1 or not np.isfinite(ratings).all():
            raise ValueError("y holds what is no rating: give one finite number for each pair")
        if not isinstance(self.settings, Mapping | None):
            raise ValueError(f"settings are {self.settings!r:.60}: give a dict of sections, such as {_SETTINGS}")
        sections = dict(self.settings or {})
        for name in ("neighbors", "factors"):
            if not isinstance(sections.get(name, {}), Mapping):
                raise ValueError(f"settings[{name!r}] is {sections[name]!r:.60}: give a dict, such as {_SETTINGS}")
        sections["neighbors"] = {"k": self.n_neighbors} | dict(sections.get("neighbors", {}))
        sections["factors"] = {"dims": self.dims} | dict(sections.get("factors", {}))
        self.recommender_ = Recommender.fit(
            pl.DataFrame({"userId": users, "movieId": items, "rating": ratings}),
            memory=self.memory,
            workers=self.workers,
            workdir=self.workdir,
            progress=self.progress,
            **sections,
        )
        self.n_features_in_ = 2
        self.__dict__.pop("feature_names_in_", None)  # of an earlier fit
        if names:
            self.feature_names_in_ = np.array(names, dtype=object)
        return self

    def predict(self, X: Any) -> NDArray[np.float32]:
        """Ratings to be expected; float32, shape (n,).

        Parameters
        ----------
        X : array_like or data frame, shape (n, 2)
            Ids of users and items, of which any may be new.

        Raises
        ------
        ValueError
            Where shapes do not fit, what should be an id is none, or missing, or the columns are not called as those
            were that `fit` was given.
        """
        check_is_fitted(self)
        users, items = _pairs(X)
        _refuse_others(names_of_pairs(X), list(getattr(self, "feature_names_in_", [])), type(self).__name__)
        found = self.recommender_.predict(users, items, on_unknown="mean")
        predicted: NDArray[np.float32] = found["predicted"].to_numpy()
        return predicted

    def recommend(self, users: ArrayLike, k: int = 10, **options: Any) -> Table:
        """The best items for each of some users: see `engine.Recommender.recommend`."""
        check_is_fitted(self)
        return self.recommender_.recommend(users, k, **options)


def _pairs(X: Any) -> tuple[pl.Series, pl.Series]:
    """Users and items of pairs, whatever these are given in."""
    if hasattr(X, "to_pandas") and hasattr(X, "get_columns"):  # a data frame of Polars'
        columns = X.get_columns()
    elif hasattr(X, "iloc") and hasattr(X, "columns"):  # of pandas'
        columns = [X.iloc[:, at].to_numpy() for at in range(X.shape[1])]
    else:
        _refuse_masked(X, "ids")
        values = np.asarray(X)
        if values.dtype.kind == "U":  # NumPy makes texts of whatever is beside texts, missing values too
            values = np.asarray(X, dtype=object)
        if values.ndim != 2:
            raise ValueError(f"X has the shape {values.shape}: give two columns, users and items")
        columns = list(values.T)
    if len(columns) != 2:
        raise ValueError(f"X has {len(columns)} columns: give two, users and items")
    users, items = (_ids(column, what) for column, what in zip(columns, ("user", "item"), strict=True))
    return users, items


def _refuse_others(names: list[str], fitted: list[str], whose: str) -> None:
    """Refuse columns of other names than those of `fit`, as scikit-learn does, which warns where either has none."""
    if names and fitted and names != fitted:
        raise ValueError(
            f"X has the columns {', '.join(names)}: the feature names should match those that were passed during fit, "
            f"{', '.join(fitted)}, in this order"
        )
    if names and not fitted:
        warnings.warn(f"X has feature names, but {whose} was fitted without feature names", stacklevel=3)
    if fitted and not names:
        told = f"X does not have valid feature names, but {whose} was fitted with feature names"
        warnings.warn(told, stacklevel=3)


def _ids(column: Any, what: str) -> pl.Series:
    if not len(column):
        raise ValueError("X has no rows: give a pair of user and item at least")
    try:
        return as_ids(np.asarray(column), what)
    except UsageError as error:
        raise ValueError(f"{what}s that are no ids: {error}") from None


def _refuse_masked(values: object, what: str) -> None:
    try:
        refuse_masked(values, what)
    except UsageError as error:
        raise ValueError(str(error)) from None
