"""The distinct ids of a column that is gone through in pieces: memory for what is distinct, not for what is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.chunked.array_files import load_arrays
from engine.chunked.errors import EngineError
from engine.model.sizes import HELD_IDS, SURVEY_BITS

Ids = NDArray[Any]

# Ids within a range so many times their number are counted in a table, without sorting.
_SPAN = 4
# An id is in the sample if the upper bits of its product with this odd number are 0 (Fibonacci hashing).
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SAMPLED = 2**SURVEY_BITS


class IdCounts:
    """How often each id occurs.

    Examples
    --------
    >>> counts = IdCounts()
    >>> counts.add(np.array([7, 3, 7]))
    >>> counts.add(np.array([3, 9]))
    >>> counts.merged()
    (array([3, 7, 9]), array([2, 2, 1]))
    """

    def __init__(self) -> None:
        self._ids: list[Ids] = []
        self._counts: list[NDArray[np.int64]] = []
        self._held = 0
        self._room = HELD_IDS

    def add(self, ids: Ids) -> None:
        """Count a piece, not empty."""
        self.add_counted(*_count(ids))

    def add_counted(self, distinct: Ids, counts: NDArray[np.int64]) -> None:
        """Take the counts of distinct ids."""
        self._ids.append(distinct)
        self._counts.append(counts)
        self._held += len(distinct)
        if self._held > self._room:
            self.merged()

    def merged(self) -> tuple[Ids, NDArray[np.int64]]:
        """Ids, ascending, and the count of each; shapes (distinct ids,)."""
        ids, counts = _joined(self._ids), _joined(self._counts)
        order = np.argsort(ids, kind="stable")
        ids = ids[order]  # one after the other: less is held at a time
        counts = counts[order]
        del order
        starts = _starts(ids)
        ids, counts = ids[starts], np.add.reduceat(counts, starts)
        self._ids, self._counts = [ids], [counts]
        self._held = len(ids)
        self._room = max(HELD_IDS, 2 * self._held)
        return ids, counts


def _joined(pieces: list[Ids]) -> Ids:
    """Pieces one after the other; the list is emptied."""
    joined = np.concatenate(pieces)
    pieces.clear()
    return joined


def _count(ids: Ids) -> tuple[Ids, NDArray[np.int64]]:
    low, high = ids.min(), ids.max()
    if int(high) - int(low) < _SPAN * len(ids):
        counts = np.bincount((ids - low).astype(np.int64))
        found = np.flatnonzero(counts)
        return found.astype(ids.dtype) + low, counts[found]
    return np.unique(ids, return_counts=True)


def _starts(ids: Ids) -> NDArray[np.intp]:
    """Where runs of equal ids begin."""
    return np.flatnonzero(np.append(True, ids[1:] != ids[:-1])[: len(ids)])


def sampled(ids: Ids, bits: int) -> NDArray[np.intp]:
    """Which ids, or keys, are in a sample of about one in ``2**bits``: wherever these are met, the same."""
    return np.flatnonzero(ids.view(np.uint64) * _FACTOR <= np.uint64(2 ** (64 - bits) - 1))


class IdSample:
    """About how many distinct ids there are, and how long where they are text; from one in `_SAMPLED` of them."""

    def __init__(self) -> None:
        self._ids = [np.zeros(0, dtype=np.uint64)]
        self._lengths = [np.zeros(0, dtype=np.int64)]
        self._held = 0
        self._room = HELD_IDS

    def add(self, ids: Ids, lengths: NDArray[Any] | None = None) -> None:
        """Take a piece: ids or keys of 64 bits, and the bytes of each one's text."""
        values = ids.view(np.uint64)
        rows = sampled(values, SURVEY_BITS)
        self._ids.append(values[rows])
        self._lengths.append(np.zeros(len(rows), dtype=np.int64) if lengths is None else lengths[rows].astype(np.int64))
        self._held += len(rows)
        if self._held > self._room:
            self.merged()

    def merged(self) -> tuple[Ids, NDArray[np.int64]]:
        """The sampled ids, ascending, and the bytes of their texts."""
        ids, rows = np.unique(np.concatenate(self._ids), return_index=True)
        self._ids, self._lengths = [ids], [np.concatenate(self._lengths)[rows]]
        self._held = len(ids)
        self._room = max(HELD_IDS, 2 * self._held)
        return ids, self._lengths[0]

    def estimate(self) -> tuple[int, int]:
        """The number of distinct ids, and the bytes of their texts."""
        ids, lengths = self.merged()
        return _SAMPLED * len(ids), _SAMPLED * int(lengths.sum())


class Samples:
    """Samples of the ids of users and of items, which pieces leave and are put together from."""

    def __init__(self) -> None:
        self._of = {"user": IdSample(), "item": IdSample()}

    def add(self, rows: pl.DataFrame, texts: Mapping[str, str]) -> None:
        """Take rows; ``texts`` names the column of each kind that has the texts, where there is one."""
        for kind, sample in self._of.items():
            text = rows[texts[kind]] if texts[kind] in rows.columns else None
            sample.add(rows[kind].to_numpy(), None if text is None else text.str.len_bytes().to_numpy())

    def write(self, path: Path) -> None:
        """Leave them in a file."""
        (users, user_lengths), (items, item_lengths) = (each.merged() for each in self._of.values())
        np.savez(path, user=users, user_lengths=user_lengths, item=items, item_lengths=item_lengths)

    def read(self, path: Path) -> None:
        """Take those of a file."""
        found = load_arrays(path)
        for kind, sample in self._of.items():
            sample.add(found[kind], found[f"{kind}_lengths"])

    def estimates(self) -> dict[str, int]:
        """About how many users and items there are, and the bytes of their texts."""
        (n_users, user_text_bytes), (n_items, item_text_bytes) = (each.estimate() for each in self._of.values())
        return {
            "about_n_users": n_users,
            "about_n_items": n_items,
            "user_text_bytes": user_text_bytes,
            "item_text_bytes": item_text_bytes,
        }


class Texts:
    """The text that each key stands for.

    Parameters
    ----------
    keys : array, shape (distinct ids,)
        All that occur, ascending.
    """

    def __init__(self, keys: Ids) -> None:
        self._keys = keys
        self._check = np.zeros(len(keys), dtype=np.uint64)
        self._seen = np.zeros(len(keys), dtype=bool)
        self._pieces: list[pl.DataFrame] = []

    def add(self, keys: Ids, texts: pl.Series) -> None:
        """Take the keys and texts of a piece.

        Raises
        ------
        EngineError
            Where two texts have the same key.
        """
        places = np.searchsorted(self._keys, keys)
        check = texts.hash(1).to_numpy()
        found, rows = np.unique(places, return_index=True)
        new = ~self._seen[found]
        self._seen[found[new]] = True
        self._check[found[new]] = check[rows[new]]
        if (self._check[places] != check).any():
            raise EngineError("two ids that are text have the same 64-bit hash: write the ids as numbers")
        # What is cut out of a text column holds on to all of it; what is put together anew does not.
        piece = pl.DataFrame({"key": self._keys[found[new]], "text": texts.gather(rows[new])})
        self._pieces.append(piece.with_columns(pl.concat_str("text", pl.lit(""))))

    def by_key(self) -> pl.Series:
        """Texts, in the order of the keys."""
        return pl.concat(self._pieces).sort("key")["text"]

    def by_text(self) -> pl.DataFrame:
        """Columns ``text``, ascending, and ``key``."""
        return pl.concat(self._pieces).select("text", "key").sort("text")
