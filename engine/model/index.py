"""Which way of finding neighbours ``index.method = "auto"`` stands for."""

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
