"""Ratings sorted by item, and items shared out."""

from __future__ import annotations

import numpy as np
import pytest

from engine.model.by_item import Shares, by_place, cut_places, joined
from tests.kernels.cases import dense, rows_of


@pytest.mark.parametrize(("n_items", "n_tasks"), [(1, 1), (10, 3), (12, 4), (5, 5)])
def test_items_are_shared_out_in_turn(n_items: int, n_tasks: int) -> None:
    shares = Shares(n_items, n_tasks)
    places = shares.places()
    assert len(set(places.tolist())) == n_items
    for task in range(n_tasks):
        items = shares.items(task)
        assert places[items].tolist() == list(range(task * shares.each, task * shares.each + len(items)))
    assert sorted(item for task in range(n_tasks) for item in shares.items(task).tolist()) == list(range(n_items))


@pytest.mark.parametrize("most", [1, 7, 10**6])
def test_parts_joined_are_the_matrix_the_other_way_round(most: int) -> None:
    rows = rows_of(np.random.default_rng(2), 12, 9)
    shares = Shares(9, 2)
    parts = [by_place(rows.part(first, first + 4), first, shares.places(), 10) for first in (0, 4, 8)]
    ratings = dense(rows)
    for task in range(2):
        begin, items = task * shares.each, shares.items(task)
        pieces = list(cut_places(parts, begin, begin + len(items), most))
        assert [place for first, last in pieces for place in range(first, last)] == list(
            range(begin, begin + len(items))
        )
        for first, last in pieces:
            found = joined(parts, first, last, 12, 0.5)
            assert last == first + 1 or len(found.data) <= most
            np.testing.assert_array_equal(dense(found), ratings[:, items[first - begin : last - begin]].T)
