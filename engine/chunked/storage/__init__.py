"""Where files are and how they get there: a disk of this machine, or a store that fsspec knows."""

from __future__ import annotations

import os
from pathlib import Path

from engine.chunked.errors import UsageError, without_credentials
from engine.chunked.storage.base import Listed, Location, is_plain
from engine.chunked.storage.local import Local
from engine.chunked.storage.remote import Remote

__all__ = ["Listed", "Local", "Location", "Place", "Remote", "is_plain", "locate", "on_this_machine"]

Place = str | os.PathLike[str] | Location
"""What a user names a location by: a path, or a URL such as ``s3://bucket/folder``."""


# Whose URLs begin with the name of a bucket.
_STORES = ("s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "oss")


def locate(where: Place) -> Location:
    """Turn what a user wrote into a location; ``file://`` is a path, too.

    Raises
    ------
    UsageError
        Where it is neither a path nor a URL.
    """
    if isinstance(where, Local | Remote):
        return where
    text = os.fspath(where) if isinstance(where, str | os.PathLike) else None
    if not isinstance(text, str):
        raise UsageError(f"{where!r} is no place: give a path or a URL as text")
    _refuse_empty(text)
    _refuse_nameless(text)
    if text.startswith("file://"):
        return _from_here(Local(text.removeprefix("file://")))
    return Remote(text.rstrip("/")) if "://" in text else _from_here(Local(text))


def _refuse_empty(text: str) -> None:
    """Refuse what would stand for the current folder, though somebody meant another."""
    if not text.removeprefix("file://").strip():
        raise UsageError("an empty path: name a file or a folder ('.' is this one); is a shell variable not set?")


def _refuse_nameless(text: str) -> None:
    """Refuse a URL that names no bucket, or no server: a library for it would read something else into it."""
    scheme, found, rest = text.partition("://")
    of_server = scheme in ("http", "https")
    if (
        scheme != "file"
        and found
        and (not rest.strip("/") or (rest.startswith("/") and (of_server or scheme in _STORES)))
    ):
        what = "server" if of_server else "bucket"
        raise UsageError(f"{text} names no {what}: give a path, or a URL such as s3://bucket/folder")


def _from_here(path: Local) -> Local:
    """The same path without ``..``: what is below where we stand is named from here, all else whole."""
    if os.pardir not in path.parts:
        return path
    whole, here = path.absolute(), Path.cwd()
    return Local(whole.relative_to(here)) if whole.is_relative_to(here) else whole


def on_this_machine(where: str | os.PathLike[str]) -> Path:
    """Turn what a user wrote into a path, where only a disk of this machine will do.

    Raises
    ------
    UsageError
        Where it is a URL: as a path it would be a folder of that name.
    """
    text = os.fspath(where).removeprefix("file://")
    _refuse_empty(text)
    if "://" in text:
        shown = without_credentials(text)
        raise UsageError(f"{shown}: a URL, where a path of this machine is needed: name one, and copy it from there")
    return Path(_from_here(Local(text)))
