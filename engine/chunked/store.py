"""Where a stage's files live, and how they get there: whole, durable, and checked.

A task writes into a scratch folder. Committing moves each file to its place: flush to disk, hash,
rename, flush the folder. A crash leaves either the old state or leftovers in scratch, never half a file
under a final name. Where the stage's folder is in a store, scratch is on a local disk, and committing puts each
file as an object, which is there whole or not at all.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec

from engine.chunked.storage import staging
from engine.chunked.storage.files import fsync_path, remove, sha256_file, sweep_unfinished
from engine.chunked.storage.location import Location, Remote, sizes_below

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
    root : Path or Remote
        Where it is; made when first written to.
    """

    def __init__(self, root: Location) -> None:
        self.root = root

    def path(self, name: str) -> Location:
        """Where a committed file is."""
        return self.root / name

    def new_scratch(self, task_id: str) -> Path:
        """Make an empty scratch folder for a task, another at every call: two processes may be at the same task."""
        above = staging.folder() / self.root.name if isinstance(self.root, Remote) else self.root
        scratch = above / SCRATCH / f"{task_id}.{secrets.token_hex(4)}"
        scratch.mkdir(parents=True)
        return scratch

    def commit(self, scratch: Path) -> list[FileEntry]:
        """Move every file below ``scratch`` to its final name, durably.

        Returns
        -------
        list of FileEntry
            What was committed, sorted by name.
        """
        sources = sorted(path for path in scratch.rglob("*") if path.is_file())
        if isinstance(self.root, Remote):
            entries = [self._put(self.root, scratch, source) for source in sources]
        else:
            entries = self._move(self.root, scratch, sources)
        shutil.rmtree(scratch)
        return entries

    @staticmethod
    def _put(root: Remote, scratch: Path, source: Path) -> FileEntry:
        """Upload one file."""
        name = source.relative_to(scratch).as_posix()
        (root / name).upload(source)
        return FileEntry(name, source.stat().st_size, sha256_file(source))

    def _move(self, root: Path, scratch: Path, sources: Iterable[Path]) -> list[FileEntry]:
        """Move files of the same disk, and flush every folder whose list of names that changes."""
        entries = []
        folders: set[Path] = set()
        for source in sources:
            name = source.relative_to(scratch)
            target = root / name
            folders.update(self._make_folders(root, target.parent))
            fsync_path(source)
            entries.append(FileEntry(name.as_posix(), source.stat().st_size, sha256_file(source)))
            if target.is_dir():
                remove(target)  # something else's folder; a file is replaced in one step
            source.replace(target)
        for folder in sorted(folders, reverse=True):
            fsync_path(folder)
        return entries

    @staticmethod
    def _make_folders(root: Path, folder: Path) -> list[Path]:
        """Make a folder of the stage; return all folders whose list of names a commit may change."""
        folder.mkdir(parents=True, exist_ok=True)
        chain = [folder, *folder.parents]
        return chain[: chain.index(root) + 1]

    def remove(self, entries: Iterable[FileEntry]) -> None:
        """Delete committed files, those already gone included."""
        for entry in entries:
            remove(self.path(entry.path))

    def keep_only(self, names: Iterable[str]) -> None:
        """Remove every file but the named ones and the records."""
        keep = set(names)
        for name in sizes_below(self.root):
            if name not in keep and not name.startswith(f"{RECORDS}/"):
                self.path(name).unlink()

    def sweep(self) -> None:
        """Remove what killed tasks left behind."""
        if isinstance(self.root, Path):
            shutil.rmtree(self.root / SCRATCH, ignore_errors=True)
        sweep_unfinished(self.root / RECORDS)
