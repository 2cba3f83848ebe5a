"""The comparison with published figures."""

from __future__ import annotations

from typing import Any

import pytest

from bench import published


def metrics(recall: float, popular: tuple[float, float] = (0.04161, 0.03168)) -> dict[str, Any]:
    def figure(value: float) -> dict[str, Any]:
        return {"value": value, "standard_error": 0.0011, "n_users": 3}

    model, baseline = ({"recall_at_20": figure(r), "ndcg_at_20": figure(n)} for r, n in ((recall, 0.13), popular))
    counts = {"n_users": 29858, "n_items": 40981, "n_train": 810128, "n_test": 217242, "n_test_scored": 217242}
    return {"figures": {"model": model, "most_popular": baseline}, **counts}


@pytest.mark.parametrize(("recall", "place"), [(0.5, 14), (0.16, 6), (0.01, 2)])
def test_rows_are_in_order_and_the_popular_have_to_be_as_published(recall: float, place: int) -> None:
    lines = published.table(metrics(recall)).splitlines()
    assert len(lines) == 2 + len(published.PUBLISHED) + 2
    assert lines[place].startswith(f"| **this engine's default model** | {recall:.4f} ±0.0011 | 0.1300 ±0.0011 |")
    assert published.reproduced(metrics(recall))
    assert not published.reproduced(metrics(recall, (0.0418, 0.0317)))
    assert not published.reproduced(metrics(recall) | {"n_test_scored": 217241})
    where = {"processors": 2, "processor": "a processor"}
    assert "come out as published" in published.page(metrics(recall), where)
    assert "come out NOT as published" in published.page(metrics(recall, (0.0418, 0.0317)), where)
