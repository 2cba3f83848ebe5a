"""Files of a finished run that are something else, and records that say that this is as it should be."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numcodecs
import numpy as np
import polars as pl
import zarr
from numpy.typing import NDArray

from engine.chunked.journal import STAGE_RECORD, Record
from engine.chunked.sealed import read_sealed, write_sealed
from engine.chunked.storage import locate
from engine.chunked.store import RECORDS, FileEntry

Forge = Callable[[Path], object]


def forgeries(path: Path) -> dict[str, Forge]:
    """What may be put in the place of a file, by name; nothing where its format is not known here."""
    if path.suffix == ".npy":
        found: NDArray[Any] = np.load(path)
        return {name: _saved(each) for name, each in _other_arrays(found)} | {"bytes": _bytes, "header": _header}
    if path.suffix == ".npz":
        with np.load(path) as bundle:
            members = dict(bundle)
        others = ((key, name, each) for key in members for name, each in _other_arrays(members[key]))
        whole: dict[str, Forge] = {"bytes": _bytes, "compressed": lambda path: np.savez_compressed(path, **members)}
        whole |= {f"{key} header": partial(_promising, key=key) for key in members}
        return {f"{key} {name}": _bundled(members | {key: each}) for key, name, each in others} | whole
    if path.suffix == ".parquet":
        table = pl.read_parquet(path, glob=False)
        return {name: each.write_parquet for name, each in _other_tables(table)} | {"bytes": _bytes}
    if path.name == "zarr.json" and "shape" in (metadata := json.loads(path.read_text())):
        return dict(_other_metadata(metadata)) | dict(_other_content(path.parent))
    return {}


def _saved(array: NDArray[Any]) -> Forge:
    return lambda path: np.save(path, array)


def _bundled(members: dict[str, NDArray[Any]]) -> Forge:
    return lambda path: np.savez(path, **members)  # type: ignore[arg-type]


def _bytes(path: Path) -> None:
    path.write_bytes(b"\x00\xff" * 50)


def _header(path: Path) -> None:
    """Many numbers, of which none is there."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**13,)})


def _promising(path: Path, key: str) -> None:
    """Let a member of a bundle have many numbers, of which none is there."""
    _header(path)
    header = path.read_bytes()
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr(f"{key}.npy", header)


def _other_arrays(array: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    yield from {
        "short": array[:-1],
        "empty": array[:0],
        "long": np.concatenate([array, array]),
        "flat": np.append(array.reshape(-1), array.reshape(-1)[:1]),
        "wide": np.stack([array, array], -1),
        "text": np.full(array.shape, "x"),
        "scalar": np.array(7),
        "big endian": array.astype(array.dtype.newbyteorder(">")),
    }.items()
    if array.dtype.kind == "f":
        yield "no numbers", np.full_like(array, np.nan)
        yield "integers", np.zeros(array.shape, dtype=np.int64)
        yield "doubles", array.astype(np.float64)
    else:
        yield "floats", array.astype(np.float64)
        yield from ((name, _ending(array, each)) for name, each in (("large", np.iinfo(array.dtype).max), ("least", 0)))
        if array.dtype.kind == "i":
            yield "negative", _ending(array, -7)


def _ending(array: NDArray[Any], value: int) -> NDArray[Any]:
    other = array.copy()
    other.reshape(-1)[-1:] = value
    return other


def _other_tables(table: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    yield from {"short": table.head(-1), "empty": table.clear(), "long": pl.concat([table, table])}.items()
    for name, dtype in table.schema.items():
        column = pl.col(name)
        yield f"without {name}", table.drop(name)
        yield f"null {name}", table.with_columns(pl.lit(None, dtype=dtype).alias(name))
        yield f"text {name}", table.with_columns(pl.lit("zz").alias(name))
        yield f"lists {name}", table.with_columns(pl.concat_list(column).alias(name))
        if dtype.is_integer():
            largest = np.iinfo(table[name].to_numpy().dtype).max
            yield f"large {name}", table.with_columns(pl.lit(largest, dtype=dtype).alias(name))
            yield f"negative {name}", table.with_columns(pl.lit(-5).alias(name))
            yield f"backwards {name}", table.with_columns(column.reverse())


def _other_metadata(metadata: dict[str, Any]) -> Iterator[tuple[str, Forge]]:
    def with_(**changed: Any) -> Forge:
        return lambda path: path.write_text(json.dumps(metadata | changed))

    first, *rest = metadata["shape"]
    for name, shape in {"more": first + 1, "fewer": first - 1, "none": 0, "many": 10**6, "most": 10**12}.items():
        yield f"{name} rows", with_(shape=[shape, *rest])
    yield "another dimension", with_(shape=[first, *rest, 2])
    for dtype in ("float64", "int8", "uint64", "float32", "int32"):
        yield dtype, with_(data_type=dtype, fill_value=0)
    for rows in (0, 1):
        grid = {"name": "regular", "configuration": {"chunk_shape": [rows] * (1 + len(rest))}}
        yield f"{rows} rows a chunk", with_(chunk_grid=grid)
    yield (
        "packed otherwise",
        with_(
            codecs=[
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "gzip", "configuration": {"level": 1}},
            ]
        ),
    )
    yield "a group", lambda path: path.write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')


def _other_content(folder: Path) -> Iterator[tuple[str, Forge]]:
    whole = np.asarray(zarr.open_array(str(folder), mode="r")[...])

    def with_(array: NDArray[Any]) -> Forge:
        return lambda path: zarr.open_array(str(path.parent), mode="r+").__setitem__(..., array)

    for name, array in _other_arrays(whole):
        if (array.shape, array.dtype) == (whole.shape, whole.dtype):
            yield name, with_(array)
    yield "unfolding", lambda path: _unfold(next(each for each in (path.parent / "c").rglob("*") if each.is_file()))
    yield "no chunks", lambda path: shutil.rmtree(path.parent / "c", ignore_errors=True)


def _unfold(path: Path) -> None:
    """Let a chunk be a thousand times its bytes in memory."""
    path.write_bytes(numcodecs.Zstd().encode(bytes(10**7)))


def reseal(stage: Path) -> None:
    """Let the records of a step say what its files are now."""
    for path in (stage / RECORDS).glob("*.json"):
        if path.name != STAGE_RECORD:
            record = read_sealed(locate(path), Record)
            files = [entry.path for entry in record.files if (stage / entry.path).is_file()]
            contents = [(stage / file).read_bytes() for file in files]
            entries = [
                FileEntry(file, len(content), hashlib.sha256(content).hexdigest())
                for file, content in zip(files, contents, strict=True)
            ]
            write_sealed(locate(path), msgspec.structs.replace(record, files=entries), durable=False)
