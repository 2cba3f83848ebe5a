"""What is said where an answer cannot be read: that a file is damaged, or that a newer run has removed it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from engine.chunked.errors import DamagedError, EngineError, UsageError
from engine.chunked.publishing import names
from engine.chunked.store import RECORDS
from engine.serving.finished import FinishedRun, damage_told
from engine.serving.forks import refuse_forked
from engine.serving.opened import OpenedRun


class Answers(Protocol):
    """Who answers from a run that is open."""

    @property
    def _opened(self) -> OpenedRun: ...


Self = TypeVar("Self", bound=Answers)
Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


def telling_damage(
    answer: Callable[Concatenate[Self, Asked], Answer],
) -> Callable[Concatenate[Self, Asked], Answer]:
    """Where a file cannot be read, say that it is damaged, if it is: comparing digests first would take seconds."""

    @functools.wraps(answer)
    def told(self: Self, /, *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        refuse_forked()
        opened = self._opened
        with damage_told(opened.run), _removal_told(opened.run):
            answered = answer(self, *args, **kwargs)
        if not opened.reads_nothing:
            _refuse_removed(opened.run)  # chunks that are not there look like empty ones
        return answered

    return told


@contextmanager
def _removal_told(run: FinishedRun) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, DamagedError) or not isinstance(error, EngineError):
            _refuse_removed(run, error)
        raise


def _refuse_removed(run: FinishedRun, cause: Exception | None = None) -> None:
    """Where files are missing since a newer run has taken the place of this, say so: it is no damage."""
    try:
        kept = run.fingerprint in names(run.workdir)
    except DamagedError:
        kept = False
    if not kept and not all((stage.root / RECORDS).exists() for stage in run.stages.values()):
        raise UsageError(
            f"{run.workdir}: a newer run has removed what this Recommender reads: reload() it, and let runs keep more "
            "with --keep"
        ) from cause
