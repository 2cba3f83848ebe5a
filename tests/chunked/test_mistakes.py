"""What is wrong with somebody's pipeline is told in a sentence that says where, and nothing of it passes in silence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine import chunked
from engine.chunked.plain import json_value
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
