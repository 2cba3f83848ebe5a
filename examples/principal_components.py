"""Covariance and principal components of a Zarr array of any length: ``python examples/principal_components.py``.

Rows are samples, columns are features. Tasks add up products over fixed blocks of rows; one task adds those up in the
order of the blocks, so that every bit of the result is the same whatever the memory and the number of workers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import program
from engine import chunked

if __name__ != "__main__":  # where stages run: the process that only drives them stays small
    import numpy as np

    from engine.chunked import arrays

BLOCKS = 64  # partial sums, at most: each is as large as the covariance


class PrincipalComponents:
    """Rounds: add up products in each block; decompose the sum of all; lay the scores of rows out; fill them in."""

    def __init__(self, inputs: chunked.Inputs[dict[str, Any]]) -> None:
        self.inputs, self.own, self.params, self.data = inputs, inputs.own, inputs.params, Path(inputs.details["path"])

    @staticmethod
    def plan(known: chunked.Known) -> chunked.Costs:
        params, rows, features = known.params, known.params["rows"], known.params["features"]
        matrix, blocks = 8 * features**2, -(-rows // params["block_rows"])
        chunk = params["chunk_rows"] * features * (2 * params["item_bytes"] + 8)  # stored, decoded, as 64-bit numbers
        libraries, vectors = 24 << 20, 8 * features * params["components"]  # libraries grow when they are first used
        rounds = {
            "sums": chunked.Planned(blocks, chunked.Cost(task=chunk + 2 * matrix, shared=libraries)),
            "components": chunked.Planned(1, chunked.Cost(task=max(6 * matrix, chunk), shared=libraries)),
            "layout": chunked.Planned(1, chunked.Cost(task=0, shared=libraries)),
            "scores": chunked.Planned(blocks, chunked.Cost(task=chunk + vectors, shared=libraries)),
        }
        return chunked.Costs(rounds, disk=(blocks + 2) * matrix + 8 * rows * params["components"])

    def rounds(self) -> Iterator[chunked.Round]:
        plan = self.inputs.plan()
        yield chunked.Round("sums", plan["sums"], self._add_block, load=self._centre, until="components")
        yield chunked.Round("components", plan["components"], self._components)
        yield chunked.Round("layout", plan["layout"], self._lay_out)
        yield chunked.Round("scores", plan["scores"], self._project)

    def _chunks(self, index: int) -> Iterator[tuple[int, np.ndarray]]:
        """The chunks of a block of rows, as 64-bit numbers, each with its first row."""
        array, step = arrays.open_array(self.data.parent, self.data.name), self.params["chunk_rows"]
        first, block = index * self.params["block_rows"], self.params["block_rows"]
        for start in range(first, min(first + block, array.shape[0]), step):
            yield start, arrays.read_rows(array, start, min(start + step, array.shape[0])).astype(np.float64)

    def _centre(self) -> Any:
        """Something near the mean, so that no digits are lost to it: the mean of the first chunk."""
        return next(self._chunks(0))[1].mean(axis=0)

    def _add_block(self, index: int, context: chunked.TaskContext) -> None:
        features = len(context.shared)
        total, products = np.zeros(features), np.zeros((features, features))
        for _, values in self._chunks(index):
            values -= context.shared
            total += values.sum(axis=0)
            products += values.T @ values
        np.savez(context.scratch / f"sums-{index}.npz", total=total, products=products)

    def _components(self, index: int, context: chunked.TaskContext) -> dict[str, Any]:
        rows, features, centre = self.params["rows"], self.params["features"], self._centre()
        total, products = np.zeros(features), np.zeros((features, features))
        for block in range(self.inputs.plan()["sums"].n_tasks):
            with np.load(self.own.path(f"sums-{block}.npz")) as sums:
                total += sums["total"]
                products += sums["products"]
        products -= np.outer(total / rows, total)
        products /= rows - 1
        np.save(context.scratch / "covariance.npy", products)
        variances, vectors = np.linalg.eigh(products)
        vectors = vectors[:, ::-1][:, : self.params["components"]].T
        vectors *= np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(axis=1)])[:, np.newaxis]
        np.savez(context.scratch / "components.npz", mean=centre + total / rows, components=vectors)
        return {"shares": (variances[::-1] / variances.sum())[: self.params["components"]].tolist()}

    def _lay_out(self, index: int, context: chunked.TaskContext) -> None:
        shape, chunks = ((self.params[name], self.params["components"]) for name in ("rows", "chunk_rows"))
        arrays.create_array(context.scratch, "scores.zarr", shape=shape, chunks=chunks, dtype=float, fill=float("nan"))

    def _project(self, index: int, context: chunked.TaskContext) -> None:
        found = np.load(self.own.path("components.npz"))
        for start, values in self._chunks(index):
            scores = (values - found["mean"]) @ found["components"].T
            arrays.write_rows(self.own.root, context.scratch, "scores.zarr", start, scores)


def main() -> None:
    parser = program.arguments("principal_components", "Covariance and principal components of a Zarr array.", 400_000)
    parser.add_argument("--features", type=int, default=512, help="of the sample")
    parser.add_argument("--components", type=int, default=8, help="how many to keep")
    options = parser.parse_args()
    with program.told():
        size = (options.rows, options.features)
        path = options.data or program.made("matrix", "matrix-{}-{}.zarr".format(*size), *size)
        stored = json.loads((path / "zarr.json").read_text())
        (rows, features), item_bytes = stored["shape"], int(stored["data_type"][-2:]) // 8  # such as float32
        chunk_rows = stored["chunk_grid"]["configuration"]["chunk_shape"][0]
        params = {"rows": rows, "features": features, "chunk_rows": chunk_rows, "item_bytes": item_bytes}
        params["block_rows"] = chunk_rows * -(-rows // (chunk_rows * BLOCKS))
        params, reads = params | {"components": options.components}, (chunked.content_of(path),)
        step = chunked.Step("components", PrincipalComponents, params=params, reads=reads, does="add up, decompose")
        result = program.run(chunked.Pipeline("components", [step], {"path": str(path.absolute())}), options)
        print("variance:", *map("{:.1%}".format, result.committed("components").result("components.00000")["shares"]))


if __name__ == "__main__":
    main()
