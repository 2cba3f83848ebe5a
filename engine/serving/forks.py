"""Answers come from the process that first asked, or from one started anew: a forked one would hang."""

from __future__ import annotations

import os

from engine.chunked.errors import UsageError

_asking: int | None = None


def refuse_forked() -> None:
    """Note that this process asks.

    Raises
    ------
    UsageError
        Where it was forked from one that has asked before: Polars' threads do not come along, and it waits for them.
    """
    global _asking
    if _asking is None:
        _asking = os.getpid()
    elif _asking != os.getpid():
        raise UsageError(
            f"this process was forked from process {_asking}, which has asked a Recommender before, and cannot: start "
            "it with the method spawn, or fork before the first Recommender is opened"
        )
