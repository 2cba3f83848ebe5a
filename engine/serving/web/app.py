"""The endpoints: what is asked in a URL or in JSON, checked, and answered in JSON.

Whatever is wrong with a request is told with a status of 4xx and a sentence, never with a traceback.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from anyio import CapacityLimiter, fail_after, move_on_after
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from engine.chunked.errors import EngineError, UsageError
from engine.chunked.printable import dumps
from engine.serving.answers import each_as_mapping
from engine.serving.ids import UnknownIdError
from engine.serving.recommender import Recommender
from engine.serving.web import limits
from engine.serving.web.bounded import Bounded, Named, Room
from engine.serving.web.current import Current
from engine.serving.web.limits import (
    MOST_ASKED,
    MOST_BYTES,
    MOST_ITEMS,
    MOST_PASSED_OVER,
    MOST_ROWS,
    MOST_TOLD,
    most_requests,
)

_HERE = Path(__file__).parent
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_encode = msgspec.json.Encoder().encode  # what is no finite number is null
# Of a connection whose request was not read to its end; seconds until no more of it is read.
_CLOSED = {"Connection": "close"}
_PASSING_OVER = 2.0
_INSTEAD = {
    404: ": ask for /recommend, /similar, /predict, /items, /health or /metrics",
    405: ": ask with GET, or POST to /recommend",
}
_log = logging.getLogger(__name__)


class _Json(JSONResponse):
    """JSON without what is no JSON: a number that is none is null."""

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else dumps(content).encode()


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``/recommend`` may be asked: users, or what a newcomer likes, or has rated."""

    user: list[int | str] = []
    likes: list[int | str] = []
    items: list[int | str] = []
    ratings: list[float] = []
    k: int = 10
    candidates: list[int | str] | None = None
    exclude: list[int | str] | None = None
    on_unknown: str = "error"
    on_empty: str = "popular"


class _Web:
    """The endpoints of a recommender."""

    def __init__(self, current: Current, threads: int) -> None:
        self._current = current
        self._limiter = CapacityLimiter(threads)

    async def _answer(self, name: str, ask: Callable[[Recommender], Any]) -> Response:
        """Ask on a thread, of which there are so many, and make JSON of the answer there."""
        content = await run_sync(lambda: self._current.answer(name, lambda of: _encode(ask(of))), limiter=self._limiter)
        return _Json(content, headers=_HEADERS)

    async def recommend(self, request: Request) -> Response:
        read = partial(_decode, await _body(request)) if request.method == "POST" else partial(_from_url, request)
        return await self._answer("recommend", lambda of: _recommend(_checked(read()), of))

    async def similar(self, request: Request) -> Response:
        given = _query(request, {"user", "item", "k"})
        users, items, k = given.get("user", []), given.get("item", []), _k(_number(given, "k", 10))
        if len(users) + len(items) != 1:
            raise UsageError("give a user or an item: /similar?user=42 or /similar?item=260")

        def ask(of: Recommender) -> Any:
            return (of.similar_users(users[0], k) if users else of.similar_items(items[0], k)).to_dicts()

        return await self._answer("similar", ask)

    async def predict(self, request: Request) -> Response:
        given = _query(request, {"user", "item"})
        users, items = given.get("user", []), given.get("item", [])
        if len(users) != 1 or not items or len(items) > MOST_ITEMS:
            raise UsageError(f"give one user, and 1 to {MOST_ITEMS} items: /predict?user=42&item=1&item=318")
        return await self._answer("predict", lambda of: of.predict(users * len(items), items).to_dicts())

    async def items(self, request: Request) -> Response:
        given = _query(request, {"q", "k"})
        text, k = given.get("q", [""])[0], _k(_number(given, "k", 10))
        return await self._answer("items", lambda of: of.find_items(text, k).to_dicts())

    async def health(self, request: Request) -> Response:
        of = self._current.recommender
        found = {
            "status": "ok",
            "users": len(of.users),
            "items": len(of.items),
            "predicts_ratings": of.predicts_ratings,
        }
        return _Json(found, headers=_HEADERS)

    async def metrics(self, request: Request) -> Response:
        return _Json(self._current.figures(), headers=_HEADERS)

    async def page(self, request: Request) -> Response:
        name = request.url.path.rpartition("/")[2] or "page.html"
        return FileResponse(_HERE / name, headers=_HEADERS)


def _recommend(options: Options, of: Recommender) -> Any:
    whom: Any = options.user
    if options.likes:
        whom = of.likes(options.likes)
    elif options.items or options.ratings:
        whom = of.fold_in(options.items, options.ratings)
    found: pl.DataFrame = of.recommend(
        whom,
        options.k,
        candidates=options.candidates,
        exclude=options.exclude,
        on_unknown=options.on_unknown,  # type: ignore[arg-type]
        on_empty=options.on_empty,  # type: ignore[arg-type]
    )
    if options.user:
        asked = of.known_users(options.user, options.on_unknown).to_list()  # type: ignore[arg-type]
        return {"lists": _encoded(found, asked)}
    return {"lists": _encoded(found, [None]), "left_out": list(whom.left_out)}


def _encoded(found: pl.DataFrame, asked: Sequence[Any]) -> list[msgspec.Raw]:
    """Lists as JSON, one made after the other: as Python's objects they take ten times as much."""
    return [msgspec.Raw(_encode(each)) for each in each_as_mapping(found, asked)]


async def _body(request: Request) -> bytes:
    body, pieces = b"", request.stream()
    try:
        with fail_after(limits.SECONDS_FOR_REQUEST):
            async for piece in pieces:
                body += piece
                if len(body) > MOST_BYTES:
                    await _pass_over(pieces)
                    raise HTTPException(413, f"more than {MOST_BYTES:,} bytes: ask for less at a time", _CLOSED)
    except TimeoutError:
        told = f"the body did not come within {limits.SECONDS_FOR_REQUEST:.0f} s: send it faster"
        raise HTTPException(408, told, _CLOSED) from None
    except ClientDisconnect:
        raise HTTPException(400, "the connection ended before the body did") from None  # nobody hears it
    return body


async def _pass_over(pieces: AsyncIterator[bytes]) -> None:
    """Read what follows of a body that is too large: who is still sending it would not hear why it is refused."""
    size = 0
    with move_on_after(_PASSING_OVER):
        async for piece in pieces:
            size += len(piece)
            if size > MOST_PASSED_OVER:
                return


def _decode(body: bytes) -> Options:
    try:
        return msgspec.json.decode(body, type=Options)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the body is no such JSON: {error}") from None


def _from_url(request: Request) -> Options:
    given: dict[str, Any] = _query(request, {"user", "like", "k", "on_unknown", "on_empty"})
    given["k"] = _number(given, "k", 10)
    given["likes"] = given.pop("like", [])
    return Options(**given | {name: given[name][0] for name in ("on_unknown", "on_empty") if name in given})


def _checked(options: Options) -> Options:
    """What is asked, if it is not too much."""
    if [bool(options.user), bool(options.likes), bool(options.items or options.ratings)].count(True) != 1:
        raise UsageError(
            "give users, or what you like, or items with ratings: /recommend?user=42 or /recommend?like=260"
        )
    for what, some in (("users", options.user), ("items", options.likes or options.items)):
        if len(some) > MOST_ASKED:
            raise UsageError(f"{len(some)} {what}: give {MOST_ASKED} at a time at most")
    if len(options.user) * _k(options.k) > MOST_ROWS:
        raise UsageError(f"{len(options.user)} lists of {options.k}: ask for {MOST_ROWS} items in all at a time")
    return options


def _query(request: Request, known: set[str]) -> dict[str, list[str]]:
    """The parameters of a URL."""
    found = {name: request.query_params.getlist(name) for name in request.query_params}
    for name in found:
        if name not in known:
            raise UsageError(f"no parameter {name[:40]!r}: known are {', '.join(sorted(known))}")
    return found


def _number(given: dict[str, list[str]], name: str, usual: int) -> int:
    text = given.get(name, [str(usual)])[0]
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise UsageError(f"{name} is {text[:40]!r}: give a whole number")
    return int(text)


def _k(k: int) -> int:
    if not 1 <= k <= MOST_ITEMS:
        raise UsageError(f"k is {k}: give 1 to {MOST_ITEMS}")
    return k


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = _HEADERS | dict(error.headers or {})
    told = error.detail + _INSTEAD.get(error.status_code, "")
    return _Json({"error": told}, status_code=error.status_code, headers=headers)


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_TOLD else f"{text[: MOST_TOLD // 2]} ... {text[-MOST_TOLD // 2 :]}"


async def _fail(request: Request, error: Exception) -> Response:
    _log.error("%s %s", request.method, request.url.path, exc_info=error)
    return _Json({"error": "a fault of the program: see its log"}, status_code=500, headers=_HEADERS)


_stranger = _Json(
    {"error": "this server does not answer to the name in the header Host: call it localhost, or serve it with --host"},
    status_code=400,
    headers=_HEADERS,
)
_full = _Json(
    {"error": "too many requests at a time: come again"}, status_code=503, headers=_HEADERS | {"Retry-After": "1"}
)


def make_app(current: Current, *, threads: int = 2, hosts: list[str] | None = None) -> Starlette:
    """The application.

    Parameters
    ----------
    current : Current
    threads : int
        Requests that are answered at a time.
    hosts : list of str, optional
        Names that it may be called by; None: any.
    """

    async def refuse(request: Request, error: Exception) -> Response:
        status = 404 if isinstance(error, UnknownIdError) else 400 if isinstance(error, UsageError) else 503
        return _Json({"error": _shortened(current.told(error))}, status_code=status, headers=_HEADERS)

    web, room = _Web(current, threads), Room(most_requests(threads), current.counts)
    bounded = [Middleware(Bounded, room=room, full=_full)]
    return Starlette(
        routes=[
            Route("/recommend", web.recommend, methods=["GET", "POST"], middleware=bounded),
            Route("/similar", web.similar, middleware=bounded),
            Route("/predict", web.predict, middleware=bounded),
            Route("/items", web.items, middleware=bounded),
            Route("/health", web.health),
            Route("/metrics", web.metrics),
            *(Route(path, web.page) for path in ("/", "/page.js", "/page.css")),
        ],
        middleware=[] if hosts is None else [Middleware(Named, names=hosts, stranger=_stranger)],
        exception_handlers={EngineError: refuse, HTTPException: _refuse_http, Exception: _fail},
    )
