"""Whom an application answers: whoever calls it by its name, so many at a time, each to the last byte of the answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Bytes of an answer that are handed to the connection at once; it takes the next when the client has read these.
_PIECE = 2**16


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:]*)(:\d+)?")


class Named:
    """An application that answers to some names only: pages of others, that know no other way to it, get nothing.

    Parameters
    ----------
    app : ASGI application
    names : sequence of str
        In the header ``Host``, without the port.
    stranger : ASGI application
        What answers where it is called by another.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str], stranger: ASGIApp) -> None:
        self._app, self._names, self._stranger = app, names, stranger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            called = _HOST.fullmatch(Headers(scope=scope).get("host", "").lower())
            if called is None or called[1] not in self._names:
                await self._stranger(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Room:
    """What requests share.

    Parameters
    ----------
    most : int
        Requests at a time.
    counts : Counter
        Where those ``refused`` are counted.
    """

    def __init__(self, most: int, counts: Counter[str]) -> None:
        self.most = most
        self.counts = counts
        self.taken = 0


class Bounded:
    """An application that is asked so many requests at a time.

    Parameters
    ----------
    app : ASGI application
    room : Room
    full : ASGI application
        What answers where there is no room.
    """

    def __init__(self, app: ASGIApp, room: Room, full: ASGIApp) -> None:
        self._app, self._room, self._full = app, room, full

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._room.taken >= self._room.most:
            self._room.counts["refused"] += 1
            await self._full(scope, receive, send)
            return

        async def in_pieces(message: Message) -> None:
            body, at = message.get("body", b""), 0
            while len(body) - at > _PIECE:
                await send({"type": message["type"], "body": body[at : at + _PIECE], "more_body": True})
                at += _PIECE
            await send({**message, "body": body[at:]} if at else message)

        self._room.taken += 1
        try:
            await self._app(scope, receive, in_pieces)
        finally:
            self._room.taken -= 1
