"""Connections that keep the server waiting: closed after a while, since there are only so many."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from engine.serving.web.limits import SECONDS_FOR_ANSWER, SECONDS_FOR_REQUEST

_LOOK_EVERY = 2.0


class Patient(H11Protocol):
    """HTTP on a connection that is closed where nothing comes of it.

    Without that, as many clients as there may be, who connect and say nothing or do not read what they asked for, would
    keep all others out for as long as they like.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look at it."""
        super().connection_made(transport)
        self._look(None, 0.0)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look at it no more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look(self, before: Any, seconds: float) -> None:
        """Close it where it has been the same for long: waiting for a request, or at one."""
        waits = self.cycle is None or (self.cycle.response_complete and not self.transport.is_closing())
        now = (id(self.cycle), waits)
        seconds = seconds + _LOOK_EVERY if now == before else 0.0
        if seconds >= (SECONDS_FOR_REQUEST if waits else SECONDS_FOR_ANSWER):
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(_LOOK_EVERY, self._look, now, seconds)
