"""Every width of registers that there is code for gives the same bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from engine import kernels
from engine.kernels import _native
from engine.kernels.refinement import add_left, begin, solve_rows, step
from engine.kernels.scoring import Blended, Votes
from tests.kernels.cases import lists, rows_of

WIDTHS = ("baseline", "AVX2", "AVX-512")


def digest_of_results() -> str:
    """Of what every kernel with code for several widths makes of some numbers; odd sizes, so that ends are uneven."""
    rng, digest = np.random.default_rng(7), hashlib.sha256()
    rows = rows_of(rng, 131, 77)
    targets, ridges = rng.random(len(rows.data), np.float32), rng.uniform(1, 3, 131).astype(np.float32)
    for dims in (16, 64, 80):
        users, items = (rng.standard_normal((n, dims), dtype=np.float32) for n in (131, 77))
        gram = (items.T @ items).astype(np.float32)
        solve_rows(rows, targets, ridges, items, gram, 3, users)
        sums = np.zeros_like(items)
        add_left(rows, users, items, sums, targets)
        descents = begin(sums, ridges[:77], gram, items.copy())
        step(sums, ridges[:77], gram, descents)
        best = kernels.Best(np.arange(77, dtype=np.int32), items, 9)
        best.offer(np.arange(77), np.arange(131, dtype=np.int32), users)
        order, popularity = rng.permutation(77).astype(np.int32), rng.random(77, np.float32)
        weights = rng.random((2, 4), np.float32)
        ranked = kernels.rank_items(
            rows,
            rng.integers(0, 131, (131, 9)).astype(np.int32),
            rng.random((131, 9), np.float32),
            np.ones(77, np.float32),
            Votes(False, 3.0, 0.25),
            None,
            lists(rng, 131, 77),
            11,
            blended=Blended(users, items, popularity, order, 5, weights),
        )
        for found in (users, sums, *descents, *best.result(), ranked.items, ranked.scores):
            digest.update(np.ascontiguousarray(found).tobytes())
        digest.update(kernels.dot_products(users, items).tobytes())
        digest.update(kernels.products_of_pairs(users, items, kernels.lists_of(rows)).tobytes())
    return digest.hexdigest()


def test_every_width_gives_the_same_bytes() -> None:
    widths = WIDTHS[: WIDTHS.index(_native.LANES) + 1]
    if len(widths) == 1:
        pytest.skip("this machine has code for one width")
    code = "from engine.kernels import _native; from tests.kernels.test_widths import digest_of_results as of"
    for width in widths:
        command = [sys.executable, "-c", f"{code}; print(_native.LANES, of())"]
        told = subprocess.run(
            command, env=os.environ | {"ENGINE_LANES": width}, capture_output=True, text=True, check=True
        )
        assert told.stdout.split() == [width, digest_of_results()]
