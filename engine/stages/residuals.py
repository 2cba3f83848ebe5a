"""Train CSR, SVD, biases -> item vectors whose products with users' say what the bias model leaves of ratings.

Alternating least squares from the item vectors of the SVD (`engine.stages.alternating`). A user's vector is fitted to
the items' where ratings are predicted; so nothing is kept of users.

Files
-----
``item-factors.npy``
    float32 (items x dims), in order of column.
"""

from __future__ import annotations

from engine import config
from engine.artifacts.readers import read_biases
from engine.model.residuals import Residuals, deviation
from engine.stages.alternating import AlternatingStage


class ResidualsStage(AlternatingStage[config.Residuals]):
    """Sweeps, then the item vectors."""

    def objective(self) -> Residuals:
        """See `AlternatingStage`."""
        biases = read_biases(self._inputs.upstream["biases"])
        _, squares = self.sums()
        return Residuals(biases, deviation(squares, self._train.nnz, biases.mean), self._section.strength)

    def told(self) -> dict[str, float]:
        """See `AlternatingStage`."""
        objective = self.objective()
        return {"unit": objective.unit, "strength": objective.strength}

    def leading(self) -> int:
        """See `AlternatingStage`."""
        return self._section.dims
