"""Mean and exact quantiles for each key of a Parquet file of any size: ``python examples/quantiles.py``.

Rows are parted into buckets by a hash of their key, and each bucket is sorted in memory. How many rows each slot of the
hash has is counted first: a key with so many that they do not fit is refused, with a budget that is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from zlib import crc32

import program
from engine import chunked

if __name__ != "__main__":  # where stages run: the process that only drives them stays small
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.parquet as pq

SLOTS, PIECE = 2**14, 2**16  # of the hash; rows read at a time
BUCKET_ROWS, KEY_BYTES = 250_000, 32  # sorted at a time, unless one slot has more; of a key on average, at most


class Quantiles:
    """Rounds: count the rows of each slot; part the rows by bucket; take the figures of each bucket; join them."""

    def __init__(self, inputs: chunked.Inputs[dict[str, Any]]) -> None:
        self.inputs, self.own, self.params, self.path = inputs, inputs.own, inputs.params, inputs.details["path"]

    @staticmethod
    def plan(known: chunked.Known) -> chunked.Costs:
        found = known.result(known.step, "count.00000") or {"groups": 1, "buckets": [0]}
        read = chunked.Cost(task=(8 << 20) + PIECE * 4 * KEY_BYTES, shared=16 << 20)  # shared: the libraries' own
        bucket = chunked.Cost(read.task + max(found["buckets"]) * (64 + 2 * KEY_BYTES), read.shared)
        rounds = {"count": (1, read), "part": (found["groups"], read), "figures": (len(found["buckets"]), bucket)}
        planned = {name: chunked.Planned(*each) for name, each in (rounds | {"join": (1, bucket)}).items()}
        return chunked.Costs(planned, disk=2 * sum(found["buckets"]) * (16 + KEY_BYTES))

    def rounds(self) -> Iterator[chunked.Round]:
        yield chunked.Round("count", self.inputs.plan()["count"], self._count)
        plan = self.inputs.plan()  # row groups and buckets are known now
        yield chunked.Round("part", plan["part"], self._part, until="figures")
        yield chunked.Round("figures", plan["figures"], self._figures)
        yield chunked.Round("join", plan["join"], self._join)

    def _pieces(self, group: int) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        """Rows of a row group, and the slot of each."""
        file = pq.ParquetFile(self.path, buffer_size=2**20, pre_buffer=False)
        for batch in file.iter_batches(PIECE, [group], self.params["columns"]):
            encoded = (rows := batch.select(self.params["columns"]).drop_null())[0].dictionary_encode()
            keys = [str(each).encode() for each in encoded.dictionary.to_pylist()]
            if sum(map(len, keys)) > len(keys) * KEY_BYTES:
                raise chunked.UsageError("keys are longer than the memory model assumes: raise KEY_BYTES")
            yield rows, np.array(list(map(crc32, keys)), dtype=np.int64)[np.from_dlpack(encoded.indices)] % SLOTS

    def _count(self, index: int, context: chunked.TaskContext) -> dict[str, Any]:
        groups, known = pq.read_metadata(self.path).num_row_groups, pq.read_schema(self.path).names
        if missing := set(self.params["columns"]) - set(known):
            raise chunked.UsageError(f"no column {', '.join(missing)}: there are {', '.join(known)}")
        filled = np.zeros(SLOTS, dtype=np.int64)
        for _, slots in (piece for group in range(groups) for piece in self._pieces(group)):
            filled += np.bincount(slots, minlength=SLOTS)
        buckets = np.unique((np.cumsum(filled) - filled) // self.params["bucket_rows"], return_inverse=True)[1]
        np.save(context.scratch / "bucket_of_slot.npy", buckets)
        return {"groups": groups, "buckets": np.bincount(buckets, filled).astype(int).tolist()}

    def _part(self, index: int, context: chunked.TaskContext) -> None:
        buckets, schema = np.load(self.own.path("bucket_of_slot.npy")), pq.read_schema(self.path)
        schema = pa.schema([schema.field(name) for name in self.params["columns"]])
        with pa.ipc.new_file(str(context.scratch / f"part-{index}.arrow"), schema) as file:
            for rows, slots in self._pieces(index):
                ends = np.cumsum(np.bincount(buckets[slots], minlength=buckets[-1] + 1))
                for order in np.split(np.argsort(buckets[slots], kind="stable"), ends[:-1]):  # a batch for each bucket
                    file.write_batch(rows.take(program.to_arrow(order)))

    def _figures(self, index: int, context: chunked.TaskContext) -> None:
        batches, n_parts, n_buckets = [], *(self.inputs.plan()[name].n_tasks for name in ("part", "figures"))
        for part in (self.own.path(f"part-{i}.arrow") for i in range(n_parts)):
            with pa.OSFile(str(part)) as source, pa.ipc.open_file(source) as file:
                batches += [file.get_batch(i) for i in range(index, file.num_record_batches, n_buckets)]
        table = pa.Table.from_batches(batches)
        encoded, values = table[0].combine_chunks().dictionary_encode(), np.from_dlpack(table[1].combine_chunks())
        codes = np.from_dlpack(encoded.indices)
        values, rows = values[np.lexsort((values, codes))], np.bincount(codes)
        starts = np.cumsum(rows) - rows
        columns = {"rows": rows, "mean": np.add.reduceat(values, starts) / rows}
        for quantile in self.params["quantiles"]:
            place = quantile * (rows - 1)
            below, above = (values[starts + end(place).astype(int)] for end in (np.floor, np.ceil))
            columns[f"q{quantile:g}"] = below + (above - below) * (place - np.floor(place))
        table = pa.table(
            {"key": encoded.dictionary} | {name: program.to_arrow(column) for name, column in columns.items()}
        )
        pq.write_table(table.sort_by("key"), context.scratch / f"figures-{index}.parquet")

    def _join(self, index: int, context: chunked.TaskContext) -> None:
        parts = [self.own.path(f"figures-{i}.parquet") for i in range(self.inputs.plan()["figures"].n_tasks)]
        with pq.ParquetWriter(context.scratch / "quantiles.parquet", pq.read_schema(parts[0])) as file:
            for part in parts:
                file.write_table(pq.ParquetFile(part).read())


def main() -> None:
    parser = program.arguments("quantiles", "Mean and exact quantiles for each key of a Parquet file.", 20_000_000)
    parser.add_argument("--columns", nargs=2, default=["key", "value"], help="texts or whole numbers; numbers")
    parser.add_argument("--quantiles", type=float, nargs="+", default=[0.05, 0.5, 0.95], help="from 0 to 1")
    options = parser.parse_args()
    with program.told():
        path = options.data or program.made("table", f"table-{options.rows}.parquet", options.rows)
        params = {"columns": options.columns, "quantiles": options.quantiles, "bucket_rows": BUCKET_ROWS}
        survey, reads = chunked.Survey("count", "count the rows of each key"), (chunked.content_of(path),)
        step = chunked.Step("quantiles", Quantiles, params=params, reads=reads, survey=survey, does="sort by key")
        program.run(chunked.Pipeline("quantiles", [step], {"path": str(path.absolute())}), options)


if __name__ == "__main__":
    main()
