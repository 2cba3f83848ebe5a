"""Memory noted over time: a bounded number of samples, and never without the peak."""

from __future__ import annotations

import threading

import pytest

from engine.chunked import memory


def test_samples_stay_few_and_keep_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MOST_SAMPLES", 8)
    sizes = [5, 1, 2, 99, 3, 4, 7, 6, 40, 1, 2, 8]
    looked = threading.Event()

    def look() -> int:
        size = sizes.pop(0) if sizes else 0
        if not sizes:
            looked.set()
        return size

    with memory.Sampler(look, 0.001) as sampler:
        assert looked.wait(60)
    assert len(sampler.samples) < 8
    found = [size for _, size in sampler.samples]
    assert 99 in found
    assert 40 in found
    times = [second for second, _ in sampler.samples]
    assert times == sorted(times)
