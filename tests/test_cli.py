"""The command line as a real process: output, exit codes, and what a user's mistakes get."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from bench.kill import contents
from engine import cli, run
from engine.chunked.errors import EngineError
from engine.chunked.events import Event, Explained
from engine.config import Config
from tests.chunked.test_lock import hold_elsewhere
from tests.support.here import engine_here, in_this_process
from tests.support.pipeline import STEPS, finish_run

GOOD = "userId,movieId,rating\n" + "".join(f"{u},{i},{1 + (u * i) % 5}\n" for u in range(1, 9) for i in range(1, 9))


def engine(*arguments: object, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), **more}
    command = [sys.executable, "-m", "engine", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment, text=True, errors="replace", capture_output=True, timeout=120
    )


def refused(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def refused_here(capsys: pytest.CaptureFixture[str], arguments: list[object], code: int, *words: str) -> None:
    """The same of a command that runs in this process, which takes less time."""
    assert cli.main([*map(str, arguments)]) == code
    told = capsys.readouterr().err
    assert all(word in told for word in words), told


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.csv"
    path.write_text(GOOD)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with these ratings, and a run of them: to be copied by whoever changes it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "good.csv").write_text(GOOD)
    assert engine_here("run", "good.csv", "--workdir", "w", cwd=folder).returncode == 0
    return folder


@pytest.fixture
def ready(finished: Path, tmp_path: Path) -> Path:
    """A finished run of `good`, of one's own."""
    shutil.copytree(finished / "w", tmp_path / "w")
    return tmp_path / "w"


def test_a_run_prints_its_figures_and_status_tells_what_is_there(good: Path, tmp_path: Path) -> None:
    result = engine("run", good, "--workdir", tmp_path / "w", "--memory", "1GiB", "--workers", 1, "--report")
    assert result.returncode == 0, result.stderr
    for word in ("RMSE", "Recall@50", "metrics.json", "good: 8 users x 8 items", "This model predicts ratings"):
        assert word in result.stdout
    assert f"report   {tmp_path / 'w/report.html'}\n" in result.stdout
    assert (tmp_path / "w/report.html").exists()
    for command in re.findall(r"^(?:next)? +\S+ -m engine (.*)$", result.stdout, re.MULTILINE):  # they work as printed
        assert engine(*shlex.split(command)).returncode == 0, command
    assert "neighbors: 6 tasks" in result.stderr
    assert engine_here("run", good, "--workdir", tmp_path / "here").returncode == 0
    assert contents(tmp_path / "here").items() <= contents(tmp_path / "w").items()  # as most tests run it
    status = json.loads(engine_here("status", tmp_path / "w", "--json").stdout)
    assert status["finished"]
    assert status["running"] is None
    assert status["stages"][0]["stage"] == "ingest"
    assert all(stage["complete"] for stage in status["stages"])
    told = re.findall(r"^(\w+): (\d+ tasks in|nothing to do)", result.stderr, re.MULTILINE)
    expected = [(stage["stage"], stage["tasks_done"]) for stage in status["stages"]]
    assert told == [(stage, f"{done} tasks in" if done else "nothing to do") for stage, done in expected]
    assert "finished" in engine_here("status", tmp_path / "w").stdout
    shown = engine_here("recommend", tmp_path / "w", "--user", 3, "--include-test").stdout
    assert "score\n   1  " in shown


def test_a_run_explains_itself_starts_over_and_is_cleaned(good: Path, tmp_path: Path) -> None:
    arguments = ("run", good, "--workdir", tmp_path / "w", "--explain", "--set", "factors.dims=4")
    assert "ingest: runs, nothing of it is done" in engine_here(*arguments).stderr
    again = engine_here(*arguments, "--set", "neighbors.k=3").stderr
    for line in (
        "index: skipped, done",
        "neighbors: runs, neighbors.k 50 -> 3",
        "evaluate: runs, it reads neighbors, which has changed",
    ):
        assert line in again
    back = engine_here(*arguments)
    assert back.stderr.count("skipped, done") == len(STEPS)
    assert re.search("evaluate +done before", back.stdout)
    unused = engine_here("clean", tmp_path / "w").stdout
    assert unused.count("neighbors-") == unused.count("evaluate-") == 1
    assert "--yes removes it" in unused
    assert "removed" in engine_here("clean", tmp_path / "w", "--yes").stdout
    assert "nothing to remove" in engine_here("clean", tmp_path / "w", "--yes").stdout
    assert len(list((tmp_path / "w/stages").iterdir())) == len(STEPS)
    assert engine_here("verify", tmp_path / "w").returncode == 0
    fresh = engine_here(*arguments, "--fresh")
    assert fresh.stderr.count("runs, nothing of it is done") == len(STEPS)
    good.write_text(GOOD.replace("8,8,5", "8,8,1"))
    changed = engine_here(*arguments)
    assert "ingest: runs, what it reads from outside has changed" in changed.stderr
    assert f"note: {good} has changed since the last run here, or other columns of it are read, so" in changed.stderr
    assert "all is done anew: a finished run stays beside this one" in changed.stderr
    assert "note: " not in engine_here(*arguments).stderr
    other = good.rename(tmp_path / "other.csv")
    assert f"was of {good}: a finished run stays beside this one" in engine_here("run", other, *arguments[2:]).stderr


def test_different_data_have_different_directories_and_keep_them(tmp_path: Path) -> None:
    for folder in ("a/books", "b/books"):
        (tmp_path / folder).mkdir(parents=True)
    files = [tmp_path / name for name in ("ratings.2019.csv", "ratings.2020.csv", "a/books/ratings.csv")]
    for number, file in enumerate([*files, tmp_path / "b/books/ratings.csv"]):
        file.write_text(GOOD + f"{20 + number},1,3\n")
    wanted = ["runs/ratings.2019", "runs/ratings.2020", "runs/books", "runs/books-2"]
    asked = ["ratings.2019.csv", "ratings.2020.csv", "a/books", "b/books"]
    for data, where in zip(asked, wanted, strict=True):
        ran = engine_here("run", data, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert f" in {where}, " in ran.stderr
        assert f"next     {Path(sys.executable).name} -m engine recommend {where} --user 1\n" in ran.stdout
    (tmp_path / "b/books").rename(tmp_path / "moved")
    for data, where in [*zip(asked[:3], wanted[:3], strict=True), ("moved", "runs/moved")]:
        planned = engine_here("plan", data, cwd=tmp_path)
        assert f" in {where}, " in planned.stderr
        assert ("every stage is done" in planned.stdout) == (where != "runs/moved")
    (tmp_path / "moved").rename(tmp_path / "a/other")
    (tmp_path / "a/other").rename(tmp_path / "books")
    shutil.rmtree(tmp_path / "runs/books")
    assert " in runs/books-2, " in engine_here("plan", "books", cwd=tmp_path).stderr


@pytest.mark.parametrize("claimed", [False, True])
def test_what_a_caller_held_before_counts_only_where_its_process_is_the_runs(
    claimed: bool, good: Path, tmp_path: Path
) -> None:
    program = f"""
from contextlib import nullcontext
import engine
from engine.chunked import memory
held = b"x" * (500 << 20)
with memory.process_claimed() if {claimed} else nullcontext():
    found = engine.run(engine.Config(dataset={str(good)!r}, workdir={str(tmp_path / "w")!r}, memory="400MiB"))
print(max(stage.measured for stage in found.stages))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, text=True, capture_output=True, timeout=120
    )
    if claimed:
        assert "BudgetError: ingest needs" in result.stderr
    else:
        assert 0 < int(result.stdout) < 400 << 20


def test_verify_names_what_is_damaged(ready: Path, tmp_path: Path) -> None:
    (victim,) = (tmp_path / "w").glob("stages/factors-*/loadings.npy")
    victim.write_bytes(b"x" + victim.read_bytes()[1:])
    refused(engine_here("verify", tmp_path / "w"), 5, "1 damaged")
    damaged = json.loads(engine_here("verify", tmp_path / "w", "--json").stdout)["damaged"]
    assert [str(victim) in fault for fault in damaged.values()] == [True]
    with hold_elsewhere(tmp_path / "w/lock") as other:
        try:
            refused(engine_here("verify", tmp_path / "w"), 4, str(other.pid))
            refused(engine_here("clean", tmp_path / "w"), 4, str(other.pid))
        finally:
            other.kill()


def test_status_tells_what_is_left(sample_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "engine", "run", str(sample_dir), "--workdir", str(tmp_path / "w")]
    command += ["--set", "factors.passes=100"]  # so that there is time to ask
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(lambda: any((tmp_path / "w").glob("stages/factors-*/records/basis-1*")))
    found = json.loads(engine("status", tmp_path / "w", "--json").stdout)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert found["running"]["pid"] == process.pid
    stages = {stage["stage"]: stage for stage in found["stages"]}
    assert stages["matrix"]["complete"]
    assert 0 < stages["factors"]["tasks_left"] < 110
    assert stages["evaluate"] | {"tasks_done": 0, "tasks_left": 3} == stages["evaluate"]
    assert found["seconds_left"] > 0
    assert "s left" in engine("status", tmp_path / "w").stdout


def test_quiet_prints_no_progress(good: Path, tmp_path: Path) -> None:
    assert engine_here("run", good, "--workdir", tmp_path / "w", "--quiet").stderr == ""


def test_layers_of_configuration(good: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[neighbors]\nk = 7\n[evaluate]\nk = 3\n")
    result = engine_here("run", good, "--workdir", tmp_path / "w", "--config", file, "--set", "neighbors.k=5")
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "w/metrics.json").read_text())
    assert (metrics["config"]["neighbors"]["k"], metrics["config"]["evaluate"]["k"]) == (5, 3)
    assert metrics["recall_at_3"] is not None


BAD_FILES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "empty": (b"", ("empty",)),
    "header only": (b"userId,movieId,rating\n", ()),
    "other columns": (b"a,b,c\n1,2,3\n", ("a, b, c", "--columns")),
    "rating is no number": (GOOD.encode() + b"9,1,good\n", ("line 66", "rating", "good")),
    "rating is NaN": (GOOD.encode() + b"9,1,nan\n", ("line 66", "rating")),
    "rating is infinite": (GOOD.encode() + b"9,1,inf\n", ("line 66", "rating")),
    "user is missing": (GOOD.encode() + b",1,3\n", ("line 66", "userId")),
    "item is fractional": (GOOD.encode() + b"9,1.5,3\n", ("line 66", "movieId", "1.5")),
    "line cut": (GOOD.encode() + b"9,1", ("line 66",)),
    "binary": (bytes(range(256)) * 10, ()),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_input_is_named_with_its_place_and_leaves_nothing_half_made(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, words = BAD_FILES[case]
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    refused_here(capsys, ["run", path, "--workdir", tmp_path / "w"], 2, str(path), *words)
    left = [p for p in tmp_path.rglob("*") if p.is_file() and p != path]
    assert not any("stages" in p.parts and "records" not in p.parts for p in left), left


def test_a_mended_file_runs_in_the_same_work_directory(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text(GOOD + "9,1,good\n")
    assert engine_here("run", path, "--workdir", tmp_path / "w").returncode == 2
    path.write_text(GOOD)
    assert engine_here("run", path, "--workdir", tmp_path / "w").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-file.csv"], ["no-such-file.csv"]),
        (["sampel"], ["sampel", "'sample'"]),
        (["ml-25m", "--data-dir", "nowhere"], ["engine data fetch ml-25m"]),
        (["GOOD", "--set", "neighbours.k=3"], ["did you mean 'neighbors'"]),
        (["GOOD", "--set", "neighbors.kk=3"], ["did you mean 'neighbors.k'"]),
        (["GOOD", "--set", "neighbors.k=0"], ["neighbors.k"]),
        (["GOOD", "--preset", "notebok"], ["did you mean 'notebook'"]),
        (["GOOD", "--config", "no.toml"], ["no.toml"]),
        (["GOOD", "--memory", "lots"], ["'lots' is not a size", "512MiB"]),
        (["GOOD", "--memory", "512"], ["512 bytes", "did you mean 512MiB?"]),
        (["GOOD", "--set", "memory=512"], ["512 bytes", "did you mean 512MiB?"]),
        (["GOOD", "--config", "CONFIG"], ["512 bytes", "did you mean 512MiB?"]),
        (["GOOD", "--workers", "0"], ["workers"]),
        (["GOOD", "--workdir", "/proc/nowhere"], ["/proc/nowhere", "another work directory"]),
        (["GOOD", "--workdir", "GOOD"], ["good.csv", "another work directory"]),
    ],
)
def test_a_mistake_is_named_and_answered(
    arguments: list[str],
    words: list[str],
    good: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "CONFIG").write_text("memory = 512\n")
    refused_here(capsys, ["run", *(good if word == "GOOD" else word for word in arguments)], 2, *words)


def test_a_folder_that_is_something_else_is_not_written_to(good: Path, tmp_path: Path) -> None:
    refused(engine_here("run", good, "--workdir", tmp_path), 2, "not empty", "another work directory")
    refused(engine_here("status", tmp_path), 2, "no work directory")


def test_a_budget_that_is_too_small_is_refused_with_one_that_works(good: Path, tmp_path: Path) -> None:
    result = engine("run", good, "--workdir", tmp_path / "w", "--memory", "64MiB")
    refused(result, 3, "needs", "64 MiB", "--memory")
    assert not (tmp_path / "w/metrics.json").exists()


def test_a_second_run_is_refused_and_names_the_holder(ready: Path, good: Path, tmp_path: Path) -> None:
    with hold_elsewhere(tmp_path / "w/lock") as other:
        try:
            refused(engine_here("run", good, "--workdir", tmp_path / "w"), 4, str(other.pid))
        finally:
            other.kill()


def test_tolerated_oddities_are_noted_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    text = "﻿" + GOOD.replace("rating\n", "rating,comment\n", 1).replace("\n", ",x\n").replace("comment,x", "comment")
    path.write_bytes((text + "1,1,5,again\n").replace("\n", "\r\n").encode())
    result = engine_here("run", path, "--workdir", tmp_path / "w")
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "w/metrics.json").read_text())
    assert metrics["n_repeated"] == 1
    assert metrics["n_ratings"] == 65
    assert "repeated pairs        1" in result.stdout
    assert "CR LF line ends" in result.stderr
    assert "byte order mark" in result.stderr


def wait_for(ready: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c_stops_soon_says_how_to_go_on_and_leaves_a_run_that_does(sample_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "engine", "run", str(sample_dir), "--workdir", str(tmp_path / "w")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(lambda: any((tmp_path / "w").glob("stages/factors-*/records/*")))
    os.killpg(process.pid, signal.SIGINT)
    start = time.monotonic()
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - start < 5
    assert process.returncode == 130
    assert "run again to go on" in errors
    assert "Traceback" not in errors
    assert engine_here("run", sample_dir, "--workdir", tmp_path / "w").returncode == 0


def test_ctrl_c_ends_soon_a_run_whose_first_processes_are_stopped(good: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if sys.orig_argv[-1] == 'engine.chunked.executors.worker':\n"
        f"    open({str(tmp_path / 'stopped')!r}, 'w').close()\n"
        "    os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    path = f"{tmp_path}{os.pathsep}{Path(__file__).parent.parent}"
    command = [sys.executable, "-m", "engine", "run", str(good), "--workdir", str(tmp_path / "w")]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True)
    wait_for((tmp_path / "stopped").exists)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - start < 5
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_without_hnswlib_the_notebooks_model_is_refused_with_what_to_install(good: Path, tmp_path: Path) -> None:
    path = f"{tmp_path}{os.pathsep}{Path(__file__).parent.parent}"
    only_where_it_is_loaded = "if 'worker' in sys.orig_argv[-1]: sys.modules['hnswlib'] = None"
    (tmp_path / "sitecustomize.py").write_text(f"import sys\n{only_where_it_is_loaded}\n")
    for asked in (("--preset", "notebook"), ("--set", "index.method=hnsw")):
        arguments = ("run", good, "--workdir", tmp_path / "w", *asked, "--quiet")
        with mock.patch.dict(sys.modules, {"hnswlib": None}):
            nowhere = engine_here(*arguments)
        for result in (nowhere, engine(*arguments, PYTHONPATH=path)):
            refused(result, 2, f"{sys.executable} -m pip install 'recsys-engine[hnsw]'", "index.method auto")
            assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("mib", "arguments"),
    [
        (500, ("recommend", "{}", "--user", "1")),
        (700, ("similar", "{}", "--item", "1")),
        (1500, ("report", "{}")),
        (1500, ("run", "{}", "--report")),
        (400, ("compare", "{}", "{}")),
        (400, ("export", "{}", "--out", "o")),
        (400, ("evaluate", "{}", "--lists", "l.csv")),
        (400, ("tune", "{}", "--minutes", "1")),
        (1000, ("serve", "{}")),
        (400, ("data", "twin", "--out", "t", "--scale", "0.001")),
    ],
)
def test_a_command_that_loads_libraries_is_refused_in_little_address_space(
    mib: int, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """What these do there is hang, end in no words, or with a million lines of a library's."""
    given = " ".join(each.format(tmp_path) for each in arguments)
    command = f"ulimit -v {mib * 1024}; exec {sys.executable} -m engine {given}"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    result = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=120
    )
    refused(result, 1, f"processes may have {mib} MiB of address space", "ulimit -v unlimited")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("mib", [700, 300, 200, 120])
def test_too_little_address_space_is_told_in_one_sentence(mib: int, good: Path, tmp_path: Path) -> None:
    command = f"ulimit -v {mib * 1024}; exec {sys.executable} -m engine run {good} --workdir {tmp_path / 'w'} --quiet"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    result = subprocess.run(["bash", "-c", command], env=environment, text=True, capture_output=True, timeout=120)
    refused(result, 1, f"{mib} MiB of address space", "ulimit -v unlimited")


def test_a_plan_says_what_each_stage_takes_and_what_would_be_enough(good: Path, tmp_path: Path) -> None:
    arguments = (good, "--workdir", tmp_path / "w")
    planned = json.loads(engine_here("plan", *arguments, "--memory", "1GiB", "--json").stdout)
    assert [stage["stage"] for stage in planned["stages"]][-1] == "evaluate"
    assert all(0 < stage["projected"] <= planned["allowed"] for stage in planned["stages"])
    assert not (tmp_path / "w/metrics.json").exists()
    tight = engine_here("plan", *arguments, "--memory", "110MiB")
    refused(tight, 3, "110 MiB are allowed")
    assert "too much" in tight.stdout
    remedy = tight.stderr.rpartition("--memory ")[2].strip()
    refused(engine_here("run", *arguments, "--memory", "110MiB"), 3, f"--memory {remedy}")
    assert engine_here("run", *arguments, "--memory", remedy).returncode == 0
    done = engine_here("plan", *arguments).stdout.splitlines()
    assert done[-1] == "nothing to do: every stage is done"
    states = {line.split()[0]: " ".join(line.split()[1:]) for line in done[1:-1]}
    assert list(states) == [step.name for step in STEPS]
    assert (states["ingest"], states["evaluate"]) == ("done before", "done before")
    rows = engine_here("plan", *arguments, "--set", "evaluate.amplification=1", "--format", "csv").stdout.splitlines()
    states = {row.split(",")[1]: row.split(",")[0] for row in rows[1:]}
    assert (states["ingest"], states["evaluate"]) == ("done before", "to do")


def test_the_budget_that_a_refused_run_names_makes_it_work(good: Path, tmp_path: Path) -> None:
    arguments = ("run", good, "--workdir", tmp_path / "w", "--memory")
    result = engine(*arguments, "130MiB")
    refused(result, 3, "130 MiB are allowed")
    for _ in range(2):  # one to count the ratings with, and one for all that follows
        if result.returncode == 3:
            result = engine(*arguments, re.findall(r"--memory (\w+)", result.stderr)[-1])
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stdout


def test_modules_beside_the_data_are_not_imported(good: Path, tmp_path: Path) -> None:
    (tmp_path / "zarr.py").write_text("raise RuntimeError('shadowed')")
    # -P for the first process too, as the installed command has no current folder on its path
    result = engine("run", good, "--workdir", tmp_path / "w", cwd=tmp_path, PYTHONSAFEPATH="1")
    assert result.returncode == 0, result.stderr


def test_ctrl_c_at_any_early_moment_prints_no_traceback(sample_dir: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    for tenths in (3, 6, 9):
        command = [sys.executable, "-m", "engine", "run", str(sample_dir), "--workdir", str(tmp_path / str(tenths))]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
        time.sleep(tenths / 10)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert process.returncode in (130, -signal.SIGINT)  # before Python has begun, the signal ends the process
        assert "Traceback" not in errors


def test_an_unwritable_work_directory_is_named(ready: Path, good: Path, tmp_path: Path) -> None:
    (tmp_path / "w/lock").unlink()
    (tmp_path / "w/lock").mkdir()
    refused(engine_here("run", good, "--workdir", tmp_path / "w"), 5, "lock")


def test_a_work_directory_of_another_version_is_refused(good: Path, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w/workdir.json").write_text('{"version": 99}')
    refused(engine_here("run", good, "--workdir", tmp_path / "w"), 5, "another version", "another work directory")


def test_a_folder_of_a_run_killed_while_it_made_it_is_used(good: Path, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w/.workdir.json.77.tmp").write_text("{")
    assert engine_here("run", good, "--workdir", tmp_path / "w").returncode == 0
    assert not (tmp_path / "w/.workdir.json.77.tmp").exists()


def test_a_stage_whose_last_word_is_missing_is_finished_without_a_traceback(
    ready: Path, good: Path, tmp_path: Path
) -> None:
    (victim,) = (tmp_path / "w").glob("stages/split-*/records/stage.json")
    victim.unlink()
    result = engine_here("run", good, "--workdir", tmp_path / "w")
    assert result.returncode == 0, result.stderr
    assert victim.exists()


def test_ratings_replaced_while_they_are_read_are_refused(good: Path, tmp_path: Path) -> None:
    """They are hashed first; this replaces them between that and the reading."""
    before = good.read_text()
    settings = Config(dataset=str(good), workdir=str(tmp_path / "w"), memory="1GiB")

    def note(event: Event) -> None:
        if isinstance(event, Explained):
            good.write_text(before.replace("8,8,5", "8,8,1"))

    with in_this_process():
        with pytest.raises(EngineError, match="changed while it was read"):
            run(settings, note)
        good.write_text(before)
        assert run(settings).metrics["n_ratings"] == 64


def test_a_plan_that_cannot_even_count_is_told_as_json(good: Path, tmp_path: Path) -> None:
    result = engine_here("plan", good, "--workdir", tmp_path / "w", "--memory", "81MiB", "--json")
    refused(result, 3, "or more, which is enough to count the ratings; what the rest needs is told then")
    planned = json.loads(result.stdout)
    assert planned["counted"] is False
    assert planned["stages"][0]["needed"] > planned["allowed"]


def test_removing_the_lock_file_lets_nobody_in(ready: Path, good: Path, tmp_path: Path) -> None:
    with hold_elsewhere(tmp_path / "w/lock") as other:
        try:
            (tmp_path / "w/lock").unlink()
            assert engine_here("run", good, "--workdir", tmp_path / "w").returncode == 4
        finally:
            other.kill()


def test_people_and_programs_are_recommended_items(good: Path, tmp_path: Path) -> None:
    ratings = "".join(f"{u},{i},{1 + (u * i) % 5}\n" for u in range(1, 9) for i in range(1, 13) if (u + i) % 3)
    good.write_text("userId,movieId,rating\n" + ratings)
    (tmp_path / "movies.csv").write_text("movieId,title\n" + "".join(f"{i},Title {i}\n" for i in range(1, 13)))
    where = finish_run(good, tmp_path / "w", preset="default")
    shown = engine_here("recommend", where, "--user", 2, "--user", 5, "-k", 3, "--include-test").stdout
    for words in ("user 2", "user 5", "rating", "   1  Title ", " score\n"):
        assert words in shown
    (tmp_path / "ids").write_text("2\n5\n")
    found = engine_here("recommend", where, "--users", tmp_path / "ids", "--json", "--include-test")
    answers = json.loads(found.stdout)
    assert [answer["user"] for answer in answers] == [2, 5]
    fields = {"rank", "item", "title", "predicted", "score", "n_raters", "n_neighbors", "mean_rating", "n_ratings"}
    fields |= {"popular", "reason", "reason_item", "reason_title", "reason_rating"}
    assert fields == set(answers[0]["items"][0])
    assert "both liked" in engine_here("similar", where, "--user", 2, "-k", 3).stdout
    alike = json.loads(engine_here("similar", where, "--user", 2, "-k", 3, "--json").stdout)
    assert len(alike["similar"]) == 3
    assert {type(user) for user in (alike["user"], *(each["user"] for each in alike["similar"]))} == {int}
    refused(engine_here("similar", where, "--user", "02", "--json"), 2, "no user 02")
    refused(engine_here("recommend", where, "--user", "02"), 2, "no user 02")
    mine = tmp_path / "mine.csv"
    mine.write_text("rating,movieId\n5,1\n4,99\n1,2\n")
    told = engine_here("recommend", where, "--ratings", mine, "-k", 2)
    assert "1 of the items are not known to this run and left out: 99" in told.stderr
    assert told.stdout.startswith("you ")
    mine.write_text("rating,movieId\n5,1\nmany,2\n")
    refused(engine_here("recommend", where, "--ratings", mine), 2, "mine.csv, line 3, column rating", "'many'")
    refused(engine_here("recommend", where, "--user", 77), 2, "no user 77", "8 users from 1 to 8")
    refused(engine_here("recommend", where, "--user", 2, "--out", tmp_path / "x"), 2, "--out goes with --all")
    refused(engine_here("recommend", where, "--all"), 2, "--all goes with --out")
    told = engine_here("recommend", where, "--all", "--out", tmp_path / "all.parquet", "--memory", "1GiB")
    assert "items for 8 users" in told.stdout
    assert (tmp_path / "all.parquet").stat().st_size


def test_everybody_asked_is_answered_in_the_order_asked(tmp_path: Path) -> None:
    pairs = [(99, item) for item in range(1, 9)] + [(u, i) for u in range(1, 9) for i in range(1, 9) if (u + i) % 3]
    (tmp_path / "ratings.csv").write_text(
        "userId,movieId,rating\n" + "".join(f"{u},{i},{1 + (u * i) % 5}\n" for u, i in pairs)
    )
    where = finish_run(tmp_path / "ratings.csv", tmp_path / "w", preset="default")
    asked = [99, 1, 99, 2, 1]
    (tmp_path / "ids").write_text("".join(f"{user}\n" for user in asked))
    for whom in ([word for user in asked for word in ("--user", user)], ["--users", tmp_path / "ids"]):
        lists = json.loads(engine_here("recommend", where, *whom, "--json", "-k", 2).stdout)
        assert [each["user"] for each in lists] == asked
        assert [[item["rank"] for item in each["items"]] for each in lists] == [[], [1, 2], [], [1, 2], [1, 2]]
        assert lists[1] == lists[4]
        shown = engine_here("recommend", where, *whom, "-k", 2).stdout
        heads = re.findall(r"^(?:user (\d+)|   (\d) |      (nothing) to recommend)", shown, re.MULTILINE)
        assert ["".join(words) for words in heads] == [
            *("99", "nothing", "1", "1", "2", "99", "nothing", "2", "1", "2", "1", "1", "2")
        ]
    alone = engine_here("recommend", where, "--user", "99", "--json")
    assert json.loads(alone.stdout) == [{"user": 99, "items": []}]
    (tmp_path / "all.csv").write_text("movieId,rating\n" + "".join(f"{i},3\n" for i in range(1, 9)))
    newcomer = engine_here("recommend", where, "--ratings", tmp_path / "all.csv", "--json")
    assert json.loads(newcomer.stdout) == [{"user": None, "items": []}]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of text ids, with titles, that would act on a terminal; in a folder that would, too."""
    folder = tmp_path_factory.mktemp("hostile") / "a\x1b[2Jb\u202e"
    folder.mkdir()
    ratings = "".join(f"u\x9b{u},i\x1b]0;{i},{1 + (u * i) % 5}\n" for u in range(8) for i in range(12) if (u + i) % 3)
    (folder / "ratings.csv").write_text("userId,movieId,rating\n" + ratings)
    titles = "".join(f"i\x1b]0;{i},\u00c9t\u00e9\x1b[31m{i}\u202e\n" for i in range(12))
    (folder / "movies.csv").write_text("movieId,title\n" + titles)
    finish_run(folder / "ratings.csv", folder / "w", preset="default")
    return folder


ACTS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


def test_what_others_wrote_does_nothing_to_a_terminal_and_stays_exact_in_json(hostile: Path) -> None:
    where = hostile / "w"
    for arguments in (
        ("recommend", where, "--user", "u\x9b2", "--include-test"),
        ("similar", where, "--user", "u\x9b2"),
        ("recommend", where, "--user", "u\x9b99"),
        ("run", hostile, "--workdir", where),
        ("run", hostile, "--workdir", where, "--columns", "a\x1b[0m,b,c"),
        ("status", where),
        ("verify", where),
        ("clean", where),
        ("plan", hostile, "--workdir", where),
        ("report", where),
        ("data", "--data-dir", hostile.parent, "list"),
        ("recommend", hostile / "none", "--user", 1),
    ):
        result = engine_here(*arguments)
        assert "Traceback" not in result.stderr
        assert not ACTS.search(result.stdout + result.stderr), arguments
    assert not ACTS.search((where / "report.html").read_text(encoding="utf-8").partition("<script>")[0])
    found = json.loads(engine_here("recommend", where, "--user", "u\x9b2", "--include-test", "--json").stdout)
    assert found[0]["user"] == "u\x9b2"
    assert all(re.fullmatch("\u00c9t\u00e9\x1b\\[31m\\d+\u202e", item["title"]) for item in found[0]["items"])


def test_a_stream_that_cannot_encode_gets_replacements(hostile: Path, ready: Path, good: Path, tmp_path: Path) -> None:
    for encoding in ("ascii", "latin-1"):
        ran = engine("run", good, "--workdir", tmp_path / "w", PYTHONIOENCODING=encoding)
        assert ran.returncode == 0, ran.stderr
        assert "RMSE" in ran.stdout
        told = engine(
            "recommend", hostile / "w", "--user", "u\x9b2", "--include-test", PYTHONIOENCODING=f"{encoding}:strict"
        )
        assert told.returncode == 0, told.stderr


def test_json_has_null_for_what_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("userId,movieId,rating\n" + "".join(f"{u},{i},5\n" for u in range(9) for i in range(u, u + 7)))
    where = finish_run(path, tmp_path / "w", preset="default", neighbors={"k": 1}, item_neighbors={"min_ratings": 1})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    texts = [engine_here("recommend", where, "--user", 2, "-k", 200, "--include-test", "--json").stdout]
    texts += [
        engine_here("similar", where, "--user", 2, "--json").stdout,
        engine_here("status", where, "--json").stdout,
    ]
    texts += [(where / name).read_text() for name in ("metrics.json", "run.json")]
    for text in texts:
        json.loads(text, parse_constant=refuse)
    assert '"mean_rating": null' in texts[0]


def test_configuration_and_users_with_a_mark_and_crlf_in_any_locale(good: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b"\xef\xbb\xbf# \xc3\xa9t\xc3\xa9\r\n[neighbors]\r\nk = 7\r\n")
    where = tmp_path / "w"
    users = tmp_path / "users"
    users.write_bytes(b"\xef\xbb\xbf3\r\n5\r\n\r\n")
    for told in (engine_here, partial(engine, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")):
        result = told("run", good, "--workdir", where, "--config", file)
        assert result.returncode == 0, result.stderr
        found = told("recommend", where, "--users", users, "--json", "--include-test")
        assert [each["user"] for each in json.loads(found.stdout)] == [3, 5], found.stderr
        assert told("report", where).returncode == 0
    file.write_bytes("[neighbors]\nk = 7\n".encode("utf-16"))
    refused(
        engine_here("run", good, "--config", file, cwd=tmp_path), 2, "c.toml: is not text: give a text file in UTF-8"
    )
    users.write_bytes("3\n".encode("utf-16"))
    refused(engine_here("recommend", where, "--users", users), 2, "give a text file in UTF-8")


def test_names_that_are_not_utf_8_are_read_or_refused_in_a_sentence(good: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    path = odd / os.fsdecode(b"m\xe9.csv")
    path.write_text(GOOD)
    where = tmp_path / "w"
    for arguments in (
        ("run", path, "--workdir", where),
        ("run", good, "--workdir", odd / "w"),
        ("run", good, "--workdir", where, "--config", odd / "c.toml"),
        ("run", "x", "--data-dir", odd),
    ):
        refused(engine_here(*arguments), 2, "caf\\xe9")
    for found in (engine_here("plan", path, "--workdir", where, "--json"), engine_here("status", odd, "--json")):
        assert found.returncode == 2
        assert "caf\\xe9" in json.loads(found.stderr)["message"]
    refused(engine_here("run", path.name, "--workdir", where, cwd=odd), 2, "is not UTF-8: rename it")
    result = engine_here("run", good, "--workdir", "w", cwd=odd)
    refused(result, 2, "caf\\xe9/w: is not UTF-8: rename it, or give another")
    (odd / "users").write_text("3\n")
    assert engine_here("run", good, "--workdir", where).returncode == 0
    assert engine_here("recommend", where, "--users", odd / "users", "--include-test").returncode == 0
    path.write_text("movieId,rating\n1,5\n")
    assert engine_here("recommend", where, "--ratings", path).returncode == 0
    assert engine_here("data", "--data-dir", tmp_path, "list").returncode == 0


def test_a_run_without_figures_says_at_its_end_why(tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("userId,movieId,rating\n1,1,4\n1,2,5\n2,1,3\n2,3,4\n")
    for more, why in ((), "no user has 5 ratings"), (("--set", "split.method=none"), "split.method is none"):
        ended = engine_here("run", tmp_path / "few.csv", "--workdir", tmp_path / "run", *more)
        assert ended.returncode == 0
        end = ended.stdout.partition("\nall  ")[2]
        assert f"\nno figures: {why}" in end
        assert re.search(r"^counts +\S+metrics.json$", end, re.MULTILINE)
        assert "figures  " not in end


def test_work_directories_that_may_be_meant_are_named(ready: Path, tmp_path: Path) -> None:
    for name in "abcdefg":
        shutil.copytree(ready, tmp_path / "runs" / name)
    many = "are a, b, c, d, e and 2 more"
    (tmp_path / "one").mkdir()
    shutil.copytree(ready, tmp_path / "one/only")
    for command, told in (
        (("recommend", tmp_path / "runs/nosuch", "--user", "1"), f": beside it {many}"),
        (("compare", tmp_path / "runs"), f": in it {many}"),
        (("compare", tmp_path / "runs", tmp_path / "runs/a"), f": in it {many}"),
        (("report", tmp_path / "one"), ": in it is only"),
    ):
        refused(engine_here(*command), 2, f"no work directory (no workdir.json in it){told}")


def test_html_is_not_taken_for_help(ready: Path) -> None:
    said = engine_here("report", ready, "--html", "page.html")
    refused(said, 2, "engine report has no option --html: did you mean '--out'?")
