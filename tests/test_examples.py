"""The examples: right, the same bytes whatever the resources, going on where they were killed, refusing in words."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zarr

from bench.kill import contents

ROOT = Path(__file__).parent.parent
EXAMPLES = ["quantiles", "principal_components"]
FEATURES, CHUNK = 32, 100


def command(name: str, data: Path, workdir: Path, memory: str = "256MiB", workers: int = 2) -> list[str]:
    script = str(ROOT / "examples" / f"{name}.py")
    return [sys.executable, script, str(data), *f"--workdir {workdir} --memory {memory} --workers {workers}".split()]


def run(name: str, data: Path, workdir: Path, memory: str = "256MiB", workers: int = 2, code: int = 0) -> str:
    """Run an example; what it prints, errors included."""
    arguments, environment = command(name, data, workdir, memory, workers), {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    assert done.returncode == code, done.stdout
    return done.stdout


def folder(workdir: Path) -> Path:
    (found,) = (workdir / "stages").iterdir()
    return found


def bytes_of(workdir: Path) -> object:
    return contents(folder(workdir))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of 30 row groups with holes and one large key, and an array of 40 chunks."""
    where = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(7)
    n = 300_000
    keys = np.where(rng.random(n) < 0.5, 0, (900 * rng.random(n) ** 2).astype(int))
    frame = pl.DataFrame({"who": keys, "pay": rng.lognormal(size=n).round(2)})
    frame = frame.with_columns(key="é-" + pl.col("who").cast(pl.String), value=pl.col("pay"))
    frame = frame.with_columns(pl.when(pl.int_range(n) % 1000 != 5).then(pl.col("value")).alias("value"))
    frame.write_parquet(where / "table.parquet", row_group_size=10_000)
    array = zarr.create_array(where / "matrix.zarr", shape=(3950, FEATURES), chunks=(CHUNK, 20), dtype="float32")
    array[:] = 1000 + rng.standard_normal((3950, FEATURES)) @ rng.standard_normal((FEATURES, FEATURES))
    return {"quantiles": where / "table.parquet", "principal_components": where / "matrix.zarr"}


@pytest.fixture(scope="module")
def undisturbed(data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    workdirs = {name: tmp_path_factory.mktemp(name) for name in EXAMPLES}
    for name, workdir in workdirs.items():
        said = run(name, data[name], workdir)
        assert "measured" in said
        assert "WARNING" not in said
    return workdirs


def test_quantiles_are_those_of_polars(data: dict[str, Path], undisturbed: dict[str, Path]) -> None:
    found = pl.read_parquet(folder(undisturbed["quantiles"]) / "quantiles.parquet").sort("key")
    value = pl.col("value")
    quantiles = [value.quantile(q, "linear").alias(f"q{q:g}") for q in (0.05, 0.5, 0.95)]
    rows = pl.read_parquet(data["quantiles"]).drop_nulls()
    expected = rows.group_by("key").agg(pl.len().alias("rows"), value.mean().alias("mean"), *quantiles).sort("key")
    assert found["rows"].to_list() == expected["rows"].to_list()
    for name in ("mean", "q0.05", "q0.5", "q0.95"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)


def test_keys_may_be_numbers(data: dict[str, Path], tmp_path: Path) -> None:
    script = str(ROOT / "examples" / "quantiles.py")
    options = ["--columns", "who", "pay", "--quantiles", "0", "1", "--workdir", str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, script, str(data["quantiles"]), *options], check=True, env=environment)
    found = pl.read_parquet(folder(tmp_path / "run") / "quantiles.parquet").sort("key")
    expected = pl.read_parquet(data["quantiles"]).group_by("who").agg(pl.min("pay"), high=pl.max("pay")).sort("who")
    assert found.select("key", "q0", "q1").rows() == expected.rows()


def test_components_are_those_of_numpy(data: dict[str, Path], undisturbed: dict[str, Path]) -> None:
    matrix = np.asarray(zarr.open_array(data["principal_components"], mode="r")[:], dtype=np.float64)
    made = folder(undisturbed["principal_components"])
    np.testing.assert_allclose(np.load(made / "covariance.npy"), np.cov(matrix.T), rtol=1e-9, atol=1e-9)
    found = np.load(made / "components.npz")
    np.testing.assert_allclose(found["mean"], matrix.mean(axis=0))
    components = np.linalg.svd(matrix - matrix.mean(axis=0), full_matrices=False)[2][:8]
    np.testing.assert_allclose(np.abs(np.sum(found["components"] * components, axis=1)), 1, rtol=1e-9)
    scores = np.asarray(zarr.open_array(made / "scores.zarr", mode="r")[:])
    np.testing.assert_allclose(scores, (matrix - matrix.mean(axis=0)) @ found["components"].T, atol=1e-7)


@pytest.mark.parametrize("name", EXAMPLES)
def test_same_bytes_in_another_budget_with_one_worker(
    name: str, data: dict[str, Path], undisturbed: dict[str, Path], tmp_path: Path
) -> None:
    run(name, data[name], tmp_path / "run", memory="512MiB", workers=1)
    assert bytes_of(tmp_path / "run") == bytes_of(undisturbed[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_killed_in_the_middle_it_goes_on(
    name: str, data: dict[str, Path], undisturbed: dict[str, Path], tmp_path: Path
) -> None:
    with started(name, data[name], tmp_path / "run") as process:
        wait_for_records(tmp_path / "run", 12, process)
        os.killpg(process.pid, signal.SIGKILL)
    before = records(tmp_path / "run")
    with started(name, data[name], tmp_path / "run") as process:
        wait_for_records(tmp_path / "run", len(before) + 1, process)
        now = records(tmp_path / "run")
        assert {task: now[task] for task in before} == before  # none of them is done again
        assert process.wait() == 0
    assert bytes_of(tmp_path / "run") == bytes_of(undisturbed[name])


def started(name: str, data: Path, workdir: Path) -> subprocess.Popen[str]:
    """An example at work, in a process group of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = command(name, data, workdir, workers=1)
    return subprocess.Popen(arguments, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True)


def wait_for_records(workdir: Path, n: int, process: subprocess.Popen[str]) -> None:
    while len(records(workdir)) < n:
        assert process.poll() is None
        time.sleep(0.001)


def records(workdir: Path) -> dict[str, int]:
    """The records there are, with what changes when one is written again."""
    found = {}
    for path in (workdir / "stages").glob("*/records/*.0*.json"):
        try:
            found[path.name] = path.stat().st_ino
        except FileNotFoundError:
            continue
    return found


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_it_is_refused_with_works(name: str, data: dict[str, Path], tmp_path: Path) -> None:
    memory = "32MiB"
    for _ in range(2):  # what the survey takes; then what the rest takes
        said = run(name, data[name], tmp_path / "run", memory=memory, workers=1, code=3)
        assert "Traceback" not in said
        (memory,) = re.findall(r"--memory (\d+MiB)", said)
        if "what the rest needs is told then" not in said:
            break
    run(name, data[name], tmp_path / "run", memory=memory, workers=1)


def test_interrupted_it_says_so_in_a_line(data: dict[str, Path], tmp_path: Path) -> None:
    with started("quantiles", data["quantiles"], tmp_path / "run") as process:
        wait_for_records(tmp_path / "run", 3, process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("stopped in stage quantiles")
    assert "Traceback" not in said


def test_an_unknown_column_is_told_in_a_line(data: dict[str, Path], tmp_path: Path) -> None:
    arguments = [*command("quantiles", data["quantiles"], tmp_path / "run"), "--columns", "whom", "pay"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(arguments, env=environment, stderr=subprocess.PIPE, text=True)
    assert found.returncode == 2
    assert found.stderr.splitlines()[-1] == "no column whom: there are who, pay, key, value"
