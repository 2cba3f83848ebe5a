"""Find a run's ratings in a process of its own, one line of JSON in, one out.

Reading a Parquet or zstd head, or making the sample, loads libraries of 60 to 200 MiB. In the process that stays
for the whole run they would be taken from every stage's budget.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from engine.chunked.errors import describe
from engine.chunked.events import to_line
from engine.chunked.executors.processes import PYTHON, ask
from engine.config import Config
from engine.ratings import datasets
from engine.ratings.encodings import WINDOWS
from engine.ratings.faults import Measured, measured_digest
from engine.ratings.opening import with_test
from engine.ratings.pieces import n_pieces
from engine.ratings.source import RatingsFile, Source
from engine.ratings.text_head import encoding_note
from engine.ratings.titles import fault_of

_DOING = "finding the ratings"


class Found(NamedTuple):
    """The ratings of a configuration, and of each file its size in bytes, SHA-256 and its state when it was hashed."""

    source: Source
    content: list[tuple[int, str]]
    states: list[list[int]]


def resolve(settings: Config) -> Found:
    """Find the ratings a configuration names.

    Raises
    ------
    UsageError
        As `engine.ratings.datasets.resolve`.
    """
    names = ("dataset", "data_dir", "columns", "separator", "titles")
    asked = json.dumps(
        {"test": settings.test} | {name: getattr(settings, name) for name in names} | {"times": settings.ingest.times}
    )
    command = [*PYTHON, "-c", "from engine.ratings.resolve import answer; answer()"]
    found = json.loads(ask(_DOING, command, asked))
    content = [(size, sha256) for size, sha256 in found["content"]]
    return Found(Source.from_json(found["source"]), content, found["states"])


def answer() -> None:
    """Do what the line on standard input asks: the child's side."""
    try:
        print(json.dumps(_find(json.loads(sys.stdin.read()))))
    except BaseException as error:  # what a library in Rust panics with is no Exception
        print(to_line(describe(error)), end="")
        sys.exit(1)


def _find(asked: dict[str, Any]) -> dict[str, Any]:
    test, how = asked.pop("test"), asked | {"data_dir": Path(asked["data_dir"])}
    source = datasets.resolve(**how)
    if fault := fault_of(source.titles, source.first.columns[1]):
        source = replace(source, notes=(*source.notes, fault))
    if test is not None:
        source = with_test(source, datasets.resolve(**how | {"dataset": test, "titles": None}), asked["times"])
    states = [file.path.state() for file in source.files]  # first: what changes while it is hashed is noticed, too
    measured = [measured_digest(file) for file in source.files]
    content = [(each.size, each.sha256) for each in measured]
    return {"source": settled(source, measured).to_json(), "content": content, "states": states}


def settled(source: Source, measured: Sequence[Measured]) -> Source:
    """The same with what all of the content of its files, and not only the head, says of how they are read."""
    pairs = list(zip(source.files, measured, strict=True))
    notes = [encoding_note(WINDOWS)] if any(file.encoding != found.encoding for file, found in pairs) else []
    return replace(source, files=tuple(_read_as(file, found) for file, found in pairs), notes=(*source.notes, *notes))


def _read_as(file: RatingsFile, found: Measured) -> RatingsFile:
    encoded = replace(file, encoding=found.encoding)
    return replace(encoded, pieces=n_pieces(encoded, found.size, found.quoted))
