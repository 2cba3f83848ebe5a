"""Synthetic data sets that behave like ml-25m: same files, same shape, nobody's data.

`topics` is version 1, whose users stand in clusters; `interests` is version 2, as hard to search as real ratings are.
"""

from engine.ratings.twin.files import NEWEST, TwinSummary, n_parts, write_twin
from engine.ratings.twin.published import ML25M, Shape, shape_of

__all__ = ["ML25M", "NEWEST", "Shape", "TwinSummary", "n_parts", "shape_of", "write_twin"]
