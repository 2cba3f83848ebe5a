"""Which way of finding neighbours ``index.method = "auto"`` stands for, and how many are kept."""

from __future__ import annotations

from engine.model.sizes import EXACT_ITEMS, EXACT_USERS


def choose(method: str, n_users: int) -> tuple[str, str]:
    """The method, and why. Depends on data and configuration alone, as results must; never on the budget."""
    if method != "auto":
        return method, "as configured"
    if n_users <= EXACT_USERS:
        return "exact", "few users"
    return "pruned", "many users"


def clusters_items(n_items: int) -> bool:
    """Whether nearest items are looked for in near clusters only, instead of among all."""
    return n_items > 4 * EXACT_ITEMS


def nearest_kept(k: int, n: int) -> int:
    """How many others are kept of each of ``n``: no more than there are, but at least one place.

    Examples
    --------
    >>> nearest_kept(50, 671), nearest_kept(50, 12), nearest_kept(50, 1)
    (50, 11, 1)
    """
    return min(k, max(1, n - 1))
