"""The sparse matrix on disk: what plain Zarr and SciPy see in it, and what is read back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chunked import arrays, csr
from engine.chunked.csr import CsrReader, NarrowRows, narrowest_index
from engine.chunked.task import Reads

STEPS = {"uint8": 0.5, "float32": 1.0, "float64": 1.0}


def store(folder: Path, matrix: scipy.sparse.csr_matrix, value_dtype: str = "uint8", chunk: int = 7) -> CsrReader:
    """Write a matrix as tasks would: one lays out, others fill a chunk each."""
    scratch = folder / "scratch"
    indptr = matrix.indptr.astype(np.int64)
    step = STEPS[value_dtype]
    csr.create(
        scratch,
        "m",
        indptr=indptr,
        n_columns=matrix.shape[1],
        value_dtype=value_dtype,
        value_step=step,
        chunk=chunk,
    )
    shutil.copytree(scratch, folder / "root")
    values = (matrix.data / step).astype(value_dtype)
    for start in range(0, matrix.nnz, chunk):
        part = slice(start, start + chunk)
        scratch = folder / f"scratch-{start}"
        arrays.write_rows(folder / "root", scratch, "m/indices", start, matrix.indices[part])
        arrays.write_rows(folder / "root", scratch, "m/data", start, values[part])
        shutil.copytree(scratch, folder / "root", dirs_exist_ok=True)
    return CsrReader(folder / "root", "m")


@st.composite
def matrices(draw: st.DrawFn, values: st.SearchStrategy[float]) -> scipy.sparse.csr_matrix:
    n_rows, n_columns = draw(st.integers(0, 8)), draw(st.integers(1, 300))
    rows = [sorted(draw(st.sets(st.integers(0, n_columns - 1), max_size=6))) for _ in range(n_rows)]
    indptr = np.cumsum([0, *map(len, rows)])
    data = np.array(draw(st.lists(values, min_size=int(indptr[-1]), max_size=int(indptr[-1]))), dtype=np.float64)
    indices = np.array([column for row in rows for column in row], dtype=np.int64)
    return scipy.sparse.csr_matrix((data, indices, indptr), shape=(n_rows, n_columns))


half_stars = st.integers(0, 255).map(lambda n: n / 2)


def same(found: scipy.sparse.csr_matrix, expected: scipy.sparse.csr_matrix) -> None:
    """Explicit zeros count: a film rated zero is a film rated."""
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found.indptr, expected.indptr)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.data, expected.data.astype(np.float32))


@settings(max_examples=10)
@given(matrix=matrices(half_stars), chunk=st.integers(1, 12))
def test_half_stars_come_back_from_one_byte_each(matrix: scipy.sparse.csr_matrix, chunk: int) -> None:
    with TemporaryDirectory() as folder:
        reader = store(Path(folder), matrix, "uint8", chunk)
        same(reader.read(0, matrix.shape[0]).widen(), matrix)
        assert reader.read(0, matrix.shape[0]).data.dtype == np.uint8
        assert (reader.shape, reader.nnz) == (matrix.shape, matrix.nnz)


@settings(max_examples=10)
@given(matrix=matrices(st.floats(-1e6, 1e6, width=32)), dtype=st.sampled_from(["float32", "float64"]))
def test_float_values_come_back_as_they_were(matrix: scipy.sparse.csr_matrix, dtype: str) -> None:
    with TemporaryDirectory() as folder:
        reader = store(Path(folder), matrix, dtype)
        same(reader.read(0, matrix.shape[0]).widen(), matrix)
        assert reader.read(0, matrix.shape[0]).data.dtype == dtype


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[scipy.sparse.csr_matrix, CsrReader]]:
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 11, (40, 30)) / 2 * (rng.random((40, 30)) < np.linspace(0, 0.6, 40)[:, None])
    matrix = scipy.sparse.csr_matrix(dense)
    folder = tmp_path_factory.mktemp("csr")
    yield matrix, store(folder, matrix)
    # Readers of a matrix never change it.
    same(CsrReader(folder / "root", "m").read(0, 40).widen(), matrix)


Stored = tuple[scipy.sparse.csr_matrix, CsrReader]


@pytest.fixture(scope="module")
def stored_rows(stored: Stored) -> tuple[scipy.sparse.csr_matrix, NarrowRows]:
    return stored[0], stored[1].read(0, 40)


def test_plain_zarr_and_scipy_open_it_by_anndatas_rules(tmp_path: Path) -> None:
    matrix = scipy.sparse.csr_matrix(np.array([[0, 2.5, 0], [0, 0, 0], [4.0, 0, 0.25]]))
    store(tmp_path, matrix, "float32")
    group: Any = zarr.open_group(str(tmp_path / "root" / "m"), mode="r")
    # https://anndata.readthedocs.io/en/stable/fileformat-prose.html#sparse-array-specification-v0-1-0
    assert (group.attrs["encoding-type"], group.attrs["encoding-version"]) == ("csr_matrix", "0.1.0")
    assert sorted(group.array_keys()) == ["data", "indices", "indptr"]
    parts = (group["data"][:], group["indices"][:], group["indptr"][:])
    opened = scipy.sparse.csr_matrix(parts, shape=group.attrs["shape"])
    np.testing.assert_array_equal(opened.toarray(), matrix.toarray())


def test_half_stars_are_stored_as_their_number(stored: Stored) -> None:
    matrix, reader = stored
    narrow = reader.read(0, 40)
    np.testing.assert_array_equal(narrow.data * reader.value_step, matrix.data)
    assert reader.value_step == 0.5
    assert narrow.data.itemsize + narrow.indices.itemsize == 2
    wide = narrow.widen()
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(wide, part), getattr(matrix, part))
    np.testing.assert_array_equal(narrow.values(), wide.data)
    np.testing.assert_array_equal(narrow.part(1, 3).widen().toarray(), matrix[1:3].toarray())


@settings(max_examples=30)
@given(edges=st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted))
def test_a_range_of_rows_is_what_scipy_slices(stored: Stored, edges: list[int]) -> None:
    matrix, reader = stored
    same(reader.read(*edges).widen(), matrix[edges[0] : edges[1]])


@given(rows=st.lists(st.integers(0, 39), max_size=50))
def test_taken_rows_are_those_rows_in_the_order_asked_for(
    stored_rows: tuple[scipy.sparse.csr_matrix, NarrowRows], rows: list[int]
) -> None:
    matrix, whole = stored_rows
    same(whole.take(np.array(rows, dtype=np.int64)).widen(), matrix[np.array(rows, dtype=np.int64)])


@settings(max_examples=30)
@given(rows=st.sets(st.integers(0, 39)).map(sorted))
def test_some_rows_are_read_from_the_chunks_that_hold_them(stored: Stored, rows: list[int]) -> None:
    matrix, reader = stored
    same(reader.read_some(np.array(rows, dtype=np.int64)).widen(), matrix[np.array(rows, dtype=np.int64)])


def test_held_and_unpacked_rows_are_those_of_the_chunks(tmp_path: Path) -> None:
    matrix = scipy.sparse.csr_matrix(scipy.sparse.random(30, 300, 0.1, random_state=3))
    matrix.data = np.ceil(matrix.data * 10) / 2
    rows = np.array([0, 3, 4, 5, 17, 29])
    for way in (CsrReader.hold, CsrReader.unpack):
        reader = store(tmp_path / way.__name__, matrix)
        way(reader)
        way(reader)
        shutil.rmtree(tmp_path / way.__name__)
        same(reader.read_some(rows).widen(), matrix[rows])
        same(reader.read(3, 20).widen(), matrix[3:20])
        assert reader.count_columns(50).tolist() == np.bincount(matrix.indices, minlength=300).tolist()


@pytest.mark.parametrize("taken", [1, 5, 2**16])
@pytest.mark.parametrize("room", [0, 20, 10**6])
def test_rows_are_the_same_whatever_is_kept(
    stored: Stored, room: int, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csr, "_TAKEN", taken)
    matrix, reader = stored
    chunks, rng = reader.chunks(room), np.random.default_rng(1)
    reads = Reads()
    for _ in range(20):
        rows = np.flatnonzero(rng.random(40) < rng.random())
        same(reader.read_some(rows, chunks, reads).widen(), matrix[rows])
    if room == 0:
        assert reads.kept == 0
    elif room == 20:  # a chunk of 7 columns and values is 14 bytes: one is kept
        assert 0 < reads.kept < reads.stored
    else:
        assert reads.stored <= reader.nbytes
        assert reads.kept > reads.stored


def test_who_comes_while_another_reads_begins_where_that_one_is(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, reader = stored
    chunks, order = reader.chunks(), list[int]()
    read = chunks.read
    read(3, Reads())  # the other one

    def noted(number: int, reads: Reads) -> list[Any]:
        order.append(number)
        return read(number, reads)

    monkeypatch.setattr(chunks, "read", noted)
    same(reader.read_some(np.arange(40), chunks).widen(), matrix)
    assert order == [*range(3, -(-matrix.nnz // 7)), 0, 1, 2]


def test_a_chunk_without_a_wanted_row_is_not_read(stored: Stored) -> None:
    matrix, reader = stored
    reads = Reads()
    reader.read_some(np.array([39]), reads=reads)
    length = int(matrix.indptr[40] - matrix.indptr[39])
    assert reads.stored <= 2 * (length // 7 + 2) * 7
    none = Reads()
    assert len(reader.read_some(np.array([], dtype=np.int64), reads=none).data) == none.stored == 0


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 40, 100])
def test_row_ranges_cover_all_rows_in_order_and_balance(stored: Stored, parts: int) -> None:
    matrix, reader = stored
    ranges = reader.split_rows(parts)
    assert len(ranges) == parts
    assert [row for start, stop in ranges for row in range(start, stop)] == list(range(40))
    longest = np.diff(matrix.indptr).max()
    sizes = [matrix.indptr[stop] - matrix.indptr[start] for start, stop in ranges]
    assert max(sizes) <= matrix.nnz / parts + longest
    weighed = reader.split_rows(parts, of_row=100)
    assert [row for start, stop in weighed for row in range(start, stop)] == list(range(40))
    work = [matrix.indptr[stop] - matrix.indptr[start] + 100 * (stop - start) for start, stop in weighed]
    assert max(work) <= (matrix.nnz + 100 * 40) / parts + longest + 100


@pytest.mark.parametrize(
    ("n_columns", "bytes_each"),
    [(0, 1), (1, 1), (256, 1), (257, 2), (65536, 2), (65537, 4), (2**32, 4), (2**32 + 1, 8)],
)
def test_column_numbers_take_the_fewest_bytes_that_hold_them(n_columns: int, bytes_each: int) -> None:
    dtype = narrowest_index(n_columns)
    assert (dtype.kind, dtype.itemsize) == ("u", bytes_each)
    assert max(0, n_columns - 1) <= np.iinfo(dtype).max


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (0, 4)])
def test_a_matrix_without_values_is_read_as_one(tmp_path: Path, shape: tuple[int, int]) -> None:
    reader = store(tmp_path, scipy.sparse.csr_matrix(shape))
    same(reader.read(0, shape[0]).widen(), scipy.sparse.csr_matrix(shape))
    assert reader.read(0, shape[0]).take(np.arange(shape[0])).widen().nnz == 0
    assert [row for start, stop in reader.split_rows(4) for row in range(start, stop)] == list(range(shape[0]))


@pytest.mark.parametrize("n_columns", [256, 257, 40_000, 70_000])
def test_the_last_column_survives_whatever_its_number(tmp_path: Path, n_columns: int) -> None:
    matrix = scipy.sparse.csr_matrix(([1.5, 2.0], ([0, 2], [n_columns - 1, 0])), shape=(3, n_columns))
    narrow = store(tmp_path, matrix).read(0, 3)
    same(narrow.widen(), matrix)
    same(narrow.take(np.array([0])).widen(), matrix[[0]])


@pytest.mark.parametrize(("start", "n"), [(0, 5), (2, 5), (7, 6), (1, 7)])
def test_a_task_cannot_write_part_of_a_chunk(tmp_path: Path, start: int, n: int) -> None:
    matrix = scipy.sparse.csr_matrix(np.ones((4, 5)))
    store(tmp_path, matrix, chunk=7)
    with pytest.raises(ValueError, match="are not whole chunks of 7 rows"):
        arrays.write_rows(tmp_path / "root", tmp_path / "x", "m/data", start, np.ones(n, dtype=np.uint8))


def test_narrow_rows_are_not_changed_by_widening() -> None:
    data = np.array([3, 5], dtype=np.uint8)
    narrow = NarrowRows(np.array([0, 2]), np.array([1, 4], dtype=np.uint16), data, 5, 0.5)
    narrow.widen().data[:] = 9
    narrow.values()[:] = 9
    narrow.take(np.array([0])).data[:] = 9
    assert data.tolist() == [3, 5]


def test_a_chunk_of_zeros_is_written(tmp_path: Path) -> None:
    matrix = scipy.sparse.csr_matrix(np.ones((1, 14)))
    matrix.data[:7] = 0
    store(tmp_path, matrix, chunk=7)
    assert sorted(path.name for path in (tmp_path / "root/m/data/c").iterdir()) == ["0", "1"]
