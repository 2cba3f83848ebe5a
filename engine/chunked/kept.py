"""Chunks of arrays that are cut alike, kept in memory as far as there is room."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from engine.chunked import arrays
from engine.chunked.stored import Stored
from engine.chunked.task import Reads


class KeptChunks:
    """Chunks of arrays, first come, first kept.

    Whoever goes through a matrix again and again in the same order needs last what was used last: to give up a chunk
    for another would mean to find none. So what is kept stays. Threads may share it.

    Parameters
    ----------
    parts : sequence of Stored
        Flat arrays of one length, with chunks of one size.
    room : int
        Bytes that may be kept.
    """

    def __init__(self, parts: Sequence[Stored], room: int) -> None:
        self._parts = parts
        self._left = room
        self._latest = 0
        self._kept: dict[int, list[NDArray[Any]]] = {}
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Values in a chunk; the last may have fewer."""
        return int(self._parts[0].chunks[0])

    def in_turn(self, numbers: Sequence[int]) -> list[int]:
        """Chunks in the order in which to read them: from the one on that was read last, by whomever, and around.

        Who goes through the matrix while somebody else does then reads what the system has just read for the other.

        Parameters
        ----------
        numbers : sequence of int
            Ascending.
        """
        at = bisect.bisect_left(numbers, self._latest)
        return [*numbers[at:], *numbers[:at]]

    def read(self, number: int, reads: Reads) -> list[NDArray[Any]]:
        """A chunk of each of the arrays, and a count of where it came from."""
        self._latest = number
        found = self._kept.get(number)
        if found is not None:
            reads.kept += sum(part.nbytes for part in found)
            return found
        start = number * self.size
        found = [arrays.read_rows(part, start, min(start + self.size, part.shape[0])) for part in self._parts]
        n_bytes = sum(part.nbytes for part in found)
        reads.stored += n_bytes
        with self._lock:
            if number not in self._kept and n_bytes <= self._left:
                self._kept[number] = found
                self._left -= n_bytes
        return found
