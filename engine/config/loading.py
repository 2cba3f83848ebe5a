"""A configuration put together from layers, such as files and options, and checked."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine.chunked.errors import UsageError, refuse_no_utf8
from engine.chunked.plain import plain
from engine.chunked.storage import on_this_machine
from engine.chunked.storage.inputs import read_named_text
from engine.chunked.storage.remote import refuse_credentials
from engine.config.mistakes import nearest, told
from engine.config.sections import PRESETS, Config, Split

# What any number may be: it is computed with in float32, and ratings are not beyond that either.
_MOST = 1e12
# Bytes of a configuration file: all keys take some kilobytes.
_MOST_TOML = 2**20


def load(*layers: Mapping[str, Any]) -> Config:
    """Validate a configuration put together from layers, later ones winning.

    Raises
    ------
    UsageError
        For an unknown key or preset (the message names the nearest one) or a value out of range.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        _merge(merged, layer)
    name = merged.get("preset", "default")
    if not isinstance(name, str) or name not in PRESETS:
        raise UsageError(f"no preset '{name}'{nearest(str(name), PRESETS)}")
    full: dict[str, Any] = {}
    _merge(full, PRESETS[name])
    _merge(full, merged)
    _refuse_unknown(full, Config, "")
    for key, value in full.items():
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str):
                refuse_no_utf8(text, key)
                _refuse_empty(text, key, value)
                refuse_credentials(text)
    try:
        settings = msgspec.convert(_plain(full), Config)
    except msgspec.ValidationError as error:
        raise UsageError(told(str(error), full)) from None
    for key in ("dataset", "test"):
        if isinstance(value := getattr(settings, key), bool | int | float | list | tuple | dict):
            raise UsageError(
                f'{key} is {value!r:.200}: give a name, a path or a data frame, such as {key}="ratings.csv"'
            )
    on_this_machine(settings.data_dir)
    _refuse_immense(_as_mapping(settings), "")
    settings = _with_what_is_needed(settings)
    _refuse_folds(settings.split)
    return settings


def _refuse_empty(text: str, key: str, value: object) -> None:
    """Refuse a value that a shell makes of a variable that is not set; a list may have such names."""
    if text is value and not text.strip(" "):
        raise UsageError(f"{key} is empty: give a value, or leave it out; is a shell variable not set?")


def _refuse_folds(split: Split) -> None:
    folds, fold = split.folds, split.fold
    if folds is None and fold == 0:
        return
    if split.method != "notebook":
        raise UsageError(f"split.folds does not go with split.method={split.method}: a fold is drawn at random")
    if folds is None or fold >= folds:
        last = "split.folds - 1" if folds is None else folds - 1
        raise UsageError(f"split.fold={fold} of split.folds={folds}: give both, and a fold from 0 to {last}")


def _with_what_is_needed(settings: Config) -> Config:
    """The same with what other keys need switched on."""
    split = settings.split
    if settings.test is not None and split.method == "notebook":
        split = msgspec.structs.replace(split, method="given")
    if split.method == "given" if settings.test is None else split.method not in ("given", "none"):
        test = settings.test if isinstance(settings.test, str | None) else "a data frame"
        raise UsageError(f"split.method={split.method} and test={test}: method given goes with a test part")
    times = settings.ingest.times or split.by_time
    auto = "auto" in (settings.evaluate.liked_from, settings.refine.liked_from, settings.cooccurrence.liked_from)
    scale = settings.matrix.scale or auto or settings.factors.ratings == "scaled"
    return msgspec.structs.replace(
        settings,
        split=split,
        ingest=msgspec.structs.replace(settings.ingest, times=times),
        matrix=msgspec.structs.replace(settings.matrix, scale=scale),
    )


def validated(settings: Config) -> Config:
    """Check a configuration made in Python, which its constructor does not.

    Raises
    ------
    UsageError
        As `load`.
    """
    if not isinstance(settings, Config):
        raise UsageError(f"{settings!r:.200} is no configuration: give an engine.Config")
    return load(_as_mapping(settings))


def _as_mapping(settings: msgspec.Struct) -> dict[str, Any]:
    values = {name: getattr(settings, name) for name in settings.__struct_fields__}
    return {name: _as_mapping(each) if isinstance(each, msgspec.Struct) else each for name, each in values.items()}


def _plain(value: Any) -> Any:
    """What a layer holds, in Python's own types where there are such."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple) or type(value).__name__ == "ndarray":
        return [_plain(each) for each in value] if getattr(value, "ndim", 1) == 1 else value
    return plain(value)


def to_json(settings: msgspec.Struct) -> dict[str, Any]:
    """A configuration, or a section of one, in JSON values: equal to what is read from a file it was written to."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(settings))
    return plain


def read_toml(path: Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises
    ------
    UsageError
        Where it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(read_named_text(path, _MOST_TOML).replace("\r\n", "\n"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from None


def parse_assignment(text: str) -> dict[str, Any]:
    """Turn ``"neighbors.k=80"`` into ``{"neighbors": {"k": 80}}``; values are TOML, bare words strings.

    Raises
    ------
    UsageError
        Where there is no ``=``.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text}: write KEY=VALUE, such as --set neighbors.k=80")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    return dict(parsed)


def _merge(target: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if _is_matrix(value):
            value = _of_entries(value, key)
        if isinstance(value, Mapping):
            below = target.setdefault(key, {})
            if isinstance(below, dict):
                _merge(below, value)
                continue
        target[key] = value


def _of_entries(matrix: Any, key: str) -> Any:
    """A matrix of SciPy's that is a dict, too, as one that is none."""
    try:
        return matrix.tocoo()
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        told = " ".join(str(error).split())[:100]
        raise UsageError(f"{key} is a matrix of keys that do not go together ({told}): make it anew") from None


def _is_matrix(value: Any) -> bool:
    return isinstance(value, Mapping) and hasattr(value, "tocoo")


def _refuse_unknown(values: Mapping[str, Any], kind: type[msgspec.Struct], prefix: str) -> None:
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in values.items():
        if key not in fields:
            raise UsageError(f"no configuration key '{prefix}{key}'{nearest(key, fields, prefix)}")
        section = fields[key]
        if isinstance(value, Mapping) and isinstance(section, type) and issubclass(section, msgspec.Struct):
            _refuse_unknown(value, section, f"{prefix}{key}.")


def _refuse_immense(values: Mapping[str, Any], prefix: str) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            _refuse_immense(value, f"{prefix}{key}.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"configuration: {prefix}{key} is {value}: give a finite number")
        elif isinstance(value, float) and abs(value) > _MOST:
            raise UsageError(f"configuration: {prefix}{key} is {value}: give a number from {-_MOST:g} to {_MOST:g}")


def origins(settings: Config, layers: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, tuple[Any, str]]:
    """Every key of a configuration: its value, and where that comes from.

    Parameters
    ----------
    settings : Config
        As `load` gives it for these layers.
    layers : iterable of (str, mapping)
        What each is called, and its content.
    """
    named = [(f"preset {settings.preset}", PRESETS[settings.preset]), *layers]
    found: dict[str, tuple[Any, str]] = {}
    for key, value in _flat(to_json(settings)).items():
        set_by = [name for name, layer in named if key in _flat(layer)]
        derived = "split.method" if key == "ingest.times" and value else "default"
        found[key] = (value, set_by[-1] if set_by else derived)
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Keys with dots, and their values."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
