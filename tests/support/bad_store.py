"""A store that speaks the protocol of S3 badly: what it answers to everything is given."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

import pytest


class Answer(NamedTuple):
    """What it says of every object and every listing: a status, headers, and a body that may not fit them."""

    status: int
    headers: dict[str, str]
    body: bytes


def fails() -> Answer:
    """A store that is broken."""
    return Answer(500, {}, b"<Error><Code>InternalError</Code><Message>We are sorry</Message></Error>")


def lists(inner: str) -> Answer:
    """A listing."""
    return Answer(
        200, {}, f"<ListBucketResult><Name>bad</Name><KeyCount>1</KeyCount>{inner}</ListBucketResult>".encode()
    )


def sends(body: bytes, *, of: bytes, length: int | None = None) -> Answer:
    """A body, with the checksum of another, and perhaps a length that it does not have."""
    checksum = base64.b64encode(zlib.crc32(of).to_bytes(4, "big")).decode()
    length_of = {} if length is None else {"Content-Length": str(length)}
    return Answer(200, {"x-amz-checksum-crc32": checksum, "x-amz-checksum-type": "FULL_OBJECT", **length_of}, body)


@contextmanager
def bad_store(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have this process ask such a store."""
    import s3fs

    from engine.chunked.storage import remote

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer.status)
            for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
            self.close_connection = True

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        for name, value in (
            ("ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}"),
            ("ACCESS_KEY_ID", "somebody"),
            ("SECRET_ACCESS_KEY", "secret"),
            ("DEFAULT_REGION", "us-east-1"),
            ("MAX_ATTEMPTS", "1"),
        ):
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
        _forget(remote, s3fs.S3FileSystem)
        try:
            yield
        finally:
            _forget(remote, s3fs.S3FileSystem)
            server.shutdown()


def _forget(remote: Any, kind: Any) -> None:
    """Have the next who asks connect anew."""
    remote._open_store.cache_clear()
    for each in (kind, *kind.__subclasses__()):
        each.clear_instance_cache()
