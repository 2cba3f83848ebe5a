"""A server whose clients are slow, silent, gone, or no HTTP: it answers the others, and says nothing of them."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.serving.test_web import free_port
from tests.support.ratings import synthetic_ratings
from tests.support.recommender import run

uvicorn = pytest.importorskip("uvicorn", reason="what serves")
from engine.serving.web import limits, patience, server  # noqa: E402
from engine.serving.web.app import make_app  # noqa: E402
from engine.serving.web.current import Current  # noqa: E402

GET = b"GET /recommend?user=5&k=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
POST = b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("attacked"), synthetic_ratings(60, 40))


@pytest.fixture
def port(where: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that is soon out of patience, and has room for few."""
    monkeypatch.setattr(limits, "SECONDS_FOR_REQUEST", 0.6)
    monkeypatch.setattr(patience, "SECONDS_FOR_REQUEST", 0.6)
    monkeypatch.setattr(patience, "SECONDS_FOR_ANSWER", 1.5)
    monkeypatch.setattr(patience, "_LOOK_EVERY", 0.1)
    monkeypatch.setattr(limits, "_WAITING", 2)
    port = free_port()
    app = make_app(Current(where, "4GiB"), hosts=["localhost"])
    running = uvicorn.Server(uvicorn.Config(app, port=port, **{**server.SETTINGS, "limit_concurrency": 12}))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.02)
    yield port
    running.should_exit = True
    thread.join(10)


def connected(port: int, said: bytes = b"", receives: int = 0) -> socket.socket:
    made = socket.socket()
    if receives:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
    made.connect(("127.0.0.1", port))
    made.settimeout(10)
    made.sendall(said)
    return made


def answer(to: socket.socket) -> bytes:
    """All that comes until the connection is closed."""
    with to:
        return b"".join(iter(lambda: to.recv(2**16), b""))


def status(port: int) -> int:
    return int(answer(connected(port, GET)).split()[1])


# More than may be connected; or than requests are taken at a time.
SILENT = [(14, b""), (14, b"GET /recommend?user=5 HTTP/1.1\r\nHost: loc"), (9, POST % 100)]


@pytest.mark.parametrize(("clients", "said"), SILENT)
def test_who_says_nothing_more_keeps_nobody_out(clients: int, said: bytes, port: int) -> None:
    with ExitStack() as silent:
        for _ in range(clients):
            silent.enter_context(connected(port, said))
        time.sleep(0.2)
        assert status(port) == 503
        time.sleep(1.5)
        assert status(port) == 200


def test_who_does_not_read_keeps_nobody_out(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.serving.web.app.MOST_ROWS", 10**6)
    asked = b"GET /recommend?" + b"&".join([b"user=%d" % user for user in (5, 8)] * 480) + b"&k=40 HTTP/1.1\r\n"
    with ExitStack() as deaf:
        for _ in range(11):
            deaf.enter_context(connected(port, asked + b"Host: localhost\r\n\r\n", 2048))
        time.sleep(0.5)
        assert status(port) == 503
        time.sleep(2.5)
        assert status(port) == 200


def test_a_slow_body_is_told_in_a_sentence(port: int) -> None:
    said = answer(connected(port, POST % 100 + b"{"))
    assert said.startswith(b"HTTP/1.1 408 ")
    assert said.endswith(b'{\n  "error": "the body did not come within 1 s: send it faster"\n}')


def test_who_sends_too_much_hears_so_before_he_is_done(port: int) -> None:
    """Though nobody reads all of it."""
    too_much = connected(port, POST % (3 * 2**20) + b"x" * (3 * 2**20))
    assert answer(too_much).startswith(b"HTTP/1.1 413 ")


def test_who_goes_away_is_no_fault_of_the_program(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        for body in (b"{", b"x" * 300_000):
            connected(port, POST % 400_000 + body).close()
        time.sleep(0.3)
        assert status(port) == 200
    assert caplog.records == []


def test_who_calls_it_by_another_name_is_told_in_a_sentence(port: int) -> None:
    for name in (b"evil.example", b"", b"localhost:evil", b"localhost@evil", b"[localhost", b"\xff"):
        said = answer(connected(port, GET.replace(b"localhost", name)))
        assert said.startswith(b"HTTP/1.1 400 "), name
        assert b'"error": "this server does not answer to the name in the header Host' in said
    assert answer(connected(port, GET.replace(b"localhost", b"LocalHost:80"))).startswith(b"HTTP/1.1 200 ")


def test_an_error_does_not_repeat_all_that_was_asked_nor_where_the_run_is(port: int, where: Path) -> None:
    for body in (b'{"user":["' + b"a" * 200_000 + b'"]}', b'{"user":[1],"on_unknown":"' + b"a" * 200_000 + b'"}'):
        said = answer(connected(port, POST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") % len(body) + body))
        head, _, told = said.partition(b"\r\n\r\n")
        assert head.split()[1] in (b"400", b"404")
        assert len(told) < 600
    said = answer(connected(port, GET.replace(b"user=5", b"user=123456")))
    assert b'"error": "no user 123456: known are 60 users from ' in said
    assert str(where).encode() not in said
