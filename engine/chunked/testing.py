"""What every storage and every executor must pass, for tests of new ones.

Inherit from a contract, give it what it asks for, and let pytest collect the class::

    class TestMyStorage(StorageContract):
        @pytest.fixture
        def place(self, tmp_path):
            return MyPlace(tmp_path)

Nothing in here imports pytest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec

from engine.chunked.budget import MIB, Cost
from engine.chunked.errors import DamagedError, EngineError, LockedError, UsageError
from engine.chunked.events import Event, TaskBegan, TaskEnded, WorkerEnded, WorkerEvent, WorkerReady, ignore
from engine.chunked.executors.base import Executor
from engine.chunked.journal import Journal, Record
from engine.chunked.pipeline import Inputs, Job, Known, Pipeline, Step, job
from engine.chunked.storage import Location, locate
from engine.chunked.storage.base import SMALL
from engine.chunked.store import FileEntry, StageStore
from engine.chunked.task import Costs, Planned, Round, TaskContext

E = TypeVar("E", bound=BaseException)


def raised(kind: type[E], call: Callable[[], object]) -> E:
    """The error of a kind that a call ends with.

    Raises
    ------
    AssertionError
        Where it does not.
    """
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def commit(place: Location, task: str, files: Mapping[str, bytes]) -> list[FileEntry]:
    """Commit files as a task does, and record it."""
    store = StageStore(place)
    scratch = store.new_scratch(task)
    for name, content in files.items():
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).write_bytes(content)
    entries = store.commit(scratch)
    Journal(place).write(Record(task, entries))
    return entries


class StorageContract:
    """A storage passes where all of these do; ``place`` is an empty folder of it, another for every test."""

    def test_small_files_are_put_whole_and_read(self, place: Location) -> None:
        """A file is the old one or the new one."""
        file = place / "folder" / "file.tar.gz"
        assert (file.exists(), file.is_file(), file.is_dir()) == (False, False, False)
        raised(FileNotFoundError, file.read_bytes)
        for content in (b"one", b"another", b""):
            file.put(content)
            assert file.read_bytes() == content
        file.put("ä".encode())
        assert file.read_text() == "ä"
        assert (file.exists(), file.is_file(), file.is_dir()) == (True, True, False)
        assert (file.parent.exists(), file.parent.is_file(), file.parent.is_dir()) == (True, False, True)

    def test_places_have_names(self, place: Location) -> None:
        """As paths have."""
        file = place / "folder" / "file.tar.gz"
        assert (file.name, file.stem, file.suffixes) == ("file.tar.gz", "file.tar", [".tar", ".gz"])
        assert (str(file.parent), file.parent.name) == (str(place / "folder"), "folder")
        assert str(file.absolute()).endswith("/folder/file.tar.gz")
        assert str(locate(str(file))) == str(file)

    def test_folders_tell_what_is_in_them(self, place: Location) -> None:
        """Names, and sizes of all below."""
        assert (place.names(), place.sizes()) == ([], {})
        for name in ("x", "folder/y", "folder/deep/z", "folder-2/y"):
            (place / name).put(name.encode())
        assert place.names() == ["folder", "folder-2", "x"]
        assert (place / "folder").sizes() == {"y": 8, "deep/z": 13}
        assert (place / "nothing").names() == []
        listed = (place / "folder").lister()
        assert listed("deep/z").size == 13
        raised(FileNotFoundError, lambda: listed("none"))

    def test_another_content_has_another_version(self, place: Location) -> None:
        """Where the store has versions; the same content may keep its."""
        versions = []
        for content in (b"a", b"b"):
            (place / "folder/x").put(content)
            versions.append((place / "folder").lister()("x").version)
        assert versions[0] != versions[1] or versions == ["", ""]

    def test_files_and_folders_go(self, place: Location) -> None:
        """With all below, and nothing else."""
        for name in ("x", "folder/y", "folder/deep/z", "folder-2/y"):
            (place / name).put(b"1")
        for _ in range(2):
            (place / "folder").remove()
            (place / "x").remove()
        assert place.sizes() == {"folder-2/y": 1}

    def test_names_are_no_patterns(self, place: Location) -> None:
        """What has signs in its name goes alone."""
        for name in ("a[1]/x[1]", "a[1]/x1", "a1/x1", "x1", "x[1]"):
            (place / name).put(b"1")
        (place / "x[1]").remove()
        (place / "a[1]" / "x[1]").remove()
        assert place.sizes() == {"a[1]/x1": 1, "a1/x1": 1, "x1": 1}
        assert ((place / "a[1]").names(), (place / "a[1]" / "x1").is_file()) == (["x1"], True)
        (place / "a[1]").remove()
        assert place.sizes() == {"a1/x1": 1, "x1": 1}

    def test_nothing_leads_out_of_an_enclosed_folder(self, place: Location) -> None:
        """A name is that of something in it."""
        (place / "outside").put(b"precious")
        inside = (place / "inside").enclosed()
        for name in ("../outside", "/outside", "x/../../outside", "..", "a\0b"):
            raised(DamagedError, partial(inside.__truediv__, name))
            raised(DamagedError, partial((inside / "below").__truediv__, name))
        (inside / "x" / "y").put(b"1")
        assert inside.sizes() == {"x/y": 1}
        inside.refuse_links()
        root, name = (inside / "x" / "y").absolute().enclosure()
        assert (locate(root).enclosed() / name).read_bytes() == b"1"
        assert inside.enclosed() == inside
        assert str((inside / "x").parent) == str(inside)

    def test_a_file_too_large_to_be_read_at_once_is_not(self, place: Location) -> None:
        """Nor is it put."""
        raised(EngineError, lambda: (place / "file").put(bytes(SMALL + 1)))
        (place / "file").put(b"1")
        assert (place / "file").read_bytes() == b"1"

    def test_a_range_of_a_file_is_read(self, place: Location) -> None:
        """Up to its end, if that is before."""
        file = place / "file"
        raised(FileNotFoundError, lambda: file.read_range(0, 1))
        file.put(b"abcdef")
        found = [file.read_range(*bounds) for bounds in ((0, 6), (2, 4), (4, 9), (3, 3), (6, 9), (8, 9))]
        assert found == [b"abcdef", b"cd", b"ef", b"", b"", b""]

    def test_scratch_is_made_and_cleared(self, place: Location) -> None:
        """One folder or all."""
        made = [place.new_scratch(name) for name in ("a.1", "b.1")]
        assert all(folder.is_dir() and not list(folder.iterdir()) for folder in made)
        (made[0] / "deep").mkdir()
        place.clear_scratch("a.1")
        assert [folder.exists() for folder in made] == [False, True]
        place.clear_scratch("b.1")
        place.clear_scratch()
        assert not made[1].exists()

    def test_content_is_identified(self, place: Location) -> None:
        """By a digest, and by a state that changes with every writing."""
        file = place / "file"
        file.put(b"abc")
        before = file.state()
        assert before[0] == 3
        assert file.state() == before
        assert file.digest() == file.digest(3) == hashlib.sha256(b"abc").hexdigest()
        file.put(b"abd")
        assert file.state() != before

    def test_a_local_file_has_the_content(self, place: Location) -> None:
        """The present one."""
        file = place / "file"
        raised(FileNotFoundError, lambda: file.local().read_bytes())
        for content in (b"one", b"two"):
            file.put(content)
            assert file.local().read_bytes() == content
            assert file.local().name == "file"
        assert file.copied_bytes in (0, 3)
        assert place.disk.is_dir()

    def test_a_commit_leaves_files_where_they_belong(self, place: Location) -> None:
        """Whole, in place of what was there, and scratch is empty again."""
        (place / "taken").put(b"old")
        files = {"folder/x": b"abc", "taken": b"new", "y": b""}
        entries = commit(place, "a.00000", files)
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        assert entries == [FileEntry(name, len(content), digests[name]) for name, content in files.items()]
        assert (place / "taken").read_bytes() == b"new"
        assert not list(place.scratch().glob("*"))
        journal = Journal(place)
        assert (journal.task_ids(), journal.damaged(), journal.strays()) == (["a.00000"], {}, [])

    def test_what_stands_where_a_folder_belongs_keeps_nothing_out(self, place: Location) -> None:
        """It is damage, whoever makes the folder: who puts, commits, makes scratch. Where it must stay, it is told."""
        inside = place.enclosed()
        for name in ("records", "folder", "stage"):
            (inside / name).put(b"no folder")
        try:
            commit(inside, "a.00000", {"folder/deep/x": b"abc"})
        except EngineError:
            told = raised(EngineError, lambda: (inside / "stage" / "y").put(b"1"))
            assert "remove that, then run again" in str(told)
            return
        commit(inside / "stage", "a.00000", {"y": b"abc"})
        for stage in (inside, inside / "stage"):
            assert (Journal(stage).task_ids(), Journal(stage).damaged()) == (["a.00000"], {})
        assert (inside / "folder").names() == ["deep"]

    def test_damage_is_found(self, place: Location) -> None:
        """Of content, of size, and files that are gone."""
        commit(place, "a.00000", {"x": b"abc", "y": b"abc", "z": b"abc"})
        journal = Journal(place)
        for name, content, fault in (("x", b"abd", "content altered"), ("y", b"ab", "2 bytes"), ("z", None, "No such")):
            (place / name).remove()
            if content is not None:
                (place / name).put(content)
            assert fault in journal.damaged()["a.00000"]
            (place / name).put(b"abc")
        journal.forget("a.00000")
        assert not journal.done("a.00000")

    def test_killed_tasks_leave_nothing(self, place: Location) -> None:
        """After a sweep."""
        commit(place, "a.00000", {"keep": b"1"})
        (place / "stray").put(b"2")
        store = StageStore(place)
        (store.new_scratch("b.00000") / "half").write_bytes(b"")
        store.sweep()
        store.keep_only(["keep"])
        assert sorted(place.sizes()) == ["keep", "records/a.00000.json"]

    def test_one_holder_at_a_time(self, place: Location) -> None:
        """Who is named to the others."""
        place.make()
        lock = place / "lock"
        assert lock.holder() is None
        with lock.hold():
            assert (lock.holder() or {})["pid"] == os.getpid()
            assert str(os.getpid()) in str(raised(LockedError, lambda: lock.hold().__enter__()))
        assert lock.holder() is None


class Squares:
    """A stage: ``squares`` leaves one file a task (temporary), ``total`` the sum.

    A task whose name the details have as ``fails`` raises a UsageError; as ``crashes``, something unforeseen.
    """

    def __init__(self, inputs: Inputs[Mapping[str, Any]]) -> None:
        self._inputs = inputs
        self._n: int = inputs.params["n"]

    @staticmethod
    def plan(known: Known) -> Costs:
        """A MiB a task."""
        cost = Cost(task=MIB, row=MIB, max_rows=2)
        return Costs({"squares": Planned(known.params["n"], cost), "total": Planned(1, cost)})

    def rounds(self) -> Iterator[Round]:
        """See `engine.chunked.task.Stage`."""
        plan = self._inputs.plan()
        yield Round("squares", plan["squares"], self._square, until="total")
        yield Round("total", plan["total"], self._total, load=lambda: self._n)

    def _begin(self, task: str) -> None:
        details = self._inputs.details
        if details.get("fails") == task:
            raise UsageError(f"{task}: no good, bring another")
        if details.get("crashes") == task:
            raise ZeroDivisionError(task)

    def _square(self, index: int, context: TaskContext) -> dict[str, int]:
        self._begin(f"squares.{index:05d}")
        (context.scratch / f"{index}.txt").write_text(str(index**2))
        return {"square": index**2}

    def _total(self, index: int, context: TaskContext) -> dict[str, int]:
        self._begin("total.00000")
        squares = [int(self._inputs.own.path(f"{i}.txt").read_text()) for i in range(context.shared)]
        (context.scratch / "total.txt").write_text(str(sum(squares)))
        return {"total": sum(squares)}


def squares(root: Location, n: int = 5, **details: str) -> Job:
    """The stage in a folder of one's own choosing, as a job."""
    pipeline = Pipeline("squares", [Step("squares", Squares, params={"n": n})], details)
    return job(pipeline, pipeline.steps[0], {"squares": root})


class ExecutorContract:
    """An executor passes where all of these do.

    ``executor`` is ready and allowed 256 MiB or more, ``root`` a folder for a stage that it can reach.
    """

    def test_it_says_what_it_has(self, executor: Executor) -> None:
        """Sizes and numbers are more than nothing."""
        assert executor.allowed >= 256 * MIB
        assert executor.processes >= 1
        assert executor.max_workers >= 1

    def test_reserved_memory_is_tried_out(self, executor: Executor, root: Location) -> None:
        """More than Python alone, less than what is allowed; a stage that is not found is told."""
        stage = squares(root).stage
        reserved = executor.reserved_bytes([stage, stage], root)
        assert len(reserved) == 2
        assert all(4 * MIB < each < executor.allowed for each in reserved)

    def test_a_stage_runs_and_tells(self, executor: Executor, root: Location) -> None:
        """Every task begins and ends once, and the stage is finished."""
        events: list[Event] = []
        executor.run(squares(root), events.append)
        told = [event for event in events if isinstance(event, WorkerEvent)]
        assert isinstance(told[0], WorkerReady)
        assert isinstance(told[-1], WorkerEnded)
        ended = [event.task for event in told if isinstance(event, TaskEnded)]
        assert sorted(ended) == [*(f"squares.{i:05d}" for i in range(5)), "total.00000"]
        begun = [event.task for event in told if isinstance(event, TaskBegan)]
        assert not begun or sorted(begun) == sorted(ended)
        assert 4 * MIB < told[-1].measured <= executor.allowed
        assert Journal(root).finished()
        assert Journal(root).result("total.00000") == {"total": 30}
        assert sorted(name for name in root.sizes() if not name.startswith("records/")) == ["total.txt"]

    def test_what_is_done_is_not_done_again(self, executor: Executor, root: Location) -> None:
        """After a run that ended early, too."""
        executor.run(_upto(squares(root), "squares"), ignore)
        executor.run(squares(root), ignore)
        events: list[Event] = []
        executor.run(squares(root), events.append)
        assert not [event for event in events if isinstance(event, TaskEnded)]

    def test_a_user_is_told_what_to_mend(self, executor: Executor, root: Location) -> None:
        """The error is of the kind the task raised; what was done before stays."""
        asked = squares(root, fails="total.00000")
        error = raised(UsageError, lambda: executor.run(asked, ignore))
        assert str(error) == "total.00000: no good, bring another"
        assert Journal(root).done("squares.00004")
        executor.run(squares(root), ignore)
        assert Journal(root).finished()

    def test_a_fault_of_the_program_is_told_with_its_trace(self, executor: Executor, root: Location) -> None:
        """And which stage it was in."""
        asked = squares(root, crashes="squares.00002")
        message = str(raised(EngineError, lambda: executor.run(asked, ignore)))
        assert "stage squares failed; this is a fault of the program" in message
        assert "ZeroDivisionError: squares.00002" in message

    def test_memory_is_told(self, executor: Executor, root: Location) -> None:
        """Of the process that uses most."""
        executor.run(squares(root), ignore)
        assert executor.bytes_in_use() >= 0


def _upto(asked: Job, round_name: str) -> Job:
    """The same job, left after a round."""
    return msgspec.structs.replace(asked, upto=round_name)
