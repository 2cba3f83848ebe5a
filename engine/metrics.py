"""Mergeable accumulators: measure a batch, merge, finish."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class SquaredError:
    """Root mean squared error over rating pairs (micro average).

    Examples
    --------
    >>> (SquaredError(2, 3.0) + SquaredError(1, 9.0)).rmse
    2.0
    >>> SquaredError().rmse is None
    True
    """

    n: int = 0
    total: float = 0.0

    def __add__(self, other: SquaredError) -> SquaredError:
        return SquaredError(self.n + other.n, self.total + other.total)

    @property
    def rmse(self) -> float | None:
        """``sqrt(sum (predicted - actual)^2 / n)``; None without pairs."""
        return math.sqrt(self.total / self.n) if self.n else None


@dataclass(frozen=True)
class MeanOverUsers:
    """Mean of a per-user figure over the users that have one.

    Examples
    --------
    >>> (MeanOverUsers(1, 0.5) + MeanOverUsers(3, 1.5)).mean
    0.5
    """

    n_users: int = 0
    total: float = 0.0

    def __add__(self, other: MeanOverUsers) -> MeanOverUsers:
        return MeanOverUsers(self.n_users + other.n_users, self.total + other.total)

    @property
    def mean(self) -> float | None:
        """The mean; None without users."""
        return self.total / self.n_users if self.n_users else None
