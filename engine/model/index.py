"""Which way of finding neighbours ``index.method = "auto"`` stands for."""

from __future__ import annotations

# Comparing everybody with everybody takes a few seconds up to here, and grows with the square.
EXACT_USERS = 32768


def choose(method: str, n_users: int) -> tuple[str, str]:
    """The method, and why. Depends on data and configuration alone, as results must; never on the budget."""
    if method != "auto":
        return method, "as configured"
    if n_users <= EXACT_USERS:
        return "exact", "few users"
    return "pruned", "many users"
