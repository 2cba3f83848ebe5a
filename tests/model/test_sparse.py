"""Sparse products are right by SciPy's private kernels, and without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random_array

from engine.model import sparse


@pytest.fixture(autouse=True)
def _tried_anew() -> Iterator[None]:
    checks = (sparse._adds_in_place, sparse._multiplies)
    for check in checks:
        check.cache_clear()
    yield
    for check in checks:
        check.cache_clear()


def raising(*args: Any) -> None:
    raise TypeError("another number of arguments")


def doing_nothing(*args: Any) -> None:
    args[-1][:] = 0
    args[-3][:] = 0


KERNELS: dict[str, Callable[[Any], Any]] = {
    "known": lambda real: real,
    "gone": lambda real: SimpleNamespace(),
    "module gone": lambda real: None,
    "called otherwise": lambda real: SimpleNamespace(csc_matvecs=raising, csr_matmat=raising),
    "doing otherwise": lambda real: SimpleNamespace(csc_matvecs=doing_nothing, csr_matmat=doing_nothing),
}


@pytest.fixture(params=list(KERNELS))
def known(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the kernels are what this program knows."""
    monkeypatch.setattr(sparse, "_sparsetools", KERNELS[request.param](vars(sparse)["_sparsetools"]))
    return bool(request.param == "known")


def some(shape: tuple[int, int], seed: int) -> csr_matrix:
    rng = np.random.default_rng(seed)
    return csr_matrix(random_array(shape, density=0.2, rng=rng, dtype=np.float32))


def test_kernels_are_used_where_they_do_what_is_known_of_them(known: bool) -> None:
    assert sparse._adds_in_place() == known
    assert sparse._multiplies() == known


def test_a_product_is_added_to_what_is_there(known: bool) -> None:
    rows = some((30, 20), 0)
    dense = np.random.default_rng(1).random((30, 5), dtype=np.float32)
    total = np.random.default_rng(2).random((20, 5), dtype=np.float32)
    expected = total + rows.toarray().T @ dense
    sparse.add_transposed_product(rows, dense, total)
    np.testing.assert_allclose(total, expected, rtol=1e-5)


def test_sparse_matrices_are_multiplied(known: bool) -> None:
    left, right = some((15, 30), 3), some((30, 20), 4)
    work = int(np.diff(right.indptr)[left.indices].sum())
    found = sparse.multiply(left.data, left.indices, left.indptr, right, work)
    np.testing.assert_allclose(found.toarray(), left.toarray() @ right.toarray(), rtol=1e-5)
    assert found.dtype == np.float32
    assert found.shape == (15, 20)
