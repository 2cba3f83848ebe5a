"""Memory of the stages whose tasks are partitions of the ratings: ingest, split, matrix."""

from __future__ import annotations

from collections.abc import Sequence

from engine.chunked.budget import MIB, Cost
from engine.chunked.task import Planned
from engine.config import Config
from engine.costs.common import (
    POLARS,
    POLARS_STREAM,
    ZARR,
    Plan,
    Shapes,
    chunks,
    counting_parts,
    id_ranges,
    n_partitions,
    n_test,
    partition_rows,
    read_rows,
    total,
    wide_values,
)
from engine.model.counting import is_shared_out
from engine.model.sizes import (
    COUNT_GROUPS,
    FEW_PARTITIONS,
    HELD_IDS,
    INGEST_ROW_GROUP,
    RANGE_IDS,
    RANGE_SAMPLE,
    READ_RATINGS,
    SUMMED_USERS,
)


def ingest(settings: Config, shapes: Shapes) -> Plan:
    """Stream the source, look at it, cut it into partitions."""
    times, read = settings.ingest.times, read_rows(settings, shapes)
    group = total(decoding=72 * MIB * shapes.columnar, decoded=shapes.group_bytes)
    text_columns = 24 * MIB * shapes.texts
    convert = total(
        streaming=POLARS_STREAM,
        writer=32 * MIB,
        decompressing=48 * MIB * shapes.compressed,
        time_columns=8 * MIB * times,
        text_columns=text_columns,
        parsed=32 * MIB * shapes.parsed,
        group=group,
    )
    # What is kept of several tasks at once; of texts, as much as reading them takes.
    of_convert = max(20 * MIB, text_columns)
    # For the rounds that follow in the same process the allocator keeps some of what a row group took, of texts most.
    of_group = total(decoding=(56 if shapes.texts else 16) * MIB * shapes.columnar, decoded=shapes.group_bytes)
    streaming = POLARS_STREAM if shapes.texts else POLARS_STREAM - 24 * MIB  # of numbers, a row group after the other
    sample = (32 if shapes.columnar else 36) * MIB
    survey = total(streaming=streaming, sample=sample, of_convert=of_convert, of_group=of_group)
    reading = total(streaming=streaming, row_groups=24 * MIB, of_convert=of_convert, of_group=of_group)
    given = settings.test is not None
    parted = total(flags=4, parts=13, new=13, joined=24, sorted=13, order=8) * given
    summed = total(mask=1, taken=4 + 4 + 4, wide=8, ordered_wide=8, sums=8) * shapes.counted
    row = parted + _partitioned_row(times, shapes.value_bytes) + summed
    return {
        "convert": Planned(shapes.n_pieces, Cost(task=convert)),
        "survey": Planned(1, Cost(task=survey)),
        **_profile(shapes, reading),
        "partition": Planned(
            n_partitions(settings, shapes),
            Cost(
                task=total(writer=8 * MIB, rows=row * read, users=total(ids=8, table=8) * min(shapes.n_users, read)),
                shared=total(
                    streaming=POLARS_STREAM,
                    pools=8 * MIB,
                    text_columns=text_columns // 4,
                    items=total(ids=8, table=8) * shapes.n_items,
                ),
            ),
        ),
    }


def _profile(shapes: Shapes, reading: int) -> Plan:
    """The rounds that count ids, while what is converted is read."""
    n_ids, texts = (shapes.n_users, shapes.n_items), (shapes.user_text_bytes, shapes.item_text_bytes)
    parts, ranges, rows = counting_parts(shapes), id_ranges(shapes), max(shapes.n_rows, shapes.n_ratings)
    if not is_shared_out(parts, *ranges):
        return {"profile": Planned(1, Cost(task=reading + _counted(n_ids, texts, rows)))}
    part = min(rows, COUNT_GROUPS * INGEST_ROW_GROUP)
    kinds = list(zip(*_few(n_ids, texts, RANGE_IDS), strict=True))
    merged = max(_counted((n,), (size,), rows) + _range_read(n, size) for n, size in kinds)
    in_order = sum(k for k, size in zip(ranges, texts, strict=True) if size and k > 1)
    sorted_ = max(total(read=1, joined=1, sorted=1) * _range_read(n, size) for n, size in kinds)
    joined = total(counts=4) * sum(n_ids) + total(of_range=4) * max(n for n, _ in kinds)
    # The allocator keeps some of the texts that the round before put together.
    kept = max(merged, sorted_) * (sum(texts) > 0)
    samples = total(ids=8, counts=8, order=8, ordered=8) * (HELD_IDS + 2 * RANGE_SAMPLE * sum(ranges))
    return {
        "count": Planned(parts, Cost(task=reading + _counted(*_few(n_ids, texts, part), part))),
        "merge": Planned(sum(ranges), Cost(task=reading + merged, shared=samples)),
        **({"order": Planned(in_order, Cost(task=reading + sorted_))} if in_order else {}),
        "profile": Planned(
            1, Cost(task=reading + max(joined, kept) + total(ends=8, stretches=8, steps=8) * SUMMED_USERS)
        ),
    }


def _few(n_ids: Sequence[int], texts: Sequence[int], most: int) -> tuple[list[int], list[int]]:
    """Of each kind so many ids at most, and the bytes of their texts."""
    few = [min(n, most) for n in n_ids]
    return few, [size * k // max(1, n) for size, k, n in zip(texts, few, n_ids, strict=True)]


def _counted(n_ids: Sequence[int], texts: Sequence[int], n_rows: int) -> int:
    """Of so many distinct ids while they are counted, and of their texts; in rows, or parts of ranges, of a number."""
    held = [min(n_rows, max(HELD_IDS, 2 * n) + min(INGEST_ROW_GROUP, n)) for n in n_ids]
    # Of ids, merged and of pieces not merged yet, while the one or the other are merged; or as they are written.
    merging = total(ids=8, counts=8) * sum(held) + total(order=8, ordered=8) * max(held)
    written = total(ids=8, counts=8, table=32) * sum(n_ids)
    return max(merging, written) + total(kept=1, sorted=1) * sum(texts)


def _range_read(n_ids: int, text_bytes: int) -> int:
    """Of a range of ids as it is read: keys, counts, and what texts are cut out of."""
    return total(keys=8, counts=4, texts=16 * (text_bytes > 0)) * n_ids + text_bytes


def _partitioned_row(times: bool, value: int) -> int:
    """Of a rating of a partition: as it was read, in codes, put in order of user; stored in so many bytes."""
    time = total(read=8, coded=8, ordered=8, written=8) * times
    return time + total(
        read=8 + 8 + 8,  # user, item, rating
        coded=4 + 4 + value,
        pairs=8,
        order_of_pairs=8,
        ordered_pairs=8,
        last_rows=8,
        ordered=4 + 4 + value,
    )


def split(settings: Config, shapes: Shapes) -> Plan:
    """Settle which rows are held out, write train and test."""
    rows = partition_rows(settings, shapes)
    before = {
        "notebook": {"draw": Planned(1, Cost(task=total(polars=POLARS, rows=_drawn(settings, rows))))},
        "random": {},
        "leave-last": {},
        "none": {},
        "given": {},
        "global-time": {"cut": Planned(1, Cost(task=total(polars=POLARS, bins=4 * MIB, rows=_cut_row() * rows)))},
    }
    partition = kept = 4 + 4 + shapes.value_bytes
    row = total(
        partition=partition,
        masks=5,  # held out as packed, unpacked and bool; left out; of a kind
        filtered=kept,
        sort_keys=2 * (4 + 1),
        order=4 + 4,
        ordered=kept,
        written=12,  # compressed, and before that
    )
    if settings.split.method == "given":
        row += total(flags=1, users=4, of_test=8, of_train=8, distinct=16)
    shared = POLARS
    if settings.split.method == "random":
        row += total(users=4, numbers=3 * 8, order=8, narrow=4 + 4, by_user=8, ordered_users=4, ranks=8, ends=8)
        shared += total(ids=8, numbers=8) * shapes.n_items + 3 * shapes.item_text_bytes
    if settings.split.by_time:
        row += total(times=8, users=4, order=8, lexsort=8, ordered_users=4, ranks=8, first_held_out=8)
    return before[settings.split.method] | {
        "split": Planned(
            n_partitions(settings, shapes),
            Cost(task=total(writer=10 * MIB, rows=row * rows), shared=shared),
        )
    }


def _drawn(settings: Config, rows: int) -> int:
    """Of a partition's rows while those held out are drawn."""
    row = total(users=4, from_first=4, as_int64=8, held_out=1, packed=1)
    # For each row held out two numbers are drawn, of which one tells the row.
    of_two = total(turns=8, first_bounds=8, sizes=8, bounds=8, numbers=8)
    of_one = total(drawn=8, bounds=8, turns=8, first_bounds=8, places=8)
    if settings.split.folds is not None:
        return (row + total(users=8, numbers=8, order=8, turns=8, remainders=8, in_fold=1, drawn=1)) * rows
    return int((row + (2 * of_two + of_one) * settings.split.test_fraction) * rows)


def _cut_row() -> int:
    """Of a row while the times of a partition are counted."""
    return total(times=8, within=8, above_least=8, bins=8, as_int64=8)


def matrix(settings: Config, shapes: Shapes) -> Plan:
    """Lay the matrices out, fill them chunk by chunk."""
    users, items, size = shapes.n_users, shapes.n_items, settings.matrix.ratings_per_chunk
    rows, chunk = partition_rows(settings, shapes), min(size, shapes.n_ratings)
    parts = n_partitions(settings, shapes)
    partition = total(users=4, items=4, known_users=4, from_first=4) * rows
    counting = total(polars=POLARS, seen=total(flags=1, packed=1) * items, partition=partition)
    layout = total(
        polars=POLARS,
        zarr=4 * MIB,
        user_arrays=total(train_lengths=4, test_lengths=4, indptr=8, written=8) * users,
        item_arrays=total(ids=8, kept_ids=8, counted=8, column=8, column_of=8) * items,
        texts=total(ids=1, kept_ids=1, written=1) * shapes.item_text_bytes,
        partition=partition,
    )
    few = parts <= FEW_PARTITIONS
    layout += total(seen=1) * items * parts + total(lengths=4 + 4) * users if few else 0
    fill = Cost(
        task=total(
            zarr=4 * MIB,
            wide_values=wide_values(settings, shapes),
            chunk=total(pieces=8, joined=8) * chunk,
            partition=total(items=4, ratings=8, columns=8, known=4) * rows,
        ),
        # The allocator keeps what the layout freed in the same process.
        shared=total(polars=POLARS, zarr=ZARR, column_of=8 * items, of_layout=32 * items),
    )
    test = n_test(settings, shapes) if shapes.n_test is None else shapes.n_test
    settled = settings.matrix.scale or shapes.implicit
    train = shapes.n_ratings - test if shapes.n_train is None else shapes.n_train
    return {
        **({} if few else {"count": Planned(parts, Cost(task=counting))}),
        "layout": Planned(1, Cost(task=layout)),
        "train": Planned(chunks(train, size), fill),
        "test": Planned(chunks(test, size), fill),
        **({"scale": Planned(1, Cost(task=_settled(settings, shapes), shared=fill.shared))} if settled else {}),
    }


def _settled(settings: Config, shapes: Shapes) -> int:
    """Of train ratings while their range is found."""
    read = total(stored=shapes.value_bytes, widened=4, liked=4, masks=1) * READ_RATINGS
    return total(zarr=4 * MIB, wide_values=wide_values(settings, shapes), read=read, train_indptr=8 * shapes.n_users)
