"""What is NumPy's or Zarr's: readers of what a step has committed. Nothing is read before it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.artifacts import names
from engine.artifacts.records import Fit, Fitted, PredictedBlock, Shard, predicted_blocks, shards
from engine.chunked import arrays
from engine.chunked.array_files import load_array, load_arrays
from engine.chunked.csr import CsrReader, NarrowRows
from engine.chunked.journal import Committed
from engine.chunked.ranges import consecutive
from engine.chunked.storage import Location
from engine.chunked.stored import Stored
from engine.model.sizes import GROUP_USERS

if TYPE_CHECKING:
    from engine.model.biases import Biases
    from engine.model.cooccurrence import Companions
    from engine.model.prediction import Latent, Predicted

_NOBODY = -1


class Matrix:
    """matrix: train and test ratings, both users x the items of train.

    Parameters
    ----------
    stage : Committed
    """

    def __init__(self, stage: Committed) -> None:
        self._stage = stage

    @cached_property
    def train(self) -> CsrReader:
        """The train ratings."""
        return CsrReader(self._stage.root, names.TRAIN)

    @cached_property
    def test(self) -> CsrReader:
        """The test ratings of items that occur in train."""
        return CsrReader(self._stage.root, names.TEST)


class Factors:
    """factors: vectors of users, and what they are made with.

    Parameters
    ----------
    stage : Committed
    """

    def __init__(self, stage: Committed) -> None:
        self._stage = stage
        self._rows: arrays.Rows | None = None

    @cached_property
    def vectors(self) -> Stored:
        """float32, shape (users, dims): rows of unit length, or of zeros for a user no dimension reaches."""
        return arrays.open_array(self._stage.root, names.VECTORS)

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors."""
        return int(self.vectors.nbytes)

    def hold(self) -> None:
        """Keep the vectors in memory from now on, where `rows` has them."""
        self._rows = arrays.hold(self.vectors)

    def unpack(self) -> None:
        """Let `rows` be a file that few of them are read of quickly, where they are not held."""
        self._rows = arrays.unpack(self.rows)

    @property
    def rows(self) -> arrays.Rows:
        """The vectors, as they are read quickest."""
        return self.vectors if self._rows is None else self._rows

    def loadings(self, mmap_mode: Literal["r"] | None = None) -> NDArray[np.float32]:
        """Shape (items, dims): a row of ratings times this is a user's vector before scaling to unit length."""
        loadings: NDArray[np.float32] = load_array(self._stage.path(names.LOADINGS), mmap_mode=mmap_mode)
        return loadings

    def singular_values(self) -> NDArray[np.float64]:
        """Descending; shape (width,), at least as many as there are dims."""
        values: NDArray[np.float64] = load_array(self._stage.path(names.SINGULAR_VALUES))
        return values


class Refined(Factors):
    """refine: vectors of users and items whose products say what a user prefers."""

    def item_factors(self) -> NDArray[np.float32]:
        """Shape (items, dims)."""
        factors: NDArray[np.float32] = load_array(self._stage.path(names.ITEM_FACTORS))
        return factors


def compared(upstream: Mapping[str, Committed]) -> Committed:
    """The step whose user vectors neighbours are found with: refine, or else factors."""
    return upstream["refine"] if "refine" in upstream else upstream["factors"]


class Index:
    """index: clusters of users, or graphs; which of them is there, `engine.artifacts.records.IndexChoice` says.

    Parameters
    ----------
    stage : Committed
    """

    def __init__(self, stage: Committed) -> None:
        self._stage = stage

    def centres(self) -> NDArray[np.float32]:
        """Of the clusters, shape (clusters, dims)."""
        centres: NDArray[np.float32] = load_array(self._stage.path(names.CENTRES))
        return centres

    def edges(self) -> NDArray[np.int64]:
        """First place of each cluster in the order of the tiles, and the end; shape (clusters + 1,)."""
        edges: NDArray[np.int64] = load_array(self._stage.path(names.EDGES))
        return edges

    def tile_codes(self, group: int) -> NDArray[np.int32]:
        """Codes of a group of users, by cluster; shape (users of the group,)."""
        codes: NDArray[np.int32] = load_array(self._stage.path(names.tile_codes_path(group)))
        return codes

    def tile_vectors(self, group: int) -> NDArray[np.float32]:
        """Their vectors, shape (users of the group, dims)."""
        vectors: NDArray[np.float32] = load_array(self._stage.path(names.tile_vectors_path(group)))
        return vectors

    def codes(self, start: int, stop: int) -> NDArray[np.int32]:
        """Codes of the users at places ``start`` to ``stop`` in the order of the tiles."""
        found = np.empty(stop - start, dtype=np.int32)
        for group, some, there in _groups(start, stop):
            found[there] = self.tile_codes(group)[some]
        return found

    def vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        """Their vectors."""
        found = np.empty((stop - start, self.centres().shape[1]), dtype=np.float32)
        for group, some, there in _groups(start, stop):
            found[there] = self.tile_vectors(group)[some]
        return found

    def shards(self) -> list[tuple[Shard, Path]]:
        """Users of each graph, and its file."""
        return [(shard, self._stage.path(names.shard_path(i))) for i, shard in enumerate(shards(self._stage))]


def _groups(start: int, stop: int) -> Iterator[tuple[int, slice, slice]]:
    """Files of tiles that places ``start`` to ``stop`` are in; which of each file's, and of all, these are."""
    for group in range(start // GROUP_USERS, -(-stop // GROUP_USERS)):
        first = group * GROUP_USERS
        low, high = max(start, first), min(stop, first + GROUP_USERS)
        yield group, slice(low - first, high - first), slice(low - start, high - start)


class Nearest:
    """The nearest of each user (neighbors), or of each item (item_neighbors), nearest first.

    Parameters
    ----------
    stage : Committed

    Attributes
    ----------
    ids : int32 array, shape (n, k)
        Codes of users, or columns; -1 where there are fewer. Zarr's, unless held or unpacked.
    similarities : float32 array, shape (n, k)
        The same.
    by_cluster : bool
        Whether rows are in the order of clusters; else they are in that of codes.
    """

    def __init__(self, stage: Committed) -> None:
        self._stage = stage

    @cached_property
    def ids(self) -> arrays.Rows:
        """See the class."""
        return arrays.open_array(self._stage.root, names.IDS)

    @cached_property
    def similarities(self) -> arrays.Rows:
        """See the class."""
        return arrays.open_array(self._stage.root, names.SIMILARITIES)

    @cached_property
    def by_cluster(self) -> bool:
        """See the class."""
        return (self._stage.root / names.PLACES).is_file()

    @property
    def nbytes(self) -> int:
        """Bytes of both arrays."""
        return int(self.ids.nbytes + self.similarities.nbytes)

    def hold(self) -> None:
        """Keep both in memory from now on."""
        self.ids, self.similarities = arrays.hold(self.ids), arrays.hold(self.similarities)

    def unpack(self) -> None:
        """Read both, where they are not held, of files that few rows are read of quickly."""
        self.ids, self.similarities = arrays.unpack(self.ids), arrays.unpack(self.similarities)

    def read(self, start: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Of users, or items, ``start`` to ``stop``, in memory."""
        if self.by_cluster:
            return self.take(np.arange(start, stop))
        return arrays.read_rows(self.ids, start, stop), arrays.read_rows(self.similarities, start, stop)

    def take(self, codes: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Of users, or items, of the given ascending codes, in memory; only chunks that have some of them are read."""
        if not self.by_cluster:
            return arrays.take_rows(self.ids, codes), arrays.take_rows(self.similarities, codes)
        rows = load_array(self._stage.path(names.PLACES), mmap_mode="r")[codes].astype(np.int64)
        order = np.argsort(rows, kind="stable")
        return _taken_in(self.ids, rows, order), _taken_in(self.similarities, rows, order)


def _taken_in(array: arrays.Rows, rows: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[Any]:
    """Rows of the given numbers, which ``order`` sorts."""
    ascending = arrays.take_rows(array, rows[order])
    found = np.empty_like(ascending)
    found[order] = ascending
    return found


def lay_out_nearest(scratch: Path, shape: tuple[int, int], rows_per_chunk: int) -> None:
    """Create the arrays that `Nearest` reads, empty, as part of a task's output.

    Parameters
    ----------
    scratch : Path
        The task's scratch folder.
    shape : (int, int)
        Rows, and the nearest of each.
    rows_per_chunk : int
    """
    for name, dtype, fill in ((names.IDS, np.int32, _NOBODY), (names.SIMILARITIES, np.float32, np.nan)):
        chunks = (rows_per_chunk, shape[1])
        arrays.create_array(scratch, name, shape=shape, chunks=chunks, dtype=dtype, fill=fill)


def write_nearest(
    root: Location, scratch: Path, start: int, ids: NDArray[np.int32], similarities: NDArray[np.float32]
) -> None:
    """Write rows from ``start`` on; whole chunks, as `engine.chunked.arrays.write_rows`, which raises ValueError."""
    arrays.write_rows(root, scratch, names.IDS, start, ids)
    arrays.write_rows(root, scratch, names.SIMILARITIES, start, similarities)


class NearItems(Nearest):
    """item_neighbors: the nearest items of each, and what else there is."""

    def inverted(self) -> NarrowRows:
        """float32, items x items: of each item the items that it is among the nearest of, with their similarities."""
        near = load_arrays(self._stage.path(names.NEAR))
        return NarrowRows(near["indptr"], near["indices"], near["data"], len(near["indptr"]) - 1, 1.0)

    def counts(self) -> NDArray[np.int64]:
        """Train ratings of each item, shape (items,)."""
        counts: NDArray[np.int64] = load_array(self._stage.path(names.COUNTS))
        return counts


def read_together(stages: Mapping[str, Committed], weight: float) -> Companions | None:
    """cooccurrence: of each item those that go together with it; None where they weigh 0."""
    from engine.model.cooccurrence import Companions

    if not weight:
        return None
    found = load_arrays(stages["cooccurrence"].path(names.TOGETHER))
    rows = NarrowRows(found["indptr"], found["indices"], found["data"], len(found["indptr"]) - 1, 1.0)
    return Companions(rows, found["scales"])


def read_biases(stage: Committed) -> Biases:
    """biases: the bias model."""
    from engine.model.biases import Biases

    fit = Fit.of(stage)
    users, items = (load_array(stage.path(name)) for name in (names.USER_BIAS, names.ITEM_BIAS))
    return Biases(fit.mean, users, items, fit.low, fit.high)


def read_latent(stages: Mapping[str, Committed], weight: float) -> Latent | None:
    """residuals: items' vectors of what the bias model leaves; None where their products weigh 0."""
    from engine.model.prediction import Latent

    if not weight:
        return None
    stage = stages["residuals"]
    fitted = Fitted.of(stage)
    return Latent(load_array(stage.path(names.ITEM_FACTORS)), fitted.unit, fitted.strength)


class Predictions:
    """predict: what is predicted for the test ratings.

    Parameters
    ----------
    stage : Committed
    """

    def __init__(self, stage: Committed) -> None:
        self._stage = stage

    @cached_property
    def _blocks(self) -> list[PredictedBlock]:
        return predicted_blocks(self._stage)

    @cached_property
    def _files(self) -> list[tuple[Path, Path]]:
        """Of each block, the values and which of them have something near."""
        values, covered = names.predicted_path, names.covered_path
        return [(self._stage.path(values(n)), self._stage.path(covered(n))) for n in range(len(self._blocks))]

    def take(self, indptr: NDArray[np.integer[Any]], users: NDArray[np.int64]) -> Predicted:
        """Of some users, ascending; ``indptr`` is that of the whole test matrix."""
        from engine.model.prediction import Predicted

        lengths = indptr[users + 1] - indptr[users]
        found, n_done = Predicted.nothing(int(lengths.sum())), 0
        for block, (values, covered) in zip(self._blocks, self._files, strict=True):
            first, last = np.searchsorted(users, [block.first_user, block.last_user])
            if first < last:
                places = consecutive(indptr[users[first:last]] - indptr[block.first_user], lengths[first:last])
                some = slice(n_done, n_done + len(places))
                found.values[some] = load_array(values)[places]
                found.covered[some] = np.unpackbits(load_array(covered))[places]
                n_done += len(places)
        return found


def read_times(evaluate: Committed) -> NDArray[np.int64] | None:
    """evaluate: how many users each item is recommended to, shape (items,); None where that was not kept."""
    if not (evaluate.root / names.TIMES).is_file():
        return None
    times: NDArray[np.int64] = load_array(evaluate.path(names.TIMES))
    return times


class HeldOut(NamedTuple):
    """calibrate: what was measured on the ratings held out of train.

    Attributes
    ----------
    sums : list of float64 arrays, shape (users, 3, 3)
        Of each fold; see `engine.model.calibration.rating_sums`. With implicit feedback of nobody.
    counts : list of int64 arrays, shape (users,)
        Ratings held out of each of them.
    recalls : float32 array, shape (users of all folds, choices of weights)
    """

    sums: list[NDArray[np.float64]]
    counts: list[NDArray[np.int64]]
    recalls: NDArray[np.float32]


def read_held_out(calibrate: Committed, n_folds: int) -> HeldOut:
    """What was measured in the folds of a calibration."""
    found = []
    for fold in range(n_folds):
        held = load_arrays(calibrate.path(names.fold_ratings_path(fold)))
        found.append((held["sums"], held["counts"]))
    recalls = [load_array(calibrate.path(names.fold_recalls_path(fold))) for fold in range(n_folds)]
    return HeldOut([sums for sums, _ in found], [counts for _, counts in found], np.concatenate(recalls))
