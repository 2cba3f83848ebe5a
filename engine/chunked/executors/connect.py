"""Which executors there are, and making one ready."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from engine.chunked.errors import UsageError
from engine.chunked.executors.base import Executor
from engine.chunked.extras import install
from engine.chunked.storage.remote import refuse_credentials

Kind = Literal["local", "dask"]


@contextmanager
def connect(
    kind: Kind,
    *,
    allowed: int | None,
    workers: int | None,
    scheduler: str | None,
    keep_open: tuple[int, ...] = (),
) -> Iterator[Executor]:
    """Make an executor ready; its processes end with the block.

    Parameters
    ----------
    kind : str
        ``local`` or ``dask``.
    allowed : int or None
        Bytes; none: what suits the machine or the cluster.
    workers : int or None
        Tasks at a time at most, or worker processes to start; none: as many as processors.
    scheduler : str or None
        ``dask``: address of a running cluster's scheduler; none: one on this machine for the time of the block.
    keep_open : tuple of int
        Descriptors that processes inherit (the work directory's lock).

    Raises
    ------
    UsageError, EngineError
        Where that cannot be had.
    """
    if kind not in ("local", "dask"):
        raise UsageError(f"no executor {kind!r}: there are 'local' and 'dask'")
    if scheduler is not None:
        refuse_credentials(scheduler)
    if scheduler is not None and kind != "dask":
        raise UsageError(f"scheduler {scheduler}: goes with the executor dask")
    if kind == "local":
        from engine.chunked.executors.local import LocalExecutor

        with LocalExecutor(allowed, workers, keep_open) as local:
            yield local
        return
    try:
        from engine.chunked.executors import dask
    except ImportError as error:
        raise UsageError(f"the executor dask needs what is missing ({error}): {install('dask')}") from None
    with dask.connect(allowed, workers, scheduler) as executor:
        yield executor
