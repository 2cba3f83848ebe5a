"""On Dask workers a run leaves the bytes it leaves here, whoever is killed; what cannot work is refused beforehand."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

import engine
from bench.kill import SETTINGS, contents, write_ratings
from engine import config
from engine.chunked.budget import GIB, MIB, Cost
from engine.chunked.errors import BudgetError, EngineError, UsageError
from engine.chunked.events import TaskEnded, from_line
from engine.chunked.executors.base import Executor, environment
from engine.chunked.executors.connect import connect
from engine.chunked.journal import Journal
from engine.chunked.pipeline import Inputs, Known, Pipeline, Step, job
from engine.chunked.runner import run_task
from engine.chunked.storage import Remote, locate
from engine.chunked.task import Costs, Planned, Round
from engine.ratings.twin import write_twin
from tests.chunked.test_strangers import RUN, STAGES
from tests.support.here import in_this_process
from tests.support.pipeline import STEPS
from tests.support.toy import count_calls, toy_job

distributed = pytest.importorskip("distributed")
from engine.chunked.executors import dask as dask_executor  # noqa: E402
from engine.chunked.executors import dask_tasks  # noqa: E402

ROOT = Path(__file__).parent.parent.parent
BUDGET = 400 * MIB


class KillOnce(distributed.WorkerPlugin):  # type: ignore[name-defined,misc]
    """Kills a worker in the middle of every stage, once: a task of its has run, and has not committed.

    In which stages that has happened, files in ``folder`` say; while there is no folder, nobody is killed. ``only``
    names the stages where it is to happen.
    """

    def __init__(self, folder: Path, only: tuple[str, ...]) -> None:
        self.folder = folder
        self.only = only

    def setup(self, worker: object) -> None:
        def killed(round_: Round, index: int, batch_rows: int, shared: object, store: Any, journal: Journal) -> Any:
            marker = self.folder / store.root.name
            wanted = self.folder.exists() and store.root.name.startswith(self.only) and not marker.exists()

            def run(index: int, context: Any) -> Any:
                result = round_.run(index, context)
                if wanted and not marker.exists() and (journal.task_ids() or round_.n_tasks == 1):
                    marker.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            return run_task(replace(round_, run=run), index, batch_rows, shared, store, journal)

        vars(dask_tasks)["run_task"] = killed


@contextmanager
def local_cluster(workers: int, allowed: int = BUDGET) -> Iterator[Any]:
    with dask_executor._environment(environment(1)), dask_executor._local_cluster(workers, allowed) as cluster:
        yield cluster


# One that reads the ratings, one of one task after another, one of many at a time, one whose records are temporary.
KILLED_IN = ("ingest", "factors", "neighbors", "evaluate")


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kills") / "in"


@pytest.fixture(scope="module")
def cluster(kills: Path) -> Iterator[Any]:
    with local_cluster(2) as cluster, distributed.Client(cluster) as client:
        client.register_plugin(KillOnce(kills, KILLED_IN))
        yield cluster


def resize(cluster: Any, workers: int) -> None:
    cluster.scale(workers)
    wait_for(lambda: len(cluster.scheduler.workers) == workers)


def wait_for(ready: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    write_ratings(path)
    return path


def settings(ratings: Path, workdir: Path, **more: Any) -> config.Config:
    return config.load({"dataset": str(ratings), "workdir": str(workdir), "memory": BUDGET}, SETTINGS, more)


@pytest.fixture(scope="module")
def local_run(ratings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work directory of a local run."""
    folder = tmp_path_factory.mktemp("local")
    with in_this_process():
        engine.run(settings(ratings, folder))
    return folder


@pytest.fixture(scope="module")
def expected(local_run: Path) -> dict[str, str]:
    """What a local run leaves."""
    return contents(local_run)


@pytest.mark.parametrize("workers", [1, 3])  # two are killed in the next test
def test_the_same_bytes_from_any_number_of_workers(
    workers: int, cluster: Any, ratings: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    resize(cluster, workers)
    on_dask = settings(ratings, tmp_path / "w", executor="dask", scheduler=cluster.scheduler_address)
    result = engine.run(on_dask)
    assert contents(tmp_path / "w") == expected
    assert result.processes == workers
    assert all(0 < stage.measured <= stage.projected <= BUDGET for stage in result.stages if not stage.idle)
    tasks = [record for folder in result.artifacts.values() for record in Journal(folder).records()]
    assert len(tasks) > 40
    resize(cluster, 2)


def test_the_same_bytes_when_a_worker_is_killed_in_the_middle_of_stages(
    cluster: Any, kills: Path, ratings: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    kills.mkdir()
    try:
        result = engine.run(settings(ratings, tmp_path, executor="dask", scheduler=cluster.scheduler_address))
    finally:
        kills.rename(kills.with_name("done"))
    killed = {path.name for path in kills.with_name("done").iterdir()}
    assert killed == {result.artifacts[stage].name for stage in KILLED_IN}
    assert contents(tmp_path) == expected
    wait_for(lambda: len(cluster.scheduler.workers) == 2)


def test_lists_for_everybody_are_made_there_too(cluster: Any, local_run: Path, tmp_path: Path) -> None:
    shutil.copytree(local_run, tmp_path / "w")
    made = engine.recommend_all(
        tmp_path / "w", tmp_path / "dask.parquet", executor="dask", scheduler=cluster.scheduler_address
    )
    assert made.run.stages[0].measured <= made.run.stages[0].projected
    for folder in (tmp_path / "w/stages").glob("recommend-*"):
        folder.rename(tmp_path / "elsewhere")
    with in_this_process():
        engine.recommend_all(tmp_path / "w", tmp_path / "local.parquet")
    assert (tmp_path / "dask.parquet").read_bytes() == (tmp_path / "local.parquet").read_bytes()


@contextmanager
def connected(cluster: Any, allowed: int | None = BUDGET) -> Iterator[Executor]:
    address = cluster.scheduler_address
    with connect("dask", allowed=allowed, workers=None, scheduler=address) as executor:
        yield executor


@pytest.mark.parametrize(
    ("trouble", "kind", "message"),
    [
        ("usage", UsageError, "no good: bring another"),
        ("crash", EngineError, "RuntimeError: a bug"),
        ("full", EngineError, "no space left on the disk"),
        ("kill", EngineError, "toy-halves.00000 has taken 2 workers down, .* 400 MiB are allowed"),
    ],
)
def test_a_task_that_fails_says_how(
    trouble: str, kind: type[Exception], message: str, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cluster.scheduler.allowed_failures == dask_executor._ALLOWED_FAILURES
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 1)  # each worker takes two seconds to come back
    root = tmp_path / "toy"
    with connected(cluster) as executor:
        with pytest.raises(kind, match=message):
            executor.run(toy_job(root, trouble={"halves.00000": trouble}), lambda event: None)
        assert not Journal(root).done("halves.00000")
        executor.run(toy_job(root), lambda event: None)
    wait_for(lambda: len(cluster.scheduler.workers) == 2)
    assert Journal(root).result("total.00000") == {"total": sum(i**2 for i in range(6))}
    assert count_calls(root)["squares.00000"] == 1


def test_a_work_directory_that_only_workers_see_is_named(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_executor, "_SEEN", 0.1)
    monkeypatch.setattr(Journal, "task_ids", lambda self: [])  # in this process only
    with (
        connected(cluster) as executor,
        pytest.raises(EngineError, match="one that all workers and this process share"),
    ):
        executor.run(toy_job(tmp_path / "toy"), lambda event: None)


def test_a_worker_with_too_little_memory_is_refused_and_the_remedy_works(ratings: Path, tmp_path: Path) -> None:
    """And one that has done tasks reserves what a fresh one does."""
    stages, where = [step.stage_reference for step in STEPS], locate(tmp_path)

    def reserved(cluster: Any) -> int:
        with connected(cluster) as executor:
            return executor.reserved_bytes(stages, where)[0]

    def on(cluster: Any) -> config.Config:
        return settings(ratings, tmp_path, memory="2GiB", executor="dask", scheduler=cluster.scheduler_address)

    with local_cluster(1, allowed=250 * MIB) as small:
        with pytest.raises(BudgetError, match=r"is projected to take .* works in 250 MiB") as refused:
            engine.run(on(small))
        assert not list(tmp_path.glob("stages/split-*"))
    (limit,) = re.findall(r"--memory-limit (\d+)MiB", str(refused.value))
    with local_cluster(1, allowed=int(int(limit) * MIB * 0.8)) as large:
        fresh = reserved(large)
        result = engine.run(on(large))
        assert abs(reserved(large) - fresh) < 4 * MIB
    assert all(0 < stage.measured <= stage.projected for stage in result.stages if not stage.idle)


def test_a_budget_named_by_nobody_is_what_the_smallest_worker_works_in(cluster: Any) -> None:
    with connected(cluster, allowed=None) as executor:
        assert executor.allowed == BUDGET
        assert executor.limit is not None
        assert executor.limit.usable == BUDGET


def test_workers_that_are_not_as_they_must_be_are_refused_with_how_to_start_them(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_executor, "environment", lambda workers: environment(1) | {"POLARS_CSV_CHUNK_SIZE": "7"})
    with (
        pytest.raises(UsageError, match=r"lacks POLARS_CSV_CHUNK_SIZE.* --nthreads 1, .*OMP_NUM_THREADS=1"),
        connect("dask", allowed=None, workers=None, scheduler=cluster.scheduler_address),
    ):
        pass
    found = {"tcp://w": {"threads": 4, "limit": 0, "usable": 0, "unset": {}}}
    with pytest.raises(UsageError, match="tcp://w has 4 threads"):
        dask_executor._refuse_unfit(found, {})


def test_a_worker_that_ends_while_it_loads_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with local_cluster(1) as cluster, connected(cluster) as executor:
        monkeypatch.setattr(dask_executor, "_ANSWER", 5)
        with pytest.raises(EngineError, match=r"the Dask worker tcp://[\d.:]+ ended while it loaded this program"):
            vars(type(executor))["_everywhere"](executor, os.abort)


def test_what_does_not_go_together_is_refused(tmp_path: Path, ratings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_executor, "_CONNECT", 1)
    with pytest.raises(EngineError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers"):
        engine.run(settings(ratings, tmp_path, executor="dask", scheduler="tcp://127.0.0.1:9"))
    with pytest.raises(UsageError, match="goes with the executor dask"):
        engine.run(settings(ratings, tmp_path, scheduler="tcp://127.0.0.1:9"))
    with pytest.raises(UsageError, match="workers 2: goes with"):
        engine.run(settings(ratings, tmp_path, executor="dask", workers=2, scheduler="tcp://127.0.0.1:9"))


def test_a_worker_drops_what_it_holds_with_the_round_and_the_stage(tmp_path: Path) -> None:
    loads: list[str] = []

    class Stage:
        def rounds(self) -> Iterator[Round]:
            for name in ("a", "b"):
                planned = Planned(2, Cost(task=1))
                yield Round(name, planned, lambda index, context: None, partial(loads.append, name))

    Opened.stage = Stage()
    pipeline = Pipeline("s", [Step("s", open_it, plan_it)])
    told = msgspec.json.encode(job(pipeline, pipeline.steps[0], {"s": locate(tmp_path)}))

    def do(token: str, round_name: str, index: int) -> bool:
        return isinstance(from_line(dask_tasks.do_task(token, told, round_name, index, 1, 0)), TaskEnded)

    for round_name in ("a", "b"):
        for index in range(2):
            assert do("t", round_name, index)
    assert loads == ["a", "b"]
    written = Journal(tmp_path).read("a.00000")
    assert do("t", "a", 0)
    assert Journal(tmp_path).read("a.00000") == written  # done: not done again
    assert list(dask_tasks._open) == ["t"]
    assert do("u", "a", 0)
    assert list(dask_tasks._open) == ["u"]
    dask_tasks.release()
    assert not dask_tasks._open


class Opened:
    stage: Any = None


def open_it(inputs: Inputs[Any]) -> Any:
    return Opened.stage


def plan_it(known: Known) -> Costs:
    return Costs({})


def test_a_twin_in_a_bucket_on_two_workers_one_of_them_killed(bucket: Remote, tmp_path: Path) -> None:
    """At another scale where ``TWIN_SCALE`` says so; 0.2 takes some minutes."""
    scale = float(os.environ.get("TWIN_SCALE", "0.004"))
    write_twin(tmp_path / "twin", scale=scale)
    several = {} if scale >= 0.1 else {"neighbors": {"users_per_chunk": 256}, "evaluate": {"users_per_task": 256}}
    quick = {"preset": "notebook", "index": {"method": "pruned"}, "factors": {"passes": 1, "partial_sums": 2}}
    fewer = quick if scale < 0.1 else {}
    asked = {"dataset": str(tmp_path / "twin"), "memory": "512MiB", **several, **fewer}
    took = {"local": time.monotonic()}
    with in_this_process():
        engine.run(config.load(asked, {"workdir": str(tmp_path / "local")}))
    took["local"] = time.monotonic() - took["local"]
    (tmp_path / "kills").mkdir()
    with local_cluster(2, 512 * MIB) as cluster, distributed.Client(cluster) as client:
        client.register_plugin(KillOnce(tmp_path / "kills", only=("neighbors",)))
        on_dask = {"workdir": str(bucket / "twin"), "executor": "dask", "scheduler": cluster.scheduler_address}
        took["dask"] = time.monotonic()
        result = engine.run(config.load(asked, on_dask))
        took["dask"] = time.monotonic() - took["dask"]
    print(f"scale {scale:g}: {result.metrics['n_ratings']} ratings, {took}, {planned(result)}")
    assert [path.name.partition("-")[0] for path in (tmp_path / "kills").iterdir()] == ["neighbors"]
    bucket.store.get((bucket / "twin" / "stages").key, str(tmp_path / "copy" / "stages"), recursive=True)
    assert contents(tmp_path / "copy" / "stages") == contents(tmp_path / "local" / "stages")
    assert all(0 < stage.measured <= stage.projected <= 512 * MIB for stage in result.stages if not stage.idle)


def planned(result: engine.RunResult) -> dict[str, str]:
    return {
        each.stage: f"{each.measured / MIB:.0f} of {each.projected / MIB:.0f} MiB, {each.seconds:.1f} s"
        for each in result.stages
    }


def start(*arguments: object, **more: str) -> subprocess.Popen[str]:
    process_environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, env=process_environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


def run_command(ratings: Path, workdir: Path, *more: object) -> list[object]:
    sets = [f"--set={section}.{key}={value}" for section, keys in SETTINGS.items() for key, value in keys.items()]
    return ["-m", "engine", "run", ratings, "--workdir", workdir, "--memory", BUDGET, *sets, *more]


def test_a_dead_scheduler_leaves_what_a_local_run_finishes(
    ratings: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "scheduler.json"
    scheduler = start("-m", "distributed.cli.dask_scheduler", "--port", 0, "--no-dashboard", "--scheduler-file", file)
    variables = environment(1)
    options = ("--nthreads", 1, "--memory-limit", GIB, "--scheduler-file", file, "--no-dashboard", "--death-timeout", 5)
    worker = start("-m", "distributed.cli.dask_worker", *options, **variables)
    try:
        wait_for(file.exists)
        address = re.findall(r'"address": "(.*?)"', file.read_text())[0]
        with distributed.Client(address) as client:
            client.wait_for_workers(1, timeout=30)
        more = ("--executor", "dask", "--scheduler", address)
        run = start(*run_command(ratings, tmp_path / "w", *more))
        wait_for(lambda: any((tmp_path / "w").glob("stages/factors-*/records/basis-0*")))
        scheduler.kill()
        _, errors = run.communicate(timeout=20)
    finally:
        for process in (scheduler, worker):
            with_group_killed(process)
    assert run.returncode == 1
    assert f"the Dask scheduler at {address} is gone in stage" in errors
    assert "Traceback" not in errors, errors
    with in_this_process():
        engine.run(settings(ratings, tmp_path / "w"))
    assert contents(tmp_path / "w") == expected


def with_group_killed(process: subprocess.Popen[str]) -> None:
    """End a process with all it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_ctrl_c_stops_a_cluster_started_here_soon_and_the_run_goes_on(
    ratings: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    more = ("--executor", "dask", "--workers", 2)
    run = start(*run_command(ratings, tmp_path / "w", *more))
    wait_for(lambda: any((tmp_path / "w").glob("stages/factors-*/records/*")))
    os.killpg(run.pid, signal.SIGINT)
    begun = time.monotonic()
    _, errors = run.communicate(timeout=20)
    assert time.monotonic() - begun < 5
    assert run.returncode == 130
    assert "400 MiB allowed to each of 2 worker processes" in errors
    assert "run again to go on" in errors
    assert "Traceback" not in errors
    with in_this_process():
        engine.run(settings(ratings, tmp_path / "w"))
    assert contents(tmp_path / "w") == expected


SCRIPT = """
import os, sys, engine, engine.config, psutil
from engine.chunked.events import RoundBegan
print("loaded", flush=True)
def told(event):
    if isinstance(event, RoundBegan) and not os.path.exists("killed"):
        workers = [each for each in psutil.Process().children() if "spawn_main" in " ".join(each.cmdline())]
        for worker in workers:  # which are started again
            worker.kill()
        open("killed", "w").write(str(len(workers)))
asked = dict(dataset=sys.argv[1], workdir="w", memory="400MiB", executor="dask", workers=1)
quick = dict(preset="notebook", index={"method": "auto"}, factors={"passes": 1, "partial_sums": 1})
engine.run(engine.config.load(asked, quick), told)
print("done")
"""


@pytest.mark.parametrize("how", [("begins.py",), ("-m", "begins")])
def test_a_script_without_a_guard_runs_once_even_where_workers_are_lost(
    how: tuple[str, ...], ratings: Path, tmp_path: Path
) -> None:
    (tmp_path / "begins.py").write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, *how, str(ratings)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ran.stdout, ran.stderr) == ("loaded\ndone\n", "")
    assert (tmp_path / "killed").read_text() == "1"


def test_stages_of_a_script_without_a_guard_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(
        STAGES + RUN.replace('memory="200MiB"', 'memory="400MiB", executor="dask", workers=1') + "\nmain()\n"
    )
    ran = subprocess.run(
        [sys.executable, "words.py", "w"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.stderr.strip().splitlines()[-1].endswith('put what begins the run under if __name__ == "__main__":')
    assert ran.stdout == ""


STARTS = """
from multiprocessing import spawn
from engine.chunked.executors import dask as dask_executor
before = spawn.get_preparation_data
with dask_executor._callers_script_left_alone():
    with dask_executor._callers_script_left_alone():
        assert spawn.get_preparation_data is not before
    assert spawn.get_preparation_data is not before
    ours, theirs = (spawn.get_preparation_data(name) for name in ("Dask Worker process (from Nanny)", "Process-1"))
    assert set(theirs) - set(ours) <= {"init_main_from_name", "init_main_from_path"}
assert spawn.get_preparation_data is before
"""


def test_how_processes_are_started_is_as_before_once_no_cluster_is_here() -> None:
    # In a process of its own: here, a cluster may be.
    subprocess.run([sys.executable, "-c", STARTS], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
