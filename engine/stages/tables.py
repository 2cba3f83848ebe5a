"""Tables for people and other programs, as Parquet. Apart, because Polars costs 46 MiB to load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray


def write_users(path: Path, first_user: int, measured: NDArray[np.void]) -> None:
    """Write what was measured of consecutive users: their codes, then the array's fields."""
    codes = np.arange(first_user, first_user + len(measured), dtype=np.uint32)
    fields = {name: np.ascontiguousarray(measured[name]) for name in measured.dtype.names or ()}
    pl.DataFrame({"user": codes, **fields}).write_parquet(path)
