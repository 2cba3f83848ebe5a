"""The lock in a store: its holder gives signs of life, by which other machines know whether it is gone."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import nullcontext
from typing import Any

import pytest

from engine.chunked.errors import EngineError, LockedError
from engine.chunked.storage import lock

BEAT = 0.05


class Stored:
    """An object in a store of this process."""

    parent = "s3://bucket/run"

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self.content: bytes | None = None

    def read_text(self) -> str:
        if self.content is None:
            raise FileNotFoundError
        return self.content.decode()

    def create(self, content: bytes) -> bool:
        with self._guard:
            if self.content is None:
                self.content = content
                return True
            return False

    def put(self, content: bytes) -> None:
        self.content = content

    def remove(self) -> None:
        self.content = None

    @property
    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.read_text())
        return found

    def by_another_machine(self, seen_before: float) -> None:
        who = {"pid": 5, "host": "elsewhere", "since": "today", "token": "t", "seen": time.time() - seen_before}
        self.put(json.dumps(who).encode())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", BEAT)


@pytest.fixture
def stored() -> Stored:
    return Stored()


def _until(what: Any) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(BEAT / 10)


def test_a_holder_gives_signs_of_life_until_it_is_done(stored: Stored) -> None:
    with lock.hold_object(stored):
        first = stored.content
        stored.put(json.dumps(stored.said | {"seen": 0}).encode())
        _until(lambda: stored.said["seen"] > 0)
        assert json.loads(first or b"")["token"] == stored.said["token"]
    assert stored.content is None
    time.sleep(3 * BEAT)
    assert stored.content is None


@pytest.mark.parametrize("how", ["put", "read_text"])
def test_a_store_that_fails_at_a_beat_is_asked_at_the_next(
    how: str, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failed = getattr(stored, how), threading.Event()

    def fail_once(*given: bytes) -> object:
        if threading.current_thread().name == "lock-heartbeat" and not failed.is_set():
            failed.set()
            raise EngineError("the store does not answer")
        return real(*given)

    with lock.hold_object(stored):
        monkeypatch.setattr(stored, how, fail_once)
        _until(failed.is_set)
        stored.content = json.dumps(stored.said | {"seen": 0}).encode()
        _until(lambda: stored.said["seen"] > 0)


def test_a_machine_that_is_silent_is_gone(stored: Stored) -> None:
    stored.by_another_machine(lock.SILENT_SECONDS + 1)
    assert lock.holder_of_object(stored) is None
    start = time.monotonic()
    with lock.hold_object(stored):
        assert time.monotonic() - start >= 2 * BEAT
        assert stored.said["host"] != "elsewhere"


def test_a_machine_that_has_just_been_heard_of_is_not(stored: Stored) -> None:
    stored.by_another_machine(lock.SILENT_SECONDS - 30)
    assert (lock.holder_of_object(stored) or {})["host"] == "elsewhere"
    with pytest.raises(LockedError, match="taken for that 90 s after its last sign of life"), lock.hold_object(stored):
        pass
    assert stored.said["host"] == "elsewhere"


def test_a_machine_with_another_clock_is_waited_for(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: stored.by_another_machine(120 - seconds))
    stored.by_another_machine(120)
    with pytest.raises(LockedError, match="elsewhere"), lock.hold_object(stored):
        pass
    assert stored.said["host"] == "elsewhere"


def test_a_holder_that_was_taken_for_gone_leaves_the_lock_to_the_other(stored: Stored) -> None:
    with lock.hold_object(stored):
        stored.by_another_machine(0)
        time.sleep(3 * BEAT)
        assert stored.said["host"] == "elsewhere"
    assert stored.said["host"] == "elsewhere"


def test_a_dead_process_of_this_machine_is_not_waited_for(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.by_another_machine(lock.SILENT_SECONDS + 1)
    monkeypatch.setattr(lock, "_alive", lambda who: False)
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    monkeypatch.setattr(time, "sleep", pytest.fail)
    with lock.hold_object(stored):
        assert stored.said["token"] != "t"


def test_a_lock_of_before_there_were_signs_of_life_is_believed(stored: Stored) -> None:
    stored.put(b'{"pid": 5, "host": "elsewhere", "since": "yesterday"}')
    with pytest.raises(LockedError, match="if it is gone, remove"), lock.hold_object(stored):
        pass


@pytest.mark.parametrize("seen", ["1" + "0" * 400, "-1" + "0" * 400, "1e400", "NaN", "true", '"now"', "[]", "null"])
def test_a_sign_of_life_may_be_anything(stored: Stored, seen: str) -> None:
    stored.put(f'{{"pid": 5, "host": "elsewhere", "since": "today", "seen": {seen}}}'.encode())
    gone = seen.startswith("-") or seen == "true"  # both long before now
    assert (lock.holder_of_object(stored) is None) == gone
    if not gone:
        with pytest.raises(LockedError, match="elsewhere"), lock.hold_object(stored):
            pass


@pytest.mark.parametrize("field", ["pid", "host", "since", "token", "seen"])
@pytest.mark.parametrize("value", ["1" + "0" * 400, "-1", "0.5", '{"a": [null]}', '"\\ud800"', "false"])
def test_each_field_of_a_lock_may_be_anything(stored: Stored, field: str, value: str) -> None:
    known = {"pid": "5", "host": '"elsewhere"', "since": '"today"', "token": '"t"', "seen": str(time.time())}
    fields = ", ".join(f'"{name}": {said}' for name, said in (known | {field: value}).items())
    stored.put(f"{{{fields}}}".encode())
    who = lock.holder_of_object(stored)
    with nullcontext() if who is None else pytest.raises(LockedError, match="is in use"), lock.hold_object(stored):
        pass
