"""A pipeline in somebody's own file is run as the recommender's is: found, planned, refused, resumed, explained."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import chunked
from engine.chunked.budget import MIB
from engine.chunked.events import Event, Explained, StageBegan, StageSkipped, TaskEnded
from engine.chunked.loop import run_beside
from engine.chunked.planning import table
from engine.chunked.references import refer
from engine.chunked.testing import raised
from tests.support.toy import toy_pipeline

STAGES = '''
from engine import chunked

class Words:
    """Counts words of a text, one task a line; then adds up."""

    def __init__(self, inputs):
        self.inputs = inputs

    @staticmethod
    def plan(known):
        cost = chunked.Cost(task=2**20)
        lines = chunked.Planned(len(known.params["text"].splitlines()), cost)
        return chunked.Costs({"lines": lines, "sum": chunked.Planned(1, cost)})

    def rounds(self):
        plan = self.inputs.plan()
        yield chunked.Round("lines", plan["lines"], self.count, until="sum")
        yield chunked.Round("sum", plan["sum"], self.add)

    def count(self, index, context):
        words = len(self.inputs.params["text"].splitlines()[index].split())
        (context.scratch / f"{index}.txt").write_text(str(words))

    def add(self, index, context):
        n = self.inputs.plan()["lines"].n_tasks
        return {"words": sum(int(self.inputs.own.path(f"{i}.txt").read_text()) for i in range(n))}
'''
RUN = """
import sys
pipeline = chunked.Pipeline("words", [chunked.Step("words", Words, params={"text": "a b c\\nd e\\n"})])
def main():
    result = chunked.run(pipeline, sys.argv[1], memory="200MiB")
    print(result.committed("words").result("sum.00000")["words"])
"""
GUARD = '\nif __name__ == "__main__":\n    main()\n'


def start(*arguments: object, cwd: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True)


def test_stages_of_the_script_that_is_run_are_found(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(STAGES + RUN + GUARD)
    for _ in range(2):  # the second time nothing is left to do
        ran = start("words.py", "w", cwd=tmp_path)
        assert (ran.stdout, ran.stderr) == ("5\n", "")


@pytest.mark.parametrize("arguments", [("main.py",), ("-m", "main"), ("-m", "package.main")])
def test_stages_of_a_module_beside_the_script_are_found(arguments: tuple[str, ...], tmp_path: Path) -> None:
    # Of a name that something installed has, too: what the script imports is what the stage's process imports.
    for folder in (tmp_path, tmp_path / "package"):
        folder.mkdir(exist_ok=True)
        (folder / "tests.py").write_text(STAGES)
        (folder / "main.py").write_text("from engine import chunked\nfrom tests import Words\n" + RUN + GUARD)
    ran = start(*arguments, "w", cwd=tmp_path)
    assert (ran.stdout, ran.stderr) == ("5\n", "")


def test_a_script_without_a_guard_is_told_in_one_sentence(tmp_path: Path) -> None:
    for run_ in (RUN, RUN.replace("sys.argv[1]", "'w'")):  # stopped where it is loaded, and where it begins a run
        (tmp_path / "words.py").write_text(STAGES + run_ + "\nmain()\n")
        ran = start("words.py", "w", cwd=tmp_path)
        assert ran.returncode == 1
        assert ran.stderr.strip().splitlines()[-1].endswith('put what begins the run under if __name__ == "__main__":')
        assert ran.stderr.count("Traceback") == 1  # this process's own, which nobody has caught


def test_stages_that_no_other_process_finds_are_refused_in_one_sentence(tmp_path: Path) -> None:
    for ran in (
        start("-c", STAGES + RUN + GUARD, "w", cwd=tmp_path),
        start("-", "w", cwd=tmp_path, stdin=STAGES + RUN + GUARD),
    ):
        assert ran.stderr.strip().splitlines()[-1] == (
            "engine.chunked.errors.UsageError: Words is defined at a prompt or in a notebook, where other processes "
            "cannot find it: write it into a file, such as stages.py, and import it from there"
        )

    class Local:
        pass

    assert "move it to the top of its module" in str(raised(chunked.UsageError, lambda: refer(Local)))
    assert "no name" in str(raised(chunked.UsageError, lambda: refer(3)))
    assert "'module:name'" in str(raised(chunked.UsageError, lambda: refer("words")))
    assert "no module nowhere.words" in str(raised(chunked.UsageError, lambda: refer("nowhere.words:Words")))


@pytest.mark.parametrize("begin", ["run", "plan"])
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("import no_such_lib", r"ModuleNotFoundError: No module named 'no_such_lib', in {}, line 3"),
        ("raise SystemExit(3)", r"SystemExit: 3, in {}, line 3"),
        ("x = = 3", r"SyntaxError: invalid syntax \(words\.py, line 3\)"),
        ("Words = None\nraise UsageError('no words: bring some')", None),
    ],
)
def test_a_stage_that_cannot_be_loaded_elsewhere_is_told_with_its_fault(
    fault: str, told: str | None, begin: str, tmp_path: Path
) -> None:
    """In whichever process it is tried out first; and what a module says to its user is what he is told."""
    # Whoever begins the run has loaded the file as it was before.
    (tmp_path / "words.py").write_text("from engine.chunked import UsageError\n" + STAGES)
    (tmp_path / "main.py").write_text(
        "from engine import chunked\nfrom words import Words\n"
        + RUN.replace("chunked.run", f"chunked.{begin}")
        + f"""
if __name__ == "__main__":
    open("words.py", "w").write("from engine.chunked import UsageError\\n\\n" + {fault!r} + "\\n")
    try:
        main()
    except chunked.EngineError as error:
        print(error)
        sys.exit(error.exit_code)
"""
    )
    ran = start("main.py", "w", cwd=tmp_path)
    if told is None:
        assert ran.stdout == "no words: bring some\n"
    else:
        where = told.format(re.escape(str(tmp_path / "words.py")))
        assert re.fullmatch(rf"words:Words cannot be loaded \({where}\): mend that, then run again\n", ran.stdout)
    assert (ran.returncode, ran.stderr) == (2, "")


def test_a_stage_whose_process_ends_says_its_last_words(tmp_path: Path) -> None:
    crash = "import ctypes, sys; print('no ink', file=sys.stderr, flush=True); ctypes.string_at(0)"
    script = STAGES.replace("        words = len(", f"        {crash}\n        words = len(")
    (tmp_path / "words.py").write_text(script + RUN + GUARD)
    ran = start("words.py", "w", cwd=tmp_path)
    assert ran.stderr.strip().endswith(
        "the process of stage words ended by signal 11 (no ink); mend that, then run again"
    )
    assert ran.stderr.startswith("no ink\n")


def run(where: Path, events: list[Event] | None = None, **resources: Any) -> chunked.RunResult:
    told = [] if events is None else events
    return chunked.run(
        toy_pipeline(where.parent / "calls", **resources.pop("toy", {})), where, on_event=told.append, **resources
    )


def tasks(events: list[Event]) -> list[str]:
    return [event.task for event in events if isinstance(event, TaskEnded)]


def test_a_parameter_that_changes_has_its_step_run_again_and_changed_back_is_found(tmp_path: Path) -> None:
    def why(n: int) -> tuple[Mapping[str, str], list[str]]:
        events: list[Event] = []
        run(tmp_path / "w", events, toy={"n": n}, memory="200MiB")
        (explained,) = (event for event in events if isinstance(event, Explained))
        return explained.why, tasks(events)

    assert why(6)[0] == {"toy": "runs, nothing of it is done"}
    explained, ran = why(7)
    assert (explained, len(ran)) == ({"toy": "runs, toy.n 6 -> 7"}, 10)
    assert why(6) == ({"toy": "skipped, done"}, [])


def test_a_run_is_planned_and_told_for_people(tmp_path: Path) -> None:
    pipeline = toy_pipeline(tmp_path / "calls")
    planned = chunked.plan(pipeline, tmp_path / "w", memory="200MiB", workers=2)
    assert planned.stages[0].rounds == {"squares": 6, "halves": 2, "total": 1}
    assert "toy" in table(planned)
    assert not list(tmp_path.glob("w/stages/*"))
    result = chunked.run(pipeline, tmp_path / "w", memory="200MiB", workers=2)
    assert 0 < result.stages[0].measured <= result.stages[0].projected <= result.allowed
    assert "toy " in chunked.describe(result)
    assert chunked.status(tmp_path / "w")["finished"]
    assert chunked.verify(tmp_path / "w") == {}
    assert chunked.clean(tmp_path / "w") == []
    assert chunked.status(tmp_path / "w")["seconds_left"] == 0
    (record,) = tmp_path.glob("w/stages/toy-*/records/total.00000*")
    record.unlink()
    left = chunked.status(tmp_path / "w")
    assert (left["stages"][0]["tasks_left"], left["seconds_left"]) == (1, None)  # nobody has said how long it takes


def test_what_does_not_fit_is_refused_with_a_budget_that_does_in_the_words_of_whoever_asks(tmp_path: Path) -> None:
    refused = raised(chunked.BudgetError, lambda: run(tmp_path / "w", memory="40MiB", toy={"cost": 90 * MIB}))
    assert refused.enough is not None
    assert str(refused).endswith(f'give the run memory="{refused.enough // MIB}MiB"')
    assert refused.told("--budget {}").endswith(f"give the run --budget {refused.enough // MIB}MiB")
    assert not list(tmp_path.glob("calls/*"))
    assert run(tmp_path / "w", memory=refused.enough, toy={"cost": 90 * MIB}).committed("toy").result("total.00000")


def test_what_a_run_may_use_is_checked_by_its_name_and_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    odd: tuple[tuple[str, Any], ...] = (
        ("workers", 0),
        ("workers", True),
        ("workers", 1.5),
        ("workers", "2"),
        ("scheduler", 3),
        ("memroy", "1GiB"),
        ("executor", 1),
    )
    for name, value in odd:
        assert name in str(raised(chunked.UsageError, partial(run, tmp_path / "w", **{name: value})))
    for size in (True, 1.5, b"1GiB", object()):
        assert "is not a size" in str(raised(chunked.UsageError, partial(run, tmp_path / "w", memory=size)))
    assert "did you mean 512MiB?" in str(raised(chunked.UsageError, partial(run, tmp_path / "w", memory=512)))
    assert "is no place" in str(raised(chunked.UsageError, lambda: chunked.status(3)))  # type: ignore[arg-type]
    assert not (tmp_path / "w").exists()
    result = run(tmp_path / "w", memory=np.int64(200 * MIB), workers=np.uint8(1))
    assert result.allowed == 200 * MIB


def test_what_a_run_left_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = chunked.run(toy_pipeline(tmp_path / "calls"), "w", memory="200MiB")
    monkeypatch.chdir("/")
    assert result.committed("toy").result("total.00000") == {"total": 55}
    assert chunked.status(result.workdir)["finished"]


def test_damage_is_mended_and_only_that(tmp_path: Path) -> None:
    result = run(tmp_path / "w", memory="200MiB")
    result.committed("toy").path("half-1.txt").write_text("7")
    assert len(chunked.verify(tmp_path / "w")) == 1
    events: list[Event] = []
    run(tmp_path / "w", events, memory="200MiB")
    assert sorted(tasks(events)) == [
        "halves.00001",
        *(f"squares.{i:05d}" for i in range(6)),
    ]


def test_a_step_beside_a_run_leaves_the_run_as_it_is(tmp_path: Path) -> None:
    pipeline = toy_pipeline(tmp_path / "calls")
    more = chunked.Pipeline("toys", [*pipeline.steps, Again.step], pipeline.details)
    refused = raised(chunked.DamagedError, lambda: run_beside(more, "again", tmp_path / "w", memory="200MiB"))
    assert "step toy is not finished" in str(refused)
    chunked.run(pipeline, tmp_path / "w", memory="200MiB")
    before = (tmp_path / "w" / "run.json").read_bytes()
    for _ in range(2):
        beside = run_beside(more, "again", tmp_path / "w", memory="200MiB")
        assert beside.committed("again").result("only.00000") == {"twice": 110}
    assert beside.stages[0].skipped
    assert (tmp_path / "w" / "run.json").read_bytes() == before
    assert [folder.stage for folder in chunked.clean(tmp_path / "w", really=True)] == ["again"]


class Again:
    """Reads the toy."""

    step = chunked.Step("again", "tests.chunked.test_strangers:Again", needs=("toy",))

    def __init__(self, inputs: chunked.Inputs[Any]) -> None:
        self.inputs = inputs

    @staticmethod
    def plan(known: chunked.Known) -> chunked.Costs:
        return chunked.Costs({"only": chunked.Planned(1, chunked.Cost(task=MIB))})

    def rounds(self) -> Any:
        yield chunked.Round("only", self.inputs.plan()["only"], self.only)

    def only(self, index: int, context: chunked.TaskContext) -> dict[str, int]:
        return {"twice": 2 * self.inputs.upstream["toy"].result("total.00000")["total"]}


def test_a_step_without_tasks_is_complete_at_once(tmp_path: Path) -> None:
    def none(known: chunked.Known) -> chunked.Costs:
        return chunked.Costs({"only": chunked.Planned(0, chunked.Cost(task=MIB))})

    toy = toy_pipeline(tmp_path)
    idle = chunked.Step("idle", Again, none, needs=("toy",))
    pipeline = replace(toy, steps=[*toy.steps, idle])
    events: list[Event] = []
    result = chunked.run(pipeline, tmp_path / "w", on_event=events.append, memory="200MiB")
    assert [event for event in events if isinstance(event, StageSkipped)] == [StageSkipped("idle", idle=True)]
    assert chunked.describe(result).splitlines()[2].split() == ["idle", "nothing", "to", "do"]
    assert chunked.plan(pipeline, tmp_path / "w", memory="200MiB").stages == []
    again = chunked.run(pipeline, tmp_path / "w", memory="200MiB")
    assert [stage.skipped for stage in again.stages] == [True, True]


def test_what_a_killed_process_left_of_a_step_without_tasks_goes(tmp_path: Path) -> None:
    idle = chunked.Step(
        "idle", Again, lambda known: chunked.Costs({"only": chunked.Planned(0, chunked.Cost(task=MIB))})
    )
    pipeline = replace(toy_pipeline(tmp_path), steps=[idle])
    chunked.run(pipeline, tmp_path / "w", memory="200MiB")
    (records,) = (tmp_path / "w").glob("stages/idle-*/records")
    (records / "stage.json").rename(records / ".stage.json.1.ab.tmp")
    chunked.run(pipeline, tmp_path / "w", memory="200MiB")
    assert [path.name for path in records.iterdir()] == ["stage.json"]


def test_pipelines_that_cannot_be_are_refused() -> None:
    def steps(*names: str, **more: Any) -> chunked.Pipeline:
        return chunked.Pipeline("p", [chunked.Step(name, Again, **more) for name in names])

    for make, problem in (
        (lambda: steps(), "has no steps"),
        (lambda: steps("a", "a"), "two steps have the name a"),
        (lambda: steps("a/../b"), "use letters, digits and _"),
        (lambda: steps("a", needs=("b",)), "a needs b, which no step before it is"),
        (lambda: steps("a", "b", survey=chunked.Survey("x", "look")), "b has a survey"),
    ):
        assert problem in str(raised(chunked.UsageError, make))


def test_what_stages_tell_is_in_order(tmp_path: Path) -> None:
    events: list[Event] = []
    run(tmp_path / "w", events, memory="200MiB")
    run(tmp_path / "w", events, memory="200MiB")
    stages = [type(event).__name__ for event in events if isinstance(event, StageBegan | StageSkipped)]
    assert stages == ["StageBegan", "StageBegan", "StageSkipped"]


def test_content_identifies_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    whole = chunked.content_of(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert chunked.content_of(tmp_path / "b") == whole
    (tmp_path / "b" / "x").rename(tmp_path / "b" / "y")
    assert chunked.content_of(tmp_path / "b") != whole
    assert "no such file" in str(raised(chunked.UsageError, lambda: chunked.content_of(tmp_path / "none")))
