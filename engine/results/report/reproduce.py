"""The command that repeats a run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import msgspec

from engine import config
from engine.chunked.budget import GIB, KIB, MIB
from engine.config import Config, Section


def command(settings: Config, dataset: str, allowed: int | None = None) -> str:
    """The command line, for a POSIX shell.

    Parameters
    ----------
    settings : Config
        The run's configuration.
    dataset : str
        The name of the data set, where the configuration has none.
    allowed : int or None
        Bytes the run was allowed, where the configuration has no ``memory``; None: not to be told.
    """
    words = ["engine", "run", settings.dataset or dataset]
    if memory := settings.memory or (allowed and _size(allowed)):
        words += ["--memory", str(memory)]
    if settings.workdir is not None:
        words += ["--workdir", settings.workdir]
    if settings.workers is not None:
        words += ["--workers", str(settings.workers)]
    if settings.preset != Config().preset:
        words += ["--preset", settings.preset]
    if settings.test is not None:
        words += ["--test", settings.test]
    if settings.columns is not None:
        words += ["--columns", ",".join(settings.columns)]
    for name in ("separator", "titles"):
        if (value := getattr(settings, name)) is not None:
            words += [f"--{name}", value]
    if settings.data_dir != Config().data_dir:
        words += ["--data-dir", settings.data_dir]
    for key, value in changed(settings):
        words += ["--set", _assignment(key, value)]
    return shlex.join(words)


def changed(settings: Config) -> Iterator[tuple[str, Any]]:
    """Keys of the stages, such as ``neighbors.k``, that are not what the preset says, with their values."""
    usual = msgspec.to_builtins(config.load({"preset": settings.preset}))
    for name, section in msgspec.to_builtins(settings).items():
        if isinstance(getattr(settings, name), Section):
            yield from ((f"{name}.{key}", value) for key, value in section.items() if value != usual[name][key])


def _assignment(key: str, value: Any) -> str:
    """``KEY=VALUE`` as `engine.config.parse_assignment` reads it; words are bare where that is not ambiguous."""
    bare = config.parse_assignment(f"{key}={value}")
    return (
        f"{key}={value}"
        if bare == config.parse_assignment(f"{key}={json.dumps(value)}")
        else f"{key}={json.dumps(value)}"
    )


def _size(n_bytes: int) -> str:
    """Bytes exactly, in the largest unit that divides them."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if n_bytes % unit == 0:
            return f"{n_bytes // unit}{name}"
    return str(n_bytes)
