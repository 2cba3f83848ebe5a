from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chunked.budget import GIB, MIB, Cost, allot, format_size, parse_budget, parse_size
from engine.chunked.errors import BudgetError, UsageError


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("7", 7), (11, 11), ("512MiB", 512 * 1024**2), ("512MB", 512_000_000), ("1.5 gib", 3 * 2**29), ("2kB", 2000)],
)
def test_sizes_are_read_with_their_units(text: str | int, n_bytes: int) -> None:
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("64k", 2**16),
        ("64K", 2**16),
        ("512M", 2**29),
        ("512m", 2**29),
        ("1G", 2**30),
        ("1.5 g", 3 * 2**29),
        ("1T", 2**40),
    ],
)
def test_a_unit_without_b_is_binary_as_elsewhere(text: str, n_bytes: int) -> None:
    """In the options of Docker, Java and systemd."""
    assert parse_size(text) == parse_budget(text) == n_bytes


@pytest.mark.parametrize("text", ["50%", "50 % ", "%"])
def test_a_share_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(UsageError, match=r"is a share.*: write a size, such as 512MiB or 1\.5GB"):
        parse_size(text)


@pytest.mark.parametrize("text", ["", "MiB", "12XB", "-3MiB", "1,5GB", "1e9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("512", "512MiB"), (512, "512MiB"), (" 200 ", "200MiB"), ("4", "4GiB"), ("1.5", "1.5GiB"), (524288, "524288KiB")],
)
def test_a_budget_without_its_unit_is_refused_with_what_was_meant(text: str | int, meant: str) -> None:
    number = str(text).strip()
    with pytest.raises(UsageError, match=rf"^'{number}' is {number} bytes, .*: did you mean {meant}\?$"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["512MiB", "600B", MIB, "1048576"])
def test_a_budget_with_a_unit_or_of_many_bytes_is_what_it_says(text: str | int) -> None:
    assert parse_budget(text) == parse_size(text)


def test_sizes_are_printed_in_binary_units() -> None:
    assert [format_size(n) for n in (2048, 512 * MIB, 1536 * MIB, 4 * GIB)] == [
        "2 KiB",
        "512 MiB",
        "1.5 GiB",
        "4.0 GiB",
    ]


def test_each_term_counts_as_often_as_it_should() -> None:
    # Primes: a term left out or counted twice cannot cancel.
    assert Cost(task=7, shared=11, row=13).total(workers=3, rows=5) == 11 + 3 * (7 + 5 * 13)


def test_workers_come_before_larger_batches() -> None:
    cost = Cost(task=100, shared=50, row=1, max_rows=1000, min_rows=10)
    given_ = allot(cost, allowed=50 + 2 * 150 + 7, reserved=7, n_tasks=9, max_workers=4)
    assert (given_.workers, given_.batch_rows) == (2, 50)


CACHING = Cost(task=100, shared=50, row=2, max_rows=1000, min_rows=10, cache=700)


@pytest.mark.parametrize(
    ("free", "workers", "batch_rows", "cache", "projected"),
    [
        (170, 1, 10, 0, 170),
        (270, 1, 60, 0, 270),
        (290, 2, 10, 0, 290),
        (849, 3, 83, 1, 849),
        (850, 1, 1000, 700, 850),
        (949, 1, 1000, 700, 850),
        (10**6, 3, 1000, 700, 1050),
    ],
)
def test_all_that_batches_are_read_from_stands_in_their_place(
    free: int, workers: int, batch_rows: int, cache: int, projected: int
) -> None:
    got = allot(CACHING, allowed=7 + free, reserved=7, n_tasks=3, max_workers=3)
    assert (got.workers, got.batch_rows, got.cache, got.projected) == (workers, batch_rows, cache, 7 + projected)
    assert (CACHING.least(), CACHING.most(3)) == (170, 1050)


def test_a_part_is_kept_beside_the_largest_batches() -> None:
    cost = Cost(task=100, row=2, max_rows=40, min_rows=10, cache=1000)
    got = allot(cost, allowed=400, reserved=0, n_tasks=1, max_workers=1)
    assert (got.batch_rows, got.cache, got.projected) == (40, 220, 400)


def test_all_of_it_is_less_than_a_batch_where_there_is_little() -> None:
    cost = Cost(task=100, row=2, max_rows=1000, min_rows=1000, cache=30)
    assert cost.least() == 130
    assert allot(cost, allowed=130, reserved=0, n_tasks=9, max_workers=2).cache == 30


def test_no_more_workers_than_tasks() -> None:
    assert allot(Cost(task=1), allowed=100, reserved=0, n_tasks=2, max_workers=8).workers == 2


def test_a_refusal_names_numbers_and_a_budget_that_works() -> None:
    cost = Cost(task=600 * MIB)
    with pytest.raises(BudgetError, match=r'needs 700 MiB \(100 MiB reserved\).*512 MiB.*memory="720MiB"'):
        allot(cost, allowed=512 * MIB, reserved=100 * MIB, n_tasks=1, max_workers=1)
    assert allot(cost, allowed=700 * MIB, reserved=100 * MIB, n_tasks=1, max_workers=1).workers == 1


sizes = st.integers(0, 10**9)


@given(
    cost=st.builds(
        Cost,
        task=sizes,
        shared=sizes,
        row=st.integers(0, 10**5),
        max_rows=st.integers(1, 10**4),
        min_rows=st.just(3),
        cache=st.just(0) | sizes,
    ),
    allowed=st.integers(0, 10**10),
    reserved=sizes,
    n_tasks=st.integers(1, 100),
    max_workers=st.integers(1, 64),
)
def test_what_is_projected_never_exceeds_what_is_allowed(
    cost: Cost, allowed: int, reserved: int, n_tasks: int, max_workers: int
) -> None:
    try:
        got = allot(cost, allowed=allowed, reserved=reserved, n_tasks=n_tasks, max_workers=max_workers)
    except BudgetError:
        assert reserved + cost.least() > allowed
        return
    if cost.cache and cost.cache == got.cache and got.projected == reserved + cost.total(got.workers, 0) + cost.cache:
        assert got.projected <= allowed
        return
    assert got.projected == reserved + cost.total(got.workers, got.batch_rows) + got.cache <= allowed
    assert not cost.cache or reserved + cost.total(1, 0) + cost.cache > allowed
    assert 1 <= got.workers <= min(n_tasks, max_workers)
    assert min(3, cost.max_rows) <= got.batch_rows <= cost.max_rows
    more_workers = reserved + cost.total(got.workers + 1, min(3, cost.max_rows)) <= allowed
    assert not (more_workers and got.workers < min(n_tasks, max_workers))
    more_rows = reserved + cost.total(got.workers, got.batch_rows + 1) <= allowed
    assert not (more_rows and got.batch_rows < cost.max_rows)
