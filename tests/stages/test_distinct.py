"""Distinct ids of a column in pieces: what one look at the whole column would find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chunked.errors import EngineError
from engine.stages.ingest import distinct as ids
from engine.stages.ingest.distinct import IdCounts, IdSample, Samples, Texts

quick = settings(max_examples=100)
Pieces = list[list[int]]
near = st.integers(0, 20)
far = st.integers(-(2**63), 2**63 - 1)
pieces = st.lists(st.lists(near, min_size=1, max_size=20) | st.lists(far, min_size=1, max_size=20), min_size=1)


@quick
@given(pieces, st.integers(1, 50))
def test_counts_are_those_of_the_whole_column(parts: Pieces, held: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "HELD_IDS", held)
        counts = IdCounts()
        for part in parts:
            counts.add(np.array(part, dtype=np.int64))
    expected = np.unique(np.concatenate([np.array(part, dtype=np.int64) for part in parts]), return_counts=True)
    for found, wanted in zip(counts.merged(), expected, strict=True):
        assert found.dtype == np.int64
        assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize("make", [np.arange, lambda n: 16 * np.arange(n), lambda n: 2**40 + 7**5 * np.arange(n)])
@pytest.mark.parametrize("held", [1000, 10**9])
def test_a_sample_tells_the_number_of_ids_and_the_bytes_of_their_texts(
    make: object, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "HELD_IDS", held)
    distinct = make(50_000).astype(np.int64)  # type: ignore[operator]
    sample = IdSample()
    for _ in range(3):
        for part in np.array_split(distinct, 7):
            sample.add(part, 3 + part % 5)
    n, text_bytes = sample.estimate()
    assert n == pytest.approx(50_000, rel=0.05)
    assert text_bytes == pytest.approx((3 + distinct % 5).sum(), rel=0.05)


@quick
@given(st.lists(st.lists(st.text(max_size=3), min_size=1, max_size=9), min_size=1, max_size=9))
def test_keys_find_their_texts_again(parts: list[list[str]]) -> None:
    columns = [pl.Series(part, dtype=pl.String) for part in parts]
    keys = [column.hash().to_numpy() for column in columns]
    texts = Texts(np.unique(np.concatenate(keys)))
    for key, column in zip(keys, columns, strict=True):
        texts.add(key, column)
    found = texts.by_text()
    assert found["text"].to_list() == sorted({text for part in parts for text in part}, key=str.encode)
    assert found["key"].to_list() == found["text"].hash().to_list()


def test_two_texts_with_one_key_are_refused() -> None:
    key = np.array([5], dtype=np.uint64)
    texts = Texts(key)
    texts.add(key, pl.Series(["a"]))
    texts.add(key, pl.Series(["a"]))
    with pytest.raises(EngineError, match="same 64-bit hash"):
        texts.add(key, pl.Series(["b"]))


@pytest.mark.parametrize("texts", [False, True], ids=["numbers", "texts"])
def test_samples_of_pieces_are_those_of_all_rows(texts: bool, tmp_path: Path) -> None:
    whole = pl.DataFrame({"user": np.arange(3000) // 2, "item": 7 * np.arange(3000) % 1000})
    columns = {"user": "user_text", "item": "item_text"}
    if texts:
        whole = whole.with_columns(pl.format("{}", kind).alias(name) for kind, name in columns.items())
        whole = whole.with_columns(pl.col(name).hash().alias(kind) for kind, name in columns.items())
    together, at_once = Samples(), Samples()
    at_once.add(whole, columns)
    for number, rows in enumerate(whole.iter_slices(700)):
        piece = Samples()
        piece.add(rows, columns)
        piece.write(tmp_path / f"{number}.npz")
        together.read(tmp_path / f"{number}.npz")
    assert together.estimates() == at_once.estimates()
    assert at_once.estimates()["about_n_users"] == pytest.approx(1500, rel=0.3)
    assert (at_once.estimates()["user_text_bytes"] > 0) is texts
