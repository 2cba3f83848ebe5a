"""What a finished run has to say to a person: items to recommend, ratings to expect, people of the same taste.

Everything is read when it is asked for, and only the rows needed of it.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix

from engine.artifacts.readers import Factors, Matrix, Nearest, NearItems, Refined, read_biases
from engine.artifacts.records import Profile, Scale, settled_liked_from
from engine.artifacts.tables import item_ids, user_ids
from engine.chunked import arrays
from engine.chunked.csr import CsrReader, NarrowRows
from engine.chunked.errors import EngineError, UsageError
from engine.chunked.plain import at_least_one, plain, truth
from engine.chunked.storage import Place, locate
from engine.kernels.nearest import dot_products
from engine.kernels.refinement import solve_rows
from engine.kernels.rows import Lists, joined, lists_of, no_lists
from engine.kernels.scoring import count_opinions
from engine.model.biases import damped
from engine.model.factors import gram, unit_rows
from engine.model.prediction import Predicted, RatingModel, predict_ratings
from engine.model.ranking import Ranking
from engine.model.refine import unseen_weight
from engine.model.scale import scaled_values
from engine.model.scoring import cut_by_work
from engine.model.sizes import ASK_RATINGS, FOLD_STEPS, NOISE, READ_RATINGS, SCORE_USERS
from engine.ratings.person import read_person
from engine.serving import ids as lookup
from engine.serving.finished import FinishedRun, open_finished, refuse_damage
from engine.serving.forks import refuse_forked
from engine.serving.titles import read_titles

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")

# Items that two users are shown to share.
_SHARED_ITEMS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Newcomer:
    """Someone who is not in the data, placed among those who are; made by `Recommender.fold_in`.

    Attributes
    ----------
    vector : float32 array, shape (dims,)
        Of unit length, or zeros where no dimension reaches the items rated.
    neighbors, similarities : int32 and float32 arrays, shape (k,)
        Codes and cosines of the nearest users, nearest first; -1 and NaN where there are fewer.
    rated : csr_matrix of float32, shape (1, items)
        The ratings taken in.
    bias : float
        How far these are from what is expected of their items, damped.
    left_out : tuple
        Ids of items rated that the run knows no rating of.
    """

    vector: NDArray[np.float32]
    neighbors: NDArray[np.int32]
    similarities: NDArray[np.float32]
    rated: csr_matrix
    bias: float
    left_out: tuple[Any, ...]


class _People(NamedTuple):
    """Some of those asked about: ids to show, train ratings, neighbours, how far they are from the mean, vectors."""

    ids: pl.Series
    rated: NarrowRows
    neighbors: NDArray[np.int32]
    similarities: NDArray[np.float32]
    biases: NDArray[np.float32]
    vectors: NDArray[np.float32] | None


def _narrow(rows: csr_matrix) -> NarrowRows:
    return NarrowRows(rows.indptr.astype(np.int64), rows.indices, rows.data, rows.shape[1], 1.0)


def _telling_damage(
    answer: Callable[Concatenate[Recommender, Asked], Answer],
) -> Callable[Concatenate[Recommender, Asked], Answer]:
    """Where a file cannot be read, say that it is damaged, if it is: comparing digests first would take seconds."""

    @functools.wraps(answer)
    def told(self: Recommender, /, *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        refuse_forked()
        try:
            return answer(self, *args, **kwargs)
        except EngineError:
            raise
        except Exception as error:
            refuse_damage(self._run, error)
            raise

    return told


def _as_ratings(given: ArrayLike) -> NDArray[np.float64]:
    try:
        values = np.asarray(given)
        odd = values.dtype.kind not in "iuf" and [each for each in values.tolist() if not _is_number(each)]
        if odd:
            raise UsageError(f"rating {odd[0]!r}: give a number for each item")
        return values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"ratings: {error}: give a number for each item") from None


def _is_number(value: object) -> bool:
    return isinstance(plain(value), int | float) and not isinstance(plain(value), bool)


class Recommender:
    """A finished run, asked for items, ratings and like-minded users.

    Ids are those of the ratings file: whole numbers or text, as it has them. Whatever takes ids takes anything that
    NumPy makes a one-dimensional array of; all answers are Polars data frames. Every method raises DamagedError where a
    file that it reads is damaged so that it cannot be read, and UsageError in a process that was forked after a
    Recommender was opened.

    Parameters
    ----------
    run : FinishedRun
        See `open`.

    Examples
    --------
    >>> import engine
    >>> recommender = engine.Recommender.open("runs/ml-latest-small")
    >>> items = recommender.recommend([42, 7], k=2)
    >>> items["title"].to_list()[:2]
    ['Silence of the Lambs, The (1991)', 'Back to the Future (1985)']
    >>> items.select("user", "n_raters", "n_neighbors").row(0)
    (42, 21, 50)
    >>> [f"{rating:.1f}" for rating in recommender.predict([42, 42], [1, 318])["predicted"]]
    ['4.3', '4.8']
    >>> recommender.similar_users(42, k=3)["user"].to_list()
    [448, 410, 622]
    >>> me = recommender.fold_in([260, 1196, 2571, 318, 1721], [5, 4.5, 5, 3, 1.5])
    >>> recommender.recommend(me, k=1)["title"].item()
    'Star Wars: Episode VI - Return of the Jedi (1983)'
    """

    def __init__(self, run: FinishedRun) -> None:
        self._run = run
        self._settings = run.settings
        self._no_titles = ""
        self._profile = Profile.of(run.stages["ingest"])
        matrix = Matrix(run.stages["matrix"])
        self._train, self._test = matrix.train, matrix.test
        self._neighbors = Nearest(run.stages["neighbors"])
        self._refined = Refined(run.stages["refine"]) if "refine" in run.stages else None
        self._factors = self._refined or Factors(run.stages["factors"])
        self._users, self._items = user_ids(run.stages["ingest"]), item_ids(run.stages["matrix"])
        votes = self._settings.evaluate.model == "votes"
        self._near_items = NearItems(run.stages["item_neighbors"]) if votes else None
        self._counts = self._near_items.counts() if self._near_items else self._train.count_columns(READ_RATINGS)
        near = self._near_items.inverted() if self._near_items else None
        item_vectors = None if self._refined is None else self._refined.item_factors()
        section = self._settings.evaluate
        self._liked_from = settled_liked_from(section.liked_from, run.stages["matrix"])
        parameters = section.ranking_parameters(self._liked_from)
        self._ranking = Ranking.of(parameters, self._counts, near, item_vectors)
        self._biases = read_biases(run.stages["biases"]) if votes else None

    @classmethod
    def open(cls, workdir: Place) -> Recommender:
        """Open the work directory of a finished run.

        Raises
        ------
        UsageError, DamagedError
            As `engine.serving.finished.open_finished`: where it is no work directory, its run is not finished, or files
            of it are missing or cut. UsageError, as from every method, in a process forked from one that has opened a
            Recommender.
        """
        refuse_forked()
        run = open_finished(workdir).located()
        try:
            return cls(run)
        except EngineError:
            raise
        except Exception as error:
            refuse_damage(run, error)
            raise

    @property
    def users(self) -> pl.Series:
        """Ids of all users, ascending."""
        return self._users

    @property
    def items(self) -> pl.Series:
        """Ids of all items with a train rating, ascending: those that can be predicted and recommended."""
        return self._items

    @_telling_damage
    def known_users(self, users: ArrayLike) -> pl.Series:
        """Some users' ids in the order given, of the type that the run has them in.

        Raises
        ------
        UsageError
            For an id that is not known.
        """
        return self._users.gather(self._find(users, self._users, "user"))

    @property
    def predicts_ratings(self) -> bool:
        """Whether ratings are predicted; with the notebook's model, its one score stands in their place."""
        return self._ranking.votes

    @_telling_damage
    def recommend(self, users: ArrayLike | Newcomer, k: int = 10, *, include_test: bool = False) -> pl.DataFrame:
        """The best items for each of some users, of those they have not rated.

        Parameters
        ----------
        users : array_like, shape (n,), or Newcomer
            Ids, in the order wanted; of an id given twice the list is there twice.
        k : int
            Items for each user; fewer where fewer were rated by any neighbour.
        include_test : bool
            Recommend items of held-out test ratings, too, as evaluate does, which measures how many of them are found.
            Without it, nobody is recommended what they have rated.

        Returns
        -------
        DataFrame
            A row an item, best first, one user after the other; none of a user who has rated all that could be
            recommended. ``user`` (null for a newcomer) and ``item``: ids. ``rank``: uint32, from 1.
            ``title``: text, null where there is no ``movies.csv`` beside the ratings or none in it. ``predicted``:
            float32, in units of ratings, within their range (with the notebook's model: the score). ``score``:
            float32, without unit, comparable within a user only. ``n_raters`` of the user's ``n_neighbors``, both
            uint32, rated the item, and ``mean_rating``, float32, is the mean of their ratings, null where none did.

        Raises
        ------
        UsageError
            For an id that is not known, or ``k`` less than 1.
        """
        k, include_test = at_least_one(k, "items"), truth(include_test, "include_test")
        frames = [self._recommend(people, taken, k) for people, taken in self._batches(users, include_test)]
        found = pl.concat(frames)
        return found.with_columns(title=self.titles(found["item"])).select(
            "user", "rank", "item", "title", "predicted", "score", "n_raters", "n_neighbors", "mean_rating"
        )

    @_telling_damage
    def predict(self, users: ArrayLike | Newcomer, items: ArrayLike) -> pl.DataFrame:
        """Ratings to be expected.

        Parameters
        ----------
        users : array_like, shape (n,), or Newcomer
            Ids; one newcomer stands for all pairs.
        items : array_like, shape (n,)
            Id of the item of each pair.

        Returns
        -------
        DataFrame
            A row a pair, in their order: ``user`` (null for a newcomer), ``item``, ``predicted`` (float32, in units of
            ratings, within their range) and ``near`` (bool): whether the user rated an item near this one; else the
            bias model stands alone. With the notebook's model ``predicted`` is its score, which is 0 where no
            neighbour rated the item, and ``near`` says whether one did.

        Raises
        ------
        UsageError
            For an id that is not known, items without a train rating included; where there are not as many users as
            items.
        """
        wanted = self._find(items, self._items, "item")
        if isinstance(users, Newcomer):
            people, rows = self._newcomer(users), np.zeros(len(wanted), dtype=np.int64)
            found = self._predict(people, rows, wanted)
            ids = people.ids.gather(rows)
        else:
            codes = self._find(users, self._users, "user")
            if len(codes) != len(wanted):
                raise UsageError(f"{len(codes)} users and {len(wanted)} items: give a user for each item")
            found = self._predict_known(codes, wanted)
            ids = self._users.gather(codes)
        return pl.DataFrame(
            {"user": ids, "item": self._items.gather(wanted), "predicted": found.values, "near": found.covered}
        )

    @_telling_damage
    def similar_users(self, user: int | str | Newcomer, k: int = 10) -> pl.DataFrame:
        """The users nearest to one, and what they share.

        Parameters
        ----------
        user : id or Newcomer
        k : int
            How many; at most as many as the run has kept neighbours (``neighbors.k``) of the same taste.

        Returns
        -------
        DataFrame
            A row a user, nearest first: ``user``: id. ``similarity``: float32, the cosine of the two users' vectors.
            ``n_both``, ``n_both_liked``: uint32, items both have a train rating of, and those both liked. ``items``
            and ``titles``: lists of up to three items both liked, those fewest have rated first; titles are null
            where not known.

        Raises
        ------
        UsageError
            For an id that is not known, or ``k`` less than 1.
        """
        k = at_least_one(k, "users")
        if isinstance(user, Newcomer):
            people = self._newcomer(user)
        elif np.ndim(user):
            raise UsageError(f"user {user}: give one id, or a newcomer")
        else:
            people = self._known(self._find([user], self._users, "user"))
        there = people.neighbors[0] >= 0
        if self._ranking.votes:
            there &= people.similarities[0] > NOISE
        codes, similarities = people.neighbors[0][there][:k], people.similarities[0][there][:k]
        return self._shared(people.rated.widen(), self._rows(self._train, codes).widen()).select(
            pl.Series("user", self._users.gather(codes)),
            pl.Series("similarity", similarities),
            pl.all(),
        )

    @_telling_damage
    def similar_items(self, item: int | str, k: int = 10) -> pl.DataFrame:
        """The items nearest to one.

        Parameters
        ----------
        item : id
        k : int
            How many; at most as many as the run has kept (``item_neighbors.k``).

        Returns
        -------
        DataFrame
            A row an item, nearest first: ``item``: id. ``title``: text, null where not known. ``similarity``: float32,
            the cosine of the two items' vectors, shrunk for items with few ratings. ``n_ratings``: uint32, train
            ratings of the item. None of an item with fewer than ``item_neighbors.min_ratings`` ratings.

        Raises
        ------
        UsageError
            For an id that is not known, ``k`` less than 1, or a run of the notebook's model, which has no item vectors.
        """
        k = at_least_one(k, "items")
        if self._near_items is None:
            raise UsageError("this run has the notebook's model, which knows no similar items: run the default preset")
        if np.ndim(item):
            raise UsageError(f"item {item}: give one id")
        ids, similarities = self._near_items.take(self._find([item], self._items, "item"))
        there = np.flatnonzero(ids[0] >= 0)[:k]
        columns = ids[0][there]
        found = self._items.gather(columns)
        return pl.DataFrame(
            {
                "item": found,
                "title": self.titles(found),
                "similarity": similarities[0][there],
                "n_ratings": self._counts[columns].astype(np.uint32),
            }
        )

    def likes(self, items: ArrayLike) -> Newcomer:
        """`fold_in` someone who likes some items and has rated nothing: each stands for the highest rating there is.

        Raises
        ------
        UsageError
            Where no item is known.
        """
        given = lookup.as_ids(items, "item")
        return self.fold_in(items, np.full(len(given), self._profile.rating_max))

    @_telling_damage
    def fold_in(self, items: ArrayLike, ratings: ArrayLike) -> Newcomer:
        """Place someone who is not in the data among its users.

        The vector is the one that alternating least squares fits to the ratings; without refined vectors, the row of
        ratings times the loadings of the SVD ("folding in", Sarwar et al. 2002).

        Parameters
        ----------
        items, ratings : array_like, shape (n,)
            Ids of items, and ratings within the range of the data's; of an item rated twice the later counts.

        Raises
        ------
        UsageError
            Where no item is known, or a rating is out of range.
        """
        given = lookup.as_ids(items, "item")
        values = _as_ratings(ratings)
        if given.shape != values.shape:
            raise UsageError(f"{len(given)} items and {len(values)} ratings: give a rating for each item")
        narrow = self._within_range(given, values)
        columns, known = lookup.places(given, self._items)
        if not known.any():
            raise UsageError(f"none of the {len(given)} items is known: {lookup.describe(self._items, 'item')}")
        latest = dict(zip(columns[known].tolist(), narrow[known].tolist(), strict=True))
        own = np.array(sorted(latest), dtype=np.int32)
        data = np.array([latest[column] for column in own.tolist()], dtype=np.float32)
        rated = csr_matrix((data, own, [0, len(own)]), shape=(1, len(self._items)))
        vector = self._vector(rated)
        left_out = given.filter(pl.Series(~known)).unique(maintain_order=True).to_list()
        return Newcomer(vector, *self._nearest(vector), rated, self._bias_of(rated), tuple(left_out))

    def _vector(self, rated: csr_matrix) -> NDArray[np.float32]:
        """The vector of someone's ratings, of unit length, as users of the data have theirs."""
        item_vectors = self._ranking.item_vectors
        if item_vectors is None:
            folded: NDArray[np.float32] = unit_rows(self._scaled(rated) @ self._factors.loadings(mmap_mode="r"))[0]
            return folded
        section = self._settings.refine
        liked_from = self._liked_from
        if section.liked_from is not None:
            liked_from = settled_liked_from(section.liked_from, self._run.stages["matrix"])
        unseen = unseen_weight(section.unseen_weight, section.most_unseen, len(item_vectors))
        squares = (unseen * gram(item_vectors)).astype(np.float32)
        found = np.zeros((1, item_vectors.shape[1]), dtype=np.float32)
        solve_rows(
            _narrow(rated),
            liked_from,
            section.disliked_preference,
            item_vectors,
            squares,
            section.regularisation,
            unseen * len(item_vectors),
            2 * FOLD_STEPS,
            found,
        )
        vector: NDArray[np.float32] = unit_rows(found)[0]
        return vector

    def _scaled(self, rated: csr_matrix) -> csr_matrix:
        """Ratings as the SVD decomposed those of the data."""
        if self._settings.factors.ratings == "raw":
            return rated
        scale = Scale.of(self._run.stages["matrix"])
        values = scaled_values(rated.data, scale.low, scale.high)
        return csr_matrix((values, rated.indices, rated.indptr), shape=rated.shape)

    def _within_range(self, items: pl.Series, ratings: NDArray[np.float64]) -> NDArray[np.float32]:
        """Ratings as they are computed with; refuse those out of range."""
        low, high = self._profile.rating_min, self._profile.rating_max
        with np.errstate(over="ignore"):
            narrow = ratings.astype(np.float32)
        # All narrowed: the greatest rating of the run, 4.3 say, is less than what is nearest to it in float32.
        out = np.flatnonzero(~((narrow >= np.float32(low)) & (narrow <= np.float32(high))))
        for row in out.tolist():
            raise UsageError(
                f"rating {ratings[row]:.9g} of item {items[row]}: "
                f"the ratings of this run go from {low:.9g} to {high:.9g}"
            )
        return narrow

    @_telling_damage
    def read_newcomer(self, path: str | os.PathLike[str]) -> Newcomer:
        """`fold_in` the ratings of a file: CSV, TSV or ``::``-separated, with columns of items and ratings.

        Raises
        ------
        UsageError
            For all that is wrong with the file, with line and column, and as `fold_in`.
        """
        try:
            return self.fold_in(*read_person(locate(path), self._run.source))
        except UsageError as error:
            message = str(error)
            raise UsageError(message if message.startswith(str(path)) else f"{path}: {message}") from None

    def titles(self, items: pl.Series) -> pl.Series:
        """Titles of items, from the ``movies.csv`` beside the ratings; null where there is none, or it is no use."""
        refuse_forked()
        titles, self._no_titles = read_titles(self._run.source.titles, items)
        return titles

    @property
    def no_titles(self) -> str:
        """Why the last answer has no titles although there is a file of them; empty where that is not so."""
        return self._no_titles

    def _batches(self, users: ArrayLike | Newcomer, include_test: bool) -> Iterator[tuple[_People, Lists]]:
        """Those asked about, some at a time, with the items each has rated."""
        if isinstance(users, Newcomer):
            people = self._newcomer(users)
            yield people, lists_of(people.rated)
            return
        codes = self._find(users, self._users, "user")
        neighbors = np.concatenate([self._near(codes[i : i + 1024])[0] for i in range(0, len(codes), 1024)])
        work = np.where(neighbors >= 0, np.diff(self._train.indptr)[neighbors], 0).sum(axis=1)
        for first, last in cut_by_work(work, ASK_RATINGS, SCORE_USERS):
            people = self._known(codes[first:last])
            test = None if include_test else self._rows(self._test, codes[first:last])
            yield people, lists_of(people.rated) if test is None else joined(people.rated, test)

    def _recommend(self, people: _People, taken: Lists, k: int) -> pl.DataFrame:
        ratings, neighbors = self._ratings_of_neighbors(people)
        found = self._ranking.rank(
            ratings, neighbors, people.similarities, people.rated, taken, k, vectors=people.vectors
        )
        rows, ranks = np.nonzero(found.items >= 0)
        items, scores = found.items[rows, ranks], found.scores[rows, ranks]
        n_raters, mean_ratings = count_opinions(ratings, neighbors, found.items)
        return pl.DataFrame(
            {
                "user": people.ids.gather(rows),
                "rank": (ranks + 1).astype(np.uint32),
                "item": self._items.gather(items),
                "predicted": self._predict(people, rows, items).values if self.predicts_ratings else scores,
                "score": scores,
                "n_raters": n_raters[rows, ranks],
                "n_neighbors": (neighbors >= 0).sum(axis=1).astype(np.uint32)[rows],
                "mean_rating": pl.Series(mean_ratings[rows, ranks]).fill_nan(None),
            }
        )

    def _ratings_of_neighbors(self, people: _People) -> tuple[NarrowRows, NDArray[np.int32]]:
        """Ratings of all neighbours of some people, and the neighbours as rows of these."""
        there = people.neighbors >= 0
        needed, places = np.unique(people.neighbors[there], return_inverse=True)
        rows = np.full(people.neighbors.shape, -1, dtype=np.int32)
        rows[there] = places
        return self._train.read_some(needed), rows

    def _predict_known(self, codes: NDArray[np.int64], items: NDArray[np.int64]) -> Predicted:
        """Predictions for pairs of known users and items, some users at a time."""
        found = Predicted(np.empty(len(codes), dtype=np.float32), np.empty(len(codes), dtype=bool))
        order = np.argsort(codes, kind="stable")
        distinct, starts = np.unique(codes[order], return_index=True)
        starts = np.append(starts, len(codes))
        for first in range(0, len(distinct), SCORE_USERS):
            some = distinct[first : first + SCORE_USERS]
            pairs = order[starts[first] : starts[first + len(some)]]
            rows = np.searchsorted(some, codes[pairs])
            found.values[pairs], found.covered[pairs] = self._predict(self._known(some), rows, items[pairs])
        return found

    def _predict(self, people: _People, rows: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]) -> Predicted:
        """Predictions for pairs of rows of ``people``, ascending, and items."""
        if self._biases is None or self._near_items is None:
            return self._scores_of(people, rows, items)
        distinct = np.unique(items).astype(np.int64)
        ids, similarities = self._near_items.take(distinct)
        biases = self._biases._replace(users=people.biases)
        model = RatingModel(biases, ids, similarities, self._settings.predict.shrink, distinct)
        indptr = np.searchsorted(rows, np.arange(len(people.neighbors) + 1))
        return predict_ratings(model, people.rated, 0, indptr, items)

    def _scores_of(self, people: _People, rows: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]) -> Predicted:
        """The notebook's scores of pairs."""
        ratings, neighbors = self._ratings_of_neighbors(people)
        asked = Lists(np.searchsorted(rows, np.arange(len(neighbors) + 1)), items.astype(np.int32))
        nobody = no_lists(len(neighbors))
        scores = self._ranking.rank(ratings, neighbors, people.similarities, people.rated, nobody, 1, asked).wanted
        return Predicted(scores, scores != 0)

    def _known(self, codes: NDArray[np.int64]) -> _People:
        biases = np.zeros(len(codes), np.float32) if self._biases is None else self._biases.users[codes]
        vectors = None if self._refined is None else self._vectors(codes)
        return _People(self._users.gather(codes), self._rows(self._train, codes), *self._near(codes), biases, vectors)

    def _vectors(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of some users, in the order given."""
        some, places = np.unique(codes, return_inverse=True)
        return np.asarray(arrays.take_rows(self._factors.vectors, some)[places])

    def _newcomer(self, person: Newcomer) -> _People:
        nobody = pl.Series("user", [None], dtype=self._users.dtype)
        bias = np.array([person.bias], dtype=np.float32)
        vector = person.vector[None]
        return _People(nobody, _narrow(person.rated), person.neighbors[None], person.similarities[None], bias, vector)

    def _near(self, codes: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Neighbours and similarities of some users, in the order given."""
        some, places = np.unique(codes, return_inverse=True)
        ids, similarities = self._neighbors.take(some)
        return ids[places], similarities[places]

    def _rows(self, matrix: CsrReader, codes: NDArray[np.integer[Any]]) -> NarrowRows:
        """Rows of some users, in the order given."""
        some, places = np.unique(codes, return_inverse=True)
        return matrix.read_some(some).take(places)

    def _nearest(self, vector: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The nearest users of a vector, as many as the run keeps; reads all users' vectors, a chunk at a time."""
        vectors = self._factors.vectors
        n_users, chunk, k = vectors.shape[0], vectors.chunks[0], self._settings.neighbors.k
        blocks = (arrays.read_rows(vectors, i, min(i + chunk, n_users)) for i in range(0, n_users, chunk))
        found = np.concatenate([dot_products(block, vector[None])[:, 0] for block in blocks])
        best = np.lexsort((np.arange(n_users), -found))[:k]
        ids, similarities = np.full(k, -1, dtype=np.int32), np.full(k, np.nan, dtype=np.float32)
        ids[: len(best)], similarities[: len(best)] = best, found[best]
        return ids, similarities

    def _bias_of(self, rated: csr_matrix) -> float:
        if self._biases is None:
            return 0.0
        left = rated.data.astype(np.float64) - self._biases.mean - self._biases.items[rated.indices]
        damping = self._settings.biases.user_damping
        return float(damped(np.array([left.sum()]), np.array([len(left)]), damping)[0])

    def _shared(self, own: csr_matrix, theirs: csr_matrix) -> pl.DataFrame:
        """What one user's ratings have in common with others'."""
        liked_from = self._liked_from
        mine, my = set(own.indices.tolist()), set(own.indices[own.data >= liked_from].tolist())
        rows = []
        for at in range(theirs.shape[0]):
            row = theirs[at]
            both = mine.intersection(row.indices.tolist())
            liked = my.intersection(row.indices[row.data >= liked_from].tolist())
            rows.append((len(both), len(liked), sorted(liked, key=self._rarity)[:_SHARED_ITEMS]))
        counts = np.array([row[:2] for row in rows], dtype=np.uint32).reshape(-1, 2)
        shared = [self._items.gather(columns) for *_, columns in rows]
        return pl.DataFrame(
            {
                "n_both": counts[:, 0],
                "n_both_liked": counts[:, 1],
                "items": pl.Series(shared, dtype=pl.List(self._items.dtype)),
                "titles": pl.Series([self.titles(each) for each in shared], dtype=pl.List(pl.String)),
            }
        )

    def _rarity(self, column: int) -> tuple[int, int]:
        return int(self._counts[column]), column

    def _find(self, ids: ArrayLike, known: pl.Series, what: str) -> NDArray[np.int64]:
        """Codes of ids."""
        return lookup.find(ids, known, what, self._run.workdir)
