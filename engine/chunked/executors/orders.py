"""What a process that works is asked to do, as lines of JSON."""

from __future__ import annotations

import msgspec

from engine.chunked.pipeline import Job
from engine.chunked.references import Reference


class Load(msgspec.Struct, frozen=True, tag=True):
    """Load the modules of stages, and what it takes to reach a work directory."""

    stages: list[Reference]
    where: str


class Run(msgspec.Struct, frozen=True, tag=True):
    """Run a stage, or what is left of it.

    Attributes
    ----------
    job : Job
    allowed, max_workers : int
        Bytes of all processes of the run together, and tasks at a time.
    parent_bytes : int
        What the parent holds of them.
    """

    job: Job
    allowed: int
    max_workers: int
    parent_bytes: int


Order = Load | Run
STOP = "stop"
"""Asks the process to end soon."""

_decoder: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)


def to_line(order: Order) -> str:
    """An order as a line of JSON."""
    return msgspec.json.encode(order).decode() + "\n"


def from_line(line: str) -> Order:
    """The order that such a line gives."""
    return _decoder.decode(line)
