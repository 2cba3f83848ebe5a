"""What the users of a group are scored with, put together in files: ratings of them and of their neighbours, and test.

Where users are many, each block of them needs a few of all ratings, from everywhere. So the matrix is gone through once
for all blocks of a group, and each block goes through what the group needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.artifacts.readers import Predictions
from engine.chunked.array_files import array_file, load_array
from engine.chunked.csr import CsrReader, NarrowRows
from engine.chunked.journal import Committed
from engine.chunked.task import Reads
from engine.model.prediction import Predicted
from engine.model.scoring import cut_by_work
from engine.model.sizes import READ_RATINGS

Codes = NDArray[np.int64]


class Needed(NamedTuple):
    """Users of a group, and whose ratings they are scored with.

    Attributes
    ----------
    own : int64 array, shape (users of the group,)
        Their codes, ascending.
    marked : bool array, shape (users,)
        Whether a user is one of them, or a neighbour of one.
    """

    own: Codes
    marked: NDArray[np.bool_]

    def own_between(self, start: int, stop: int) -> Codes:
        """Those of the group from ``start`` to ``stop``."""
        first, last = np.searchsorted(self.own, [start, stop])
        return self.own[first:last]


class Tested(NamedTuple):
    """What is held out of some users, and what is predicted of it.

    Attributes
    ----------
    test : NarrowRows
    predicted : Predicted or None
        None where nothing is.
    """

    test: NarrowRows
    predicted: Predicted | None

    @staticmethod
    def read(test: CsrReader, predictions: Predictions | None, users: Codes) -> Tested:
        """Of users given by ascending codes."""
        predicted = None if predictions is None else predictions.take(test.indptr, users)
        return Tested(test.read_some(users), predicted)

    def take(self, rows: NDArray[np.int64]) -> Tested:
        """Of some of the users."""
        predicted = None if self.predicted is None else self.predicted.of_rows(self.test.indptr, rows)
        return Tested(self.test.take(rows), predicted)


class GatheredFiles:
    """Files of a group, one of each kind for each range of users.

    Parameters
    ----------
    stage : Committed
        The step whose tasks write them.
    group : int
    ranges : sequence of (int, int)
        Users, all of them in ranges.
    train, test : CsrReader
    predictions : Predictions or None
        Of the test ratings.
    """

    def __init__(
        self,
        stage: Committed,
        group: int,
        ranges: Sequence[tuple[int, int]],
        train: CsrReader,
        test: CsrReader,
        predictions: Predictions | None,
    ) -> None:
        self._stage, self._group, self._ranges = stage, group, ranges
        self._train, self._test, self._predictions = train, test, predictions

    def write(self, index: int, needed: Needed, scratch: Path) -> None:
        """Put together what a range has, as the files of a task."""
        start, stop = self._ranges[index]
        some = start + np.flatnonzero(needed.marked[start:stop])
        np.save(scratch / self._name("codes", index), some.astype(np.int32))
        self._write_ratings(index, some, scratch)
        tested = Tested.read(self._test, self._predictions, needed.own_between(start, stop))
        found = {"test-indices": tested.test.indices, "test-data": tested.test.data}
        if tested.predicted is not None:
            found |= {"predicted": tested.predicted.values, "covered": np.packbits(tested.predicted.covered)}
        for kind, array in found.items():
            np.save(scratch / self._name(kind, index), array)

    def _write_ratings(self, index: int, some: Codes, scratch: Path) -> None:
        """Write the train ratings of some users of a range, of which not all are held."""
        start, stop = self._ranges[index]
        edges = [
            start + last for _, last in cut_by_work(_lengths(self._train, np.arange(start, stop)), READ_RATINGS, stop)
        ]
        stretches = list(zip([start, *edges], edges, strict=False))
        shape = (int(_lengths(self._train, some).sum()),)
        indices, data = (scratch / self._name(kind, index) for kind in ("indices", "data"))
        index_dtype, value_dtype = self._train.dtypes
        with (
            array_file(indices, index_dtype, shape) as write_indices,
            array_file(data, value_dtype, shape) as write_data,
        ):
            for (first, last), rows in zip(stretches, self._train.read_stretches(stretches), strict=True):
                low, high = np.searchsorted(some, [first, last])
                taken = rows.take(some[low:high] - first)
                write_indices(taken.indices)
                write_data(taken.data)

    def read_some(self, codes: Codes, reads: Reads) -> NarrowRows:
        """Train ratings of some users that the group needs, ascending; bytes that are read are added up."""
        lengths = _lengths(self._train, codes)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        index_dtype, value_dtype = self._train.dtypes
        indices, data = np.empty(ends[-1], dtype=index_dtype), np.empty(ends[-1], dtype=value_dtype)
        for index, first, last in self._reached(codes):
            there = self._ratings(index)
            reads.stored += there.indices.nbytes + there.data.nbytes
            rows = np.searchsorted(self._load("codes", index), codes[first:last])
            for low, high in cut_by_work(lengths[first:last], READ_RATINGS, last - first):
                taken = there.take(rows[low:high])
                some = slice(int(ends[first + low]), int(ends[first + high]))
                indices[some], data[some] = taken.indices, taken.data
        return NarrowRows(ends, indices, data, self._train.shape[1], self._train.value_step)

    def tested(self, own: Codes, codes: Codes) -> Tested:
        """What is held out of some users of the group, ascending; ``own`` are all of the group."""
        parts = []
        for index, first, last in self._reached(codes):
            low, high = np.searchsorted(own, self._ranges[index])
            there = own[low:high]
            parts.append(self._tested(index, there).take(np.searchsorted(there, codes[first:last])))
        lengths = _lengths(self._test, codes)
        test = NarrowRows(
            np.concatenate([[0], np.cumsum(lengths)]),
            np.concatenate([part.test.indices for part in parts]),
            np.concatenate([part.test.data for part in parts]),
            self._test.shape[1],
            self._test.value_step,
        )
        predicted = [part.predicted for part in parts if part.predicted is not None]
        return Tested(test, Predicted(*map(np.concatenate, zip(*predicted, strict=True))) if predicted else None)

    def _reached(self, codes: Codes) -> Iterator[tuple[int, int, int]]:
        """Ranges that have some of the users; which of ``codes`` these are."""
        for index, edges in enumerate(self._ranges):
            first, last = np.searchsorted(codes, edges)
            if first < last:
                yield index, int(first), int(last)

    def _ratings(self, index: int) -> NarrowRows:
        """All train ratings of a file."""
        ends = np.concatenate([[0], np.cumsum(_lengths(self._train, self._load("codes", index)))])
        indices, data = self._load("indices", index), self._load("data", index)
        return NarrowRows(ends, indices, data, self._train.shape[1], self._train.value_step)

    def _tested(self, index: int, users: Codes) -> Tested:
        """All that a file has of what is held out: of ``users``."""
        ends = np.concatenate([[0], np.cumsum(_lengths(self._test, users))])
        indices, data = self._load("test-indices", index), self._load("test-data", index)
        test = NarrowRows(ends, indices, data, self._test.shape[1], self._test.value_step)
        if self._predictions is None:
            return Tested(test, None)
        covered = np.unpackbits(self._load("covered", index), count=int(ends[-1])).astype(bool)
        return Tested(test, Predicted(self._load("predicted", index), covered))

    def _load(self, kind: str, index: int) -> NDArray[Any]:
        return load_array(self._stage.path(self._name(kind, index)))

    def _name(self, kind: str, index: int) -> str:
        return f"gathered-{self._group}-{kind}-{index:05d}.npy"


def _lengths(matrix: CsrReader, users: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Ratings of some users."""
    lengths: NDArray[np.int64] = matrix.indptr[users + 1] - matrix.indptr[users]
    return lengths
