"""What is wrong with somebody's pipeline is told in a sentence that says where, and nothing of it passes in silence."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine import chunked
from engine.chunked import checked
from engine.chunked.budget import GIB, MIB
from engine.chunked.journal import Journal
from engine.chunked.pipeline import job
from engine.chunked.plain import json_value
from engine.chunked.references import refer
from engine.chunked.runner import Limits, StageRunner
from engine.chunked.storage import locate
from engine.chunked.store import StageStore
from engine.chunked.testing import raised


class Names(msgspec.Struct):
    """Parameters of a type."""

    names: set[str] = set()
    share: float = 1.0


def step(**more: Any) -> chunked.Step:
    return chunked.Step("one", "tests.support.toy:ToyStage", **more)


def fingerprint(**more: Any) -> str:
    return chunked.Pipeline("p", [step(**more)]).fingerprints()["one"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"a", "b"}, "['v'] is {"),  # whose order is another in every process
        (float("nan"), "['v'] is nan, which JSON does not have"),  # null to some, and so the same as None
        (float("-inf"), "['v'] is -inf"),
        ([1, {"w": np.float32("inf")}], "['v'][1]['w'] is inf"),
        (b"x", "['v'] is b'x', a bytes"),
        (np.arange(2), "a ndarray"),
        (len, "a builtin_function_or_method"),
        ({1: "x"}, "['v'] has the key 1: give texts"),
    ],
)
def test_what_json_does_not_have_is_no_parameter_and_no_detail(value: Any, problem: str) -> None:
    told = str(raised(chunked.UsageError, lambda: step(params={"v": value})))
    assert told.startswith("params of step one")
    assert problem in told
    told = str(raised(chunked.UsageError, lambda: chunked.Pipeline("p", [step()], {"v": value})))
    assert told.startswith("details of pipeline p")


def test_numbers_of_numpy_and_paths_are_numbers_and_texts() -> None:
    given = {"n": np.int64(3), "x": np.float64(0.5), "path": Path("a/b"), "yes": np.True_, "none": None, "t": (1, 2)}
    plain = {"n": 3, "x": 0.5, "path": "a/b", "yes": True, "none": None, "t": [1, 2]}
    assert step(params=given).json_params() == plain
    assert fingerprint(params=given) == fingerprint(params=plain)
    assert chunked.Pipeline("p", [step()], given).json_details() == plain


def test_plans_here_get_the_parameters_that_stages_get_there() -> None:
    """Sorted by name, since their order has no part in the fingerprint."""
    (a, b) = (step(params=params) for params in ({"x": {"c": (1,), "b": 2}}, {"x": {"b": 2, "c": [1]}}))
    assert str(a.given_params()) == str(b.given_params()) == "{'x': {'b': 2, 'c': [1]}}"
    assert isinstance(step(params=Names()).given_params(), Names)
    assert "share" in str(raised(chunked.UsageError, lambda: step(params=Names(share=float("nan")))))


def test_a_set_in_a_struct_has_the_same_fingerprint_in_every_process() -> None:
    code = "from tests.chunked.test_mistakes import *; print(fingerprint(params=Names(set('abcdefgh'))))"
    root = str(Path(__file__).parents[2])
    for seed in "12":
        environment = {"PYTHONPATH": root, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=True)
        assert done.stdout.strip() == fingerprint(params=Names(set("abcdefgh")))


def test_a_text_where_several_belong_is_not_taken_for_its_letters() -> None:
    assert "needs is 'ab': give a tuple" in str(raised(chunked.UsageError, lambda: step(needs="ab")))
    assert "reads is 'ab': give a tuple" in str(raised(chunked.UsageError, lambda: step(reads="ab")))
    assert "reads is (PosixPath" in str(raised(chunked.UsageError, lambda: step(reads=(Path("x"),))))
    assert "params is [1]: give a mapping" in str(raised(chunked.UsageError, lambda: step(params=[1])))


def test_values_are_named_by_where_they_are() -> None:
    assert "result['a'][0]" in str(raised(chunked.UsageError, lambda: json_value({"a": [object()]}, "result")))


class Mistaken:
    """Two tasks, then one; the details say what is wrong with it."""

    def __init__(self, inputs: chunked.Inputs[Any]) -> None:
        self.inputs = inputs
        self.wrong: str = inputs.details.get("wrong", "")

    @staticmethod
    def plan(known: chunked.Known) -> chunked.Costs:
        wrong = known.details.get("wrong", "")
        n = {"no tasks": (0, 0), "no parts": (0, 1)}.get(wrong, (2, 1))
        rounds = {name: chunked.Planned(n, chunked.Cost(MIB)) for name, n in zip(("parts", "total"), n, strict=True)}
        if wrong == "not planned":
            del rounds["total"]
        if wrong == "planned alone":
            rounds["more"] = rounds["total"]
        return chunked.Costs(rounds)

    def rounds(self) -> Any:
        return {"no iterator": lambda: None, "no rounds": lambda: [1]}.get(self.wrong, self._rounds)()

    def _rounds(self) -> Iterator[chunked.Round]:
        plan = self.inputs.plan()
        yield chunked.Round("parts", plan["parts"], self.part, until="total" if self.wrong != "one file" else None)
        last = "parts" if self.wrong == "one name" else "sum" if self.wrong == "other name" else "total"
        yield chunked.Round(last, plan["total"], self.total)

    def part(self, index: int, context: chunked.TaskContext) -> None:
        name = "part" if self.wrong in ("one file", "one temporary file") else f"part-{index}"
        (context.scratch / name).write_text(str(index))

    def total(self, index: int, context: chunked.TaskContext) -> Any:
        if self.wrong == "input gone":
            Path("/nowhere/input.txt").read_text()
        if self.wrong == "own file gone":
            self.inputs.own.path("part-7").read_text()
        return {"list": [1], "not a number": {"a": float("nan")}, "no values": {"a": b""}}.get(self.wrong)


def run_mistaken(where: Path, wrong: str) -> None:
    pipeline = chunked.Pipeline("p", [chunked.Step("one", Mistaken)], {"wrong": wrong})
    root, stage = job(pipeline, pipeline.steps[0], {"one": locate(where)}).opened()
    limits = Limits(GIB, 0, 1)
    StageRunner("one", stage, StageStore(root), Journal(root), limits, lambda _: None, threading.Event()).run()


MISTAKES = {
    "not planned": "step one: its plan has no round 'total', only parts",
    "planned alone": "step one: rounds() yields parts, total, and its plan has parts, total, more: give both the same",
    "other name": "step one: rounds() yields parts, sum, and its plan has parts, total: give both the same names",
    "one name": "step one: rounds() yields two rounds with the name parts",
    "no iterator": "step one: rounds() returns None: let it yield chunked.Round",
    "no rounds": "step one: rounds() yields 1: let it yield chunked.Round",
    "one file": "one: tasks parts.00000 and parts.00001 have both left a file part: let each task",
    "one temporary file": "one: tasks parts.00000 and parts.00001 have both left a file part: let each task",
    "input gone": "task total.00000 does not find what it reads ([Errno 2] No such file or directory: '/nowhere/",
    "list": "task total.00000 returns [1]: return a dict of a few JSON values, or nothing",
    "not a number": "result of task total.00000['a'] is nan, which JSON does not have",
    "no values": "result of task total.00000['a'] is b'', a bytes",
}


@pytest.mark.parametrize("wrong", MISTAKES)
def test_a_mistake_in_a_stage_is_told_in_a_sentence_and_nothing_counts_as_done(wrong: str, tmp_path: Path) -> None:
    told = str(raised(chunked.UsageError, lambda: run_mistaken(tmp_path / "one", wrong)))
    assert told.startswith(MISTAKES[wrong])
    assert "\n" not in told
    assert not Journal(tmp_path / "one").finished()
    if "file" in wrong:  # neither task is done, whichever of the two the file is of
        assert Journal(tmp_path / "one").task_ids() == []


def test_a_stage_without_mistakes_passes_and_a_file_of_its_own_that_is_missing_is_a_fault_of_it(tmp_path: Path) -> None:
    for name, fine in (("one", ""), ("none", "no parts"), ("no", "no tasks")):  # the data may leave nothing to do
        run_mistaken(tmp_path / name, fine)
        assert Journal(tmp_path / name).finished()
    raised(FileNotFoundError, lambda: run_mistaken(tmp_path / "two", "own file gone"))


def planned(n: Any = 1, cost: Any = None) -> Mapping[str, Any]:
    return {"a": chunked.Planned(n, chunked.Cost(1) if cost is None else cost)}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (lambda: planned(), "its plan returns a dict: return chunked.Costs"),
        (lambda: None, "its plan returns a NoneType"),
        (lambda: chunked.Costs({}), "its plan has no rounds"),
        (lambda: chunked.Costs({"a": chunked.Cost(1)}), "its plan has a Cost for round a"),  # type: ignore[dict-item]
        (lambda: chunked.Costs(planned(-1)), "the number of tasks of round a is -1"),
        (lambda: chunked.Costs(planned(1.5)), "the number of tasks of round a is 1.5"),
        (lambda: chunked.Costs(planned(), disk=0.5), "bytes that it writes, is 0.5"),  # type: ignore[arg-type]
        (lambda: chunked.Costs(planned(), seconds=-1), "it takes -1 seconds"),
        (lambda: chunked.Cost(task=1.5), "Cost: task is 1.5: give a whole number, 0 or more"),  # type: ignore[arg-type]
        (lambda: chunked.Cost(task=1, row=-1), "Cost: row is -1"),
        (lambda: chunked.Round("a/b", planned()["a"], print), "a round has the name 'a/b'"),
        (lambda: chunked.Round("a", 3, print), "round a: 3 is no plan of it"),  # type: ignore[arg-type]
        (lambda: chunked.Round("a", planned()["a"], 3), "round a: 3 cannot be called"),  # type: ignore[arg-type]
        (lambda: refer(lambda: 1), "a lambda has no name that other processes could find it by"),
    ],
)
def test_a_mistake_in_a_plan_is_told_in_a_sentence(given: Any, problem: str) -> None:
    assert problem in str(raised(chunked.UsageError, lambda: checked.costs("one", given())))


def test_numbers_of_numpy_are_numbers_in_plans() -> None:
    cost = chunked.Cost(task=np.int64(3))  # type: ignore[arg-type]
    assert (type(cost.task), checked.costs("one", chunked.Costs(planned(np.int32(2)))).rounds["a"].n_tasks) == (int, 2)
