"""What is seen of pieces of the ratings is what is seen of all of them."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.stages.ingest.survey import look, summary, together

quick = settings(max_examples=200)
ratings = st.sampled_from([0.0, 0.5, 3.0, 5.0, 0.25, 3.1, 127.5, 128.0, -1.0, 16777217.0])
rows = st.tuples(st.integers(-3, 3), st.integers(0, 5), ratings, st.integers(-9, 9))
SCHEMA = {"user": pl.Int64, "item": pl.Int64, "rating": pl.Float64, "time": pl.Int64}


def frame(rated: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rated, SCHEMA, orient="row")


@quick
@given(st.lists(st.lists(rows, max_size=4), min_size=1, max_size=5))
def test_figures_of_pieces_are_those_of_all_rows(parts: list[list[tuple[Any, ...]]]) -> None:
    """Wherever it is cut, pieces of pieces and empty ones included."""
    figures = [look(frame(part), "user") for part in parts]
    whole = [row for part in parts for row in part]
    found = together([together(figures[:2]), *figures[2:]])
    if not whole:
        assert found["n_rows"] == 0
        return
    assert found == look(frame(whole), "user")
    users, _, rated, times = zip(*whole, strict=True)
    told = summary(found)
    assert (told["n_rows"], told["sorted_by_user"]) == (len(whole), list(users) == sorted(users))
    assert [told[f"rating_{end}"] for end in ("min", "max")] == [min(rated), max(rated)]
    assert [told[f"time_{end}"] for end in ("min", "max")] == [min(times), max(times)]
    half = all((2 * rating).is_integer() and 0 <= rating <= 127.5 for rating in rated)
    assert told["rating_step"] == (0.5 if half else 1.0)
    single = not {3.1, 16777217.0} & set(rated)
    assert told["rating_dtype"] == ("uint8" if half else "float32" if single else "float64")
    assert (found["user_min"], found["user_max"]) == (min(users), max(users))


@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_row_with_something_missing_is_a_fault(column: int) -> None:
    sound = [(1, 2, 3.0, 4)] * 3
    spoilt = tuple(None if k == column else value for k, value in enumerate(sound[0]))
    figures = [look(frame(part), "user") for part in (sound, [spoilt, *sound], [spoilt])]
    assert [each["faults"] for each in figures] == [0, 1, 1]
    assert together(figures)["faults"] == 2


def test_texts_ascend_by_their_bytes() -> None:
    texts = ["Z", "a", "\U0001f600", "\uffee"]
    rows = pl.DataFrame({"user": [5, 4, 3, 2], "item": 1, "rating": 3.0, "text": sorted(texts, key=str.encode)})
    for cut in range(5):
        for ordered, ascends in ((rows, True), (rows.reverse(), False)):
            pieces = [look(piece, "text") for piece in (ordered[:cut], ordered[cut:])]
            assert together(pieces)["ascending"] is ascends
