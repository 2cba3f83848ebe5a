"""Train and test partitions -> two CSR matrices, users x train items.

Items that only test knows have no column: their test ratings cannot be predicted and are left out, as the
notebook does. A task writes one chunk, a fixed number of ratings, whichever partitions it reaches into.

Files
-----
``seen/00000.npy``, ``counted/00000.npy``, ...
    Temporary, where there are many partitions. Of each the items that train has, a bit each; and, one after the other,
    how many ratings of each user train has, how many test has of these items, and the users, then the items, of the
    other test ratings: another partition's train may have them.
``columns.parquet``
    Original id of each column.
``train/``, ``test/``
    Zarr groups, see `engine.chunked.csr`; columns ascend within a row.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine import config
from engine.artifacts import tables
from engine.artifacts.names import COLUMNS, TEST, TRAIN
from engine.artifacts.readers import Matrix
from engine.artifacts.records import MatrixLayout, Profile
from engine.chunked import arrays, csr
from engine.chunked.array_files import load_array
from engine.chunked.pipeline import Inputs
from engine.chunked.task import Round, TaskContext
from engine.model.scale import Range, range_of
from engine.model.sizes import READ_RATINGS

_COLUMN_OF_ITEM = "column-of-item.npy"
_SEEN, _COUNTED = "seen", "counted"
_NO_COLUMN = -1


def _file(part: int) -> str:
    return f"{part:05d}.npy"


class MatrixStage:
    """Lay out, then fill chunk by chunk; then settle the range of the train ratings."""

    def __init__(self, inputs: Inputs[config.Matrix]) -> None:
        self._inputs = inputs
        self._section = inputs.params
        self._ingest = inputs.upstream["ingest"]
        self._split = inputs.upstream["split"]
        self._own = inputs.own

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        if "count" in plan:
            yield Round("count", plan["count"], self._count, until="layout")
        yield Round("layout", plan["layout"], self._lay_out_counted if "count" in plan else self._count_and_lay_out)
        plan = self._inputs.plan()  # how many ratings each matrix has is known now
        for kind in (TRAIN, TEST):
            yield Round(kind, plan[kind], partial(self._fill, kind), load=self._load_columns)
        if "scale" in plan:
            yield Round("scale", plan["scale"], self._settle_scale)

    def _count(self, part: int, context: TaskContext) -> None:
        seen, counted = self._counted(part)
        for folder, values in ((_SEEN, np.packbits(seen)), (_COUNTED, counted)):
            (context.scratch / folder).mkdir()
            np.save(context.scratch / folder / _file(part), values)

    def _counted(self, part: int) -> tuple[NDArray[np.bool_], NDArray[np.uint32]]:
        """Which items a partition of train has, and what is counted of it: see the files of that."""
        profile = Profile.of(self._ingest)
        first, last = profile.bounds[part : part + 2]
        train, test = (self._read(kind, part, "user", "item") for kind in (TRAIN, TEST))
        seen = np.zeros(profile.n_items, dtype=bool)
        seen[train["item"]] = True
        known = seen[test["item"]]
        lengths = [
            np.bincount(users - np.uint32(first), minlength=last - first).astype(np.uint32)
            for users in (train["user"], test["user"][known])
        ]
        return seen, np.concatenate([*lengths, test["user"][~known], test["item"][~known]])

    def _lay_out_counted(self, index: int, context: TaskContext) -> dict[str, Any]:
        n_items, parts = Profile.of(self._ingest).n_items, range(len(Profile.of(self._ingest).first_users))
        packed = np.zeros(-(-n_items // 8), dtype=np.uint8)
        for part in parts:
            packed |= load_array(self._own.path(f"{_SEEN}/{_file(part)}"))
        seen = np.unpackbits(packed, count=n_items).astype(bool)
        return self._layout(seen, (load_array(self._own.path(f"{_COUNTED}/{_file(part)}")) for part in parts), context)

    def _count_and_lay_out(self, index: int, context: TaskContext) -> dict[str, Any]:
        found = [self._counted(part) for part in range(len(Profile.of(self._ingest).first_users))]
        seen = np.logical_or.reduce([of_part for of_part, _ in found])
        return self._layout(seen, (counted for _, counted in found), context)

    def _layout(
        self, seen: NDArray[np.bool_], counted: Iterable[NDArray[np.uint32]], context: TaskContext
    ) -> dict[str, Any]:
        """Lay both matrices out, given the items that train has, and what is counted of each partition."""
        profile = Profile.of(self._ingest)
        lengths = {kind: np.zeros(profile.n_users, dtype=np.uint32) for kind in (TRAIN, TEST)}
        for (first, last), of_part in zip(itertools.pairwise(profile.bounds), counted, strict=True):
            n = last - first
            users, items = of_part[2 * n :].reshape(2, -1)
            more = np.bincount(users[seen[items]] - np.uint32(first), minlength=n).astype(np.uint32)
            lengths[TRAIN][first:last] = of_part[:n]
            lengths[TEST][first:last] = of_part[n : 2 * n] + more
        ids = tables.all_item_ids(self._ingest).to_frame().filter(pl.Series(seen))
        ids.write_parquet(context.scratch / COLUMNS)
        column_of = np.where(seen, np.cumsum(seen) - 1, _NO_COLUMN)
        np.save(context.scratch / _COLUMN_OF_ITEM, column_of)
        offsets = {kind: self._lay_out(kind, lengths[kind], ids.height, context) for kind in (TRAIN, TEST)}
        return {**offsets, "n_columns": ids.height}

    def _lay_out(self, kind: str, lengths: NDArray[np.uint32], n_columns: int, context: TaskContext) -> list[int]:
        """Create a matrix's group; return where each partition starts in its flat arrays, and the end."""
        profile = Profile.of(self._ingest)
        indptr = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=indptr[1:])
        csr.create(
            context.scratch,
            kind,
            indptr=indptr,
            n_columns=n_columns,
            value_dtype=profile.rating_dtype,
            value_step=profile.rating_step,
            chunk=self._section.ratings_per_chunk,
        )
        return [int(n) for n in indptr[profile.bounds]]

    def _read(self, kind: str, part: int, *columns: str) -> dict[str, NDArray[Any]]:
        rows = tables.read_partition(self._split, part, *columns, kind=kind)
        return {name: rows[name].to_numpy() for name in columns}

    def _load_columns(self) -> NDArray[np.int64]:
        """Return the column of each item code, or -1."""
        column_of: NDArray[np.int64] = load_array(self._own.path(_COLUMN_OF_ITEM))
        return column_of

    def _fill(self, kind: str, index: int, context: TaskContext) -> dict[str, Any]:
        """Write a chunk of the matrix; which values it has, where these are a byte each."""
        layout = MatrixLayout.of(self._own)
        offsets = layout.offsets(kind)
        chunk = self._section.ratings_per_chunk
        start, stop = index * chunk, min((index + 1) * chunk, offsets[-1])
        pieces = []
        for part, (first, last) in enumerate(itertools.pairwise(offsets)):
            if first < stop and last > start:
                columns, values = self._known(kind, part, context.shared)
                wanted = slice(max(0, start - first), stop - first)
                pieces.append((columns[wanted], values[wanted]))
        index_dtype = csr.narrowest_index(layout.n_columns)
        indices = np.concatenate([columns for columns, _ in pieces]).astype(index_dtype)
        values = np.concatenate([values for _, values in pieces])
        arrays.write_rows(self._own.root, context.scratch, f"{kind}/{csr.INDICES}", start, indices)
        arrays.write_rows(self._own.root, context.scratch, f"{kind}/{csr.DATA}", start, values)
        return {"distinct": np.flatnonzero(np.bincount(values)).tolist()} if values.dtype == np.uint8 else {}

    def _settle_scale(self, index: int, context: TaskContext) -> dict[str, float]:
        """Find the range of the train ratings; of implicit feedback it is nothing, and all pairs are liked."""
        profile, train = Profile.of(self._ingest), Matrix(self._own).train
        if profile.implicit_because(self._section.feedback):
            least = profile.rating_min
            return {**Range(least, least, least)._asdict(), "implicit": True}
        filled = self._own.results("train")
        if not all("distinct" in each for each in filled):
            return range_of(lambda: train.read_values(READ_RATINGS))._asdict()
        distinct = [np.array(each["distinct"], dtype=np.float32) * np.float32(train.value_step) for each in filled]
        return range_of(lambda: distinct)._asdict()

    def _known(self, kind: str, part: int, columns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Columns and values of a partition's ratings whose item has a column."""
        rows = self._read(kind, part, "item", "rating")
        found = columns[rows["item"]]
        known = found != _NO_COLUMN
        return found[known], rows["rating"][known]
