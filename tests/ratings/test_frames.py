"""Ratings in data frames and matrices: whoever holds them, they are the same."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import scipy.sparse

from engine.chunked.errors import UsageError
from engine.config import load
from engine.ratings import frames
from engine.ratings.faults import locate_fault
from engine.ratings.opening import open_source
from tests.support.ratings_files import rows

N = 1000
FRAME = pl.DataFrame(
    {
        "noise": ["x"] * N,
        "userId": [f"u{k % 37}" for k in range(N)],
        "Movie-ID": pl.int_range(N, dtype=pl.Int32, eager=True) % 53,
        "rating": pl.Series([(k % 9) / 2 for k in range(N)], dtype=pl.Float32),
        "timestamp": pl.Series([dt.datetime(2024, 1, 1) + dt.timedelta(seconds=k) for k in range(N)]),
    }
)


class Capsule:
    """Somebody else's table: it has Arrow's PyCapsule interface, and nothing else."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


class ArrayCapsule:
    """The same of a single batch."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch

    def __arrow_c_array__(self, requested_schema: object = None) -> object:
        return self._batch.__arrow_c_array__(requested_schema)


def holders(folder: Path) -> dict[str, Any]:
    table = FRAME.to_arrow()
    (folder / "set").mkdir()
    for k in range(3):
        FRAME.slice(k * 400, 400).write_parquet(folder / f"set/{k}.parquet")
    categories = FRAME.with_columns(pl.col("userId").cast(pl.Categorical))
    return {
        "polars": FRAME,
        "categories": categories,
        "in chunks": pl.concat([FRAME.head(7), FRAME.slice(7)], rechunk=False),
        "lazy": FRAME.lazy(),
        "lazy file": pl.scan_parquet(folder / "set/*.parquet"),
        "pandas": FRAME.to_pandas(),
        "pandas objects": FRAME.to_pandas().astype({"userId": object}),
        "pandas Arrow": FRAME.to_pandas(use_pyarrow_extension_array=True),
        "table": table,
        "dictionary": table.set_column(1, "userId", table["userId"].cast(pa.string()).dictionary_encode()),
        "reader": table.to_reader(max_chunksize=11),
        "capsule of a stream": Capsule(table),
        "capsule of an array": ArrayCapsule(FRAME.rechunk().to_arrow().combine_chunks().to_batches()[0]),
        "dataset": ds.dataset(folder / "set", format="parquet"),
    }


def write(dataset: Any, target: Path, columns: list[str] | None = None) -> str:
    return frames.write_frame(dataset, columns, target)


def test_whoever_holds_them_the_same_ratings_are_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_ROWS", 128)
    digests = {name: write(held, tmp_path / name) for name, held in holders(tmp_path).items()}
    assert len(set(digests.values())) == 1, digests
    found = rows(open_source(tmp_path / "reader"), timestamp=True)
    assert [row[:3] for row in found] == FRAME.select("userId", "Movie-ID", "rating").rows()
    assert found[1][3] - found[0][3] == 10**6
    other = FRAME.with_columns(rating=pl.col("rating") + 0.5)
    assert write(other, tmp_path / "other") != digests["polars"]


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok"])
@pytest.mark.parametrize("array", [True, False])
def test_entries_of_a_sparse_matrix_are_ratings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, array: bool
) -> None:
    monkeypatch.setattr(frames, "_ROWS", 7)
    dense = np.random.default_rng(1).integers(0, 6, (9, 11)) * np.eye(9, 11, k=2, dtype=np.int64) + np.eye(9, 11) * 4
    made: Any = scipy.sparse.csr_array(dense) if array else scipy.sparse.csr_matrix(dense)
    matrix = made.asformat(kind)
    write(matrix, tmp_path / "m")
    expected = {(u, i): dense[u, i] for u, i in zip(*dense.nonzero(), strict=True)}
    assert {(user, item): rating for user, item, rating in rows(open_source(tmp_path / "m"))} == expected


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2)])
def test_a_sparse_array_that_is_no_matrix_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"dataset has the shape \(.*: give a matrix of users and items"):
        write(scipy.sparse.coo_array(np.ones(shape)), tmp_path / "m")


def broken(format_: Any, part: str, at: int | None, value: Any) -> Any:
    """A matrix of which one part was changed: a value of it, or its length."""
    shape = (30, 40)
    matrix: Any = scipy.sparse.random(*shape, density=0.3, format=format_, random_state=1)
    found = getattr(matrix, part).copy()
    if at is None:
        found = found[: len(found) + value] if value < 0 else np.concatenate([found, found[:value]])
    else:
        found[at] = value
    setattr(matrix, part, found)
    return matrix


BROKEN: list[tuple[str, str, int | None, Any, str]] = [
    *((form, "indptr", 3, 10**6, "indptr does not ascend") for form in ("csr", "csc", "bsr")),
    *((form, "indptr", 3, -5, "indptr does not ascend") for form in ("csr", "csc", "bsr")),
    *((form, "indptr", 0, 1, "indptr does not ascend from 0") for form in ("csr", "csc", "bsr")),
    *((form, "indptr", -1, 10**6, "indptr ends with 1000000") for form in ("csr", "csc", "bsr")),
    *((form, "indptr", None, -1, "indptr is not") for form in ("csr", "csc", "bsr")),
    *((form, "indices", 3, 10**9, "indices from 0 to 1000000000") for form in ("csr", "csc", "bsr")),
    *((form, "indices", 3, -7, "indices from -7 to") for form in ("csr", "csc", "bsr")),
    *((form, "data", None, -5, "indices and [0-9]+ data") for form in ("csr", "csc", "bsr")),
    *((form, "indices", None, 5, "[0-9]+ indices and") for form in ("csr", "csc", "bsr")),
    ("coo", "row", 3, 30, "rows from 0 to 30, where its shape has 0 to 29"),
    ("coo", "col", 3, -1, "columns from -1 to 39, where its shape has 0 to 39"),
    ("coo", "row", None, -3, "357 rows, 360 columns and 360 data"),
    ("coo", "data", None, -3, "360 rows, 360 columns and 357 data"),
    ("lil", "rows", 3, [1, 2, 3, 99], "a row with more places than data"),
    ("lil", "data", 3, [], "a row with more places than data"),
    ("lil", "rows", None, -2, "28 rows and 30 data"),
    ("dia", "data", None, -1, "offsets of shape"),
    ("dia", "offsets", 1, -28, "an offset twice"),
]


@pytest.mark.parametrize(("form", "part", "at", "value", "told"), BROKEN)
def test_a_matrix_whose_parts_do_not_go_together_is_refused(
    tmp_path: Path, form: Any, part: str, at: int | None, value: Any, told: str
) -> None:
    whole = f"dataset is a matrix in {form} form whose parts do not go together \\(.*{told}.*\\): make it anew"
    with pytest.raises(UsageError, match=whole):
        write(broken(form, part, at, value), tmp_path / "m")


@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "lil", "dia", "dok"])
def test_a_sound_matrix_of_any_form_is_taken_and_left_as_it_is(tmp_path: Path, form: Any) -> None:
    matrix: Any = scipy.sparse.random(6, 8, density=0.5, format=form, random_state=1)
    before = matrix.copy()
    write(matrix, tmp_path / "m")
    found = pl.read_parquet(tmp_path / "m")
    assert matrix.format == form
    assert (matrix != before).nnz == 0
    dense = np.zeros((6, 8))
    dense[found["user"], found["item"]] = found["rating"]
    np.testing.assert_array_equal(dense, before.toarray())


def test_entries_beyond_the_pointers_are_none(tmp_path: Path) -> None:
    matrix = scipy.sparse.csr_array(np.eye(3))
    matrix.indices, matrix.data = np.array([0, 1, 2, 99, 99], dtype=np.int32), np.array([1.0, 2, 3, 4, 5])
    write(matrix, tmp_path / "m")
    assert pl.read_parquet(tmp_path / "m").rows() == [(0, 0, 1.0), (1, 1, 2.0), (2, 2, 3.0)]


def test_a_matrix_of_keys_that_are_beyond_its_shape_is_refused(tmp_path: Path) -> None:
    matrix: Any = scipy.sparse.dok_array((3, 3))
    matrix[1, 1] = 2.0
    matrix._dict[(7, 1)] = 2.0
    with pytest.raises(UsageError, match=r"dataset is a matrix .* do not go together"):
        write(matrix, tmp_path / "m")
    with pytest.raises(UsageError, match="dataset is a matrix of keys that do not go together"):
        load({"dataset": matrix})


def test_a_table_of_buffers_that_do_not_go_together_is_refused(tmp_path: Path) -> None:
    offsets = pa.py_buffer(np.array([0, 1, 10**6, 3], dtype=np.int32).tobytes())
    texts = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"abc"))
    of_items = pa.DictionaryArray.from_arrays(pa.array([0, 7, 1]), pa.array(["a", "b"]), safe=False)
    for user, item in ((texts, pa.array([1, 2, 3])), (pa.array([1, 2, 3]), of_items)):
        with pytest.raises(UsageError, match="the data frame cannot be read"):
            write(pa.table({"user": user, "item": item, "rating": [1.0, 2, 3]}), tmp_path / "t")


def test_stored_zeros_are_ratings_and_empty_rows_are_passed_over(tmp_path: Path) -> None:
    matrix = scipy.sparse.csr_matrix(([0.0, 3.0], [4, 1], [0, 0, 1, 1, 2]), shape=(4, 5))
    write(matrix, tmp_path / "m")
    assert rows(open_source(tmp_path / "m")) == [(1, 4, 0.0), (3, 1, 3.0)]


def test_columns_are_found_or_named_as_in_files(tmp_path: Path) -> None:
    frame = pd.DataFrame({"who": ["a"], "what": [7], "stars": [3], "when": [5]})
    write(frame, tmp_path / "f", ["who", "what", "stars"])
    assert rows(open_source(tmp_path / "f", ["who", "what", "stars"])) == [("a", 7, 3.0)]
    with pytest.raises(UsageError, match=r'stars, when: say which .* with columns=\["user", "item", "rating"'):
        write(frame, tmp_path / "f")
    write(pl.DataFrame({"user": [1], "item": [2]}), tmp_path / "pairs")
    assert open_source(tmp_path / "pairs").values == "pairs"


@pytest.mark.parametrize("dataset", [object(), np.zeros((2, 3)), {"user": [1]}, b"ratings.csv"])
def test_what_holds_no_ratings_is_refused(tmp_path: Path, dataset: object) -> None:
    with pytest.raises(UsageError, match="give a path, a Polars, pandas or PyArrow table"):
        write(dataset, tmp_path / "f")


def test_what_arrow_cannot_hold_is_refused_with_what_to_do(tmp_path: Path) -> None:
    mixed = pd.DataFrame({"user": [1, "a"], "item": [1, 2], "rating": [1, 2]})
    huge = FRAME.with_columns(pl.col("Movie-ID").cast(pl.Int128))
    for dataset in (mixed, huge, FRAME["rating"]):
        with pytest.raises(UsageError, match=r"cannot be read .*: give columns of one type each"):
            write(dataset, tmp_path / "r")
    with pytest.raises(UsageError, match="is a matrix of complex128: give one of real numbers"):
        write(scipy.sparse.csr_array(np.eye(3, dtype=np.complex128)), tmp_path / "r")


def test_what_pandas_alone_has_is_refused_with_what_to_do(tmp_path: Path) -> None:
    plain = pd.DataFrame({"user": [1, 1], "item": [1, 2], "rating": [1.0, 2.0]})
    with pytest.raises(UsageError, match="names of several levels: give each one name"):
        write(pd.concat({"a": plain}, axis=1), tmp_path / "r")
    with pytest.raises(UsageError, match=r"Sparse .*\(column rating.*: give columns of one type each"):
        write(plain.astype({"rating": pd.SparseDtype(float)}), tmp_path / "r")


@pytest.mark.parametrize("name", ["*", "^u.*$", "^.*$"])
@pytest.mark.parametrize("place", range(4))
def test_a_name_that_looks_like_a_pattern_is_a_name(tmp_path: Path, name: str, place: int) -> None:
    names = ["user", "item", "rating", "when"]
    names[place] = name
    frame = pl.DataFrame([[1, 2], [3, 4], [5.0, None], [7, 8]], schema=names, strict=False)
    frame.write_parquet(tmp_path / "p")
    source = open_source(tmp_path / "p", names, times=True)
    assert rows(source, timestamp=True) == [(1, 3, 5.0, 7), (2, 4, None, 8)]
    fault = locate_fault(source.first)
    assert fault
    assert (fault.line, fault.column) == (2, names[2])
    assert write(frame, tmp_path / "f", names) == write(frame.lazy(), tmp_path / "l", names)
    assert rows(open_source(tmp_path / "f", names, times=True), timestamp=True) == rows(source, timestamp=True)


@pytest.mark.parametrize("first", [2**63 + 5, 7])
def test_hashes_of_64_bits_are_text_wherever_they_are(tmp_path: Path, first: int) -> None:
    """As in text files; in Parquet the footer says so of all rows."""
    ids = pl.Series([first, *range(1, 1200), 2**64 - 1], dtype=pl.UInt64)
    frame = pl.DataFrame({"user": ids, "item": ids.cast(pl.Int64, strict=False).fill_null(3), "rating": 1.5})
    write(frame, tmp_path / "r")
    source = open_source(tmp_path / "r")
    assert (source.user_type, source.item_type) == ("string", "int64")
    assert [row[0] for row in rows(source)] == [str(each) for each in ids]


def test_a_frame_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the data frame has no rows"):
        write(FRAME.clear(), tmp_path / "f")


PEAK = """
import sys, pathlib
import numpy as np, pandas as pd, pyarrow.parquet
from engine.ratings.frames import write_frame
n = int(sys.argv[1]) * 1_000_000
frame = pd.DataFrame({"user": np.arange(n) // 50, "item": np.arange(n) % 997, "rating": np.ones(n, dtype=np.float32)})
open("/proc/self/clear_refs", "w").write("5")
before = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
write_frame(frame, None, pathlib.Path(sys.argv[2]))
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) - before)
"""


def test_memory_does_not_grow_with_the_frame(tmp_path: Path) -> None:
    run = [sys.executable, "-c", PEAK]
    peaks = [int(subprocess.check_output([*run, n, str(tmp_path / "f")])) >> 10 for n in ("1", "6")]
    assert peaks[1] - peaks[0] < 40, peaks  # the five million rows are 100 MB


def test_numbers_of_the_other_order_of_bytes_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_ROWS", 128)
    frame = FRAME.select("userId", item="Movie-ID", rating="rating", timestamp=pl.int_range(N)).to_pandas()
    swapped = frame.astype({"item": ">i4", "rating": ">f4", "timestamp": ">u2"})
    assert write(swapped, tmp_path / "swapped") == write(frame, tmp_path / "own")
    assert swapped["item"].dtype == ">i4"
