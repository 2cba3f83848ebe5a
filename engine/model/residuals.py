"""What the bias model leaves of ratings, as products of vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.chunked.csr import NarrowRows
from engine.model.alternating import Ids, Wanted
from engine.model.biases import Biases
from engine.model.scoring import row_numbers

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

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

    unseen: ClassVar[float] = 0.0

    def of_users(self, rows: NarrowRows, users: Ids) -> Wanted:
        """See `engine.model.alternating.Objective`."""
        left = rows.values()
        left -= np.float32(self.biases.mean)
        left -= self.biases.users[users][row_numbers(rows.indptr)]
        left -= self.biases.items[rows.indices]
        left /= np.float32(self.unit)
        return Wanted(left, ridges(rows, self.strength))

    def weights(self, rows: NarrowRows) -> None:
        """See `engine.model.alternating.Objective`."""

    def item_ridges(self, totals: Float64) -> Float32:
        """See `engine.model.alternating.Objective`."""
        return _ridges(totals, self.strength)


def ridges(rows: NarrowRows, strength: float) -> Float32:
    """The ridge of each row's vector, shape (rows,)."""
    return _ridges(np.diff(rows.indptr), strength)


def _ridges(numbers: NDArray[Any], strength: float) -> Float32:
    """Of vectors with so many ratings each."""
    found: Float32 = np.float32(strength) * np.sqrt(numbers.astype(np.float32))
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
