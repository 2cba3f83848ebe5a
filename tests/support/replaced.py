"""What somebody may put in the place of a file of a work directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec


def deep(path: Path) -> None:
    path.write_text("[" * 200_000 + "]" * 200_000)


def deep_object(path: Path) -> None:
    path.write_text('{"a":' * 200_000 + "1" + "}" * 200_000)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**30)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "x").write_text("x")


def socket_(path: Path) -> None:
    os.mknod(path, 0o140644)


def promise(path: Path, **altered: Any) -> None:
    """Let metadata say something else."""
    path.write_bytes(msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), **altered}))
