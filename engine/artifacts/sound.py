"""What each file of a finished step is: the types, the shape and the range of what is in it.

A digest says that a file is as somebody has recorded it. Whether it is what its step writes, this module says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.artifacts import names
from engine.artifacts.records import MatrixLayout, Profile
from engine.artifacts.tables import refuse_other_length
from engine.chunked import arrays
from engine.chunked.array_files import load_array, load_arrays
from engine.chunked.csr import CsrReader, narrowest_index
from engine.chunked.errors import DamagedError, is_of_machine
from engine.chunked.journal import Committed, Journal

# Numbers that are looked at at a time.
_AT_ONCE = 2**20
_RATINGS = "u1 f4 f8"


class _Unsound(Exception):  # noqa: N818  (what is wrong with a file)
    """Says what."""


@dataclass(frozen=True)
class _Numbers:
    """An array.

    Attributes
    ----------
    types : str
        One of these, as NumPy has them: kind and bytes. None: that of the narrowest numbers less than ``below``.
    shape : tuple of str
        Names of sizes. ``users``, ``items`` and ``columns`` are the data's; another is what the first file of the
        step has that names it. ``+`` after a name adds 1.
    least, below : int, str
        Integers are at least the one, and less than the size that the other names, if any.
    ends : str
        Integers ascend from 0 to the size of this name, if any.
    holes : bool
        Whether some may be no number.
    """

    types: str
    shape: tuple[str, ...]
    below: str = ""
    least: int = 0
    ends: str = ""
    holes: bool = False


def _floats(*shape: str, holes: bool = False) -> _Numbers:
    return _Numbers("f4", shape, holes=holes)


_COUNTS = _Numbers("i8", ("columns",))
_BYTES = _Numbers("u1", ("bytes",))


def _rows_of(types: str) -> dict[str, _Numbers]:
    """Members of a file with sparse rows of items, whose values are of one of these types."""
    return {
        "indptr": _Numbers("i8", ("columns+",), ends="entries"),
        "indices": _Numbers("", ("entries",), below="columns"),
        "data": _Numbers(types, ("entries",)),
    }


# There where users are in clusters.
_OF_CLUSTERS = r"places\.npy"
# By step, and then by file: a regular expression. Zarr's arrays go by their folder.
_ARRAYS: dict[str, dict[str, _Numbers]] = {
    "split": {r"held_out/\d+\.npy": _BYTES},
    "matrix": {r"column-of-item\.npy": _Numbers("i8", ("items",), below="columns", least=-1)},
    "factors": {
        r"basis-\d+\.npy": _floats("columns", "width"),
        r"counts\.npy": _Numbers("i4", ("columns",)),
        r"order\.npy": _Numbers("i4", ("columns",), below="columns"),
        r"singular_values\.npy": _Numbers("f8", ("values",)),
        r"loadings\.npy": _floats("columns", "dims"),
        "vectors": _floats("users", "dims"),
    },
    "refine": {r"item-factors\.npy": _floats("columns", "dims"), "vectors": _floats("users", "dims")},
    "index": {
        r"centres\.npy": _floats("clusters", "dims"),
        r"edges\.npy": _Numbers("i8", ("clusters+",), ends="users"),
        r"tile-codes-\d+\.npy": _Numbers("i4", ("group",), below="users"),
        r"tile-vectors-\d+\.npy": _floats("group", "dims"),
    },
    "neighbors": {
        _OF_CLUSTERS: _Numbers("i4", ("users",), below="users"),
        "ids": _Numbers("i4", ("users", "k"), below="users", least=-1),
        "similarities": _floats("users", "k", holes=True),
    },
    "biases": {r"user-bias\.npy": _floats("users"), r"item-bias\.npy": _floats("columns")},
    "residuals": {r"item-factors\.npy": _floats("columns", "dims")},
    "item_neighbors": {
        r"counts\.npy": _COUNTS,
        "ids": _Numbers("i4", ("columns", "k"), below="columns", least=-1),
        "similarities": _floats("columns", "k", holes=True),
    },
    "predict": {r"predicted-\d+\.npy": _floats("test"), r"covered-\d+\.npy": _BYTES},
    "evaluate": {r"recommended\.npy": _COUNTS},
}
_BUNDLES: dict[str, dict[str, dict[str, _Numbers]]] = {
    "item_neighbors": {r"near\.npz": _rows_of("f4")},
    "cooccurrence": {r"together\.npz": {**_rows_of("u1"), "scales": _floats("columns")}},
    "calibrate": {
        r"ratings-\d+\.npz": {
            "sums": _Numbers("f8", ("held", "three", "three")),
            "counts": _Numbers("i8", ("held",)),
        }
    },
}
# Steps whose files depend on their configuration.
_BY_CHOICE = ("index", "evaluate")
# Sizes that are of one file, and not of all files of the step.
_OF_ONE_FILE = ("bytes", "group", "test", "held", "entries")


def faults(stages: Mapping[str, Committed]) -> Iterator[str]:
    """What is wrong with files of finished steps, each with the name of a file.

    Parameters
    ----------
    stages : mapping of str to Committed
        By name of the step; what one is compared with must be among them, or is not compared.

    Raises
    ------
    DamagedError
        Where a record is none.
    """
    known = {"three": 3}
    if "ingest" in stages:
        profile = Profile.of(stages["ingest"])
        known |= {"users": profile.n_users, "items": profile.n_items}
        yield from _tables(stages["ingest"], stages.get("split"), profile)
    if "matrix" in stages:
        known["columns"] = MatrixLayout.of(stages["matrix"]).n_columns
        yield from _matrix(stages["matrix"], known)
    for step, stage in stages.items():
        yield from _arrays(step, stage, dict(known))
    if "evaluate" in stages:
        yield from _measured(stages["evaluate"])


def _told(where: object, check: Any, *given: Any) -> Iterator[str]:
    """What a check finds; that it cannot be read at all, too."""
    try:
        check(*given)
    except DamagedError as error:
        yield str(error).removesuffix("; begin afresh")
    except Exception as error:
        if is_of_machine(error):
            raise  # which says nothing of the file
        why = (str(error) or type(error).__name__).splitlines()[0]
        yield f"{where}: not what this program writes ({why})"


def _arrays(step: str, stage: Committed, sizes: dict[str, int]) -> Iterator[str]:
    """Of NumPy's and Zarr's files of a step."""
    there = sorted(stage.root.sizes())
    for name in _always(step) if Journal(stage.root).task_ids() else []:
        if name not in there:
            yield f"{stage.root / name}: missing"
    for name in there:
        for size in _OF_ONE_FILE:
            sizes.pop(size, None)
        array = name.removesuffix("/zarr.json")
        for pattern, numbers in _ARRAYS.get(step, {}).items():
            if re.fullmatch(pattern, array):
                yield from _told(stage.root / array, _check_array, stage, array, numbers, sizes)
        for pattern, members in _BUNDLES.get(step, {}).items():
            if re.fullmatch(pattern, name):
                yield from _told(stage.root / name, _check_bundle, stage, name, members, sizes)


def _always(step: str) -> list[str]:
    """Files that a step leaves whatever its configuration."""
    patterns = [*_ARRAYS.get(step, {}), *_BUNDLES.get(step, {})] if step not in _BY_CHOICE else []
    plain = [pattern.replace("\\", "") for pattern in patterns if r"\d" not in pattern and pattern != _OF_CLUSTERS]
    return [name if "." in name else f"{name}/zarr.json" for name in plain]


def _check_array(stage: Committed, name: str, numbers: _Numbers, sizes: dict[str, int]) -> None:
    is_file = name.endswith(".npy")
    found = load_array(stage.path(name), mmap_mode="r") if is_file else arrays.open_array(stage.root, name)
    _check(found, numbers, sizes)


def _check_bundle(stage: Committed, name: str, members: Mapping[str, _Numbers], sizes: dict[str, int]) -> None:
    bundle = load_arrays(stage.path(name))
    for member, numbers in members.items():
        _check(bundle[member], numbers, sizes)


def _check(found: arrays.Rows, numbers: _Numbers, sizes: dict[str, int]) -> None:
    """See that an array is what it should be, a piece at a time."""
    types = numbers.types or (narrowest_index(sizes[numbers.below]).str if numbers.below in sizes else "u1 u2 u4")
    if found.dtype.str[1:] not in types or not found.dtype.isnative:
        raise _Unsound(f"numbers are {found.dtype}")
    if len(found.shape) != len(numbers.shape):
        raise _Unsound(f"shape {found.shape}")
    for n, size in zip(found.shape, numbers.shape, strict=True):
        added = size.endswith("+")
        if sizes.setdefault(size.removesuffix("+"), n - added) != n - added:
            raise _Unsound(f"shape {found.shape}, where {size} is {sizes[size.removesuffix('+')] + added}")
    last = 0
    at_once = max(1, _AT_ONCE // max(1, int(np.prod(found.shape[1:]))))
    for start in range(0, found.shape[0], at_once):
        last = _check_piece(arrays.read_rows(found, start, min(start + at_once, found.shape[0])), numbers, sizes, last)
    if numbers.ends and sizes.setdefault(numbers.ends, last) != last:
        raise _Unsound(f"ends at {last}, not at {sizes[numbers.ends]}")


def _check_piece(piece: NDArray[Any], numbers: _Numbers, sizes: Mapping[str, int], last: int) -> int:
    """See that some rows are in range; return the last number where they ascend."""
    if piece.dtype.kind == "f":
        if np.isinf(piece).any() or (not numbers.holes and np.isnan(piece).any()):
            raise _Unsound("a number is none, or without bound")
    elif piece.size and (piece.min() < numbers.least or piece.max() >= sizes.get(numbers.below, np.inf)):
        raise _Unsound(f"numbers are {piece.min()} to {piece.max()}")
    if not numbers.ends:
        return 0
    if (np.diff(np.append(last, piece)) < 0).any():
        raise _Unsound("numbers do not ascend")
    return int(piece[-1])


def _matrix(stage: Committed, sizes: Mapping[str, int]) -> Iterator[str]:
    """Of both matrices, and of what their columns are."""
    yield from _told(stage.root / names.COLUMNS, _check_ids, stage, names.COLUMNS, "item", sizes["columns"])
    for kind in (names.TRAIN, names.TEST):
        yield from _told(stage.root / kind, _check_rows, stage, kind, sizes)


def _check_rows(stage: Committed, kind: str, sizes: Mapping[str, int]) -> None:
    reader = CsrReader(stage.root, kind)
    if reader.shape != (sizes.get("users", reader.shape[0]), sizes["columns"]):
        raise _Unsound(f"shape {reader.shape}")
    if not np.isfinite(reader.value_step) or reader.value_step <= 0:
        raise _Unsound(f"ratings are multiples of {reader.value_step}")
    _check(reader.indptr, _Numbers("i8", ("users+",), ends="entries"), {"entries": reader.nnz})
    for name, types, below in (("indices", "", "columns"), ("data", _RATINGS, "")):
        numbers = _Numbers(types, ("entries",), below=below)
        _check(arrays.open_array(stage.root, f"{kind}/{name}"), numbers, {**sizes, "entries": reader.nnz})


def _tables(ingest: Committed, split: Committed | None, profile: Profile) -> Iterator[str]:
    """Of ids, and of the ratings' partitions."""
    for name, column, n in ((names.USERS, "user", profile.n_users), (names.ITEMS, "item", profile.n_items)):
        yield from _told(ingest.root / name, _check_ids, ingest, name, column, n)
    kinds = [(ingest, "ratings"), *((split, kind) for kind in (names.TRAIN, names.TEST) if split is not None)]
    for stage, kind in kinds:
        for part in range(len(profile.first_users)):
            name = names.partition_path(part, kind)
            yield from _told(stage.root / name, _check_partition, stage, name, part, profile)


def _check_ids(stage: Committed, name: str, column: str, n: int) -> None:
    refuse_other_length(stage.path(name), n)
    ids = pl.read_parquet(stage.path(name), glob=False, columns=[column])[column]
    if not (ids.dtype.is_integer() or ids.dtype == pl.String):
        raise _Unsound(f"ids are {ids.dtype}")
    if ids.null_count() or not ids.is_sorted() or ids.n_unique() != n:
        raise _Unsound(f"its {n} ids are not different ones in order")


def _check_partition(stage: Committed, name: str, part: int, profile: Profile) -> None:
    rows = pl.scan_parquet(stage.path(name), glob=False)
    schema = rows.collect_schema()
    wanted: dict[str, list[Any]] = {
        "user": [pl.UInt32],
        "item": [pl.UInt32],
        "rating": [pl.UInt8, pl.Float32, pl.Float64],
    }
    for column, dtypes in wanted.items():
        if schema[column] not in dtypes:
            raise _Unsound(f"{column} is {schema[column]}")
    user, item, rating = pl.col("user"), pl.col("item"), pl.col("rating")
    found = rows.select(
        nulls=pl.sum_horizontal(pl.col(*wanted).null_count()),
        first=user.min(),
        last=user.max(),
        item=item.max(),
        finite=rating.cast(pl.Float64).is_finite().all(),
        ordered=(user.diff().fill_null(0).cast(pl.Int64) >= 0).all(),
    ).collect(engine="streaming")
    at, (first, last) = found.row(0, named=True), profile.bounds[part : part + 2]
    if at["nulls"] or not at["finite"] or not at["ordered"]:
        raise _Unsound("ratings without a number, or in no order")
    if at["last"] is not None and (at["first"] < first or at["last"] >= last or at["item"] >= profile.n_items):
        raise _Unsound(f"users {at['first']} to {at['last']}, items to {at['item']}")


def _measured(evaluate: Committed) -> Iterator[str]:
    """Of what is measured of users: blocks of one kind of table."""
    first: list[pl.Schema] = []
    folder = evaluate.root / names.USER_TABLES
    for name in folder.names():
        yield from _told(folder / name, _check_block, evaluate, f"{names.USER_TABLES}/{name}", first)


def _check_block(evaluate: Committed, name: str, first: list[pl.Schema]) -> None:
    schema = pl.scan_parquet(evaluate.path(name), glob=False).collect_schema()
    first.append(schema)
    odd = [column for column, dtype in schema.items() if column != "user" and not dtype.is_numeric()]
    missing = [column for column in ("user", "n_test", "n_liked") if column not in schema]
    if odd or missing or schema != first[0]:
        raise _Unsound(f"columns {', '.join(schema)[:200]}")
