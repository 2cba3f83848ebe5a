"""What is done: one small record for each finished task, written after everything else.

A record is the only thing that says done. It names the files the task owns, with sizes and digests, so
that a resumed run can trust what it finds and ``verify`` can check it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.chunked.errors import DamagedError, is_short
from engine.chunked.sealed import read_sealed, write_sealed
from engine.chunked.storage import Listed, Location, Place, is_plain, locate
from engine.chunked.store import READ, RECORDS, FileEntry, is_record

Whole = Callable[[Location, Listed, FileEntry], bool]
"""Whether a file of the recorded size is what its entry says."""

STAGE_RECORD = "stage.json"


class Record(msgspec.Struct, frozen=True):
    """A finished task.

    ``stage`` is the name of the stage's folder, set when the record is written: a record under another name is none.
    ``seconds`` and ``measured`` (bytes, the process's peak when the task ended) are of the run that
    did it; everything else depends on data and configuration alone.
    """

    task: str
    files: list[FileEntry]
    result: dict[str, Any] = {}
    seconds: float = 0.0
    measured: int = 0
    stage: str = ""


class _ReadFiles(msgspec.Struct, frozen=True):
    """Files that a run has read and found whole, by name: the store's version of each, and its digest."""

    files: dict[str, tuple[str, str]]


class StageRecord(msgspec.Struct, frozen=True):
    """A finished stage: the tasks whose records make it up, temporary ones excluded."""

    tasks: list[str]


def fingerprint(name: str, version: int, params: Mapping[str, Any], upstream: Sequence[str]) -> str:
    """Identify a stage's output by everything that determines it.

    Parameters
    ----------
    name, version : str, int
        The stage, and the version of its output format.
    params : mapping
        Its parameters, as JSON values.
    upstream : sequence of str
        Fingerprints of the stages it reads.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    identity = {"stage": name, "version": version, "params": params, "upstream": list(upstream)}
    return hashlib.sha256(msgspec.json.encode(identity, order="deterministic")).hexdigest()[:16]


class Journal:
    """The records of one stage.

    Parameters
    ----------
    root : path or URL
        The stage's folder.
    """

    def __init__(self, root: Place) -> None:
        self._root = locate(root).enclosed()
        self._folder = self._root / RECORDS

    def _path(self, task_id: str) -> Location:
        return self._folder / f"{task_id}.json"

    def done(self, task_id: str) -> bool:
        """Whether a task is finished."""
        return self._path(task_id).exists()

    def read(self, task_id: str) -> Record:
        """Read the record of a finished task.

        Raises
        ------
        DamagedError
            Where the record is missing, is no record, is that of another task, or names a file elsewhere.
        """
        record = read_sealed(self._path(task_id), Record)
        if (record.task, record.stage) != (task_id, self._root.name):
            raise DamagedError(f"{self._path(task_id)}: the record of another task; the next run makes it again")
        for entry in record.files:
            self._refuse_elsewhere(task_id, entry.path)
        return record

    def _refuse_elsewhere(self, task_id: str, name: str) -> None:
        """See that a name a record has is that of a file in the stage's folder, and no record."""
        if not is_plain(name) or name.startswith(f"{RECORDS}/"):
            raise DamagedError(f"{self._path(task_id)}: names {name[:200]!r}, which is no file of a task's")

    def write(self, record: Record) -> None:
        """Say that a task is done; its files must have been committed before. A power cut may take it back."""
        named = msgspec.structs.replace(record, stage=self._root.name)
        write_sealed(self._path(record.task), named, durable=False)

    def forget(self, task_id: str, *, durable: bool = True) -> None:
        """Take back that a task is done."""
        self._path(task_id).remove()
        if durable:
            self._folder.flush()

    def result(self, task_id: str) -> dict[str, Any]:
        """Return what a finished task returned."""
        return self.read(task_id).result

    def records(self) -> list[Record]:
        """All finished tasks, sorted by name."""
        return [self.read(name) for name in self.task_ids()]

    def task_ids(self) -> list[str]:
        """Names of all finished tasks, sorted."""
        names = (name for name in self._folder.names() if name.endswith(".json") and name != STAGE_RECORD)
        return sorted(name.removesuffix(".json") for name in names)

    def damaged(self, *, content: bool = True) -> dict[str, str]:
        """Find the tasks whose record cannot be read or whose files are not what it says.

        Parameters
        ----------
        content : bool
            Read all files and compare their digests; otherwise only their sizes.

        Returns
        -------
        dict of str to str
            What is wrong with each.
        """
        if not content:
            return self._faults(lambda path, listed, entry: True)
        return self._faults(lambda path, listed, entry: path.digest(listed.size) == entry.sha256)

    def damaged_since(self) -> dict[str, str]:
        """The same, of what is not known to be whole: files are read once where a store tells when they change.

        What is read is noted beside the records, so this is for who holds the work directory.
        """
        before, now = self._read_before(), dict[str, tuple[str, str]]()

        def whole(path: Location, listed: Listed, entry: FileEntry) -> bool:
            seen = (listed.version, entry.sha256)
            if before.get(entry.path) != seen and path.digest(listed.size) != entry.sha256:
                return False
            if listed.version:
                now[entry.path] = seen
            return True

        faults = self._faults(whole)
        if now != before:
            write_sealed(self._folder / READ, _ReadFiles(now))
        return faults

    def _read_before(self) -> dict[str, tuple[str, str]]:
        try:
            return read_sealed(self._folder / READ, _ReadFiles).files
        except DamagedError:  # it is not there, mostly
            return {}

    def _faults(self, whole: Whole) -> dict[str, str]:
        known, listed = self._tasks_of_stage(), self._root.lister()
        faults = {task_id: self._fault(task_id, known, listed, whole) for task_id in self.task_ids()}
        return {task_id: fault for task_id, fault in faults.items() if fault is not None}

    def _tasks_of_stage(self) -> list[str] | None:
        """The tasks of the complete stage; None where it is not complete, or that cannot be read."""
        try:
            return read_sealed(self._folder / STAGE_RECORD, StageRecord).tasks
        except DamagedError:
            return None

    def _fault(
        self, task_id: str, known: list[str] | None, listed: Callable[[str], Listed], whole: Whole
    ) -> str | None:
        if known is not None and task_id not in known:
            return f"{self._path(task_id)}: the stage has no such task"
        try:
            files = self.read(task_id).files
        except DamagedError as error:
            return str(error)
        for entry in files:
            path = self._root / entry.path
            try:
                found = listed(entry.path)
                if found.size != entry.bytes:
                    return f"{path}: {found.size} bytes, recorded are {entry.bytes}"
                if not whole(path, found, entry):
                    return f"{path}: content altered, its digest is not the recorded one"
            except OSError as error:
                if is_short(error):
                    raise  # which says nothing of the file
                return f"{path}: {error.strerror or error}"
            except DamagedError as error:
                return str(error)
        return None

    def finish(self, tasks: Sequence[str]) -> None:
        """Say that the stage is complete, and which tasks it consists of."""
        write_sealed(self._folder / STAGE_RECORD, StageRecord(list(tasks)))

    def finished(self) -> bool:
        """Whether the stage is complete and none of its records is missing."""
        tasks = self._tasks_of_stage()  # where unreadable, it is written again when the stage has been gone through
        return tasks is not None and set(tasks).issubset(self.task_ids())

    def strays(self) -> list[str]:
        """Files in the stage's folder that belong to no task, by name."""
        owned = {entry.path for task_id in self.task_ids() for entry in self._files(task_id)}
        return sorted({name for name in self._root.sizes() if not is_record(name)} - owned)

    def _files(self, task_id: str) -> list[FileEntry]:
        try:
            return self.read(task_id).files
        except DamagedError:
            return []

    def fault_of_stage(self, complete: bool) -> str | None:
        """What is wrong with the record of the whole stage; ``complete`` if it must be there."""
        path = self._folder / STAGE_RECORD
        if not path.exists():
            return f"{path}: missing" if complete else None
        try:
            missing = [task for task in read_sealed(path, StageRecord).tasks if not self.done(task)]
        except (DamagedError, OSError) as error:
            if is_short(error):
                raise
            return str(error)
        return f"{self._folder}: no record of task {', '.join(missing)[:200]}" if missing else None


class Committed:
    """What a stage has committed, as later rounds and stages read it.

    Parameters
    ----------
    root : path or URL
        The stage's folder.
    """

    def __init__(self, root: Place) -> None:
        self.root = locate(root).enclosed()
        self._journal = Journal(self.root)

    def path(self, name: str) -> Path:
        """Where a file is; of one in a store, where a local copy of it is."""
        return (self.root / name).local()

    def result(self, task_id: str) -> dict[str, Any]:
        """Return what a task returned."""
        return self._journal.result(task_id)

    def results(self, round_name: str) -> list[dict[str, Any]]:
        """Return what the tasks of a round returned, in order."""
        prefix = round_name + "."
        return [self._journal.result(task_id) for task_id in self._journal.task_ids() if task_id.startswith(prefix)]
