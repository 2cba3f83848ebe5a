"""Compiled inner loops: what the model's arithmetic spends its time in.

C++ behind plain functions on NumPy arrays. Each has one job, releases the interpreter lock, starts no threads, and adds
in an order that is written down, without fused operations: the same bytes on every machine, however users are batched.
Arrays that do not fit together, and numbers that lead out of an array, raise an error; nothing outside of an array is
read or written. ``tests/kernels`` has the same in plain NumPy.
"""

from engine.chunked.errors import EngineError

try:
    from engine.kernels import _native
except ImportError as error:
    raise EngineError(
        f"the compiled inner loops are not there or cannot be loaded ({error}): install the package again, on a "
        "machine with a C++ compiler; in a clone: make pipeline"
    ) from None
from engine.kernels.built import refuse_other
from engine.kernels.nearest import Best, dot_products, near_centres, nearest_centres, whole_products
from engine.kernels.prediction import mean_near_residuals, products_of_pairs
from engine.kernels.products import add_gram_product, add_partial_sums, times_dense
from engine.kernels.rows import Lists, lists_of
from engine.kernels.scoring import Scored, count_opinions, find_in_rows, find_strongest, rank_items, rank_popular

refuse_other(getattr(_native, "BUILT_OF", ""))

BUILT = ", ".join(part for part in (*_native.BUILT[:2], f"{_native.LANES} registers", _native.BUILT[2]) if part)
"""How they were compiled: compiler, kind of build, width that this machine uses, sanitizers if any."""

__all__ = [
    "BUILT",
    "Best",
    "Lists",
    "Scored",
    "add_gram_product",
    "add_partial_sums",
    "count_opinions",
    "dot_products",
    "find_in_rows",
    "find_strongest",
    "lists_of",
    "mean_near_residuals",
    "near_centres",
    "nearest_centres",
    "products_of_pairs",
    "rank_items",
    "rank_popular",
    "times_dense",
    "whole_products",
]
