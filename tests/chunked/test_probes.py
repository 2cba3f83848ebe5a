"""What processes hold before data is tried out within the budget, whatever the number of workers."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from engine.chunked.budget import MIB
from engine.chunked.executors import local
from engine.chunked.references import Reference
from engine.chunked.storage import locate


@pytest.mark.parametrize(("allowed", "most"), [(100 * MIB, 1), (400 * MIB, 3), (4096 * MIB, 10)])
def test_no_more_are_tried_at_a_time_than_fit(
    allowed: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, running, seen = threading.Lock(), 0, 0

    def probe(stage: Reference, **given: object) -> int:
        nonlocal running, seen
        with lock:
            running += 1
            seen = max(seen, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return 90 * MIB

    monkeypatch.setattr(local, "_loaded_apart", probe)
    with local.LocalExecutor(allowed, workers=10) as executor:
        assert len(executor.reserved_bytes([Reference(f"m{n}", "s") for n in range(20)], locate(tmp_path))) == 20
    assert seen == most
