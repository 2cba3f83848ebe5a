"""What a user may set, and what is said about the rest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from engine import config
from engine.chunked.errors import UsageError
from engine.config import Config, load, loading, parse_assignment, read_toml


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"neighbor": {"k": 3}}, "no configuration key 'neighbor': did you mean 'neighbors'?"),
        ({"neighbors": {"kk": 3}}, "no configuration key 'neighbors.kk': did you mean 'neighbors.k'?"),
        ({"factors": {"dim": 3}}, "no configuration key 'factors.dim': did you mean 'factors.dims'?"),
        ({"memori": "1GiB"}, "no configuration key 'memori': did you mean 'memory'?"),
        ({"matrix": {"xyz": 1}}, "no configuration key 'matrix.xyz': known are matrix.ratings_per_chunk"),
        (
            {"split": {"method": "foo"}},
            "split.method is 'foo': give one of given, global-time, leave-last, none, notebook, random",
        ),
        ({"executor": 1}, 'executor is 1: give one of dask, local, such as executor="local"'),
        ({"neighbors": {"k": "many"}}, "neighbors.k is 'many': give a whole number, 1 or more, such as neighbors.k=50"),
        ({"neighbors": 3}, "neighbors is 3: it is a section: give its keys, such as neighbors.k"),
        ({"evaluate": {"cutoffs": [0]}}, "evaluate.cutoffs is [0]: give a list, each of it a whole number, 1 or more"),
        ({"index": {"m": 1}}, "index.m is 1: give a whole number, 2 to 100, such as index.m=32"),
        ({"split": {"test_fraction": 2}}, "split.test_fraction is 2: give a number, more than 0 and less than 1, such"),
        (
            {"split": {"leave_last": "x"}},
            "split.leave_last is 'x': give a whole number, 1 or more, such as split.leave",
        ),
        ({"memory": [1]}, 'memory is [1]: give a text or a whole number, such as memory="512MiB"'),
        ({"preset": "notebok"}, "no preset 'notebok': did you mean 'notebook'?"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(layer: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(layer)
    assert str(caught.value).startswith(message)


def test_every_key_says_what_it_takes_with_an_example_that_it_takes() -> None:
    for key in set(config.origins(Config(), [])) - {"preset"}:
        *sections, name = key.split(".")
        layer: dict[str, Any] = {name: [[0.5]]}
        with pytest.raises(UsageError, match=f"^{key} is ") as caught:
            load({sections[0]: layer} if sections else layer)
        load(parse_assignment(str(caught.value).rpartition("such as ")[2]))


def test_where_each_value_comes_from_is_told() -> None:
    layers: list[tuple[str, dict[str, Any]]] = [("mine.toml", {"neighbors": {"k": 7, "ef": 9}, "preset": "notebook"})]
    layers.append(("--set", {"neighbors": {"k": 8}}))
    found = config.origins(load(*(layer for _, layer in layers)), layers)
    assert found["neighbors.k"] == (8, "--set")
    assert found["neighbors.ef"] == (9, "mine.toml")
    assert found["factors.dims"] == (128, "preset notebook")
    assert found["factors.passes"] == (5, "default")
    by_time: dict[str, Any] = {"split": {"method": "leave-last"}}
    assert config.origins(load(by_time), [("--set", by_time)])["ingest.times"] == (True, "split.method")


@pytest.mark.parametrize(
    ("section", "key", "good", "bad"),
    [
        ("ingest", "ratings_per_partition", [1], [0, -1, 1.5, "1", None]),
        ("split", "test_fraction", [0.01, 0.99], [0, 1, -0.2, 1.5, "0.2"]),
        ("split", "min_ratings", [2], [1, 0]),
        ("split", "seed", [0, 2**63 - 1], [-1, 2**63]),
        ("factors", "dims", [1], [0]),
        ("factors", "oversamples", [0], [-1]),
        ("factors", "passes", [1, 100], [0, 101]),
        ("refine", "sweeps", [0, 100], [-1, 10**9]),
        ("refine", "steps", [1, 100], [0, 10**9]),
        ("biases", "passes", [1, 100], [0, 10**9]),
        ("residuals", "sweeps", [1, 100], [0, 10**9]),
        ("residuals", "steps", [1, 100], [0, 10**9]),
        ("index", "m", [2, 100], [1, 101]),
        ("neighbors", "k", [1], [0, True]),
        ("neighbors", "ef", [1], [0]),
        ("evaluate", "liked_from", [-1, 0, 4.5, "auto"], ["4", None]),
    ],
)
def test_a_value_out_of_range_is_refused_and_named(section: str, key: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(getattr(load({section: {key: value}}), section), key) == value
    for value in bad:
        with pytest.raises(UsageError, match=f"^{section}.{key} is "):
            load({section: {key: value}})


def test_a_section_that_is_no_section_is_refused() -> None:
    with pytest.raises(UsageError, match=r"neighbors"):
        load({"neighbors": 3})


@pytest.mark.parametrize("key", ["dataset", "test"])
def test_a_matrix_that_is_a_dict_too_is_a_matrix(key: str) -> None:
    given: dict[str, Any] = {key: scipy.sparse.dok_array(np.eye(3))}
    found = getattr(load(given), key)
    assert (found.todense() == np.eye(3)).all()
    assert (getattr(config.validated(Config(**given)), key).todense() == np.eye(3)).all()


def test_a_message_does_not_print_all_of_a_value() -> None:
    large = {str(number): number for number in range(10_000)}
    wrong: list[dict[str, Any]] = [{"dataset": large}, {"dataset": list(large)}, {"memory": large}]
    for layer in wrong:
        with pytest.raises(UsageError, match=r" is [{\[]") as refused:
            load(layer)
        assert len(str(refused.value)) < 400
    with pytest.raises(UsageError, match="is no configuration") as refused:
        config.validated(large)  # type: ignore[arg-type]
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32])
def test_numbers_of_numpy_are_numbers(kind: Any) -> None:
    made = Config(
        dataset=Path("a"),
        columns=np.array(["u", "i", "r"]),  # type: ignore[arg-type]
        workers=kind(1),
        memory=np.int64(2**30),  # type: ignore[arg-type]
        ingest=config.Ingest(times=np.bool_(True)),  # type: ignore[arg-type]
        neighbors=config.Neighbors(k=kind(20), recall=np.float64(0.5)),
        evaluate=config.Evaluate(cutoffs=(kind(3),), amplification=np.float32(2), liked_from=kind(4)),  # type: ignore[arg-type]
    )
    expected = Config(
        dataset="a",
        columns=("u", "i", "r"),
        workers=1,
        memory=2**30,
        ingest=config.Ingest(times=True),
        neighbors=config.Neighbors(k=20, recall=0.5),
        evaluate=config.Evaluate(cutoffs=(3,), amplification=2, liked_from=4),
    )
    found = config.validated(made)
    assert found == expected
    assert config.to_json(found) == config.to_json(config.validated(expected))
    assert load({"neighbors": {"k": kind(20)}}).neighbors.k == 20


@pytest.mark.parametrize("value", [True, np.bool_(True), "1", object(), 1j, np.array(1), np.array([1]), [1], None, 1.5])
def test_what_is_no_number_is_refused_by_its_key(value: Any) -> None:
    for made in (Config(neighbors=config.Neighbors(k=value)), Config(evaluate=config.Evaluate(cutoffs=(value,)))):
        with pytest.raises(UsageError, match=r"^(neighbors\.k|evaluate\.cutoffs) is "):
            config.validated(made)
    if value is not None:
        with pytest.raises(UsageError, match=r"^workers is "):
            config.validated(Config(workers=value))
    with pytest.raises(UsageError, match=r"give an engine\.Config"):
        config.validated(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("-inf")])
def test_numbers_that_are_not_finite_are_refused_by_their_key(value: float) -> None:
    keys = [
        (section.name, key.name)
        for section in msgspec.structs.fields(Config)
        if isinstance(section.type, type) and issubclass(section.type, config.Section)
        for key in msgspec.structs.fields(section.type)
        if "float" in str(key.type)
    ]
    assert ("evaluate", "liked_from") in keys
    for section, key in keys:
        with pytest.raises(UsageError, match=rf"{section}\.{key}"):
            load({section: {key: value}})
        with pytest.raises(UsageError, match=rf"{section}\.{key}"):
            load(parse_assignment(f"{section}.{key}={value}"))


def test_later_layers_win_key_by_key() -> None:
    settings = load({"neighbors": {"k": 5, "ef": 70}, "memory": "1GiB"}, {"neighbors": {"k": 6}}, {"memory": 3})
    assert (settings.neighbors.k, settings.neighbors.ef, settings.memory) == (6, 70, 3)
    assert settings.factors == config.Factors()


def test_nothing_set_is_the_defaults() -> None:
    assert load() == load({}) == Config()


def test_layers_are_not_changed() -> None:
    first, second = {"neighbors": {"k": 5}}, {"neighbors": {"k": 6}}
    load(first, second)
    assert (first, second) == ({"neighbors": {"k": 5}}, {"neighbors": {"k": 6}})


def test_what_is_set_wins_over_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "PRESETS", {**config.PRESETS, "quick": {"factors": {"dims": 8, "passes": 2}}})
    settings = load({"preset": "quick", "factors": {"passes": 3}})
    assert (settings.factors.dims, settings.factors.passes, settings.preset) == (8, 3, "quick")


@pytest.mark.parametrize("name", sorted(config.PRESETS))
def test_every_preset_is_valid(name: str) -> None:
    assert load({"preset": name}).preset == name


def test_a_configuration_survives_being_written_down() -> None:
    settings = load({"neighbors": {"k": 5}, "columns": ["u", "i", "r"], "workers": 3})
    assert load(msgspec.to_builtins(settings)) == settings
    assert settings.columns == ("u", "i", "r")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("neighbors.k=80", {"neighbors": {"k": 80}}),
        ("split.test_fraction = 0.5", {"split": {"test_fraction": 0.5}}),
        ("memory=512MiB", {"memory": "512MiB"}),
        ("memory = 512MiB ", {"memory": "512MiB"}),
        ('data_dir="a b"', {"data_dir": "a b"}),
        ("data_dir=a=b", {"data_dir": "a=b"}),
        ('columns=["u", "i", "r"]', {"columns": ["u", "i", "r"]}),
        ("memory=", {"memory": ""}),
        ("a.b.c=true", {"a": {"b": {"c": True}}}),
    ],
)
def test_an_assignment_is_read_as_toml_or_a_bare_word(text: str, expected: dict[str, Any]) -> None:
    assert parse_assignment(text) == expected


@pytest.mark.parametrize("text", ["neighbors.k", "=80", " = 80", ""])
def test_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write KEY=VALUE, such as"):
        parse_assignment(text)


@given(key=st.sampled_from(["workers", "neighbors.k"]), value=st.integers() | st.booleans())
def test_an_assignment_of_a_number_or_truth_value_keeps_it(key: str, value: int) -> None:
    parsed: Any = parse_assignment(f"{key}={str(value).lower()}")
    for part in key.split("."):
        parsed = parsed[part]
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_toml_file_is_a_layer(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('memory = "512MiB"\n[neighbors]\nk = 80\n')
    assert load(read_toml(path)) == Config(memory="512MiB", neighbors=config.Neighbors(k=80))


@pytest.mark.parametrize(
    ("content", "message"), [(b"k = ", "not TOML: "), (b"\xff\xfe", "not TOML: "), (None, "cannot be read (No such")]
)
def test_a_file_that_is_no_toml_is_refused_by_name(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(f"{path}: {message}")):
        read_toml(path)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"folds": 5, "fold": 5}, "split.fold=5 of split.folds=5: give both, and a fold from 0 to 4"),
        ({"fold": 1}, "split.fold=1 of split.folds=None: give both, and a fold from 0 to split.folds - 1"),
        ({"folds": 5, "fold": 0, "method": "leave-last"}, "does not go with split.method=leave-last"),
    ],
)
def test_folds_that_are_none_are_refused(split: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        load({"split": split})
    assert load({"split": {"folds": 5, "fold": 4}}).split.test_share == 0.2


@pytest.mark.parametrize(
    "key", ["evaluate.liked_from", "refine.liked_from", "refine.unseen_weight", "biases.user_damping"]
)
@pytest.mark.parametrize("value", ["1e300", "1e13", "-1e300"])
def test_numbers_that_no_rating_comes_near_are_refused_by_their_key(key: str, value: str) -> None:
    with pytest.raises(UsageError, match=re.escape(key)):
        config.load(config.parse_assignment(f"{key}={value}"))
