"""Find a run's ratings in a process of its own, one line of JSON in, one out.

Reading a Parquet or zstd head, or making the sample, loads libraries of 60 to 200 MiB. In the process that stays
for the whole run they would be taken from every stage's budget.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from engine.chunked.errors import describe, rebuilt
from engine.chunked.events import Failed
from engine.chunked.executors.processes import PYTHON, ask
from engine.config import Config
from engine.ratings import datasets
from engine.ratings.faults import measured_digest
from engine.ratings.source import Source

_DOING = "finding the ratings"


def resolve(settings: Config) -> tuple[Source, tuple[int, str], list[int]]:
    """Find the ratings a configuration names; return them with their size in bytes, SHA-256 and its state.

    Raises
    ------
    UsageError
        As `engine.ratings.datasets.resolve`.
    """
    wanted = {"dataset": settings.dataset, "data_dir": settings.data_dir, "columns": settings.columns}
    asked = json.dumps(wanted | {"times": settings.ingest.times})
    command = [*PYTHON, "-c", "from engine.ratings.resolve import answer; answer()"]
    found = json.loads(ask(_DOING, command, asked))
    if "source" in found:
        size, sha256 = found["digest"]
        return Source.from_json(found["source"]), (size, sha256), found["state"]
    raise rebuilt(msgspec.convert(found["failed"], Failed), _DOING)


def answer() -> None:
    """Do what the line on standard input asks: the child's side."""
    print(json.dumps(_find(json.loads(sys.stdin.read()))))


def _find(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        source = datasets.resolve(
            asked["dataset"], data_dir=Path(asked["data_dir"]), columns=asked["columns"], times=asked["times"]
        )
        before = source.path.state()  # taken first: what changes while it is hashed is noticed, too
        return {"source": source.to_json(), "digest": measured_digest(source), "state": before}
    except Exception as error:
        return {"failed": msgspec.to_builtins(describe(error))}
