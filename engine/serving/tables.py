"""Answers in tables of the kind that was asked with: Polars', pandas' or NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from engine.serving.people import Kind, Newcomer

Table = pl.DataFrame | Any
"""A data frame of Polars' or of pandas', or a NumPy array with named fields: as ids were given."""


def kind_of(*given: Any) -> Kind | None:
    """Whose tables the first of what was given has that is no list and no single id; None where all are."""
    for each in given:
        kind = _kind_of(each)
        if kind is not None:
            return kind
    return None


def _kind_of(given: Any) -> Kind | None:
    if isinstance(given, Newcomer):
        return given.kind
    if isinstance(given, np.ndarray):
        return "numpy"
    match type(given).__module__.partition(".")[0]:
        case "pandas":
            return "pandas"
        case "polars":
            return "polars"
    return None


def like(answer: pl.DataFrame, *given: Any) -> Table:
    """An answer in the kind of table that was asked with; lists and single ids get a data frame of Polars'."""
    match kind_of(*given):
        case "numpy":
            return answer.to_numpy(structured=True)
        case "pandas":
            return answer.to_pandas()
    return answer
