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


class Block(NamedTuple):
    """Some users, and what their items are ranked by.

    Attributes
    ----------
    start, stop : int
        Codes of the users: ``start`` to ``stop``.
    own : NarrowRows
        Their train ratings.
    ratings : NarrowRows
        Those of their neighbours, and perhaps others'.
    neighbors, similarities : int32 and float32 arrays, shape (users, k)
        Neighbours, as rows of ``ratings``, and their cosines; -1 and NaN where there is none.
    """

    start: int
    stop: int
    own: NarrowRows
    ratings: NarrowRows
    neighbors: NDArray[np.int32]
    similarities: NDArray[np.float32]


class _Users(NamedTuple):
    """Users ``start`` to ``stop``, and the neighbours of each, read at once: stored chunks hold many users."""

    start: int
    stop: int
    ids: NDArray[np.int32]
    similarities: NDArray[np.float32]

    def of(self, first: int, last: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Neighbours of some of them, and their cosines."""
        some = slice(first - self.start, last - self.start)
        return self.ids[some], self.similarities[some]


class _Gathered(NamedTuple):
    """Users ``start`` to ``stop``, and the codes of all their neighbours, ascending."""

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
    """

    def __init__(self, train: CsrReader, neighbors: Nearest, room: int) -> None:
        self._train, self._neighbors = train, neighbors
        all_fits = room >= train.nbytes + train.indptr.nbytes  # a whole that is read has row pointers of its own
        self._all = train.read(0, train.shape[0]) if all_fits else None
        self._chunks = train.chunks(room)

    def each(
        self, start: int, stop: int, most: int, reads: Reads, work: Callable[[Block], NDArray[Any]]
    ) -> list[NDArray[Any]]:
        """Do ``work`` for users ``start`` to ``stop``, `SCORE_USERS` of them at a time or fewer; what it returns.

        A call, and no generator: whoever takes blocks from one holds the last while the next is read.

        Parameters
        ----------
        start, stop : int
        most : int
            Ratings of neighbours held at a time, a row counting as `GATHERED_ROW` more; more where one user has more.
        reads : Reads
            Counts what is read.
        work : callable
        """
        users = _Users(start, stop, *self._neighbors.read(start, stop))
        if self._all is None:
            parts = (self._gather(users, each, reads, work) for each in self._cut(users, most))
            return [each for part in parts for each in part]
        return [
            work(Block(first, last, self._all.part(first, last), self._all, *users.of(first, last)))
            for first, last in _units(start, stop)
        ]

    def _gather(
        self, users: _Users, some: _Gathered, reads: Reads, work: Callable[[Block], NDArray[Any]]
    ) -> list[NDArray[Any]]:
        """Read what the neighbours of some users have rated, and do the work for them."""
        ratings = self._train.read_some(some.codes, self._chunks, reads)
        done = []
        for first, last in _units(some.start, some.stop):
            neighbors, similarities = users.of(first, last)
            rows = np.searchsorted(some.codes, neighbors).astype(np.int32)
            rows[neighbors < 0] = -1
            own = self._train.read_some(np.arange(first, last), self._chunks, reads)
            done.append(work(Block(first, last, own, ratings, rows, similarities)))
        return done

    def _cut(self, users: _Users, most: int) -> Iterator[_Gathered]:
        """Cut users into those whose neighbours' ratings are held together."""
        needed = np.zeros(self._train.shape[0], dtype=bool)
        held, begin = 0, users.start
        for first, neighbors in self._pieces(users, most):
            codes = np.unique(neighbors)
            work = self._work(codes)
            more = int(work[~needed[codes]].sum())
            if begin < first and held + more > most:
                yield _Gathered(begin, first, np.flatnonzero(needed))
                needed[:] = False
                held, begin, more = 0, first, int(work.sum())
            needed[codes] = True
            held += more
        yield _Gathered(begin, users.stop, np.flatnonzero(needed))

    def _pieces(self, users: _Users, most: int) -> Iterator[tuple[int, NDArray[np.int32]]]:
        """The first of some users and their neighbours, who have no more than ``most`` unless it is one user."""
        for first, last in _units(users.start, users.stop):
            neighbors = users.of(first, last)[0]
            work = np.where(neighbors >= 0, self._work(neighbors), 0).sum(axis=1)
            for low, high in cut_by_work(work, most, SCORE_USERS):
                some = neighbors[low:high]
                yield first + low, some[some >= 0]

    def _work(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """What rows count: their ratings, and what is noted of each; row -1 counts something, too."""
        work: NDArray[np.int64] = self._train.indptr[codes + 1] - self._train.indptr[codes] + GATHERED_ROW
        return work


def _units(start: int, stop: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + SCORE_USERS, stop)) for first in range(start, stop, SCORE_USERS))
