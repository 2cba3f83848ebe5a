"""So many requests at a time, each until the last byte of its answer is sent."""

from __future__ import annotations

from collections import Counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Bytes of an answer that are handed to the connection at once; it takes the next when the client has read these.
_PIECE = 2**16


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
