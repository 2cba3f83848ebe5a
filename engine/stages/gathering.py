"""Train ratings of users' neighbours: all in memory, or those of some users at a time, gathered from stored chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.artifacts.readers import Nearest
from engine.chunked.csr import CsrReader, NarrowRows
from engine.chunked.task import Reads
from engine.model.scoring import cut_by_work
from engine.model.sizes import GATHERED_ROW, SCORE_USERS
from engine.stages.gathered import GatheredFiles


class Users(NamedTuple):
    """Users of a task, and the order in which they are gone through.

    Attributes
    ----------
    codes : int64 array, shape (users,)
        Ascending: what is stored of them is read in this order.
    turn : int64 array, shape (users,)
        Their places in ``codes``, first who comes first.
    """

    codes: NDArray[np.int64]
    turn: NDArray[np.int64]

    @staticmethod
    def between(start: int, stop: int) -> Users:
        """Users ``start`` to ``stop``, in order of code."""
        return Users(np.arange(start, stop), np.arange(stop - start))

    @staticmethod
    def in_order(codes: NDArray[np.integer[Any]]) -> Users:
        """Users in the order given."""
        ascending = np.argsort(codes, kind="stable")
        turn = np.empty_like(ascending)
        turn[ascending] = np.arange(len(codes))
        return Users(codes[ascending].astype(np.int64), turn)

    def by_code(self, rows: NDArray[Any]) -> NDArray[Any]:
        """What there is a row of for each, in their order, in the order of codes."""
        found = np.empty_like(rows)
        found[self.turn] = rows
        return found


class Block(NamedTuple):
    """Some users, and what their items are ranked by.

    Attributes
    ----------
    places : int64 array, shape (users,)
        Where they are among the codes of the task's users.
    codes : int64 array, shape (users,)
    own : NarrowRows
        Their train ratings.
    ratings : NarrowRows
        Those of their neighbours, and perhaps others'.
    neighbors, similarities : int32 and float32 arrays, shape (users, k)
        Neighbours, as rows of ``ratings``, and their cosines; -1 and NaN where there is none.
    """

    places: NDArray[np.int64]
    codes: NDArray[np.int64]
    own: NarrowRows
    ratings: NarrowRows
    neighbors: NDArray[np.int32]
    similarities: NDArray[np.float32]


class _Asked(NamedTuple):
    """Users of a task, and the neighbours of each, in order of code: read at once, since chunks hold many users."""

    users: Users
    ids: NDArray[np.int32]
    similarities: NDArray[np.float32]


class _Gathered(NamedTuple):
    """Users whose turn is from ``start`` to ``stop``, and the codes of them and all their neighbours, ascending."""

    start: int
    stop: int
    codes: NDArray[np.int64]


class RatingsOfNeighbors:
    """What neighbours have rated.

    Parameters
    ----------
    train : CsrReader
    neighbors : Nearest
        Of the users of ``train``.
    room : int
        Bytes that stored chunks may be kept in; all ratings are kept as they are where it is enough for that.
    gathered : GatheredFiles, optional
        Where ratings of the users and their neighbours have been put together; then none are read of ``train``.
    """

    def __init__(self, train: CsrReader, neighbors: Nearest, room: int, gathered: GatheredFiles | None = None) -> None:
        self._train, self._neighbors, self._gathered = train, neighbors, gathered
        all_fits = room >= train.nbytes + train.indptr.nbytes  # a whole that is read has row pointers of its own
        self._all = train.read(0, train.shape[0]) if all_fits else None
        self._chunks = train.chunks(room)

    def each(self, users: Users, most: int, reads: Reads, work: Callable[[Block], NDArray[Any]]) -> list[NDArray[Any]]:
        """Do ``work`` for users in their order, `SCORE_USERS` of them at a time or fewer; what it returns.

        A call, and no generator: whoever takes blocks from one holds the last while the next is read.

        Parameters
        ----------
        users : Users
        most : int
            Ratings held at a time, a row counting as `GATHERED_ROW` more; more where one user's neighbours have more.
        reads : Reads
            Counts what is read.
        work : callable
        """
        asked = _Asked(users, *self._neighbors.take(users.codes))
        if self._all is None:
            parts = (self._gather(asked, each, reads, work) for each in self._cut(asked, most))
            return [each for part in parts for each in part]
        return [work(self._from_all(asked, self._all, *unit)) for unit in _units(0, len(users.codes))]

    def _from_all(self, asked: _Asked, ratings: NarrowRows, first: int, last: int) -> Block:
        places = asked.users.turn[first:last]
        codes = asked.users.codes[places]
        return Block(places, codes, ratings.take(codes), ratings, asked.ids[places], asked.similarities[places])

    def _gather(
        self, asked: _Asked, some: _Gathered, reads: Reads, work: Callable[[Block], NDArray[Any]]
    ) -> list[NDArray[Any]]:
        """Read what some users and their neighbours have rated, and do the work for them."""
        if self._gathered is None:
            ratings = self._train.read_some(some.codes, self._chunks, reads)
        else:
            ratings = self._gathered.read_some(some.codes, reads)
        done = []
        for first, last in _units(some.start, some.stop):
            places = asked.users.turn[first:last]
            codes, neighbors = asked.users.codes[places], asked.ids[places]
            rows = np.searchsorted(some.codes, neighbors).astype(np.int32)
            rows[neighbors < 0] = -1
            own = ratings.take(np.searchsorted(some.codes, codes))
            done.append(work(Block(places, codes, own, ratings, rows, asked.similarities[places])))
        return done

    def _cut(self, asked: _Asked, most: int) -> Iterator[_Gathered]:
        """Cut users into those whose ratings, and whose neighbours', are held together."""
        needed = np.zeros(self._train.shape[0], dtype=bool)
        held, begin = 0, 0
        for first, some in self._pieces(asked, most):
            codes = np.unique(some)
            work = self._work(codes)
            more = int(work[~needed[codes]].sum())
            if begin < first and held + more > most:
                yield _Gathered(begin, first, np.flatnonzero(needed))
                needed[:] = False
                held, begin, more = 0, first, int(work.sum())
            needed[codes] = True
            held += more
        yield _Gathered(begin, len(asked.users.codes), np.flatnonzero(needed))

    def _pieces(self, asked: _Asked, most: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The turn of the first of some users, and the codes of them and their neighbours.

        Together these have no more than ``most``, unless it is one user.
        """
        for first, last in _units(0, len(asked.users.codes)):
            places = asked.users.turn[first:last]
            needed = np.column_stack([asked.users.codes[places], asked.ids[places]])
            work = np.where(needed >= 0, self._work(needed), 0).sum(axis=1)
            for low, high in cut_by_work(work, most, SCORE_USERS):
                some = needed[low:high]
                yield first + low, some[some >= 0]

    def _work(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """What rows count: their ratings, and what is noted of each; row -1 counts something, too."""
        work: NDArray[np.int64] = self._train.indptr[codes + 1] - self._train.indptr[codes] + GATHERED_ROW
        return work


def _units(start: int, stop: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + SCORE_USERS, stop)) for first in range(start, stop, SCORE_USERS))
