"""Accumulators: however the users are batched, the figure is that of all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.metrics import MeanOverUsers, SquaredError

batches = st.lists(st.lists(st.floats(-100, 100), max_size=8), max_size=8)


@settings(deadline=None)
@given(batches)
def test_merged_squared_errors_give_the_rmse_of_all_pairs(errors: list[list[float]]) -> None:
    parts = [SquaredError(len(batch), sum(error**2 for error in batch)) for batch in errors]
    merged = sum(parts, SquaredError())
    together = [error for batch in errors for error in batch]
    assert merged.n == len(together)
    assert merged.rmse == (pytest.approx(np.sqrt(np.mean(np.square(together)))) if together else None)


@settings(deadline=None)
@given(batches)
def test_merged_means_are_the_mean_over_all_users(values: list[list[float]]) -> None:
    merged = sum((MeanOverUsers(len(batch), sum(batch)) for batch in values), MeanOverUsers())
    together = [value for batch in values for value in batch]
    assert merged.n_users == len(together)
    assert merged.mean == (pytest.approx(np.mean(together)) if together else None)


def test_rmse_weighs_pairs_and_not_batches() -> None:
    assert (SquaredError(1, 16.0) + SquaredError(3, 0.0)).rmse == 2.0
