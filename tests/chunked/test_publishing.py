"""The last finished run is what readers get, whatever becomes of the next, until that is complete."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest

from engine import chunked
from engine.chunked import overview, publishing, upkeep, workdir
from engine.chunked.errors import DamagedError, EngineError, UsageError
from engine.chunked.sealed import write_sealed
from engine.chunked.storage import locate
from engine.chunked.workdir import LastRun, StageEntry
from tests.support.toy import toy_pipeline

pytestmark = pytest.mark.usefixtures("here")


def run(where: Path, n: int = 6, *, keep: int | None = None, fresh: bool = False, **details: Any) -> chunked.RunResult:
    return chunked.run(
        toy_pipeline(where.parent / "calls", n, **details), where, memory="200MiB", keep=keep, fresh=fresh
    )


def finish(where: Path, reads: str, *names: str, keep: int | None = None) -> str:
    """Publish a run of the named folders, which nobody has run; return its fingerprint."""
    last = LastRun(allowed=1, workers=1, stages=[StageEntry(stage="a", folder=each, reads=[reads]) for each in names])
    for name in names:
        (where / "stages" / name).mkdir(parents=True, exist_ok=True)
    publishing.publish(where, msgspec.structs.replace(last, figures="x"), {"names": list(names)}, keep)
    return publishing.names(where)[0]


def there(where: Path) -> set[str]:
    return {path.name for path in (where / "stages").iterdir()}


@pytest.fixture
def where(tmp_path: Path) -> Path:
    workdir.make(tmp_path / "w")
    return tmp_path / "w"


def test_a_finished_run_stays_until_the_next_is_complete(tmp_path: Path) -> None:
    where = tmp_path / "w"
    with pytest.raises(EngineError, match="bug"):
        run(where, trouble={"total.00000": "crash"})
    with pytest.raises(UsageError, match="not finished, and there is none before it; run it again"):
        publishing.opened(where)
    run(where)
    first = publishing.opened(where)
    assert first.metrics == {}
    with pytest.raises(EngineError, match="bug"):
        run(where, 8, trouble={"total.00000": "crash"})
    assert publishing.opened(where) == first
    found = overview.status(where)
    assert (found["finished"], found["published"]) == (False, True)
    assert {stage["folder"]: (stage["used"], stage["kept"]) for stage in found["stages"]} == {
        first.run.stages[0].folder: (False, True),
        workdir.last_run(where).stages[0].folder: (True, False),  # type: ignore[union-attr]
    }
    told = overview.describe(found)
    assert "unfinished, the run before it answers" in told
    (line,) = [each for each in told.splitlines() if first.run.stages[0].folder in each]
    assert line.split()[1] == "earlier"
    assert "\n  earlier: of an earlier finished run" in told
    assert "unused" not in told
    assert upkeep.clean(where, really=True) == []
    assert upkeep.verify(where) == {}
    run(where, 8)
    second = publishing.opened(where)
    assert second.run.folders.isdisjoint(first.run.folders)
    assert [folder.path.name for folder in upkeep.clean(where, really=True)] == list(first.run.folders)
    assert publishing.names(where) == [second.fingerprint]
    assert [path.stem for path in (where / "finished").iterdir()] == [second.fingerprint]


def test_to_start_over_takes_back_what_it_removes_and_nothing_else(tmp_path: Path) -> None:
    where = tmp_path / "w"
    run(where)
    run(where, 8)
    with pytest.raises(EngineError, match="bug"):
        run(where, 8, fresh=True, trouble={"total.00000": "crash"})
    assert publishing.opened(where).run.stages[0].params == {"n": 6}
    with pytest.raises(EngineError, match="bug"):
        run(where, 6, fresh=True, trouble={"total.00000": "crash"})
    with pytest.raises(UsageError, match="not finished"):
        publishing.opened(where)


def test_by_default_runs_of_the_same_stay_and_the_last_of_something_else(where: Path) -> None:
    old = finish(where, "monday", "a-1", "b-1")
    assert finish(where, "tuesday", "a-2", "b-2") != old
    finish(where, "tuesday", "a-2", "b-3")
    finish(where, "tuesday", "a-2", "b-2")
    assert there(where) == {"a-1", "b-1", "a-2", "b-2", "b-3"}
    newest = finish(where, "wednesday", "a-3", "b-4")
    assert there(where) == {"a-2", "b-2", "a-3", "b-4"}
    assert publishing.newest(where).fingerprint == newest  # type: ignore[union-attr]


def test_as_many_runs_stay_as_are_to_be_kept(where: Path) -> None:
    finish(where, "monday", "a-1", "b-1")
    finish(where, "monday", "a-1", "b-2", keep=2)
    (where / "stages" / "c-9").mkdir()  # of no finished run: stays until it is cleaned
    assert there(where) == {"a-1", "b-1", "b-2", "c-9"}
    finish(where, "monday", "a-1", "b-3", keep=2)
    assert there(where) == {"a-1", "b-2", "b-3", "c-9"}
    finish(where, "monday", "a-1", "b-3", keep=1)
    assert there(where) == {"a-1", "b-3", "c-9"}
    for wrong in (0, -1, 1.5, True, "2"):
        with pytest.raises(UsageError, match="runs to keep"):
            run(where, keep=wrong)  # type: ignore[arg-type]


def test_what_cannot_be_read_is_told_and_made_again(tmp_path: Path) -> None:
    where = tmp_path / "w"
    run(where)
    (entry,) = (where / "finished").iterdir()
    for path in (where / "published.json", entry):
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"0", b"1", 1))
        with pytest.raises(DamagedError, match=rf"{path.name}: altered.*the next run makes it again"):
            publishing.opened(where)
        with pytest.raises(DamagedError, match=path.name):
            upkeep.clean(where, really=True)
        assert path.name in " ".join(overview.status(where)["damaged"])
        run(where)
        assert upkeep.verify(where) == {}
        assert path.read_bytes() != b""
    (where / "published.json").unlink()
    assert list(upkeep.verify(where)) == ["published.json"]
    with pytest.raises(UsageError, match="run it once more"):
        publishing.opened(where)


def test_a_run_killed_before_it_is_published_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / "w"
    run(where)
    first = publishing.names(where)
    for function in ("write_sealed", "_name"):
        with monkeypatch.context() as patch:
            patch.setattr(publishing, function, mock.Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                run(where, 8)
        assert publishing.names(where) == first
        assert publishing.opened(where).fingerprint == first[0]
    run(where, 8)
    assert publishing.names(where) != first
    assert upkeep.verify(where) == {}


def test_names_of_finished_runs_lead_nowhere_else(where: Path) -> None:
    finish(where, "monday", "a-1")
    path = locate(where / "published.json")
    for name in ("../workdir", "/etc/passwd", ""):
        write_sealed(path, publishing._Published([name]))
        with pytest.raises(DamagedError, match=r"published\.json"):
            publishing.newest(where)
