"""Where a stage's files live, and how they get there: whole, durable, and checked.

A task writes into a scratch folder. Committing moves each file to its place: flush to disk, hash,
rename, flush the folder. A crash leaves either the old state or leftovers in scratch, never half a file
under a final name.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec

from engine.chunked.files import fsync_path, remove, sha256_file, sweep_unfinished

SCRATCH = ".scratch"
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
    root : Path
        Where it is; made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """Where a committed file is."""
        return self.root / name

    def new_scratch(self, task_id: str) -> Path:
        """Make an empty scratch folder for a task, another at every call: two processes may be at the same task."""
        scratch = self.root / SCRATCH / f"{task_id}.{secrets.token_hex(4)}"
        scratch.mkdir(parents=True)
        return scratch

    def commit(self, scratch: Path) -> list[FileEntry]:
        """Move every file below ``scratch`` to its final name, durably.

        Returns
        -------
        list of FileEntry
            What was committed, sorted by name.
        """
        entries = []
        folders = set()
        for source in sorted(path for path in scratch.rglob("*") if path.is_file()):
            name = source.relative_to(scratch)
            target = self.root / name
            folders.update(self._make_folders(target.parent))
            fsync_path(source)
            entries.append(FileEntry(name.as_posix(), source.stat().st_size, sha256_file(source)))
            if target.is_dir():
                remove(target)  # something else's folder; a file is replaced in one step
            source.replace(target)
        for folder in sorted(folders, reverse=True):
            fsync_path(folder)
        shutil.rmtree(scratch)
        return entries

    def _make_folders(self, folder: Path) -> list[Path]:
        """Make a folder of the stage; return all folders whose list of names a commit may change."""
        folder.mkdir(parents=True, exist_ok=True)
        chain = [folder, *folder.parents]
        return chain[: chain.index(self.root) + 1]

    def remove(self, entries: Iterable[FileEntry]) -> None:
        """Delete committed files, those already gone included."""
        for entry in entries:
            remove(self.path(entry.path))

    def keep_only(self, names: Iterable[str]) -> None:
        """Remove every file but the named ones and the records."""
        keep = set(names)
        for path in self.root.rglob("*"):
            name = path.relative_to(self.root)
            if path.is_file() and name.parts[0] != RECORDS and name.as_posix() not in keep:
                path.unlink()

    def sweep(self) -> None:
        """Remove what killed tasks left behind."""
        shutil.rmtree(self.root / SCRATCH, ignore_errors=True)
        sweep_unfinished(self.root / RECORDS)
