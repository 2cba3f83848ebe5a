"""Every storage and every executor there is passes its contract."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.chunked.budget import GIB, MIB
from engine.chunked.executors.base import Executor
from engine.chunked.executors.connect import connect
from engine.chunked.storage import Location, Remote, locate
from engine.chunked.testing import ExecutorContract, StorageContract


class TestDisk(StorageContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Location:
        return locate(tmp_path / "place")


class TestMemoryStore(StorageContract):
    @pytest.fixture
    def place(self) -> Location:
        pytest.importorskip("fsspec")
        return locate(f"memory://{uuid.uuid4().hex}")


class TestS3(StorageContract):
    @pytest.fixture
    def place(self, bucket: Remote) -> Location:
        return bucket / uuid.uuid4().hex


@pytest.fixture(scope="module")
def local_executor() -> Iterator[Executor]:
    """One for all tests, so that stages find its process as others have left it."""
    with connect("local", allowed=GIB, workers=2, scheduler=None) as executor:
        yield executor


class TestLocalExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self, local_executor: Executor) -> Executor:
        return local_executor

    @pytest.fixture
    def root(self, tmp_path: Path) -> Location:
        return locate(tmp_path / "stage-1")


class TestLocalExecutorInAStore(TestLocalExecutor):
    @pytest.fixture
    def root(self, bucket: Remote) -> Location:
        return bucket / uuid.uuid4().hex


@pytest.fixture(scope="module")
def dask_workers() -> Iterator[Executor]:
    pytest.importorskip("distributed")
    with connect("dask", allowed=400 * MIB, workers=2, scheduler=None) as executor:
        yield executor


class TestDask(ExecutorContract):
    @pytest.fixture
    def executor(self, dask_workers: Executor) -> Executor:
        return dask_workers

    @pytest.fixture
    def root(self, tmp_path: Path) -> Location:
        return locate(tmp_path / "stage-1")
