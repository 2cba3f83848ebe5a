"""What a plan says: columns for people, bytes for programs, time from work, reasons for each stage."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from engine import estimates
from engine.chunked import overview, planning
from engine.chunked.budget import MIB, Cost
from engine.chunked.errors import BudgetError
from engine.chunked.executors.base import WorkerLimit
from engine.chunked.explain import explain
from engine.chunked.journal import Journal, Record
from engine.chunked.pipeline import Known, Pipeline
from engine.chunked.planning import RunPlan, StagePlan, refuse_misfits
from engine.chunked.storage import locate
from engine.chunked.task import Costs, Planned
from engine.chunked.workdir import LastRun, StageEntry
from engine.config import Config, load
from engine.costs import COSTS, Shapes
from engine.pipeline import steps

STAGES = [
    StagePlan(
        "one", {"a": 3, "b": 4}, 2, 4096, False, 60 * MIB, 100 * MIB, 80 * MIB, 120 * MIB, 7 * MIB, 4 * MIB, 12.0
    ),
    StagePlan("two", {"c": 1}, 1, 1, True, 60 * MIB, 90 * MIB, 70 * MIB, 90 * MIB, 5 * MIB, 5 * MIB, 1.0),
]


def test_the_table_has_every_stage_and_the_totals() -> None:
    lines = planning.table(RunPlan(STAGES, 128 * MIB, 512 * MIB)).splitlines()
    assert " ".join(lines[1].split()) == "one 7 2 4096 80 MiB 100 MiB 120 MiB 7 MiB 12"
    assert " ".join(lines[2].split()) == "two 1 1 70 MiB 90 MiB 90 MiB 5 MiB 1*"
    assert lines[3].startswith("* keeps what it reads in memory")
    assert lines[4] == "128 MiB allowed; the least that works is 88 MiB"
    assert "up to 120 MiB" in lines[5]
    assert "about 9 MiB at a time, 512 MiB free" in lines[6]
    assert "about 13 s" in lines[7]
    assert max(map(len, lines)) <= 80
    assert "what is spare" not in planning.table(RunPlan(STAGES, 20 * MIB, 512 * MIB))


def test_the_table_has_what_is_done_in_its_place() -> None:
    plan = RunPlan(
        STAGES[1:], 128 * MIB, 0, steps={"one": planning.DONE, "two": "", "three": planning.IDLE, "four": planning.DONE}
    )
    lines = planning.table(plan).splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["one", "two", "three", "four"]
    assert (lines[1].split(), lines[3].split()) == (["one", "done", "before"], ["three", "nothing", "to", "do"])
    assert lines[6].startswith("128 MiB allowed; the least that works is 80 MiB")  # of what is left
    found = planning.as_mapping(plan)
    assert (found["done"], found["idle"]) == (["one", "four"], ["three"])
    nothing = planning.table(RunPlan([], 128 * MIB, 0, steps={"one": planning.DONE, "two": planning.DONE})).splitlines()
    assert [" ".join(line.split()) for line in nothing[1:]] == [
        "one done before",
        "two done before",
        "nothing to do: every stage is done",
    ]


def test_the_table_of_rounds_says_what_each_is_made_of() -> None:
    costs = {"a": Planned(3, Cost(task=10 * MIB, shared=MIB, row=1000, max_rows=2000)), "b": Planned(1, Cost(90 * MIB))}
    stage = planning.plan_stage("one", Costs(costs), allowed=64 * MIB, reserved=40 * MIB, max_workers=2)
    head, columns, a, b = planning.rounds_table(RunPlan([stage], 64 * MIB, 0)).splitlines()
    assert head == "one: 40 MiB reserved, of 64 MiB allowed"
    assert " ".join(columns.split()) == "round tasks workers shared task row projected"
    assert " ".join(a.split()) == "a 3 2 1 MiB 10 MiB 1000 bytes 64 MiB"
    assert " ".join(b.split()) == "b 1 0 0 KiB 90 MiB 0 KiB too much"
    assert max(map(len, (columns, a, b))) <= 80


def test_programs_get_the_same_in_bytes() -> None:
    found = planning.as_mapping(RunPlan(STAGES, 128 * MIB, 512 * MIB))
    assert (found["allowed"], found["floor"], found["disk_free"]) == (128 * MIB, 88 * MIB, 512 * MIB)
    stages = found["stages"]
    assert isinstance(stages, list)
    assert stages[0]["tasks"] == 7
    assert stages[1]["cached"] is True


def test_the_table_tells_what_each_worker_process_gets_and_all_together() -> None:
    table = planning.table(RunPlan(STAGES, 128 * MIB, 512 * MIB, processes=4))
    assert "128 MiB allowed to each of 4 worker processes, 512 MiB in all; the least that works is 88 MiB" in table


def test_a_worker_that_would_be_ended_is_refused_with_remedies_that_work() -> None:
    plan = RunPlan(STAGES, 128 * MIB, 0, limit=WorkerLimit("tcp://w", 120 * MIB, 96 * MIB))
    with pytest.raises(BudgetError, match=r"one is projected to take 100 MiB.* tcp://w works in 96 MiB") as refused:
        refuse_misfits(plan)
    limit, memory = map(int, re.findall(r"--memory(?:-limit)? (\d+)MiB", refused.value.told("--memory {}")))
    assert plan.floor <= memory * MIB <= 96 * MIB
    refuse_misfits(replace(plan, limit=WorkerLimit("tcp://w", limit * MIB, int(limit * MIB * 0.8))))
    with pytest.raises(BudgetError, match=r"--memory-limit 130MiB$"):  # no smaller budget is enough
        refuse_misfits(replace(plan, limit=WorkerLimit("tcp://w", 100 * MIB, 80 * MIB)))


@pytest.mark.parametrize("method", ["exact", "pruned", "hnsw"])
def test_more_ratings_take_longer(method: str) -> None:
    settings = load({"index": {"method": method}})
    small = estimates.seconds(settings, Shapes(0, n_ratings=10**6, n_users=10**4, n_items=5000))
    large = estimates.seconds(settings, Shapes(0, n_ratings=10**8, n_users=10**6, n_items=50_000))
    assert list(small) == list(COSTS) == list(large)
    assert all(small[name] <= large[name] for name in small)
    assert sum(large.values()) > 20 * sum(small.values())


def test_the_pace_of_a_run_is_that_of_its_stages_once_they_tell() -> None:
    def entry(seconds: float, estimated: float, skipped: bool = False) -> StageEntry:
        return StageEntry(stage="s", folder="s-1", seconds=seconds, estimated_seconds=estimated, skipped=skipped)

    assert overview.pace_of([]) == 1
    assert overview.pace_of([entry(4, 1), entry(0, 50)]) == 1  # too little to tell
    assert overview.pace_of([entry(30, 10), entry(10, 10), entry(99, 1, skipped=True)]) == 2


def pipeline(settings: Config, identity: list[str]) -> Pipeline:
    return Pipeline("p", steps(settings, tuple(identity)))


def last_run(workdir: Path, before: Pipeline) -> LastRun:
    folders = before.folders(locate(workdir))
    entries = [
        StageEntry(stage=s.name, folder=folders[s.name].name, params=s.json_params(), reads=list(s.reads))
        for s in before.steps
    ]
    return LastRun(allowed=1, workers=1, stages=entries)


def why(workdir: Path, before: Config | None, now: Config, identity: list[str], damaged: str = "") -> dict[str, str]:
    today = pipeline(now, identity)
    earlier = None if before is None else last_run(workdir, pipeline(before, ["1", "x"]))
    found = {step.name: int(step.name == damaged) for step in today.steps}
    return explain(today, today.folders(locate(workdir)), earlier, found)


def test_what_changed_within_a_parameter_is_told_alone_and_in_no_language_of_programs(tmp_path: Path) -> None:
    now = load({"predict": {"latent_weight": 0.8}, "cooccurrence": {"k": 20}})
    told = why(tmp_path, Config(), now, ["1", "x"])
    assert told["calibrate"] == "runs, cooccurrence.k 24 -> 20; predict.latent_weight 0.9 -> 0.8"
    told = why(tmp_path, Config(), load({"split": {"method": "leave-last", "leave_last": 2}}), ["1", "x"])
    assert "split.leave_last none -> 2" in told["split"]
    assert "split.method notebook -> leave-last" in told["split"]


def test_each_stage_says_why_it_runs(tmp_path: Path) -> None:
    assert set(why(tmp_path, None, Config(), ["1", "x"]).values()) == {"runs, nothing of it is done"}
    changed = why(tmp_path, Config(), load({"neighbors": {"k": 80}, "evaluate": {"k": 10}}), ["1", "x"])
    assert changed["neighbors"] == "runs, neighbors.k 50 -> 80"
    others = "; ".join(
        f"it reads {name}, which has changed" for name in ("neighbors", "predict", "cooccurrence", "calibrate")
    )
    assert changed["evaluate"] == f"runs, evaluate.k 50 -> 10; {others}"
    assert changed["residuals"] == "runs, it reads calibrate, which has changed"
    assert changed["item_neighbors"] == "runs, nothing of it is done"
    assert why(tmp_path, Config(), Config(), ["2", "y"])["ingest"] == "runs, what it reads from outside has changed"
    assert why(tmp_path, Config(), Config(), ["2", "y"])["split"] == "runs, it reads ingest, which has changed"


def test_what_is_done_goes_on_or_is_damaged_says_so(tmp_path: Path) -> None:
    folders = pipeline(Config(), ["1", "x"]).folders(locate(tmp_path))
    done, begun = Journal(folders["ingest"]), Journal(folders["split"])
    for journal in (done, begun):
        journal.write(Record("a.00000", []))
    done.finish(["a.00000"])
    found = why(tmp_path, Config(), Config(), ["1", "x"])
    assert (found["ingest"], found["split"]) == ("skipped, done", "goes on, 1 of its tasks are done")
    assert why(tmp_path, Config(), Config(), ["1", "x"], "split")["split"] == "runs, 1 damaged tasks are done again"


def test_what_is_known_is_asked_for_until_it_is_there_and_then_no_more(tmp_path: Path) -> None:
    known = Known("two", None, {}, {"one": locate(tmp_path / "one-0123")})
    assert known.result("one", "look.00000") is None
    Journal(tmp_path / "one-0123").write(Record("look.00000", [], {"sizes": [1, 2]}))
    for asked in (known, known.of("three", None)):
        told = asked.result("one", "look.00000")
        assert told == {"sizes": [1, 2]}
        told["sizes"].clear()  # what a plan does to it is its own affair
        Journal(tmp_path / "one-0123").forget("look.00000")
