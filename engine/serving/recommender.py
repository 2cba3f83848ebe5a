"""What a finished run has to say to a person: items to recommend, ratings to expect, people of the same taste.

This is the face: it checks what is asked, and says what is wrong. Answers are worked out beside it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from engine.chunked.budget import parse_size
from engine.chunked.errors import Interrupted, UsageError
from engine.chunked.plain import at_least_one, one_of, truth
from engine.chunked.printable import printable
from engine.chunked.publishing import names
from engine.chunked.storage import Place, locate
from engine.config import load
from engine.driver import run as run_pipeline
from engine.ratings.columns import told_in_python
from engine.ratings.person import read_person
from engine.serving import alike, folding, given, predicting, recommending
from engine.serving import ids as lookup
from engine.serving.asked import OnEmpty, OnUnknown, offered, who
from engine.serving.finished import FinishedRun, damage_told, open_finished
from engine.serving.forks import refuse_forked
from engine.serving.opened import OpenedRun
from engine.serving.people import Newcomer
from engine.serving.tables import Table, like
from engine.serving.telling import telling_damage


def _opened(where: Place, memory: int, unpack: bool) -> OpenedRun:
    """The newest finished run of a work directory, of which nothing is held yet."""
    run = open_finished(where).located()
    with damage_told(run):
        opened = OpenedRun(run)
        if unpack:
            opened.unpack(memory)
        return opened


def _warn_of_none(columns: Sequence[int], items: pl.Series) -> None:
    """Name the items that have none near them, which an answer does not show."""
    if columns:
        named = ", ".join(printable(str(items[int(column)])) for column in columns[:3])
        more = f" and {len(columns) - 3} more" * (len(columns) > 3)
        warnings.warn(f"no item is near {named}{more}: too few ratings in common", stacklevel=4)


class Recommender:
    """A finished run, asked for items, ratings and like-minded users.

    Ids are those of the ratings file: whole numbers or text, as it has them. Whatever takes ids takes one, or anything
    that NumPy makes a one-dimensional array of. Answers are Polars data frames; for ids in a Series of pandas' they are
    its data frames, for a NumPy array arrays with named fields, as they are for a newcomer whose items came so. Every
    method raises DamagedError where a file that it reads is damaged so that it cannot be read, and UsageError in a
    process that was forked after a Recommender was opened, after `close`, and where a newer run has removed what it
    reads.

    Answers are of the run that was the newest finished one when it was opened, though another is in progress or has
    finished meanwhile: see `newer` and `reload`. It closes itself at the end of a ``with`` block.

    Parameters
    ----------
    opened : OpenedRun
    memory, unpack : int, bool
        As `open` is given them.

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

    def __init__(self, opened: OpenedRun, memory: int, unpack: bool) -> None:
        self._where = opened.run.workdir
        self._memory, self._unpack = memory, unpack
        self._answering: OpenedRun | None = opened
        with damage_told(opened.run):
            opened.hold(memory)
        self._remove: Callable[[], object] = lambda: None

    @classmethod
    def open(cls, workdir: Place, *, memory: str | int | None = "64MiB", unpack: bool = False) -> Self:
        """Open the newest finished run of a work directory.

        Parameters
        ----------
        workdir : path or URL
        memory : str, int or None
            Bytes, or a size like ``300MiB``, of what may be held in memory: titles, train ratings, vectors of users,
            nearest items, neighbours, test ratings, in this order, each whole or not at all. What is not held is read
            for each answer. Ids and item vectors, which every answer needs, do not count. None: nothing is held.
        unpack : bool
            Whether what is not held, but for titles, which then are, is laid out in temporary files (in ``TMPDIR``), of
            which an answer reads its own rows in little time. It takes a second at ml-25m's size, and as much disk as
            holding it would take memory, of vectors of users half as much again.

        Raises
        ------
        UsageError, DamagedError
            As `engine.serving.finished.open_finished`: where it is no work directory, no run of it is finished, or
            files of it are missing or cut. UsageError, as from every method, in a process forked from one that has
            opened a Recommender, and for a size that is none.
        BudgetError
            Where the disk has no room for what is unpacked.
        """
        refuse_forked()
        allowed = 0 if memory is None else parse_size(memory)
        return cls(_opened(workdir, allowed, truth(unpack, "unpack")), allowed, unpack)

    @classmethod
    def fit(
        cls,
        data: Any,
        y: ArrayLike | None = None,
        *,
        columns: Sequence[str] | None = None,
        memory: str | int | None = None,
        workers: int | None = None,
        workdir: Place | None = None,
        progress: bool | None = None,
        settings: Mapping[str, Any] | None = None,
        **sections: Any,
    ) -> Self:
        """Learn from ratings, within a memory budget, and open what was learned.

        Nothing is held out, unless told otherwise (``split={"method": "notebook"}``).

        Parameters
        ----------
        data : path, data frame, array, sparse matrix, or sequence of columns
            What ``dataset`` of a configuration may be: a ratings file or its URL, a data frame, a SciPy matrix of users
            x items. Or an array, or a list of columns: users, items and, if there are any, ratings and times. Without
            ratings each row is a click, say, and counts 1.
        y : array_like, shape (n,), optional
            Ratings, where ``data`` is an array or data frame of users and items alone, as scikit-learn has them.
        columns : sequence of str, optional
            Names of the columns of users, items, ratings and (optionally) times, where they are unusual.
        memory : str or int, optional
            The budget of the run: bytes, or a size like ``512MiB``; half of it is then what `open` may hold. None: half
            of the free memory, at most 1 GiB.
        workers : int, optional
            Tasks at a time, at most. None: as many as processors.
        workdir : path or URL, optional
            Where the run is kept, resumable. None: in a temporary folder, which goes with the Recommender.
        progress : bool, optional
            Whether to show progress. None: on a terminal and in a notebook.
        settings : mapping, optional
            Sections of the configuration, such as ``{"neighbors": {"k": 80}}``, ``preset``, and ``titles``: the path of
            a file of titles, which data frames have none beside them.
        **sections
            The same as keywords, such as ``neighbors={"k": 80}``.

        Raises
        ------
        UsageError, BudgetError, LockedError, DamagedError, Interrupted
            As `engine.run`, and for data that is none of these.

        Examples
        --------
        >>> import pandas as pd
        >>> ratings = pd.DataFrame({"userId": [1, 1, 2, 2], "movieId": [5, 6, 5, 7], "rating": [4.0, 3.5, 5.0, 2.0]})
        >>> with Recommender.fit(ratings, memory="512MiB") as recommender:
        ...     recommender.recommend([1], k=1)["item"].to_list()
        [7]
        """
        refuse_forked()
        place = None if workdir is None else locate(workdir)
        folder = Path(tempfile.mkdtemp(prefix="recsys-")) if place is None else None
        where = str(place if folder is None else folder / "run")
        try:
            asked = {
                "dataset": given.as_dataset(data, y),
                "columns": None if columns is None else tuple(columns),
                "memory": memory,
                "workers": workers,
                "workdir": where,
            }
            told = {name: value for name, value in asked.items() if value is not None}
            own = given.sections(settings or {}, sections)
            with told_in_python():
                run_pipeline(load({"split": {"method": "none"}}, own, told), progress=progress)
            fitted = cls.open(where, memory="64MiB" if memory is None else max(1, parse_size(memory) // 2))
        except BaseException as error:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
                if isinstance(error, Interrupted):
                    raise Interrupted("interrupted; nothing is kept, since no workdir was named") from None
            raise
        if folder is not None:
            fitted._remove = weakref.finalize(fitted, shutil.rmtree, folder, ignore_errors=True)
        return fitted

    @property
    def newer(self) -> bool:
        """Whether another run of the work directory has finished since this one was opened.

        Raises
        ------
        DamagedError
            Where it cannot be read which run is the newest.
        """
        return self._opened.run.fingerprint not in names(self._where)[:1]

    def reload(self) -> None:
        """Answer from the newest finished run from now on; raises what `open` raises, and then answers as before.

        What the old run held is let go of before what the new one holds is read.
        """
        fresh, before = _opened(self._where, self._memory, self._unpack), self._answering
        self._answering = fresh
        run = None if before is None else before.run
        del before
        try:
            with damage_told(fresh.run):
                fresh.hold(self._memory)
        except Exception:
            self._answering = None if run is None else OpenedRun(run)
            raise

    def close(self) -> None:
        """Let go of what is held; no answers any more, until it is reloaded."""
        self._answering = None
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        opened = self._answering
        state = "closed" if opened is None else f"{len(opened.users):,} users, {len(opened.items):,} items"
        return f"Recommender({str(self._where)!r}, {state})"

    @property
    def _opened(self) -> OpenedRun:
        """What answers; taken once for each, since it may be reloaded meanwhile."""
        opened = self._answering
        if opened is None:
            raise UsageError(f"the Recommender of {self._where} is closed: open it again")
        return opened

    @property
    def run(self) -> FinishedRun:
        """The run that it answers from."""
        return self._opened.run

    @property
    def users(self) -> pl.Series:
        """Ids of all users, ascending."""
        return self._opened.users

    @property
    def items(self) -> pl.Series:
        """Ids of all items with a train rating, ascending: those that can be predicted and recommended."""
        return self._opened.items

    @telling_damage
    def known_users(self, users: ArrayLike, on_unknown: OnUnknown = "error") -> pl.Series:
        """Those of some users who get a list from `recommend`, in the order given, in the type of the run's ids.

        Raises
        ------
        UsageError
            For an id that is not known, unless told otherwise.
        """
        return who(self._opened, users, on_unknown)[0]

    @property
    def predicts_ratings(self) -> bool:
        """Whether ratings are predicted; with the notebook's model, its one score stands in their place."""
        return self._opened.ranking.votes and not self._opened.implicit

    @property
    def implicit(self) -> bool:
        """Whether the run is of implicit feedback: no ratings are known or predicted."""
        return self._opened.implicit

    @telling_damage
    def recommend(
        self,
        users: ArrayLike | Newcomer,
        k: int = 10,
        *,
        include_test: bool = False,
        candidates: ArrayLike | None = None,
        exclude: ArrayLike | None = None,
        on_unknown: OnUnknown = "error",
        on_empty: OnEmpty = "popular",
    ) -> Table:
        """The best items for each of some users, of those they have not rated.

        Parameters
        ----------
        users : id, array_like of ids, shape (n,), or Newcomer
            In the order wanted; of an id given twice the list is there twice.
        k : int
            Items for each user; fewer where fewer are new to the user.
        include_test : bool
            Recommend items of held-out test ratings, too, as evaluate does, which measures how many of them are found.
            Without it, nobody is recommended what they have rated.
        candidates : array_like, shape (m,), optional
            Ids of the only items that are recommended, such as those on sale. Ids that the run does not have are
            passed over. Scores do not depend on it.
        exclude : array_like, shape (m,), optional
            Ids of items that are not recommended. The same holds.
        on_unknown : {"error", "skip", "popular"}
            What becomes of ids of users that the run does not have: an error, no list, or the most popular items.
        on_empty : {"popular", "skip"}
            Whether lists for which there are too few candidates (items that a neighbour rated, or near to liked ones)
            go on with the most popular items, or are shorter.

        Returns
        -------
        DataFrame
            A row an item, best first, one user after the other; none of a user who has rated all that could be
            recommended. ``user`` (null for a newcomer) and ``item``: ids. ``rank``: uint32, from 1.
            ``title``: text, null where there is no ``movies.csv`` beside the ratings or none in it. ``predicted``:
            float32, in units of ratings, within their range (with the notebook's model: the score; null with implicit
            feedback, as is ``mean_rating``). ``score``:
            float32, without unit, comparable within a user only. ``n_raters`` of the user's ``n_neighbors``, both
            uint32, rated the item, and ``mean_rating``, float32, is the mean of their ratings, null where none did.
            ``n_ratings``: uint32, train ratings of the item.
            ``popular``: bool, whether it is in the list for being popular; it has no score then.
            ``reason``: text, what added most to the score: ``neighbors``; ``item``, one of the user's own that this one
            goes with, being near to it or taken by the same users; ``vectors``, those of user and item, which stand for
            all that was rated; ``popularity``.
            ``reason_item``, ``reason_title`` and ``reason_rating`` (float32): that item of the user's own, and what the
            user gave it, null with implicit feedback and for `likes`; null for all other reasons.

        Raises
        ------
        UsageError
            For an id of a user that is not known, unless told otherwise; ``k`` less than 1; candidates of which none
            is known.
        """
        k, include_test = at_least_one(k, "items"), truth(include_test, "include_test")
        opened = self._opened
        popular = one_of(on_empty, "on_empty", get_args(OnEmpty)) == "popular"
        wanted = recommending.Wanted(k, offered(opened, candidates, exclude))
        if isinstance(users, Newcomer):
            asked = recommending.newcomer_asked(opened, users)
            return like(recommending.together(recommending.recommend(opened, wanted, asked, popular)), users)
        ids, codes, known = who(opened, users, on_unknown)
        strange, familiar = np.flatnonzero(~known), np.flatnonzero(known)
        asked = recommending.users_asked(opened, familiar, codes[familiar], include_test)
        lists = recommending.recommend(opened, wanted, asked, popular)
        if len(strange) or not len(familiar):
            asked = recommending.strangers_asked(opened, strange, lookup.take(ids, strange))
            lists = chain(lists, recommending.recommend(opened, wanted, asked, popular=True))
        return like(recommending.together(lists), users)

    @telling_damage
    def predict(
        self, users: ArrayLike | Newcomer, items: ArrayLike, *, on_unknown: Literal["error", "mean"] = "error"
    ) -> Table:
        """Ratings to be expected.

        Parameters
        ----------
        users : id, array_like of ids, shape (n,), or Newcomer
            One newcomer stands for all pairs.
        items : id, or array_like of ids, shape (n,)
            The item of each pair.
        on_unknown : {"error", "mean"}
            What becomes of ids that the run does not have: an error, or the rating to expect of a user, or of an item,
            who differs from the mean in nothing. Only for users given by ids.

        Returns
        -------
        DataFrame
            A row a pair, in their order: ``user`` (null for a newcomer), ``item``, ``predicted`` (float32, in units of
            ratings, within their range) and ``near`` (bool): whether the user rated an item near this one; else
            biases and vectors stand alone. With the notebook's model ``predicted`` is its score, which is 0 where no
            neighbour rated the item, and ``near`` says whether one did.

        Raises
        ------
        UsageError
            For an id that is not known, items without a train rating included, unless told otherwise; where there are
            not as many users as items; of a run of implicit feedback.
        """
        opened = self._opened
        if opened.implicit:
            raise UsageError("this run is of implicit feedback, which has no ratings to predict: ask for items")
        if one_of(on_unknown, "on_unknown", ("error", "mean")) == "mean" and not isinstance(users, Newcomer):
            return self._predict_any(opened, users, items)
        wanted = lookup.find(items, opened.items, "item", self._where)
        if isinstance(users, Newcomer):
            people, rows = opened.newcomer(users), np.zeros(len(wanted), dtype=np.int64)
            found = predicting.predict(opened, people, rows, wanted)
            ids = lookup.take(people.ids, rows)
        else:
            codes = lookup.find(users, opened.users, "user", self._where)
            if len(codes) != len(wanted):
                raise UsageError(f"{len(codes)} users and {len(wanted)} items: give a user for each item")
            found = predicting.predict_known(opened, codes, wanted)
            ids = lookup.take(opened.users, codes)
        answer = {
            "user": ids,
            "item": lookup.take(opened.items, wanted),
            "predicted": found.values,
            "near": found.covered,
        }
        return like(pl.DataFrame(answer), users, items)

    def _predict_any(self, opened: OpenedRun, users: ArrayLike, items: ArrayLike) -> Table:
        """Ratings to be expected, of whomever and whatever."""
        ids, wanted = lookup.as_ids(users, "user"), lookup.as_ids(items, "item")
        if len(ids) != len(wanted):
            raise UsageError(f"{len(ids)} users and {len(wanted)} items: give a user for each item")
        (codes, some), (columns, others) = lookup.places(ids, opened.users), lookup.places(wanted, opened.items)
        codes, columns = np.where(some, codes, -1), np.where(others, columns, -1)
        found = predicting.predict_any(opened, codes, columns, some & others)
        answer = {"user": ids, "item": wanted, "predicted": found.values, "near": found.covered}
        return like(pl.DataFrame(answer), users, items)

    @telling_damage
    def similar_users(self, user: ArrayLike | Newcomer, k: int = 10) -> Table:
        """The users nearest to one, and what they share.

        Parameters
        ----------
        user : id, array_like of ids, shape (n,), or Newcomer
        k : int
            How many; at most as many as the run has kept neighbours (``neighbors.k``) of the same taste.

        Returns
        -------
        DataFrame
            A row a user, nearest first: ``user``: id. ``similarity``: float32, the cosine of the two users' vectors.
            ``n_both``, ``n_both_liked``: uint32, items both have a train rating of, and those both liked. ``items``
            and ``titles``: lists of up to three items both liked, those fewest have rated first; titles are null
            where not known. Where ids are given in an array or a list, ``of``, the first column, has the one that
            each row is about.

        Raises
        ------
        UsageError
            For an id that is not known, or ``k`` less than 1.
        """
        k, opened = at_least_one(k, "users"), self._opened
        if isinstance(user, Newcomer):
            return like(alike.near_users(opened, opened.newcomer(user), k), user)
        codes = lookup.find(user, opened.users, "user", self._where)
        found = (alike.near_users(opened, opened.known(code), k) for code in codes[:, None])
        return like(alike.together(found, lookup.take(opened.users, codes)), user) if np.ndim(user) else next(found)

    @telling_damage
    def similar_items(self, item: ArrayLike, k: int = 10) -> Table:
        """The items nearest to one.

        Parameters
        ----------
        item : id, or array_like of ids, shape (n,)
        k : int
            How many; at most as many as the run has kept (``item_neighbors.k``).

        Returns
        -------
        DataFrame
            A row an item, nearest first: ``item``: id. ``title``: text, null where not known. ``similarity``: float32,
            the cosine of the two items' vectors, shrunk for items with few ratings. ``n_ratings``: uint32, train
            ratings of the item. ``of`` as `similar_users` has it. There is no row of an item that has none near it,
            such as one with fewer than ``item_neighbors.min_ratings`` ratings. Where several are asked about, a
            `UserWarning` names those.

        Raises
        ------
        UsageError
            For an id that is not known, ``k`` less than 1, or a run of the notebook's model, which has no item vectors.
        """
        k, opened = at_least_one(k, "items"), self._opened
        nearest = opened.near_items
        if nearest is None:
            raise UsageError("this run has the notebook's model, which knows no similar items: run the default preset")
        columns = lookup.find(item, opened.items, "item", self._where)
        found = [alike.near_items(opened, nearest, column, k) for column in columns[:, None]]
        if not np.ndim(item):
            return found[0]
        _warn_of_none([code for code, each in zip(columns, found, strict=True) if each.is_empty()], opened.items)
        return like(alike.together(found, lookup.take(opened.items, columns)), item)

    @telling_damage
    def find_items(self, text: str, k: int = 10) -> pl.DataFrame:
        """Items whose title has a text in it, or their id where there is no title; upper and lower case are one.

        Returns
        -------
        DataFrame
            A row an item: ``item``, ``title`` and ``n_ratings``, as `similar_items` has them. Those that begin with the
            text are first, then those with more ratings.

        Raises
        ------
        UsageError
            Where the text is none, or ``k`` is less than 1.
        """
        if not isinstance(text, str):
            raise UsageError(f"{text!r}: give a text to look for")
        return alike.named(self._opened, text, at_least_one(k, "items"))

    def likes(self, items: ArrayLike) -> Newcomer:
        """`fold_in` someone who likes some items and has rated nothing: each stands for the highest rating there is.

        Raises
        ------
        UsageError
            Where no item is known.
        """
        given = lookup.as_ids(items, "item")
        highest = 1.0 if self.implicit else self._opened.profile.rating_max
        return replace(self.fold_in(items, np.full(len(given), highest)), rates=False)

    @telling_damage
    def fold_in(self, items: ArrayLike, ratings: ArrayLike) -> Newcomer:
        """Place someone who is not in the data among its users.

        The vector is the one that alternating least squares fits to the ratings; without refined vectors, the row of
        ratings times the loadings of the SVD ("folding in", Sarwar et al. 2002).

        Parameters
        ----------
        items : id, or array_like of ids, shape (n,)
        ratings : number, or array_like, shape (n,)
            Ratings within the range of the data's; of an item rated twice the later counts.

        Raises
        ------
        UsageError
            Where no item is known, or a rating is out of range.
        """
        return folding.fold_in(self._opened, items, ratings)

    @telling_damage
    def read_newcomer(self, path: str | os.PathLike[str]) -> Newcomer:
        """`fold_in` the ratings of a file: CSV, TSV or ``::``-separated, with columns of items and ratings.

        Raises
        ------
        UsageError
            For all that is wrong with the file, with line and column, and as `fold_in`.
        """
        try:
            return self.fold_in(*read_person(locate(path), self._opened.run.source))
        except UsageError as error:
            message = str(error)
            raise UsageError(message if message.startswith(str(path)) else f"{path}: {message}") from None

    def titles(self, items: pl.Series) -> pl.Series:
        """Titles of items, from the ``movies.csv`` beside the ratings; null where there is none, or it is no use."""
        refuse_forked()
        return self._opened.titles.of(items)

    @property
    def no_titles(self) -> str:
        """Why answers lack titles, or one of them, that a file is there for; empty where none is lacking.

        When they are read, a `engine.serving.titles.TitlesWarning` says so, too.
        """
        return self._opened.titles.fault
