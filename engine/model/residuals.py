"""What the bias model leaves of ratings, as products of vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.model.alternating import Ids, Wanted
from engine.model.biases import Biases
from engine.model.scoring import row_numbers

Float32 = NDArray[np.float32]

# A variance as small as that, beside the square of the mean, is rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Residuals:
    """Ratings less what the bias model expects, in a unit that does not depend on that of the ratings.

    Vectors minimise ``sum ((r_ui - b_ui) / unit - x_u y_i)^2`` over ratings (Koren, Bell and Volinsky 2009), with a
    ridge of ``strength`` times the root of the number of ratings for each vector: between one ridge for all
    (Salakhutdinov and Mnih 2008) and one in proportion to the number (Zhou et al. 2008).

    Attributes
    ----------
    biases : Biases
    unit : float
        Standard deviation of the ratings: see `deviation`.
    strength : float
    """

    biases: Biases
    unit: float
    strength: float

    def of_users(self, rows: NarrowRows, users: Ids) -> Wanted:
        """See `engine.model.alternating.Objective`."""
        return Wanted(self._left(rows, self.biases.users[users], self.biases.items), ridges(rows, self.strength))

    def of_items(self, rows: NarrowRows, items: Ids) -> Wanted:
        """See `engine.model.alternating.Objective`."""
        return Wanted(self._left(rows, self.biases.items[items], self.biases.users), ridges(rows, self.strength))

    def gram(self, vectors: Float32) -> None:
        """See `engine.model.alternating.Objective`."""

    def _left(self, rows: NarrowRows, of_rows: Float32, of_columns: Float32) -> Float32:
        left = rows.values()
        left -= np.float32(self.biases.mean)
        left -= of_rows[row_numbers(rows.indptr)]
        left -= of_columns[rows.indices]
        left /= np.float32(self.unit)
        return left


def ridges(rows: NarrowRows, strength: float) -> Float32:
    """The ridge of each row's vector, shape (rows,)."""
    found: Float32 = np.float32(strength) * np.sqrt(np.diff(rows.indptr).astype(np.float32))
    return found


def deviation(squares: float, n: int, mean: float) -> float:
    """Standard deviation of ``n`` ratings, from the sum of their squares and their mean; 1 where all are the same.

    Examples
    --------
    >>> deviation(1.0 + 9.0, 2, 2.0)
    1.0
    """
    variance = squares / max(1, n) - mean * mean
    return float(variance**0.5) if variance > _ROUNDING * mean * mean else 1.0
