"""Who may be among the nearest, against sorting everybody."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.kernels import dot_products
from engine.model.factors import unit_rows
from engine.serving import rough
from engine.serving.rough import Rough
from tests.kernels.cases import quick, seeds


def products(vectors: NDArray[np.float32], one: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = dot_products(vectors, one[None])[:, 0]
    return found


@quick
@given(seeds, st.integers(1, 90), st.integers(1, 400), st.floats(0, 8))
def test_all_of_the_nearest_are_likely_however_close_they_are(seed: int, dims: int, n: int, closeness: float) -> None:
    rng = np.random.default_rng(seed)
    spread = rng.standard_normal((n, dims)) * 10**-closeness
    vectors = unit_rows((rng.standard_normal(dims) + spread).astype(np.float32))
    vectors[rng.random(n) < 0.1] = 0
    one = vectors[rng.integers(n)]
    k = int(rng.integers(1, n + 1))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rough, "_ROWS_FOR_ONE", 1)
        likely = Rough(vectors).likely(one, k)
    found = products(vectors, one)
    assert likely is not None
    assert set(np.flatnonzero(found >= np.sort(found)[n - k])) <= set(likely.tolist())
    assert np.all(np.diff(likely) > 0)


def test_few_are_likely_unless_many_are_alike() -> None:
    rng = np.random.default_rng(3)
    vectors = unit_rows(rng.standard_normal((20_000, 24), dtype=np.float32))
    found = Rough(vectors)
    likely = found.likely(vectors[5], 50)
    assert likely is not None
    assert 50 <= len(likely) < 60
    assert found.likely(np.zeros(24, dtype=np.float32), 50) is None
    vectors[:5000] = vectors[5]
    assert Rough(vectors).likely(vectors[5], 50) is None
