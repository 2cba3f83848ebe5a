"""Where a stage's files live, and how they get there: whole, durable, and checked.

A task writes into a scratch folder. Committing hashes each file and hands it to the stage's folder, which takes it over
whole (`engine.chunked.storage.base.Location.adopt`). A crash leaves either the old state or leftovers in scratch, never
half a file under a final name.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec

from engine.chunked.storage import Local, Location, Place, locate

RECORDS = "records"


class FileEntry(msgspec.Struct, frozen=True):
    """One committed file: its name relative to the stage's folder, its size in bytes, its SHA-256."""

    path: str
    bytes: int
    sha256: str


class StageStore:
    """The folder of one stage.

    Parameters
    ----------
    root : path or URL
        Where it is; made when first written to.
    """

    def __init__(self, root: Place) -> None:
        self.root = locate(root)

    def path(self, name: str) -> Location:
        """Where a committed file is."""
        return self.root / name

    def new_scratch(self, task_id: str) -> Path:
        """Make an empty scratch folder for a task, another at every call: two processes may be at the same task."""
        scratch = self.root.scratch() / f"{task_id}.{secrets.token_hex(4)}"
        scratch.mkdir(parents=True)
        return scratch

    def commit(self, scratch: Path) -> list[FileEntry]:
        """Move every file below ``scratch`` to its final name, durably.

        Returns
        -------
        list of FileEntry
            What was committed, sorted by name.
        """
        paths = sorted(path for path in scratch.rglob("*") if path.is_file())
        sources = {path.relative_to(scratch).as_posix(): path for path in paths}
        entries = [FileEntry(name, path.stat().st_size, Local(path).digest()) for name, path in sources.items()]
        self.root.adopt(sources)
        shutil.rmtree(scratch)
        return entries

    def remove(self, entries: Iterable[FileEntry]) -> None:
        """Delete committed files, those already gone included."""
        for entry in entries:
            self.path(entry.path).remove()

    def keep_only(self, names: Iterable[str]) -> None:
        """Remove every file but the named ones and the records."""
        keep = set(names)
        for name in self.root.sizes():
            if name not in keep and not name.startswith(f"{RECORDS}/"):
                self.path(name).remove()

    def sweep(self) -> None:
        """Remove what killed tasks left behind."""
        self.root.clear_scratch()
        (self.root / RECORDS).sweep()
