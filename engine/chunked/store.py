"""Where a stage's files live, and how they get there: whole, checked, and in the end durable.

A task writes into a scratch folder. Committing hashes each file and hands it to the stage's folder, which takes it over
whole (`engine.chunked.storage.base.Location.adopt`). A killed process leaves either the old state or leftovers in
scratch, never half a file under a final name. What a stage leaves is flushed when it is complete.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec

from engine.chunked.errors import DamagedError, EngineError
from engine.chunked.storage import Local, Location, Place, is_plain, locate

RECORDS = "records"
# Among the records, but under no name that one may have: what a run has read.
READ = "read"


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
        self.root = locate(root).enclosed()

    def path(self, name: str) -> Location:
        """Where a committed file is.

        Raises
        ------
        DamagedError
            Where the name is none, or stands for another: it would be the folder itself, or somebody else's file.
        """
        if not is_plain(name):
            raise DamagedError(f"{self.root}: {name[:200]!r} is no name of a file in there")
        return self.root / name

    def new_scratch(self, task_id: str) -> Path:
        """Make an empty scratch folder for a task, another at every call: two processes may be at the same task."""
        return self.root.new_scratch(f"{task_id}.{secrets.token_hex(4)}")

    def commit(self, scratch: Path) -> list[FileEntry]:
        """Move every file below ``scratch`` to its final name; until `flush`, a power cut may damage it.

        Returns
        -------
        list of FileEntry
            What was committed, sorted by name.

        Raises
        ------
        EngineError
            Where a task has left anything but files and folders.
        """
        sources = {path.relative_to(scratch).as_posix(): path for path in sorted(_files_below(scratch))}
        entries = [FileEntry(name, path.stat().st_size, Local(path).digest()) for name, path in sources.items()]
        self.root.adopt(sources, durable=False)
        self.root.clear_scratch(scratch.name)
        return entries

    def flush(self, records: Iterable[str], entries: Iterable[FileEntry]) -> None:
        """Let committed files and records of tasks outlive a power cut."""
        self.root.flush_below([*(entry.path for entry in entries), *(f"{RECORDS}/{task}.json" for task in records)])

    def remove(self, entries: Iterable[FileEntry]) -> None:
        """Delete committed files, those already gone included."""
        for entry in entries:
            self.path(entry.path).remove()

    def keep_only(self, names: Iterable[str]) -> None:
        """Remove every file but the named ones and the records."""
        keep = set(names)
        for name in self.root.sizes():
            if name not in keep and not is_record(name):
                self.path(name).remove()

    def sweep(self) -> None:
        """Remove what killed tasks left behind."""
        self.root.clear_scratch()
        (self.root / RECORDS).sweep()


def is_record(name: str) -> bool:
    """Whether a file of a stage's folder is what belongs among the records, or half of it (which `sweep` removes)."""
    folder, _, record = name.rpartition("/")
    return folder == RECORDS and (record == READ or record.endswith((".json", ".tmp")))


def _files_below(scratch: Path) -> list[Path]:
    """All files a task has left."""
    found = [Path(folder, name) for folder, folders, names in os.walk(scratch) for name in (*folders, *names)]
    kinds = {path: path.lstat().st_mode for path in found}
    for path, kind in kinds.items():
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise EngineError(f"{path}: a task leaves files and folders, no links and nothing else: mend the stage")
    return [path for path, kind in kinds.items() if stat.S_ISREG(kind)]
